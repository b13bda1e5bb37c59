"""Truncated backpropagation through time, with one meaning for every k1 and k2."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from bptt.through.base import Strategy, whole
from bptt.through.plan import Action, Back, Drop, HandBack, Keep, Load, Run, Upto


@dataclass(frozen=True)
class Truncated(Strategy):
    """Every ``k1`` steps, the error of those steps goes back through the last ``k2``; ``k2`` defaults to ``k1``.

    With e = k1, 2·k1, …, T and p the e before it (0 at first),

        g_e = Σ_{t=p+1..e} Σ_{k=max(1, e-k2+1)..t} C[t,k].

    The state's value is always carried, every loss counts exactly once, and the optimizer may step after each window. Lags
    reach from k2-k1 (the window's oldest loss) to k2-1 (its newest).

    - ``k1 == k2``: the familiar loop over chunks. ``k1=1, k2=h``: every loss sees exactly h steps.
    - ``k2 > k1``: steps ``e-k2..p`` are run again from their stored state, with the present weights and the random numbers
      of their first run. The input is read k2 steps ahead of the window. ``k2 ≥ T, k1 = T`` is `Full`.
    - ``k2 < k1``: losses more than k2 steps before the end of a window are counted and give no gradient.

    Cost: k2/k1 backward and max(1, k2/k1) forward steps for each step; memory grows with k2 and not with T. Biased: lags
    beyond k2 are lost. Williams & Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent
    network trajectories". Not where what must be learned spans more than k2 steps.

    **Raises** ``ValueError`` where k1 or k2 is no whole number of at least 1.
    """

    k1: int
    k2: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "k1", whole("k1", self.k1))
        object.__setattr__(self, "k2", self.k1 if self.k2 is None else whole("k2", self.k2))

    def plan(self, upto: Upto) -> Iterator[Action]:
        assert self.k2 is not None
        return self._ahead(upto, self.k2) if self.k2 <= self.k1 else self._again(upto, self.k2)

    def _ahead(self, upto: Upto, k2: int) -> Iterator[Action]:
        """k2 <= k1: no step runs twice."""
        start = 0
        while (stop := upto(start + self.k1)) > start:
            taped = max(start, stop - k2)
            if taped > start:
                yield Run(start, taped, tape=False)
            yield Run(taped, stop)
            yield Back(taped, stop)
            yield HandBack(start, stop)
            start = stop

    def _again(self, upto: Upto, k2: int) -> Iterator[Action]:
        """k2 > k1: each window reaches back over steps of earlier ones, from the states kept there."""
        cuts: list[int] = []
        start = 0
        while (stop := upto(start + self.k1)) > start:
            reach = max(0, stop - k2)
            while cuts and cuts[0] < reach:
                yield Drop(cuts.pop(0))
            yield Keep(start)
            cuts.append(start)
            if reach < start:
                yield Load(reach)
            tapes = list(itertools.pairwise(cuts))
            for a, b in tapes:
                yield Run(a, b, count=False, replay=True)
            for cut in self._starts(start, stop, upto, k2):
                yield Run(cuts[-1], cut)
                tapes.append((cuts[-1], cut))
                yield Keep(cut)
                cuts.append(cut)
            yield Run(cuts[-1], stop)
            tapes.append((cuts[-1], stop))
            for a, b in reversed(tapes):
                yield Back(a, b)
            yield HandBack(start, stop)
            start = stop

    def _starts(self, start: int, stop: int, upto: Upto, k2: int) -> list[int]:
        """Where later windows will begin to reach back, strictly inside start..stop: their states are kept on the way."""
        end = upto(stop + k2)
        ends = [e for e in range((start + k2) // self.k1 * self.k1, stop + k2 + self.k1, self.k1) if e < end] + [end]
        return [e - k2 for e in ends if start < e - k2 < stop]
