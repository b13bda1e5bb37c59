"""A plan: what to run, what to keep and what to reverse, as data. One executor carries it out (`bptt.backprop`).

A *boundary* ``t`` lies between step ``t - 1`` and step ``t`` (steps count from 0); the stretch ``start..stop`` holds the
steps ``start <= t < stop``. The executor has one *present state* with its boundary; every action refers to it by number,
so that a plan can be read, printed and checked without running anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

Upto = Callable[[float], int]
"""``upto(t)``: the boundary ``t``, or the end of the sequence where it is shorter. Asking may read the input that far."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep the present state, and the random state that the step at this boundary is about to meet, until `Drop`."""

    at: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget what was kept at this boundary."""

    at: int


@dataclass(frozen=True, slots=True)
class Load:
    """Make the state kept at this boundary the present one, detached."""

    at: int


@dataclass(frozen=True, slots=True)
class Run:
    """Run the module from the present state, which lies at ``start``, to ``stop``.

    ``tape``: keep what `Back` needs; a taped run that follows a taped run passes its error on to it.
    ``count``: its losses belong to this window. ``replay``: it ran before, in runs that began at these boundaries, and meets
    the random numbers of then.
    """

    start: int
    stop: int
    tape: bool = True
    count: bool = True
    replay: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Back:
    """Reverse the newest taped run: its losses, and the error that arrived at ``stop`` times ``gain``."""

    start: int
    stop: int
    gain: float = 1.0


@dataclass(frozen=True, slots=True)
class HandBack:
    """The window is done: the losses of ``start..stop`` have been counted and their gradient stands. The optimizer may step."""

    start: int
    stop: int


Action = Keep | Drop | Load | Run | Back | HandBack


def steps_of(length: int) -> Upto:
    """``upto`` for a sequence of known length."""
    return lambda t: min(length, int(t)) if t < length else length


def check(plan: Iterable[Action], length: int) -> Iterator[Action]:
    """Hands a plan on, action by action, refusing one that is unsound; for those who write a strategy.

    Every run starts where the present state is, every taped run is reversed before the window is handed back, newest
    first; every loss counts exactly once, in order; only kept states are loaded; a replay begins where its runs began.

    **Raises** ``ValueError`` naming the action.
    """
    present, counted, handed = 0, 0, 0
    kept: set[int] = set()
    seen: set[int] = {0}
    tapes: list[Run] = []
    for action in plan:
        match action:
            case Keep(at):
                _require(at == present, action, f"the present state lies at {present}")
                kept.add(at)
            case Drop(at):
                _require(at in kept, action, "nothing was kept there")
                kept.remove(at)
            case Load(at):
                _require(at in kept, action, "nothing was kept there")
                present = at
            case Run(start, stop, tape, count, replay):
                _require(start == present and start < stop <= length, action, f"the present state lies at {present}")
                _require(
                    bool(replay) == (stop in seen), action, "a replay is of runs that have been made before, and only that"
                )
                _require(all(at in kept for at in replay), action, "a replay needs what was kept where its runs began")
                _require(not replay or replay[0] == start, action, "a replay begins where its first run began")
                if count:
                    _require(start == counted, action, f"the losses up to {counted} have been counted")
                    counted = stop
                if tape:
                    tapes.append(action)
                present = stop
                seen.add(stop)
            case Back(start, stop):
                _require(bool(tapes), action, "no tape is left")
                newest = tapes.pop()
                _require((newest.start, newest.stop) == (start, stop), action, f"the newest tape is {newest}")
            case HandBack(start, stop):
                _require(not tapes, action, "a tape was not reversed")
                _require((start, stop) == (handed, counted), action, f"counted {handed}..{counted}")
                handed = stop
        yield action
    if handed != length:
        raise ValueError(f"the plan ends after {handed} of {length} steps")


def _require(fact: bool, action: Action, why: str) -> None:
    if not fact:
        raise ValueError(f"unsound plan at {action}: {why}")
