"""How long the segments, and how many states to keep, so that a reversal stays within a budget of memory."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

from bptt.through.plan import Action, Probe
from bptt.through.schedule import executed
from bptt.through.size import shown

_FIRST_PROBES = (1, 2, 4, 16, 64)
# The backward pass of a step takes about twice its forward pass; schedules whose time is alike to this part are alike.
_BACKWARD, _ALIKE = 2, 0.005
# A segment takes a while beside its steps (calls, packed weights, the graph): about as long as steps with so large a tape. It
# is reckoned low, since long segments lose what lies in the caches.
_CALLS = 2**17
# Probes are ever longer, each by this factor at most. One that is more than such a part of all steps is not made where what a
# run takes has grown straight so far, to this part, and is so large that what memory is rounded up by is little of it. Shorter
# sequences than that many steps come in numbers, and what has been probed is remembered: there no probe is dear.
_LONGER, _DEAR, _STRAIGHT, _SURE, _ALONE = 8, 0.01, 0.02, 4 * 2**20, 2**16


@dataclass(frozen=True)
class Cost:
    """Bytes: for each number of steps in ``probed`` their tape, its reversal and all gradients; ``state`` for a state kept;
    ``held`` for every step of an input that cannot be read twice; ``waiting``, for each number of steps, a tape that is not
    being reversed.
    """

    probed: tuple[tuple[int, int], ...]
    state: int
    held: int
    waiting: tuple[tuple[int, int], ...] = ()

    def tape(self, steps: int) -> int:
        """What a run of that many steps takes, on the straight lines through the probes."""
        return _through(self.probed, steps)

    def wait(self, steps: int) -> int:
        """What their tape takes beside others: without what all share, which is what no step would take."""
        points = self.waiting or self.probed
        shared = 0 if len(points) == 1 else min(_through(points[:2], 0), points[0][1])
        return max(_through(points, steps) - shared, 1)

    def straight(self) -> bool:
        """Whether longer runs may be reckoned from those probed."""
        if len(self.probed) < 3 or self.probed[-1][1] < _SURE:
            return False
        (a, low), (b, middle), (c, high) = self.probed[-3:]
        before, after = (middle - low) / (b - a), (high - middle) / (c - b)
        return abs(after - before) <= _STRAIGHT * after and after * c > high / 2

    def peak(self, segment: int, kept: int, steps: int) -> int:
        """The most that is taken by ``steps`` steps in segments no longer than ``segment``, with that many states kept."""
        return self.tape(segment) + self.state * kept + self.held * steps


@dataclass(frozen=True)
class Chosen:
    """``segments`` of at most ``segment`` steps, ``slots`` for states, the one at the start and ``on_disk`` included; the last
    ``once`` segments run only once, so that as many tapes stand at a time.
    """

    segments: int
    segment: int
    slots: int
    on_disk: int
    forward: int
    peak: int
    once: int = 1


def fit(
    budget: int, start: int, stop: int, *, disk: bool = False, aside: int = 0, beyond: int = 0, several: bool = False
) -> Generator[Action, Any, tuple[Cost, Chosen] | None]:
    """The schedule for steps ``start..stop`` within the budget, and what it costs; ``None`` where nobody answers.

    Probes ever longer runs, up to the segments chosen, as long as they are expected to stay within the budget. ``disk``:
    states beyond the budget go to disk. ``aside``: states that are kept besides. ``beyond``: steps whose input is held besides.
    ``several``: more than one tape may stand at a time.

    **Raises** ``ValueError`` where not a single step fits, saying the least budget that does.
    """
    steps = stop - start
    lengths = [n for n in _FIRST_PROBES if n <= steps]
    cost: Cost | None = None
    chosen: Chosen | None = None
    while lengths:
        length = lengths.pop(0)
        taken = yield Probe(length)
        if taken is None and cost is None:
            return None
        if taken is None:
            lengths.clear()  # what is longer takes as many bytes a step
        else:
            point, waits = (length, taken.peak + taken.gradients), (length, taken.waiting)
            before = cost or Cost((), 0, 0)
            cost = Cost((*before.probed, point), taken.state, taken.held, (*before.waiting, waits))
        assert cost is not None
        if lengths and len(cost.probed) > 1 and cost.tape(lengths[0]) > budget:
            lengths.clear()
        if not lengths:
            chosen = choose(cost, budget, start, stop, disk=disk, aside=aside, beyond=beyond, several=several)
            reckoned = chosen.segments > 1 and steps > _ALONE and chosen.segment > _DEAR * steps and cost.straight()
            if taken is not None and chosen.segment > length and not reckoned:
                lengths = [min(chosen.segment, _LONGER * length)]
    assert cost is not None
    assert chosen is not None
    return cost, chosen


def choose(
    cost: Cost,
    budget: int,
    start: int,
    stop: int,
    *,
    disk: bool = False,
    aside: int = 0,
    beyond: int = 0,
    several: bool = False,
) -> Chosen:
    """The schedule that takes the least time within the budget; of those alike, a small one. See `fit`.

    **Raises** ``ValueError`` where not a single step fits, saying the least budget that does.
    """
    steps = stop - start
    besides = cost.peak(0, aside, steps + beyond) - cost.tape(0)
    best = _best(cost, budget - besides, steps, disk, several)
    if best is None:
        least = besides + min(cost.tape(steps), cost.peak(1, 2, 0))
        ample = besides + min(cost.peak(length, -(-steps // length), 0) for length in _lengths(steps))
        raise ValueError(
            f"memory={shown(budget)} is too little for steps {start}..{stop}: the least that works is {shown(least * 1.01)}, "
            f"and from {shown(ample * 1.01)} on no step need run more than twice"
        )
    return replace(best, peak=best.peak + besides)


@functools.lru_cache(1024)  # sequences of one length, and windows, ask again and again
def _best(cost: Cost, budget: int, steps: int, disk: bool, several: bool) -> Chosen | None:
    found = list(_feasible(cost, budget, steps, disk, several))
    if not found:
        return None
    known = cost.probed[-1][0]
    a_call = _CALLS / max(cost.wait(known) / known, 1)

    def time(each: Chosen) -> float:
        """In forward steps; longer probes are steps too."""
        longer = max(0, each.segment - known) * _LONGER / (_LONGER - 1)
        probes = 0 if straight or steps <= _ALONE or each.segments == 1 else longer
        return each.forward + _BACKWARD * steps + (1 + _BACKWARD) * (a_call * each.segments + probes)

    straight = steps > _ALONE and cost.straight()
    if straight:
        near = [each for each in found if each.segments == 1 or each.segment <= _LONGER * known]
        found = near or found
    best = min(map(time, found))
    return min((each for each in found if time(each) <= (1 + _ALIKE) * best), key=lambda each: (each.peak, each.forward))


def _feasible(cost: Cost, budget: int, steps: int, disk: bool, several: bool) -> Iterator[Chosen]:
    for segment in _lengths(steps):
        segments = -(-steps // segment)
        segment = -(-steps // segments)
        if segments == 1:
            if cost.tape(segment) <= budget:
                yield Chosen(1, segment, 1, 0, steps, cost.tape(segment))
            continue
        # The final state is kept too, while steps run again.
        in_memory = min(segments - 1, (budget - cost.tape(segment)) // max(cost.state, 1) - 1)
        if in_memory >= 1:
            slots = segments - 1 if disk else in_memory
            forward, peak = executed(steps, segment, slots), cost.peak(segment, in_memory + 1, 0)
            yield Chosen(segments, segment, slots, slots - in_memory, forward, peak)
            once = min(segments - 1, 1 + (budget - peak) // cost.wait(segment))
            if several and once > 1 and slots == in_memory:
                # A segment that runs once needs no state of its own: those that run again are fewer.
                slots = min(slots, segments - once)
                forward, peak = executed(steps, segment, slots, once), cost.peak(segment, slots + 1, 0)
                yield Chosen(segments, segment, slots, 0, forward, peak + (once - 1) * cost.wait(segment), once)


def _through(points: tuple[tuple[int, int], ...], steps: int) -> int:
    """The value at ``steps`` on the straight lines through the points, the last of which goes on."""
    if len(points) == 1:
        return points[0][1] * steps
    after = bisect.bisect_left(points, (steps,), 1, len(points) - 1)
    (a, low), (b, high) = points[after - 1], points[after]
    return max(0, int(low + (high - low) / (b - a) * (steps - a)))


def _lengths(steps: int) -> Iterator[int]:
    """Segment lengths worth trying: every number of segments up to 64, then each a tenth shorter, down to one step."""
    last = 0
    for segments in range(1, 65):
        length = -(-steps // segments)
        if length != last:
            last = length
            yield length
    while last > 1:
        last = min(last - 1, last * 9 // 10)
        yield last
