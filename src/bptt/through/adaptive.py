"""Truncation that measures how the gradient gathers over lags, and reaches back as far as a tolerable bias asks."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from dataclasses import dataclass

from bptt.through.base import Strategy, number, whole
from bptt.through.plan import Action, Back, Drop, HandBack, Keep, Lag, Load, Plan, Reach, Run, Upto, Weigh, Weighed

_PIECE = 4


@dataclass(frozen=True)
class Adaptive(Strategy):
    """`Truncated` with the least k2 for which the relative bias of the gradient is expected to be at most ``bias``.

    Every ``every``-th window of ``k1`` steps (and, at the beginning, those that double what has been seen) reaches back
    ``most`` steps, and what its gradient gathers on the way is noted. With g_K the mean of the gradients that reach back K
    steps, R = ``most``, and φ_k the mean size of the error k steps back, falling as β^k over the longer half of the lags,

        bias(K) = ‖g_R - g_K‖/‖g_R‖ + ‖g_R - g_{R/2}‖/‖g_R‖ · β^{R/2}/(1 - β^{R/2}),

    the second term being what lies beyond R. The windows that follow take the least K that was noted (k1 times 1, 2, 3, 4,
    6, 8, 12, …) with bias(K) ≤ ``bias``, or R. The paper bounds the bias by the sizes φ_k of errors alone, times an unknown
    bound on the explicit gradients; here the gradient itself is noted, so that what cancels does not count.

    Cost: `Truncated`'s at the present k2, and for every ``every``-th window most/k1 forward and backward steps a step; states
    are kept for ``most`` steps, gradients for every lag as sketches of 4096 numbers. What was measured belongs to one pass;
    `Backprop.plan.reach` tells. Aicher, Foti & Fox 2019, "Adaptively truncating backpropagation through time to control
    gradient bias", arXiv 1905.07473. Not for many short sequences, each of which measures anew, nor where the mean gradient
    is near zero: its relative bias is then large for any K. Where targets are rare, take an ``every`` that keeps no step with
    them (a prime number such as 31), else the windows that are looked at never hold one. Where the optimizer steps between
    windows, the error crosses from the states of one earlier window to those of the next as they were then.

    **Raises** ``ValueError`` where bias is no number above 0, or k1, most or every no whole number; most must be at least k1.
    """

    bias: float = 0.1
    k1: int = 32
    most: int = 1024
    every: int = 31

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", number("bias", self.bias))
        for name in ("k1", "most", "every"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        if not 0 < self.bias < math.inf:
            raise ValueError(
                f"bias must be above 0, got {self.bias}: for no bias at all use bptt.Full() or bptt.Checkpointed()"
            )
        if self.most < self.k1:
            raise ValueError(f"most must be at least k1, got most={self.most} and k1={self.k1}")

    def lags(self) -> list[int]:
        """The values that k2 may take: multiples of k1, about two to an octave."""
        largest = self.most // self.k1
        factors = {2**power * part for power in range(largest.bit_length()) for part in (1, 1.5)}
        return [self.k1 * int(f) for f in sorted({*factors, largest}) if f == int(f) and f <= largest]

    def measures(self, window: int) -> bool:
        """Whether this window, counted from 0, reaches back as far as any may."""
        early = window * self.k1 < self.most and window & (window - 1) == 0
        return window > 0 and (early or window % self.every == 0)

    def plan(self, upto: Upto) -> Plan:
        lags = self.lags()
        starts: list[int] = []
        start = window = 0
        k2 = lags[-1]
        while (stop := upto(start + self.k1)) > start:
            measures = self.measures(window)
            begin = max(0, start + self.k1 - (lags[-1] if measures else k2))
            while starts and starts[0] < start + self.k1 - lags[-1]:
                yield Drop(starts.pop(0))
            yield Keep(start)
            starts.append(start)
            if measures:
                yield Lag(0)
            yield Run(start, stop, onward=begin < start)
            if begin < start:
                yield Keep(stop)
            yield Back(start, stop)
            if measures:
                yield Lag(self.k1)
            if begin < start:
                yield from self._further(starts, begin, measures, lags)
                yield Load(stop)
                yield Drop(stop)
            if measures:
                weighed = yield Weigh()
                if weighed is not None:
                    k2, expected = self.decide(weighed)
                    yield Reach(k2, expected)
            yield HandBack(start, stop)
            start, window = stop, window + 1

    def _further(self, starts: list[int], begin: int, measures: bool, lags: list[int]) -> Iterator[Action]:
        """Carries the error back through earlier windows to ``begin``, a few windows at a time."""
        newest = starts[-1]
        present = newest
        while present > begin:
            lag = newest + self.k1 - present
            far = min(lag + _PIECE * self.k1, lags[bisect.bisect_right(lags, lag)] if measures else math.inf)
            start = max(begin, newest + self.k1 - int(far))
            yield Load(start)
            replay = tuple(starts[bisect.bisect_left(starts, start) : bisect.bisect_left(starts, present)])
            yield Run(start, present, count=False, replay=replay, onward=start > begin or (measures and start > 0))
            yield Back(start, present)
            present = start
            lag = newest + self.k1 - present
            if measures and (lag in lags or present == begin):
                yield Lag(lags[bisect.bisect_left(lags, lag)])  # at the beginning: all that lies further back

    def decide(self, weighed: Weighed) -> tuple[int, float]:
        """The k2 to take and the relative bias that it is expected to have, from what was noted."""
        lags = self.lags()
        beyond = beyond_all(weighed)
        for lag, missing in zip(weighed.lags[:-1], weighed.missing, strict=False):
            if missing + beyond <= self.bias:
                return lag, missing + beyond
        # Nothing shorter will do; what is longer has not been seen yet.
        return lags[-1], beyond

    def windows(self, steps: int | None) -> int | None:
        return None if steps is None else -(-steps // self.k1)


def beyond_all(weighed: Weighed) -> float:
    """What lies beyond the longest lag, as a part of what was found: the error is taken to go on falling by its mean rate.

    The rate is fitted over the longer half of the lags alone: what the first steps lose says little of the rest.
    """
    furthest = weighed.lags[-1]
    if weighed.error[-1] == 0 or len(weighed.lags) < 2:
        return 0.0
    half = max((lag for lag in weighed.lags if lag <= furthest / 2), default=weighed.lags[0])
    points = [(lag, math.log(size)) for lag, size in zip(weighed.lags, weighed.error, strict=True) if lag >= half and size > 0]
    middle = sum(lag for lag, _ in points) / len(points)
    spread = sum((lag - middle) ** 2 for lag, _ in points)
    rate = sum((lag - middle) * size for lag, size in points) / spread if spread else 0.0
    kept = math.exp(min(rate, 0.0) * (furthest - half))
    return math.inf if kept == 1 else weighed.missing[weighed.lags.index(half)] * kept / (1 - kept)
