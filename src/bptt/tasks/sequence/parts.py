"""The sequences of a file in three parts, and as pairs of a step and the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bptt.data.ragged import Ragged
from bptt.data.rolls import Label, Roll, read_rolls
from bptt.tasks.config import option
from bptt.tasks.sequence.config import SequenceSettings
from bptt.tasks.task import NothingHeldOut

_SHARE = 0.1  # of the sequences, where neither file nor settings say what is held out


@dataclass(frozen=True)
class RollParts:
    """The labels and the sequences of each part that have two steps at least; ``short`` counts those that have not."""

    labels: tuple[Label, ...]
    train: list[Roll]
    valid: list[Roll]
    test: list[Roll]
    short: int

    def held_out(self, part: str | None = None) -> tuple[str, list[Roll]]:
        """The part of that name; unless named, the test part if there is one, else the validation part.

        **Raises** `NothingHeldOut`.
        """
        return NothingHeldOut.unless(vars(self), part, "give sequences to evaluate on, --data FILE")


def read_parts(settings: SequenceSettings, labels: Sequence[Label] | None = None) -> RollParts:
    """The parts as ``settings`` say; those that they do not speak of as the file says, else a share drawn by the seed.

    **Raises** ``ValueError`` where nothing is left to learn from, and what `bptt.data.rolls.read_rolls` raises.
    """
    found = read_rolls(settings.data, labels)
    marked = any(part is not None for part in found.parts)
    free = [roll for roll, part in zip(found.rolls, found.parts, strict=True) if part in (None, "train")]
    order = np.random.Generator(np.random.PCG64(settings.seed)).permutation(len(free))
    parts: dict[str, list[Roll]] = {}
    for name in ("valid", "test"):
        wanted = getattr(settings, name)
        if isinstance(wanted, str):
            parts[name] = list(read_rolls(wanted, found.labels).rolls)
            continue
        if marked and wanted is None:
            parts[name] = found.part(name)
            continue
        if marked and wanted and found.part(name):
            raise ValueError(f"{settings.data} says itself which sequences are {name}: leave out {option(name)}")
        taken = round(len(free) * (_SHARE if wanted is None else wanted))
        parts[name] = [free[index] for index in sorted(order[:taken])]
        order = order[taken:]
    parts["train"] = [free[index] for index in sorted(order)]
    whole = {name: [roll for roll in rolls if len(roll) > 1] for name, rolls in parts.items()}
    if not whole["train"]:
        raise ValueError(f"{settings.data} leaves no sequence of two steps or more to learn from: hold out less, or give more")
    return RollParts(found.labels, **whole, short=sum(map(len, parts.values())) - sum(map(len, whole.values())))


def pairs(rolls: Sequence[Roll]) -> Ragged:
    """Every step but the last as input, every step but the first as what is to be said."""
    return Ragged([roll[:-1] for roll in rolls], [roll[1:] for roll in rolls])
