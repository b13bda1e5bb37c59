"""Truncated backpropagation within a budget of memory: each window is reversed segment by segment."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from bptt.through.budget import Chosen, Cost, fit
from bptt.through.plan import Back, Drop, HandBack, Keep, Load, Outline, Plan, Run, Upto
from bptt.through.reverse import cut_up, reverse

_SNUG = 32 * 2**20


def within(budget: int, k1: int, k2: int, upto: Upto, later: Callable[[int, Upto], list[int]]) -> Plan:
    """The windows of ``Truncated(k1, k2)``; ``later(stop, upto)`` says where the windows after ``stop`` will begin.

    States at which later windows begin are kept; what lies between two of them is a block, reversed by itself.
    """
    first, back = upto(k1), upto(k2)
    if not first:
        return
    aside = (-(-back // k1) + 1) * (2 if k2 % k1 else 1) if k2 > k1 else 1
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
        yield Outline(0, back, segments, group, slots + aside, 0, blocks * chosen.forward, peak, budget)
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
        for a, b in itertools.pairwise(cut_up(start, begin, segment) if begin > start else ()):
            yield Run(a, b, tape=False)
        new = [begin, *sorted(at for at in lasting if at > begin), stop]
        # The newest blocks that fit run with their tapes at once; one that does not fit is reversed by itself.
        at_once = next(i for i in range(len(new) - 1) if i == len(new) - 2 or stop - new[i] <= group)
        passing: list[int] = []
        for a, b in itertools.pairwise(new[: at_once + 1]):
            yield Keep(a)
            (cuts if a in lasting else passing).append(a)
            for c, d in itertools.pairwise(cut_up(a, b, segment)):
                yield Run(c, d, tape=False, count=False)
        last = cut_up(new[-2], stop, segment)
        again = at_once > 0 or reach < start or len(last) > 2
        if len(last) > 2:
            yield Keep(new[-2])
            (cuts if new[-2] in lasting else passing).append(new[-2])
            yield from reverse(last, slots, onward=last[0] > reach, keep_end=True)
        else:
            blocks_now = list(itertools.pairwise(new[at_once:]))
            for a, b in blocks_now:
                if a in lasting:
                    yield Keep(a)
                    cuts.append(a)
                yield Run(a, b, onward=a > reach and a == new[at_once])
            if again:
                yield Keep(stop)
            for a, b in reversed(blocks_now):
                yield Back(a, b)
        for a, b in itertools.pairwise(reversed(new[: at_once + 1])):
            yield Load(b)
            yield from reverse(cut_up(b, a, segment), slots, again=True, onward=b > reach)
        yield from _old(old, segment, group, slots)
        if again:
            yield Load(stop)
            yield Drop(stop)
        for at in passing:
            yield Drop(at)
        yield HandBack(start, stop)
        start = stop


def _old(bounds: Sequence[int], segment: int, group: int, slots: int) -> Plan:
    """Carries the error back through blocks that ran in earlier windows, several at once where they are short."""
    high = len(bounds) - 1
    while high > 0:
        low = high - 1
        while low > 0 and bounds[high] - bounds[low - 1] <= group:
            low -= 1
        start, stop = bounds[low], bounds[high]
        yield Load(start)
        if high - low == 1 and stop - start > segment:
            yield from reverse(cut_up(start, stop, segment), slots, again=True, counts=False, onward=low > 0)
        else:
            yield Run(start, stop, count=False, replay=tuple(bounds[low:high]), onward=low > 0)
            yield Back(start, stop)
        high = low


def _group(cost: Cost, chosen: Chosen, budget: int, back: int) -> int:
    """The steps that run again at once where blocks are short: as many as are snug, and within the budget."""
    group = chosen.segment
    if chosen.segments > 1:
        return group
    room = min(budget - chosen.peak, max(0, _SNUG - cost.tape(group)))
    longest = 2 * cost.probed[-1][0]
    while 2 * group <= min(back, longest) and cost.tape(2 * group) - cost.tape(chosen.segment) <= room:
        group *= 2
    return group
