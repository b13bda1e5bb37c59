"""Reversing a stretch segment by segment, in bounded memory: the schedule of `bptt.through.schedule` as actions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from bptt.through.plan import Action, Back, Drop, Keep, Load, Run
from bptt.through.schedule import advance


def cut_up(start: int, stop: int, longest: int) -> list[int]:
    """The boundaries of segments of ``longest`` steps; the last may be shorter."""
    return [*range(start, stop, longest), stop]


def reverse(
    cuts: Sequence[int],
    slots: int,
    *,
    again: bool = False,
    counts: bool = True,
    onward: bool = False,
    keep_end: bool = False,
    in_memory: int | None = None,
    once: int = 1,
) -> Iterator[Action]:
    """Runs the segments between ``cuts`` and carries the error back through them, newest first.

    The present state lies at ``cuts[0]``, where it is kept if there are several segments; that is one of the ``slots``.
    ``again``: they have run before, each from cut to cut. ``counts``: their losses count, in the run that has a tape.
    ``onward``: the error at ``cuts[0]`` goes on. ``keep_end``: the state at the last cut is kept as it is reached.
    ``in_memory``: of the slots, those that are not on disk. ``once``: of the segments that have not run before, the last ones
    that run with their tapes at once.
    """
    reached = cuts[-1] if again else cuts[0]
    present = 0
    kept: dict[int, bool] = {}
    on_disk = max(0, slots - (slots if in_memory is None else in_memory))
    todo = [(0, len(cuts) - once, slots)]
    while todo:
        low, high, free = todo.pop()
        if high in kept:
            on_disk += kept.pop(high)
            yield Drop(cuts[high])
        if present != low:
            yield Load(cuts[low])
        while high - low > 1:
            far = low + advance(high - low, free)
            for start, stop in zip(cuts[low:far], cuts[low + 1 : far + 1], strict=True):
                yield Run(start, stop, tape=False, count=False, replay=(start,) if stop <= reached else ())
                reached = max(reached, stop)
            todo.append((low, far, free))
            low, free = far, free - 1
            if high - low > 1:
                kept[low] = on_disk > 0
                on_disk -= kept[low]
                yield Keep(cuts[low], disk=kept[low])
        runs = list(itertools.pairwise(cuts[low:] if high == len(cuts) - once else cuts[low : high + 1]))
        for start, stop in runs:
            yield Run(start, stop, count=counts, replay=(start,) if stop <= reached else (), onward=onward or low > 0)
            reached = max(reached, stop)
        if keep_end:
            yield Keep(reached)
            keep_end = False
        for start, stop in reversed(runs):
            yield Back(start, stop)
        present = high
