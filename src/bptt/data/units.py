"""Machines under watch: for each unit, what its sensors said cycle by cycle, and how long it went on after that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bptt.data.cells import find_column, is_number, listed, numbers, read_cells

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]

# NASA's C-MAPSS files have no line of names: unit, cycle, three settings of the flight, 21 sensors.
_CMAPSS = ["unit", "cycle", *(f"setting_{n}" for n in range(1, 4)), *(f"sensor_{n}" for n in range(1, 22))]
_UNIT, _CYCLE = ("unit", "unit_id", "unit_number", "engine", "machine", "id"), ("cycle", "cycles", "time_in_cycles", "time")


@dataclass(frozen=True)
class Units:
    """Units in the order in which they begin in their file.

    ``names``; ``cycles[i] [T_i]``, rising; ``values[i] [T_i, S]`` of the columns ``sensors``; ``remaining[i] [T_i]``, the
    cycles left after each, or None where nobody knows. ``unit`` and ``cycle`` are those columns' names.
    """

    unit: str
    cycle: str
    sensors: tuple[str, ...]
    names: tuple[str, ...]
    cycles: tuple[Floats, ...]
    values: tuple[Floats, ...]
    remaining: tuple[Floats, ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def take(self, which: Sequence[int]) -> Units:
        """Only the units of these numbers."""
        left = None if self.remaining is None else tuple(self.remaining[i] for i in which)
        parts = [tuple(each[i] for i in which) for each in (self.names, self.cycles, self.values)]
        return Units(self.unit, self.cycle, self.sensors, parts[0], parts[1], parts[2], left)  # type: ignore[arg-type]


def read_units(
    path: str | Path,
    *,
    unit: str | None = None,
    cycle: str | None = None,
    sensors: Sequence[str] = (),
    remaining: str | None = None,
    ends: str = "unknown",
    encoding: str = "utf-8",
    separator: str | None = None,
) -> Units:
    """Units from a CSV (also .gz) or Parquet file, a row for each cycle of each; or from NASA's C-MAPSS files as they are.

    Args:
        unit, cycle: their columns; found where they are called so.
        sensors: the columns of what was measured; all others that hold numbers, unless given.
        remaining: the column that says how many cycles were left.
        ends: what the last row of a unit is, where no column says what remained: "failure", or "unknown".

    **Raises** ``ValueError`` naming the row for a cell that is no number, a unit without a name, and cycles that do not
    rise within a unit or that are given twice.
    """
    path = Path(path)
    frame, separator = read_cells(path, encoding, separator, _CMAPSS)
    unit, cycle = _named(frame, unit, _UNIT, "unit"), _named(frame, cycle, _CYCLE, "cycle")
    left = None if remaining is None else find_column(remaining, frame.columns, "remaining")
    rest = [name for name in frame.columns if name not in (unit, cycle, left)]
    chosen = [find_column(name, frame.columns, "sensor") for name in sensors] or rest
    if taken := {unit, cycle, left} & set(chosen):
        raise ValueError(f"the column {min(map(str, taken))!r} cannot be a sensor as well")
    if not chosen:
        raise ValueError(f"{path} has no column beside {unit!r} and {cycle!r}: there is nothing to learn from")
    every = {name: _column(path, frame[name], separator) for name in (cycle, *chosen, *([left] if left else []))}
    names = [None if name is None else str(name) for name in frame[unit].to_list()]
    if None in names:
        raise ValueError(f"{path}, row {names.index(None) + 1}: no {unit!r}; every row needs its unit")
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(str(name), []).append(row)
    cycles, values, lives = [], [], []
    for name, own in rows.items():
        when = every[cycle][own]
        steps = np.diff(when)
        if (steps <= 0).any():
            bad = int(np.flatnonzero(steps <= 0)[0])
            what = "twice" if steps[bad] == 0 else f"after {when[bad]:g}"
            raise ValueError(
                f"{path}, row {own[bad + 1] + 1}: unit {name} has {cycle} {when[bad + 1]:g} {what}: sort the rows by {cycle}, "
                "and keep one for each"
            )
        cycles.append(when)
        values.append(np.stack([every[sensor][own] for sensor in chosen], axis=1))
        lives.append(every[left][own] if left else when[-1] - when)
    known = left is not None or ends == "failure"
    return Units(
        unit, cycle, tuple(chosen), tuple(rows), tuple(cycles), tuple(values), tuple(lives) if known else None
    )  # fmt: skip


def read_ends(path: str | Path, units: Units) -> Units:
    """The units with what remained after each one's last cycle, from a file of one number a line, in their order.

    **Raises** ``ValueError`` where there are more or fewer numbers than units, with both counts.
    """
    path = Path(path)
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    try:
        left = [float(line[0]) for line in lines]
    except ValueError:
        bad = next(number for number, line in enumerate(lines, 1) if not is_number(line[0]))
        raise ValueError(f"{path}, line {bad}: {lines[bad - 1][0]!r} is no number of cycles") from None
    if len(left) != len(units):
        raise ValueError(f"{path} has {len(left)} numbers for {len(units)} units: expected one for each, in their order")
    lives = tuple(when[-1] - when + end for when, end in zip(units.cycles, left, strict=True))
    return Units(units.unit, units.cycle, units.sensors, units.names, units.cycles, units.values, lives)


def _named(frame: pl.DataFrame, given: str | None, usual: Sequence[str], what: str) -> str:
    if given is not None:
        return find_column(given, frame.columns, what)
    found = [name for name in frame.columns if name.strip().lower().replace(" ", "_") in usual]
    if not found:
        raise ValueError(
            f"which column is the {what}? Say so, as in --{what} {frame.columns[0]}; the columns are: {listed(frame.columns)}"
        )
    return min(found, key=lambda name: usual.index(name.strip().lower().replace(" ", "_")))


def _column(path: Path, cells: pl.Series, separator: str | None) -> Floats:
    values, bad = numbers(cells, separator)
    wrong = bad | ~np.isfinite(values)
    if wrong.any():
        row = int(wrong.argmax())
        more = f" ({int(wrong.sum())} such cells)" if wrong.sum() > 1 else ""
        what = "is missing" if cells[row] is None or not bad[row] else f"is {str(cells[row])!r}, no finite number"
        raise ValueError(
            f"{path}, row {row + 1}: the cell of {cells.name!r} {what}{more}: mend it, or choose other columns with --sensor"
        )
    return values
