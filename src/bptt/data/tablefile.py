"""From a CSV or Parquet file to a `Table`, refusing what cannot be right and saying what was filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bptt.data.assemble import Reading, assemble
from bptt.data.cells import find_column, listed, numbers, read_cells
from bptt.data.missing import POLICIES
from bptt.data.panel import Panel
from bptt.data.table import Table
from bptt.data.times import Times, join_times, looks_like_dates, parts_of_time, read_times

if TYPE_CHECKING:
    import polars as pl

GAPS = ("auto", "fill", "keep", "error")


def read_table(
    path: str | Path,
    *,
    time: str | Sequence[str] | None = None,
    targets: Sequence[str] = (),
    past: Sequence[str] = (),
    known: Sequence[str] = (),
    missing: str = "error",
    gaps: str = "auto",
    time_format: str | None = None,
    encoding: str = "utf-8",
    separator: str | None = None,
) -> Table:
    """Read a table of numbers in time from CSV (also gzipped) or Parquet.

    Args:
        path: the file; a CSV has one line of column names, and ``,`` ``;`` tab or ``|`` between cells.
        time: the column with the time stamps, or several (year, month, day, hour, ...). Default: the only column that
            holds dates, or columns of those names; without either, rows are taken in the order of the file.
        targets: the columns to forecast. Default: the only column of numbers.
        past: covariates known up to the present; ``wind=NW`` is 1 where the column ``wind`` says NW, else 0.
        known: covariates known ahead of time. Trailing rows that hold nothing but known covariates become
            ``Table.future``.
        missing: "error" refuses missing cells; "forward" repeats the last value (nothing is learnt before its time);
            "interpolate" draws a line to the next value, which *looks ahead*: not for judging forecasts near gaps;
            "mask" keeps NaN, and windows tell the network which values were there; "zero" takes 0 *for what was observed*, as
            some published comparisons do. Rows before every column has begun
            are left out under "forward" and "interpolate".
        gaps: absent time stamps on an even grid. "fill" inserts rows that are treated as ``missing`` says ("error"
            there: as "forward"); "keep" leaves the rows as they are; "error" refuses. "auto" fills where at least
            90 % of the steps are equal, and keeps where they are not.
        time_format: how dates are written (``%d.%m.%Y %H:%M``), where it cannot be told from them.

    What was done is told in ``Table.notes``. Values that were not observed are never targets of a `Windows`.

    Raises:
        FileNotFoundError, IsADirectoryError: no file there.
        ValueError: a column that does not exist (with those that do), dates or numbers that cannot be read (with row,
            from 1 without the header, and cell), unsorted or repeated time stamps, missing values under "error", a
            column without any value.
        ImportError: polars is not installed.
    """
    panel = read_panel(
        path, time=time, targets=targets, past=past, known=known, missing=missing, gaps=gaps, time_format=time_format,
        encoding=encoding, separator=separator,
    )  # fmt: skip
    return panel.tables[""]


def read_panel(
    path: str | Path,
    *,
    series: str | None = None,
    wide: bool = False,
    time: str | Sequence[str] | None = None,
    targets: Sequence[str] = (),
    past: Sequence[str] = (),
    known: Sequence[str] = (),
    missing: str = "error",
    gaps: str = "auto",
    time_format: str | None = None,
    encoding: str = "utf-8",
    separator: str | None = None,
) -> Panel:
    """Read many series from one file.

    Args:
        series: the column that says which series a row belongs to. Rows of different series may be mixed.
        wide: a row is a series: its name, then its values in the order of time, as many as it has; the column is ``value``.

    All else as in `read_table`, series by series. Without ``series`` and ``wide`` there is one series, called "".

    **Raises** as `read_table`; ``ValueError`` naming the row too for a row without a series, a series named twice in a wide
    file, and series whose rows are not equally far apart.
    """
    path = Path(path)
    _one_of("missing", missing, POLICIES)
    _one_of("gaps", gaps, GAPS)
    frame, separator = read_cells(path, encoding, separator)
    if wide:
        if series is not None or time or past or known or list(targets) not in ([], ["value"]):
            raise ValueError(f"{path} is read as one series a row (--wide): it has no other columns to name")
        return _wide(path, frame, separator, Reading(path, ("value",), (), (), (), missing, gaps))
    if series is not None:
        names = _names(path, frame[find_column(series, frame.columns, "series")])
        frame = frame.drop(series)
    frame = _with_marks(frame, (*past, *known))
    columns = list(frame.columns)
    given = [find_column(name, columns, role) for role, names_ in _roles(targets, past, known) for name in names_]
    time_columns = _time_columns(frame, time, given)
    given = given if targets else [*_default_targets(frame, time_columns, given, separator), *given]
    targets = tuple(given[: len(given) - len(past) - len(known)])
    _check_roles([*given, *time_columns])

    times = _times(frame, time_columns, time_format)
    values = np.stack([_column(frame[name], separator) for name in given], axis=1)
    how = Reading(path, targets, tuple(past), tuple(known), tuple(time_columns), missing, gaps)
    lines = np.arange(1, len(values) + 1)
    if series is None:
        return Panel({"": assemble(how, values, times, lines)})
    own: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        own.setdefault(name, []).append(row)
    made = {}
    for name, rows in own.items():
        when = times[rows] if time_columns else np.arange(len(rows))
        made[name] = assemble(how, values[rows], when, lines[rows], name)
    return Panel(_alike(path, made), series)


def _names(path: Path, cells: pl.Series) -> list[str]:
    if (empty := cells.is_null()).any():
        row = int(empty.to_numpy().argmax()) + 1
        raise ValueError(f"{path}, row {row}: nothing says which series it belongs to (column {cells.name!r}); name it")
    return list(map(str, cells.to_list()))


def _wide(path: Path, frame: pl.DataFrame, separator: str | None, how: Reading) -> Panel:
    label, *rest = frame.columns
    names = _names(path, frame[label])
    first: dict[str, int] = {}
    for row, name in enumerate(names, 1):
        if first.setdefault(name, row) != row:
            raise ValueError(f"{path}, rows {first[name]} and {row} are both called {name!r}")
    if not rest:
        raise ValueError(f"{path} has one column; expected a name and the values after it in each row (--wide)")
    values = np.stack([_column(frame[name], separator) for name in rest], axis=1)
    made = {}
    for row, (name, own) in enumerate(zip(names, values, strict=True)):
        there = np.flatnonzero(np.isfinite(own))
        if not len(there):
            raise ValueError(f"{path}, row {row + 1}: series {name!r} has no value; leave it out")
        length = int(there[-1]) + 1
        made[name] = assemble(how, own[:length, None], np.arange(length), np.full(length, row + 1), name)
    return Panel(made, label)


def _alike(path: Path, tables: dict[str, Table]) -> dict[str, Table]:
    """The tables, all with one step between rows: none where some are uneven."""
    steps = {name: table.frequency for name, table in tables.items()}
    if len(set(steps.values())) == 1:
        return tables
    if None in steps.values():
        return {name: replace(table, frequency=None) for name, table in tables.items()}
    (one, first), (other, second) = list({step: name for name, step in steps.items()}.items())[:2]
    raise ValueError(
        f"{path}: the rows of series {first!r} are {one} apart, those of {second!r} {other}: give them in files of their own"
    )


def _with_marks(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """With a column of 0 and 1 for each of the names like ``wind=NW`` whose column is there."""
    import polars

    for name in dict.fromkeys(names):
        column, equals, value = name.partition("=")
        if equals and name not in frame.columns and column in frame.columns:
            mark = (polars.col(column).cast(polars.String) == value).cast(polars.Float64)
            frame = frame.with_columns(mark.alias(name))
    return frame


def _roles(targets: Sequence[str], past: Sequence[str], known: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    roles = [("target", targets), ("past", past), ("known", known)]
    for role, names in roles:
        if isinstance(names, str):
            raise TypeError(f"{role}={names!r}: expected a list of column names, as in [{names!r}]")
    return roles


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(choices)}")


def _check_roles(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"column {twice[0]!r} has more than one role; a target's past is known to the network as it is")


def _time_columns(frame: pl.DataFrame, time: str | Sequence[str] | None, given: list[str]) -> list[str]:
    if time is not None:
        return [find_column(name, frame.columns, "time") for name in ([time] if isinstance(time, str) else time)]
    dates = [name for name in frame.columns if name not in given and looks_like_dates(frame[name])]
    if len(dates) > 1:
        raise ValueError(f"more than one column holds dates: {', '.join(dates)}; say which, as in --time {dates[0]}")
    return dates or [name for name in parts_of_time(frame.columns) if name not in given]


def _default_targets(frame: pl.DataFrame, time: list[str], given: list[str], separator: str | None) -> list[str]:
    rest = [name for name in frame.columns if name not in time and name not in given]
    # a column counts as numbers with a few bad cells in it: they are then reported as such
    found = [name for name in rest if _share_of_numbers(frame[name], separator) > 0.5]
    if len(found) == 1:
        return found
    if not found:
        raise ValueError(f"there is no column of numbers to forecast; the columns are: {listed(frame.columns)}")
    raise ValueError(f"say which column to forecast, as in --target {found[0]}; columns of numbers: {listed(found)}")


def _share_of_numbers(cells: pl.Series, separator: str | None) -> float:
    values, bad = numbers(cells, separator)
    right = int(np.isfinite(values).sum())
    return right / max(1, right + int(bad.sum()))


def _column(cells: pl.Series, separator: str | None) -> NDArray[np.float64]:
    values, bad = numbers(cells, separator)
    if bad.any():
        row = int(bad.argmax())
        more = f" ({int(bad.sum())} such cells)" if bad.sum() > 1 else ""
        texts = 2 * bad.sum() > len(bad)
        cure = f"; of texts take what they say, as in --past {cells.name}={cells[row]}" if texts else ""
        raise ValueError(f"column {cells.name!r}, row {row + 1}: {str(cells[row])!r} is not a finite number{more}{cure}")
    return values


def _times(frame: pl.DataFrame, columns: list[str], time_format: str | None) -> Times:
    if not columns:
        return np.arange(frame.height, dtype=np.int64)
    return read_times(frame[columns[0]], time_format) if len(columns) == 1 else join_times(frame, columns)
