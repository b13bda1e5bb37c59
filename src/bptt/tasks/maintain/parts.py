"""The units of the task's files, in three parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bptt.data.units import Units, read_ends, read_units
from bptt.tasks.maintain.config import MaintainSettings
from bptt.tasks.task import NothingHeldOut


@dataclass(frozen=True)
class UnitParts:
    """Whole units in each part, never one in two. ``ends``: the test units stop before their failure."""

    train: Units
    valid: Units
    test: Units
    ends: bool

    def held_out(self, part: str | None = None) -> tuple[str, Units]:
        """The part of that name; unless named, the test part if there is one, else the validation part.

        **Raises** `NothingHeldOut`.
        """
        return NothingHeldOut.unless(vars(self), part, "give --valid or --test in training")


def read_parts(settings: MaintainSettings) -> UnitParts:
    """The parts as ``settings`` say; shares of the units are drawn by the seed.

    **Raises** ``ValueError`` where no unit is left to learn from, where what remained of a test unit is not known, and what
    `bptt.data.units.read_units` raises.
    """
    whole = read(settings, settings.data)
    order = np.random.Generator(np.random.PCG64(settings.seed)).permutation(len(whole)).tolist()
    parts: dict[str, Units] = {}
    for name in ("valid", "test"):
        wanted = getattr(settings, name)
        if isinstance(wanted, str):
            parts[name] = read(settings, wanted, whole, known=name == "valid" or settings.truth is None)
        else:
            taken = round(len(whole) * wanted)
            parts[name] = whole.take(sorted(order[:taken]))
            order = order[taken:]
    if settings.truth is not None:
        if not isinstance(settings.test, str):
            raise ValueError("--truth says what remained of the units of a file: give that file, --test FILE")
        parts["test"] = read_ends(settings.truth, parts["test"])
    if not order:
        raise ValueError(
            f"{settings.data} has {len(whole)} units, which leaves none to learn from: hold out less, or give more"
        )
    ends = isinstance(settings.test, str) and settings.truth is not None
    return UnitParts(whole.take(sorted(order)), **parts, ends=ends)


def read(settings: MaintainSettings, path: str, like: Units | None = None, known: bool = True) -> Units:
    """The units of a file, read as ``settings`` say, with the columns of ``like``."""
    return read_units(
        path,
        unit=like.unit if like is not None else settings.unit,
        cycle=like.cycle if like is not None else settings.cycle,
        sensors=like.sensors if like is not None else settings.sensor,
        remaining=settings.remaining if known else None,
        ends="failure" if known else "unknown",
        encoding=settings.encoding,
        separator=settings.separator,
    )
