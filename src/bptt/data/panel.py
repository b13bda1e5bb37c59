"""Several series with the same columns, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bptt.data.table import Parts, Table, show_time

_NOTED = 5  # notes on series that are told


@dataclass(frozen=True, eq=False)
class Panel:
    """``tables`` with the same columns and the same step, each a series by its name; ``column`` says what names are called.

    A single table is a panel of one series called "", and has no ``column``.
    """

    tables: Mapping[str, Table]
    column: str | None = None

    def __len__(self) -> int:
        return len(self.tables)

    @property
    def first(self) -> Table:
        """The first of the tables; for what they have in common."""
        return next(iter(self.tables.values()))

    def describe(self) -> str:
        """What the series hold and what was done to them, in a few lines."""
        if self.column is None:
            return self.first.describe()
        rows = [len(table) - table.future for table in self.tables.values()]
        times = [table.times[[0, len(table) - table.future - 1]] for table in self.tables.values()]
        first = self.first
        span = ""
        if first.time is not None:
            every = f"every {first.frequency}" if first.frequency else "unevenly spaced"
            span = f", {show_time(min(t[0] for t in times))} to {show_time(max(t[1] for t in times))}, {every}"
        lines = [
            f"{len(self)} series ({self.column}) of {min(rows)} to {max(rows)} rows{span}; target {', '.join(first.targets)}"
        ]
        notes = [(name, note) for name, table in self.tables.items() for note in table.notes]
        lines += [f"{name}: {note}" for name, note in notes[:_NOTED]]
        return "\n".join(lines + [f"… and {len(notes) - _NOTED} more such notes"] * (len(notes) > _NOTED))

    def split(self, valid: float | int | str | None = None, test: float | int | str | None = None) -> dict[str, Parts]:
        """The parts of every series; see `bptt.data.Table.split` for the amounts and what it raises.

        Series with dates are all cut at the same times, those at which a table of all their times would be cut: nothing is
        learned from one that came after what is forecast of another. A series that begins later has nothing to learn from,
        and one that ended before has nothing to be measured on. Without dates each is cut by its own rows.
        """
        if len(self) == 1 or self.first.times.dtype == np.int64:
            return {name: _named(name, table, valid, test) for name, table in self.tables.items()}
        times = np.unique(np.concatenate([table.times[: len(table) - table.future] for table in self.tables.values()]))
        whole = replace(self.first, values=np.zeros((len(times), 1)), times=times, future=0)
        (_, first), (_, second), _ = whole.split(valid, test)
        made = {}
        for name, table in self.tables.items():
            end = len(table) - table.future
            a, b = (int(np.searchsorted(table.times[:end], times[row])) if row < len(times) else end for row in (first, second))
            made[name] = Parts((0, a), (a, b), (b, end))
        return made

    def until(self, end: int | np.datetime64) -> Panel:
        """Only the first ``end`` rows of each series, or those up to the time ``end``; series that begin later are left out.

        **Raises** ``ValueError`` where all do.
        """
        made = {}
        for name, table in self.tables.items():
            have = len(table) - table.future
            rows = int(np.searchsorted(table.times[:have], end, "right")) if isinstance(end, np.datetime64) else end
            if rows >= have:
                made[name] = table
            elif rows:
                gaps = None if table.gaps is None else table.gaps[table.gaps <= table.times[rows - 1]]
                cut = {key: getattr(table, key)[:rows] for key in ("values", "observed", "times")}
                made[name] = replace(table, **cut, future=0, gaps=gaps)
        if not made:
            first = min(table.times[0] for table in self.tables.values())
            raise ValueError(f"--until {show_time(end)} leaves nothing: the rows begin at {show_time(first)}")  # type: ignore[arg-type]
        return Panel(made, self.column)

    def followed_by(self, later: Panel, where: str) -> Panel:
        """Each series with the rows after it that are in ``later``, read from the file ``where``.

        **Raises** ``ValueError`` where the two have not the same series, or rows do not follow.
        """
        lacking = [name for name in self.tables if name not in later.tables] or [
            name for name in later.tables if name not in self.tables
        ]
        if lacking:
            place = "here" if lacking[0] in later.tables else "there"
            raise ValueError(f"{where} has {len(later)} series for {len(self)}; {_of(lacking[0])} is missing {place}")
        return Panel(
            {name: _joined(name, table, later.tables[name], where) for name, table in self.tables.items()}, self.column
        )


def _named(name: str, table: Table, valid: float | int | str | None, test: float | int | str | None) -> Parts:
    if not name:
        return table.split(valid, test)
    try:
        return table.split(valid, test)
    except ValueError as error:
        raise ValueError(f"series {name!r}: {error}") from None


def _joined(name: str, table: Table, more: Table, where: str) -> Table:
    if table.future or more.future:
        raise ValueError(f"rows that hold known columns only cannot be followed by others: leave out {where}, or those rows")
    if table.time is None:
        times = np.arange(len(table) + len(more))
    else:
        times = np.concatenate([table.times, more.times])
        due = table.times[-1] if table.frequency is None else table.stamps_after(1)[0]
        if more.times[0] <= table.times[-1] or (table.frequency is not None and more.times[0] != due):
            raise ValueError(
                f"{where}: {_of(name)} begins at {show_time(more.times[0])}, but it ended at {show_time(table.times[-1])}: "
                "expected the rows that follow"
            )
    return replace(
        table,
        values=np.concatenate([table.values, more.values]),
        observed=np.concatenate([table.observed, more.observed]),
        times=times,
        notes=(*table.notes, *more.notes),
    )


def _of(name: str) -> str:
    return f"series {name!r}" if name else "the table"
