"""What a run is told beside its model and data: small values that check themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from bptt.through.size import as_bytes


@dataclass(frozen=True)
class Validation:
    """When and on what a run validates, and what follows from it.

    - ``data``: a sequence or a source. Its mean loss per target decides which weights are best.
    - ``every``: updates between validations; ``None``: at the end of each epoch.
    - ``patience``: stop after so many validations in a row without improvement; ``None``: never.
    - ``keep_best``: after `Run.fit` the model holds its best weights instead of its last ones.
    - ``metrics``: ``metrics(model)`` gives more numbers to log at each validation, by name.
    - ``by``: the metric whose greatest value decides in the place of the loss, as an accuracy may.

    **Raises** ``ValueError`` for counts below 1, and for ``by`` without ``metrics``.
    """

    data: Any
    every: int | None = None
    patience: int | None = None
    keep_best: bool = True
    metrics: Callable[[nn.Module], Mapping[str, float]] | None = None
    by: str | None = None

    def __post_init__(self) -> None:
        _count("Validation.every", self.every)
        _count("Validation.patience", self.patience)
        if self.by is not None and self.metrics is None:
            raise ValueError(f"Validation(by={self.by!r}) names a metric, but there are none: metrics=...")

    def better(self, now: float, before: float | None) -> bool:
        """Whether what decides has improved."""
        return before is None or (now < before if self.by is None else now > before)


@dataclass(frozen=True)
class Saving:
    """When a run saves itself, beside after its first update, at each new best, when interrupted and when done.

    ``seconds`` and ``updates`` since the last save, whichever comes first (``None``: not by this); the newest ``keep``
    checkpoints stay, and the best one. ``part``: of several processes those that see the run's folder write side by side, in
    files of that size, where weights and optimizer have more bytes than that.

    **Raises** ``ValueError`` for what is not positive.
    """

    seconds: float | None = 120.0
    updates: int | None = None
    keep: int = 2
    part: int | str = "1GiB"

    def __post_init__(self) -> None:
        object.__setattr__(self, "part", as_bytes("Saving.part", self.part))
        _positive("Saving.seconds", self.seconds)
        _count("Saving.updates", self.updates)
        _count("Saving.keep", self.keep)


@dataclass(frozen=True)
class Logs:
    """What a run tells, and how often.

    ``every``: updates between log lines. ``progress``: a live display on a terminal, a line now and then elsewhere, both on
    stderr. ``tensorboard``: ``True`` needs the package, ``None`` uses it where it is installed.

    **Raises** ``ValueError`` for an ``every`` below 1.
    """

    every: int = 10
    progress: bool = True
    tensorboard: bool | None = None

    def __post_init__(self) -> None:
        _count("Logs.every", self.every)


@dataclass(frozen=True)
class Budget:
    """How long a run may go on, counted from its very beginning: epochs, updates, or seconds, whichever is reached first.

    **Raises** ``ValueError`` for what is not positive.
    """

    epochs: int | None = None
    updates: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        _count("epochs", self.epochs)
        _count("updates", self.updates)
        _positive("seconds", self.seconds)

    def __bool__(self) -> bool:
        return (self.epochs, self.updates, self.seconds) != (None, None, None)

    def spent(self, epochs: int, updates: int, seconds: float) -> str | None:
        """Which of the limits is reached, if any."""
        if self.epochs is not None and epochs >= self.epochs:
            return "epochs"
        if self.updates is not None and updates >= self.updates:
            return "updates"
        if self.seconds is not None and seconds >= self.seconds:
            return "seconds"
        return None

    def total_updates(self, an_epoch: int | None) -> int | None:
        """How many updates the run will make, where that can be told; ``an_epoch``: the updates of one epoch."""
        limits = [self.updates, self.epochs * an_epoch if self.epochs is not None and an_epoch is not None else None]
        return min((limit for limit in limits if limit is not None), default=None)


def _count(name: str, value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def _positive(name: str, value: float | None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a number above 0, got {value!r}")
