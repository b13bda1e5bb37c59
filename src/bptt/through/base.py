"""What every strategy is: a frozen value that makes a plan."""

from __future__ import annotations

import dataclasses
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, TypeVar

from bptt.through.plan import Action, HandBack, Upto, steps_of

Drawn = TypeVar("Drawn", bound="Strategy")


class Strategy(ABC):
    """How gradients travel back through time.

    A strategy is a frozen dataclass that checks itself when made. It runs nothing: `plan` yields data, and the executor
    of `bptt.backprop` carries it out on any stateful module.
    """

    @abstractmethod
    def plan(self, upto: Upto) -> Iterator[Action]:
        """The actions for one sequence, made as they are needed, so that it may be endless.

        ``upto(t)`` says how far the sequence reaches, at most ``t``; asking far ahead makes a streamed input be read so far.
        A plan that is a generator may also ask, and is sent answers; see `bptt.through.plan`.
        """

    def windows(self, steps: int | None) -> int | None:
        """The windows of a sequence of that many steps; ``None`` where that cannot be told."""
        return None if steps is None else sum(isinstance(action, HandBack) for action in self.plan(steps_of(steps)))

    def of_sequence(self: Drawn, number: int) -> Drawn:
        """The strategy for that sequence of a training: random numbers of their own for each, where a ``seed`` decides them."""
        seed = getattr(self, "seed", None)
        return self if seed is None else dataclasses.replace(self, seed=seed + number)  # type: ignore[type-var]

    def __str__(self) -> str:
        known: Any = self
        own = dataclasses.fields(known) if dataclasses.is_dataclass(known) else ()  # a user's own need not be one
        fields = [(field.name, getattr(self, field.name)) for field in own]
        inside = ",".join(f"{name}={value}" for name, value in fields if value is not None and value is not False)
        name = type(self).__name__.lower()
        return f"{name}:{inside}" if inside else name


def whole(name: str, value: Any, least: int = 1) -> int:
    """``value`` as a whole number of at least ``least``.

    **Raises** ``ValueError`` naming it.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return number


def number(name: str, value: Any) -> float:
    """``value`` as a number; ``"inf"`` is one.

    **Raises** ``ValueError`` naming it.
    """
    try:
        made = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        made = math.nan
    if math.isnan(made):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return made
