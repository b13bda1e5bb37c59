"""Timing side by side: the candidates take turns within every round, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Medians over the rounds: seconds a call, and the ratio to the first candidate, round by round."""

    seconds: float
    ratio: float
    low: float
    high: float


def interleaved(candidates: dict[str, Callable[[], object]], rounds: int = 21, least: float = 0.02) -> dict[str, Timing]:
    """Calls every candidate in turn, ``rounds`` times, each for at least ``least`` seconds a round."""
    repeats = {}
    for name, call in candidates.items():
        call()
        start = time.perf_counter()
        call()
        repeats[name] = max(1, int(least / (time.perf_counter() - start)))
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            seconds[name].append((time.perf_counter() - start) / repeats[name])
    first = seconds[next(iter(candidates))]
    found = {}
    for name, taken in seconds.items():
        ratios = sorted(a / b for a, b in zip(taken, first, strict=True))
        found[name] = Timing(
            statistics.median(taken), statistics.median(ratios), ratios[len(ratios) // 4], ratios[-len(ratios) // 4]
        )
    return found
