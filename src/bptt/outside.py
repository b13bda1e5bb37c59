"""Memory that kernels keep from call to call: torch does not count it, a budget of memory has to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Keeper:
    """``begin()``: lets go of what lies idle and says what is held still; ``most()``: the most that was held since then."""

    begin: Callable[[], int]
    most: Callable[[], int]


_keepers: list[Keeper] = []


def register(keeper: Keeper) -> None:
    """Says that this module keeps memory."""
    _keepers.append(keeper)


def begin() -> int:
    """Lets go of what lies idle, in bytes what is held still."""
    return sum(keeper.begin() for keeper in _keepers)


def most() -> int:
    """The most that was held since `begin`."""
    return sum(keeper.most() for keeper in _keepers)
