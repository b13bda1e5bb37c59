"""Timing side by side: the candidates take turns within every round, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
_OTHERS = 0.08  # of the machine's cores; a round in which others used more is made again


@dataclass(frozen=True)
class Timing:
    """Medians over the rounds: seconds a call, and the ratio to the first candidate, round by round."""

    seconds: float
    ratio: float
    low: float
    high: float
    rounds: tuple[float, ...] = ()


def interleaved(
    candidates: dict[str, Callable[[], object]], rounds: int = 21, least: float = 0.1, budget: float = float("inf")
) -> dict[str, Timing]:
    """Calls every candidate in turn, ``rounds`` times, each for at least ``least`` seconds a round.

    After ``budget`` seconds no further round begins, once there are three. Rounds in which other processes used the machine
    are discarded while there is time to make them again (where the system tells, which Linux does).
    """
    repeats = {}
    for name, call in candidates.items():
        call()
        start = time.perf_counter()
        call()
        repeats[name] = max(1, int(least / (time.perf_counter() - start)))
    quiet: list[dict[str, float]] = []
    loud: list[dict[str, float]] = []
    begin = time.perf_counter()
    while len(quiet) < rounds and len(quiet) + len(loud) < 2 * rounds:
        if len(quiet) + len(loud) >= 3 and time.perf_counter() - begin > budget:
            break
        taken, before = {}, _Use.now()
        for name, call in candidates.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            taken[name] = (time.perf_counter() - start) / repeats[name]
        (loud if _Use.now().others_since(before) > _OTHERS else quiet).append(taken)
    seconds = quiet if len(quiet) >= 3 else quiet + loud
    first = next(iter(candidates))
    found = {}
    for name in candidates:
        each = [taken[name] for taken in seconds]
        ratios = sorted(taken[name] / taken[first] for taken in seconds)
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        found[name] = Timing(statistics.median(each), statistics.median(ratios), low, high, tuple(each))
    return found


@dataclass(frozen=True)
class _Use:
    """Processor seconds that the machine has spent, and this process of them."""

    clock: float
    all: float
    own: float

    @staticmethod
    def now() -> _Use:
        own = os.times()
        if not _STAT.exists():
            return _Use(time.perf_counter(), 0.0, 0.0)
        fields = [int(n) for n in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
        busy = sum(fields) - fields[3] - fields[4]  # without idle, and waiting for disks
        return _Use(time.perf_counter(), busy / os.sysconf("SC_CLK_TCK"), own.user + own.system)

    def others_since(self, before: _Use) -> float:
        """The share of the machine's cores that others used."""
        spent = (self.all - before.all) - (self.own - before.own)
        return spent / max(self.clock - before.clock, 1e-9) / (os.cpu_count() or 1)
