"""Exact backpropagation through time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bptt.through.base import Strategy
from bptt.through.plan import Action, Back, HandBack, Run, Upto


@dataclass(frozen=True)
class Full(Strategy):
    """Every contribution: the exact gradient, dE/dW = Σ_t Σ_{k≤t} C[t,k], in one window.

    Cost: one forward and one backward step for every step; memory grows with T. Werbos 1990, "Backpropagation through
    time: what it does and how to do it". Not for sequences whose tape does not fit in memory, nor for endless ones.
    """

    def plan(self, upto: Upto) -> Iterator[Action]:
        stop = upto(math.inf)
        if stop:
            yield Run(0, stop)
            yield Back(0, stop)
            yield HandBack(0, stop)

    def windows(self, steps: int | None) -> int | None:  # noqa: ARG002 - as many for any length
        return 1
