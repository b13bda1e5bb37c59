"""A plan: what to run, what to keep and what to reverse, as data. One executor carries it out (`bptt.backprop`).

A *boundary* ``t`` lies between step ``t - 1`` and step ``t`` (steps count from 0); the stretch ``start..stop`` holds the
steps ``start <= t < stop``. The executor has one *present state* with its boundary; every action refers to it by number,
so that a plan can be read, printed and checked without running anything.

Some actions ask: a plan is a generator, and the answer is the value of its ``yield``. The answer is ``None`` where nobody
carries the plan out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

Upto = Callable[[float], int]
"""``upto(t)``: the boundary ``t``, or the end of the sequence where it is shorter. Asking may read the input that far."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep the present state, and the random state that the step at this boundary is about to meet, until `Drop`.

    In a replay a state may be kept anew where one is kept already: it hides that one until it is dropped.
    ``disk``: in a file of the folder that the strategy names as ``disk``.
    """

    at: int
    disk: bool = False


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

    ``tape``: keep what `Back` needs; a taped run that follows a taped run passes its error on to it. ``onward``: the error at
    its start goes on to a run that is made, and reversed, later. ``count``: its losses are added to this window's, and flow
    back where there is a tape. ``replay``: it ran before, in runs that began at these boundaries, and meets the random
    numbers of then; where nothing was kept at its start, it goes on from the replay before it.
    """

    start: int
    stop: int
    tape: bool = True
    count: bool = True
    replay: tuple[int, ...] = ()
    onward: bool = False


@dataclass(frozen=True, slots=True)
class Back:
    """Reverse the newest taped run: its losses, and the error that arrived at ``stop`` times ``gain``."""

    start: int
    stop: int
    gain: float = 1.0


@dataclass(frozen=True, slots=True)
class HandBack:
    """The window is done: the losses of ``start..stop`` have been counted and their gradient stands. The optimizer may step.

    The present state lies at ``stop``.
    """

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask for the bytes that ``steps`` steps take, run with their tape and reversed; leaves no trace. See `Taken`.

    The answer to a later, longer probe is ``None`` too where measuring it would take more than it is worth.
    """

    steps: int


@dataclass(frozen=True, slots=True)
class Draw:
    """Ask for a random number, uniform between 0 and 1, from the generator that belongs to this pass; see `Strategy.seed`."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Note the gradient that stands, and the error that has arrived this many steps before the window's end; 0 comes first."""

    steps: int


@dataclass(frozen=True, slots=True)
class Weigh:
    """Ask for the mean of what was noted since lag 0, over the windows in which it was. See `Weighed`."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Says what will be done within a budget of memory, for `Backprop.plan`; bytes where ``predicted``. The last ``once``
    segments run only once: as many tapes stand at a time.
    """

    start: int
    stop: int
    segments: int
    segment: int
    slots: int
    on_disk: int
    forward: int
    predicted: int | None = None
    budget: int | None = None
    once: int = 1


@dataclass(frozen=True, slots=True)
class Reach:
    """Says how far back the windows that follow will go, and the relative bias to be expected, for `Backprop.plan`."""

    k2: int
    bias: float


class Taken(NamedTuple):
    """The answer to `Probe`, in bytes: the most that was allocated; one kept state; the gradients that have yet to be made;
    the input that must be held for every step, which is nothing where the sequence is sliced as needed; and the tape that
    waits for its reversal.
    """

    peak: int
    state: int
    gradients: int
    held: int
    waiting: int


class Weighed(NamedTuple):
    """The answer to `Weigh`: for every lag noted, in order, the part of the gradient that is missing where the error goes
    back no further, relative to the gradient that goes back through all of them; and the size of the error there.
    """

    lags: list[int]
    missing: list[float]
    error: list[float]


Action = Keep | Drop | Load | Run | Back | HandBack | Probe | Draw | Lag | Weigh | Outline | Reach
Plan = Generator[Action, Any, None]


def steps_of(length: int) -> Upto:
    """``upto`` for a sequence of known length."""
    return lambda t: min(length, int(t)) if t < length else length


def check(plan: Iterable[Action], length: int, answer: Callable[[Action], Any] = lambda _: None) -> Iterator[Action]:
    """Hands a plan on, action by action, refusing one that is unsound; for those who write a strategy.

    Every run starts where the present state is, every taped run is reversed before the window is handed back, newest
    first; every loss counts exactly once; an error that goes onward is taken up by the next taped run; only kept states are
    loaded; a replay begins where its runs began. ``answer`` gives what the plan asks for.

    **Raises** ``ValueError`` naming the action.
    """
    present, ran, handed = 0, 0, 0
    kept: Counter[int] = Counter()
    seen: set[int] = {0}
    counted: list[tuple[int, int]] = []
    tapes: list[Run] = []
    onward: int | None = None
    replaying = False
    for action in _answered(plan, answer):
        match action:
            case Keep(at):
                _require(at == present, action, f"the present state lies at {present}")
                _require(at not in kept or replaying, action, "it is kept already")
                kept[at] += 1
            case Drop(at):
                _require(at in kept, action, "nothing was kept there")
                kept -= Counter([at])
            case Load(at):
                _require(at in kept, action, "nothing was kept there")
                present, replaying = at, False
            case Run(start, stop, tape, count, replay):
                _require(start == present and start < stop <= length, action, f"the present state lies at {present}")
                _require(
                    bool(replay) == (stop in seen), action, "a replay is of runs that have been made before, and only that"
                )
                _require(bool(replay) or start == ran, action, f"the runs so far end at {ran}")
                _require(not replay or replay[0] == start, action, "a replay begins where its first run began")
                _require(
                    all(at in kept for at in replay[1:]) and (not replay or start in kept or replaying),
                    action,
                    "a replay needs what was kept where its runs began",
                )
                if count:
                    counted.append((start, stop))
                if tape:
                    _require(bool(tapes) or onward in (None, stop), action, f"an error waits at {onward}")
                    tapes.append(action)
                present, ran, replaying = stop, max(ran, stop), bool(replay)
                seen.add(stop)
            case Back(start, stop):
                _require(bool(tapes), action, "no tape is left")
                newest = tapes.pop()
                _require((newest.start, newest.stop) == (start, stop), action, f"the newest tape is {newest}")
                onward = start if newest.onward or tapes else None
            case Lag():
                onward = None  # the error that arrived has been noted, and need not go on
            case HandBack(start, stop):
                _require(not tapes, action, "a tape was not reversed")
                _require(onward is None, action, f"an error waits at {onward}")
                at = handed
                for first, last in sorted(counted):
                    _require(first == at, action, f"the losses of {min(first, at)}..{max(first, at)} count twice or not at all")
                    at = last
                twice = next((at for at, times in kept.items() if times > 1), None)
                _require(twice is None, action, f"what was kept anew at {twice} was not dropped")
                _require((start, stop) == (handed, at), action, f"counted {handed}..{at}")
                _require(present == stop, action, f"the present state lies at {present}")
                handed, counted = stop, []
        yield action
    if handed != length:
        raise ValueError(f"the plan ends after {handed} of {length} steps")


def _answered(plan: Iterable[Action], answer: Callable[[Action], Any]) -> Iterator[Action]:
    """The plan's actions, with an answer sent back for each."""
    if not isinstance(plan, Generator):
        yield from plan
        return
    try:
        action = next(plan)
        while True:
            yield action
            action = plan.send(answer(action))
    except StopIteration:
        return


def _require(fact: bool, action: Action, why: str) -> None:
    if not fact:
        raise ValueError(f"unsound plan at {action}: {why}")
