"""Truncated backpropagation within a budget of memory: each window is reversed segment by segment."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence

from bptt.through.budget import Chosen, Cost, fit
from bptt.through.plan import Back, Drop, HandBack, Keep, Load, Outline, Plan, Run, Upto
from bptt.through.reverse import cut_up, reverse

_SNUG = 32 * 2**20


def within(budget: int, k1: int, k2: int, upto: Upto, later: Callable[[int, Upto], list[int]]) -> Plan:
    """The windows of ``Truncated(k1, k2)``; ``later(stop, upto)`` says where the windows after ``stop`` will begin.

    States at which later windows begin are kept; what lies between two of them is a block. A window that reaches back runs its
    old steps again from the first of them: at once with their tape where it fits, else without, and block by block from states
    kept anew, so that the error meets no state of other weights.
    """
    first, back = upto(k1), upto(k2)
    if not first:
        return
    aside = 2 * (-(-back // k1) + 1) * (2 if k2 % k1 else 1) + 1 if k2 > k1 else 2
    fitted = yield from fit(budget, 0, min(first, back), aside=aside, beyond=back)
    if fitted is None:
        segment = group = max(first, back)
        slots = 1
    else:
        cost, chosen = fitted
        segment, slots = chosen.segment, chosen.slots
        group = _group(cost, chosen, budget, back)
        blocks = -(-back // min(first, back))
        peak = chosen.peak + cost.tape(group) - cost.tape(segment)
        segments = -(-back // group) if chosen.segments == 1 else blocks * chosen.segments
        forward = blocks * chosen.forward + (back - min(first, back) if back > group else 0)
        yield Outline(0, back, segments, group, slots + aside, 0, forward, peak, budget)
    cuts: list[int] = []
    start = 0
    while (stop := upto(start + k1)) > start:
        reach = max(0, stop - k2)
        while cuts and cuts[0] < reach:
            yield Drop(cuts.pop(0))
        old = [*cuts, start]
        reaches = later(stop, upto)
        lasting = {at for at in reaches if start < at < stop} | ({start} if any(at <= start for at in reaches) else set())
        begin = max(start, reach)
        further, whole = reach < start, reach < start and stop - reach <= group
        passing: list[int] = []
        if further:
            yield from _keep(start, lasting, cuts, passing)
            groups = _groups(old, group)
            yield Load(reach)
            if whole:
                yield Run(reach, start, count=False, replay=tuple(old[:-1]))
            else:
                yield from _anew(groups, segment)
        for a, b in itertools.pairwise(cut_up(start, begin, segment) if begin > start else ()):
            yield Run(a, b, tape=False)
        new = [begin, *sorted(at for at in lasting if at > begin), stop]
        # The newest blocks that fit run with their tapes at once; one that does not fit is reversed by itself.
        at_once = next(i for i in range(len(new) - 1) if i == len(new) - 2 or stop - new[i] <= group)
        for a, b in itertools.pairwise(new[: at_once + 1]):
            yield from _keep(a, lasting, cuts, passing)
            for c, d in itertools.pairwise(cut_up(a, b, segment)):
                yield Run(c, d, tape=False, count=False)
        last = cut_up(new[-2], stop, segment)
        again = at_once > 0 or (further and not whole) or len(last) > 2
        if len(last) > 2:
            yield from _keep(new[-2], lasting, cuts, passing)
            yield from reverse(last, slots, onward=last[0] > reach, keep_end=True)
        else:
            blocks_now = list(itertools.pairwise(new[at_once:]))
            for a, b in blocks_now:
                if a in lasting and a not in cuts:
                    yield from _keep(a, lasting, cuts, passing)
                yield Run(a, b, onward=a > reach and a == new[at_once] and not whole)
            if again:
                yield Keep(stop)
            for a, b in reversed(blocks_now):
                yield Back(a, b)
            if whole:
                yield Back(reach, start)
        for a, b in itertools.pairwise(reversed(new[: at_once + 1])):
            yield Load(b)
            yield from reverse(cut_up(b, a, segment), slots, again=True, onward=b > reach)
        if further and not whole:
            yield from _old(groups, segment, slots)
        if again:
            yield Load(stop)
            yield Drop(stop)
        for at in passing:
            yield Drop(at)
        yield HandBack(start, stop)
        start = stop


def _keep(at: int, lasting: Collection[int], cuts: list[int], passing: list[int]) -> Plan:
    """Keeps a state for the later window that begins there; another, or one kept anew, until this window is done."""
    yield Keep(at)
    (cuts if at in lasting and at not in cuts else passing).append(at)


def _groups(bounds: Sequence[int], group: int) -> list[Sequence[int]]:
    """Blocks that ran in earlier windows, several together where they are short; oldest first, each as its boundaries."""
    made: list[Sequence[int]] = []
    high = len(bounds) - 1
    while high > 0:
        low = high - 1
        while low > 0 and bounds[high] - bounds[low - 1] <= group:
            low -= 1
        made.append(bounds[low : high + 1])
        high = low
    return made[::-1]


def _anew(groups: Sequence[Sequence[int]], segment: int) -> Plan:
    """Runs them again with the present weights, without tape; keeps anew the states between them."""
    for number, bounds in enumerate(groups):
        if number:
            yield Keep(bounds[0])
        if len(bounds) == 2:
            for a, b in itertools.pairwise(cut_up(bounds[0], bounds[1], segment)):
                yield Run(a, b, tape=False, count=False, replay=(a,))
        else:
            yield Run(bounds[0], bounds[-1], tape=False, count=False, replay=tuple(bounds[:-1]))


def _old(groups: Sequence[Sequence[int]], segment: int, slots: int) -> Plan:
    """Carries the error back through them, newest first, from the states kept anew."""
    for number in reversed(range(len(groups))):
        start, stop = groups[number][0], groups[number][-1]
        yield Load(start)
        if len(groups[number]) == 2 and stop - start > segment:
            yield from reverse(cut_up(start, stop, segment), slots, again=True, counts=False, onward=number > 0)
        else:
            yield Run(start, stop, count=False, replay=tuple(groups[number][:-1]), onward=number > 0)
            yield Back(start, stop)
        if number:
            yield Drop(start)


def _group(cost: Cost, chosen: Chosen, budget: int, back: int) -> int:
    """The steps that run again at once where blocks are short: all where the budget allows, else as many as are snug."""
    group = chosen.segment
    if chosen.segments > 1:
        return group
    longest = 2 * cost.probed[-1][0]
    sure = 1 if back <= longest else 2  # far beyond what was probed it may take more
    if sure * cost.tape(back) - cost.tape(group) <= budget - chosen.peak:
        return back  # nothing runs more often than without a budget
    room = min(budget - chosen.peak, max(0, _SNUG - cost.tape(group)))
    while 2 * group <= min(back, longest) and cost.tape(2 * group) - cost.tape(chosen.segment) <= room:
        group *= 2
    return group
