"""Truncated backpropagation through time, with one meaning for every k1 and k2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bptt.through.base import Strategy, whole
from bptt.through.plan import Action, Back, Drop, HandBack, Keep, Load, Run, Upto
from bptt.through.size import as_bytes
from bptt.through.within import within


@dataclass(frozen=True)
class Truncated(Strategy):
    """Every ``k1`` steps, the error of those steps goes back through the last ``k2``; ``k2`` defaults to ``k1``.

    With e = k1, 2·k1, …, T and p the e before it (0 at first),

        g_e = Σ_{t=p+1..e} Σ_{k=max(1, e-k2+1)..t} C[t,k].

    The state's value is always carried, every loss counts exactly once, and the optimizer may step after each window. Lags
    reach from k2-k1 (the window's oldest loss) to k2-1 (its newest).

    - ``k1 == k2``: the familiar loop over chunks. ``k1=1, k2=h``: every loss sees exactly h steps.
    - ``k2 > k1``: steps ``e-k2..p`` are run again from their stored state, with the present weights and the random numbers
      of their first run (torch's own, as all that run steps again). ``k2 ≥ T, k1 = T`` is `Full`.
    - ``k2 < k1``: losses more than k2 steps before the end of a window are counted and give no gradient.

    - ``memory``: a budget such as ``"512MiB"``: windows longer than fit are cut into segments, which run again where their
      tape does not fit; see `Checkpointed`. The states at which later windows begin, k2/k1 of them, count too, and as many
      that steps before a window reach anew with the present weights: one forward pass more over those.

    A last window shorter than k2 reaches back into the one before it; to see it coming, input is read k2 steps ahead.

    Cost: k2/k1 backward and max(1, k2/k1) forward steps for each step; memory grows with k2 and not with T. Biased: lags
    beyond k2 are lost. Williams & Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent
    network trajectories". Not where what must be learned spans more than k2 steps.

    **Raises** ``ValueError`` where k1 or k2 is no whole number of at least 1, or memory no amount of memory; as it begins, for
    a budget that not one step fits into.
    """

    k1: int
    k2: int | None = None
    memory: int | str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "k1", whole("k1", self.k1))
        object.__setattr__(self, "k2", self.k1 if self.k2 is None else whole("k2", self.k2))
        if self.memory is not None:
            object.__setattr__(self, "memory", as_bytes("memory", self.memory))

    def plan(self, upto: Upto) -> Iterator[Action]:
        return self._plain(upto) if self.memory is None else within(int(self.memory), self.k1, self._k2, upto, self._later)

    def windows(self, steps: int | None) -> int | None:
        return None if steps is None else -(-steps // self.k1)

    def _plain(self, upto: Upto) -> Iterator[Action]:
        cuts: list[int] = []
        start = 0
        while (stop := upto(start + self.k1)) > start:
            reach = max(0, stop - self._k2)
            while cuts and cuts[0] < reach:
                yield Drop(cuts.pop(0))
            later = self._later(stop, upto)
            if any(other <= start for other in later):
                yield Keep(start)
                cuts.append(start)
            runs = []
            if reach > start:
                yield Run(start, reach, tape=False)
            elif reach < start:
                yield Load(reach)
                runs.append((reach, start))
                yield Run(reach, start, count=False, replay=tuple(cut for cut in cuts if cut < start))
            first = max(start, reach)
            for cut in sorted({other for other in later if start < other < stop}):
                runs.append((first, cut))
                yield Run(first, cut)
                yield Keep(cut)
                cuts.append(cut)
                first = cut
            runs.append((first, stop))
            yield Run(first, stop)
            for run in reversed(runs):
                yield Back(*run)
            yield HandBack(start, stop)
            start = stop

    def _later(self, stop: int, upto: Upto) -> list[int]:
        """Where the windows after ``stop`` that reach back beyond it will begin: their states are kept on the way."""
        beyond = stop + self._k2
        end = upto(beyond)
        ends = [*range(stop + self.k1, end, self.k1), *([end] if stop < end < beyond else [])]
        return [max(0, e - self._k2) for e in ends]

    @property
    def _k2(self) -> int:
        assert self.k2 is not None
        return self.k2
