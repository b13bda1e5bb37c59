"""The exact gradient within a budget of memory: states are kept, and what lies between them runs again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from bptt.through.base import Strategy, whole
from bptt.through.budget import Chosen, fit
from bptt.through.plan import Drop, HandBack, Keep, Load, Outline, Plan, Upto
from bptt.through.reverse import cut_up, reverse
from bptt.through.schedule import executed
from bptt.through.size import as_bytes


@dataclass(frozen=True)
class Checkpointed(Strategy):
    """The gradient of `Full`, dE/dW = Σ_t Σ_{k≤t} C[t,k], without its memory: steps run again instead of being remembered.

    The sequence is cut into segments. A state is kept at the start of some of them; the newest segment runs with its tape
    and is reversed, then the one before it runs again from the nearest state kept, and so on. Losses, outputs and targets
    exist for one segment at a time. What is drawn at random with torch's own generator (dropout) is drawn again.

    - ``memory``: a budget such as ``"512MiB"`` for everything that grows with the number of steps T: one tape, the states
      kept, the segment's input, output, loss and gradients. A few short probe runs tell what a step takes; length and number
      of segments follow. `Backprop.plan` says them before and compares predicted and measured memory after.
    - ``slots``: that many states instead, one for each of as many segments (no step runs more than twice), or, with
      ``segment``, for segments of that many steps, by the schedule that is optimal for these slots.
    - ``disk``: a folder for the states that do not fit into ``memory``, which are those kept first; it is tried as the pass
      begins, and what was made is removed at the end.

    Cost: one forward step more for each step where there is a state for each segment, else C(T/segment, slots) segments, see
    `bptt.through.schedule.forward_steps`. Griewank & Walther 2000, "Algorithm 799: Revolve"; Chen et al. 2016,
    arXiv 1604.06174; Gruslys et al. 2016, arXiv 1606.03401. Not where the tape of `Full` fits (it is faster), nor for endless
    sequences. A sequence given as an iterable of pieces is read once, so all of it is held: give an object with ``len()`` and
    ``sequence[a:b]`` to keep it out of memory.

    **Raises** ``ValueError`` for settings that do not go together; as it begins, for a budget that not one step fits into.
    """

    memory: int | str | None = None
    slots: int | None = None
    segment: int | None = None
    disk: str | None = None

    def __post_init__(self) -> None:
        if (self.memory is None) == (self.slots is None):
            raise ValueError("give either memory, as in Checkpointed(memory='512MiB'), or slots, as in Checkpointed(slots=20)")
        if self.memory is not None:
            object.__setattr__(self, "memory", as_bytes("memory", self.memory))
            if self.segment is not None:
                raise ValueError("memory decides how long a segment is: give segment with slots, or leave it out")
        else:
            object.__setattr__(self, "slots", whole("slots", self.slots))
            if self.disk is not None:
                raise ValueError("disk takes the states that exceed memory: give memory, or leave disk out")
        if self.segment is not None:
            object.__setattr__(self, "segment", whole("segment", self.segment))
        if self.disk is not None:
            folder = str(self.disk)
            if not folder.strip() or "," in folder:  # a strategy is also written as text, where commas part its settings
                raise ValueError(f"disk must be a folder whose name holds no comma, such as '/tmp/states', got {self.disk!r}")
            object.__setattr__(self, "disk", str(Path(folder)))

    def plan(self, upto: Upto) -> Plan:
        stop = upto(math.inf)
        if not stop:
            return
        chosen = self._by_slots(stop)
        if self.memory is not None:
            fitted = yield from fit(int(self.memory), 0, stop, disk=self.disk is not None, several=True)
            chosen = fitted[1] if fitted is not None else chosen
        predicted, budget = (chosen.peak or None), (None if self.memory is None else int(self.memory))
        yield Outline(
            0,
            stop,
            chosen.segments,
            chosen.segment,
            chosen.slots,
            chosen.on_disk,
            chosen.forward,
            predicted,
            budget,
            chosen.once,
        )
        several = chosen.segments > 1
        if several:
            yield Keep(0)
        yield from reverse(
            cut_up(0, stop, chosen.segment),
            chosen.slots,
            keep_end=several,
            in_memory=chosen.slots - chosen.on_disk,
            once=chosen.once,
        )
        if several:
            yield Load(stop)
            yield Drop(stop)
            yield Drop(0)
        yield HandBack(0, stop)

    def windows(self, steps: int | None) -> int | None:  # noqa: ARG002 - as many for any length
        return 1

    def _by_slots(self, steps: int) -> Chosen:
        """Without a budget: a segment for each slot, or the segments asked for; one, where nothing is known."""
        if self.slots is None:
            return Chosen(1, steps, 1, 0, steps, 0)
        segment = min(steps, self.segment or -(-steps // self.slots))
        segments = -(-steps // segment)
        slots = min(self.slots, max(1, segments - 1))
        return Chosen(segments, segment, slots, 0, executed(steps, segment, slots), 0)
