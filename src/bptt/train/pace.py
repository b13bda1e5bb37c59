"""How fast a run goes, and how long it has yet to go."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bptt.train.ledger import Ledger
from bptt.train.settings import Budget


class Pace:
    """Times one sitting of a run; ``updates`` is how many the whole run will make, where that is known."""

    def __init__(self, budget: Budget, updates: int | None) -> None:
        self.updates = updates
        self._budget = budget
        self._started = self._marked = 0.0
        self._before, self._first = 0.0, 0
        self._paused, self._targets, self._rate = 0.0, 0, math.nan

    def begin(self, at: Ledger) -> None:
        """The sitting begins now, where ``at`` stands."""
        self._started = self._marked = time.perf_counter()
        self._before, self._first = at.seconds, at.update

    def seconds(self) -> float:
        """Since the beginning of the run, all sittings together, validations and saving included."""
        return self._before + time.perf_counter() - self._started

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What is done inside is no training: it does not slow `rate`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - begun

    def saw(self, targets: int) -> None:
        """So many more targets have been trained on."""
        self._targets += targets

    def rate(self) -> float:
        """Targets per second of training since `mark`; where there were none yet, of the time before it (NaN: never any)."""
        passed = time.perf_counter() - self._marked - self._paused
        return self._targets / passed if self._targets and passed > 0 else self._rate

    def mark(self) -> None:
        """`rate` counts from here."""
        self._rate = self.rate()
        self._marked, self._paused, self._targets = time.perf_counter(), 0.0, 0

    def done(self, at: Ledger) -> float | None:
        """The share of the run that is done, 0 to 1, where any of its limits lets it be told."""
        budget, known = self._budget, list[float]()
        if self.updates is not None:
            known.append(at.update / self.updates)
        elif budget.epochs is not None and at.epoch:
            known.append(at.epoch / budget.epochs)
        if budget.seconds is not None:
            known.append(at.seconds / budget.seconds)
        return min(1.0, max(known)) if known else None

    def left(self, at: Ledger) -> float | None:
        """Seconds to the nearest of the limits, at the rate of this sitting with its validations and saving."""
        budget, known = self._budget, list[float]()
        an_update = (at.seconds - self._before) / max(at.update - self._first, 1)
        if self.updates is not None:
            known.append((self.updates - at.update) * an_update)
        elif budget.epochs is not None and at.epoch:
            known.append((budget.epochs / at.epoch - 1) * at.update * an_update)
        if budget.seconds is not None:
            known.append(budget.seconds - at.seconds)
        return max(0.0, min(known)) if known else None
