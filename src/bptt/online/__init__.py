"""Influence carried forward in time: what `bptt.RTRL`, `bptt.SnAp` and `bptt.UORO` keep instead of a history."""

from bptt.online.beginning import begin as begin
from bptt.online.influence import Influence as Influence
