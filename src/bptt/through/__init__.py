"""How gradients travel back through time: strategies are values, passed where they are used."""

from bptt.through.adaptive import Adaptive as Adaptive
from bptt.through.base import Strategy as Strategy
from bptt.through.checkpointed import Checkpointed as Checkpointed
from bptt.through.full import Full as Full
from bptt.through.online import RTRL as RTRL, UORO as UORO, SnAp as SnAp
from bptt.through.parse import parse as parse, strategies as strategies
from bptt.through.randomized import Randomized as Randomized
from bptt.through.truncated import Truncated as Truncated
