"""From a CSV or Parquet file to a `Table`, refusing what cannot be right and saying what was filled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bptt.data.cells import find_column, listed, numbers, read_cells
from bptt.data.grid import Frequency, infer
from bptt.data.missing import POLICIES, fill, first_missing
from bptt.data.table import Table, show_time
from bptt.data.times import Times, join_times, looks_like_dates, parts_of_time, read_times

if TYPE_CHECKING:
    import polars as pl

GAPS = ("auto", "fill", "keep", "error")
EVEN = 0.9  # the share of equal steps from which rows count as evenly spaced, with gaps (trading days have 0.8)


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
        past: covariates known up to the present. known: covariates known ahead of time. Trailing rows that hold
            nothing but known covariates become ``Table.future``.
        missing: "error" refuses missing cells; "forward" repeats the last value (nothing is learnt before its time);
            "interpolate" draws a line to the next value, which *looks ahead*: not for judging forecasts near gaps;
            "mask" keeps NaN, and windows tell the network which values were there. Rows before every column has begun
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
    path = Path(path)
    _one_of("missing", missing, POLICIES)
    _one_of("gaps", gaps, GAPS)
    frame, separator = read_cells(path, encoding, separator)
    columns = list(frame.columns)
    given = [find_column(name, columns, role) for role, names in _roles(targets, past, known) for name in names]
    time_columns = _time_columns(frame, time, given)
    given = given if targets else [*_default_targets(frame, time_columns, given, separator), *given]
    targets = tuple(given[: len(given) - len(past) - len(known)])
    _check_roles([*given, *time_columns])

    times = _times(frame, time_columns, time_format)
    _check_rising(times, ", ".join(time_columns), path)
    values = np.stack([_column(frame[name], separator) for name in given], axis=1)
    future = _future(values, len(known))
    for c, name in enumerate(given):
        if not np.isfinite(values[: len(values) - future, c]).any():
            raise ValueError(f"column {name!r} of {path} has no value in any of its {len(values)} rows; leave it out")
    notes: list[str] = []
    if missing == "error":
        inner = values.copy()
        if future:
            inner[-future:, : len(given) - len(known)] = 0.0
        if what := first_missing(inner, given):
            raise ValueError(f"{what}; say what to do with missing values: --missing forward, interpolate or mask")
    observed = np.isfinite(values)

    frequency, places, even = _grid(times, gaps, bool(time_columns), notes)
    absent = times[:0]
    if even and frequency is not None and places[-1] + 1 > len(times):
        full = np.full((int(places[-1]) + 1, len(given)), np.nan)
        full[places] = values
        whole = frequency.after(times, np.arange(len(full), dtype=np.int64))
        absent = np.delete(whole, places)
        observed = np.isfinite(full)
        values, times = full, whole
    policy = "forward" if missing == "error" else missing
    if len(absent):
        how = {"forward": "filled with the value before", "interpolate": "interpolated", "mask": "marked as missing"}[policy]
        notes.append(f"{_count(len(absent), 'absent time stamp')} {how}: {_list(absent)}")
    holes = int((~observed[: len(values) - future]).sum()) - len(absent) * len(given)
    if holes > 0 and missing != "error":
        how = {"forward": "filled forward", "interpolate": "interpolated", "mask": "marked"}[policy]
        notes.append(f"{_count(holes, 'missing value')} {how} ({100 * holes / observed.size:.2g} % of all)")
    values, begin = fill(values, policy)
    if begin:
        notes.append(f"{_count(begin, 'row')} left out before every column has its first value ({show_time(times[begin])})")
    for c, name in enumerate(given):
        seen = values[: len(values) - future, c][observed[begin : len(observed) - future, c]]
        if len(seen) and (seen == seen[0]).all():
            notes.append(f"column {name!r} is constant ({seen[0]:g}): there is nothing to learn from it")
    return Table(
        values=values,
        observed=observed[begin:],
        times=times[begin:],
        targets=targets,
        past=tuple(past),
        known=tuple(known),
        time=", ".join(time_columns) or None,
        frequency=frequency,
        gaps=absent,
        missing=missing,
        future=future,
        notes=tuple(notes),
    )


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
        raise ValueError(f"column {cells.name!r}, row {row + 1}: {str(cells[row])!r} is not a finite number{more}")
    return values


def _times(frame: pl.DataFrame, columns: list[str], time_format: str | None) -> Times:
    if not columns:
        return np.arange(frame.height, dtype=np.int64)
    return read_times(frame[columns[0]], time_format) if len(columns) == 1 else join_times(frame, columns)


def _check_rising(times: Times, column: str, path: Path) -> None:
    steps = np.diff(times).astype(np.int64)
    if (steps > 0).all():
        return
    if (same := np.flatnonzero(steps == 0)).size and not (steps < 0).any():
        i = int(same[0])
        raise ValueError(
            f"{path}: rows {i + 1} and {i + 2} have the same time stamp {show_time(times[i])} ({len(same)} such pairs in "
            f"{column!r}); keep one row for each time, and one series in a file"
        )
    if (steps < 0).all():
        raise ValueError(f"{path}: the newest row comes first (column {column!r}); turn the rows round")
    i = int(np.flatnonzero(steps < 0)[0])
    raise ValueError(
        f"{path}: row {i + 2} ({show_time(times[i + 1])}) is earlier than row {i + 1} ({show_time(times[i])}); "
        f"sort the rows by {column!r}, and keep one series in a file"
    )


def _future(values: NDArray[np.float64], known: int) -> int:
    """Trailing rows in which nothing but known covariates is there."""
    if not known:
        return 0
    there = np.asarray(np.isfinite(values[:, : values.shape[1] - known]).any(axis=1))
    return int(len(there) - 1 - np.flatnonzero(there)[-1]) if there.any() else 0


def _grid(times: Times, gaps: str, dated: bool, notes: list[str]) -> tuple[Frequency | None, NDArray[np.int64], bool]:
    """The step of the rows, their places on the grid, and whether absent places are to be filled."""
    rows = np.arange(len(times), dtype=np.int64)
    if len(times) < 2 or not dated:
        return Frequency(1, "step") if not dated else None, rows, False
    frequency, share = infer(times)
    if share == 1.0:
        return frequency, rows, False
    places = frequency.places(times)
    fits = bool(np.isfinite(places).all() and (places == np.round(places)).all())
    if gaps == "fill" and not fits:
        raise ValueError(f"gaps='fill': the time stamps do not lie on a grid of {frequency}; use --gaps keep")
    if gaps == "error":
        i = int(np.flatnonzero(np.diff(places) != 1)[0])
        raise ValueError(
            f"the rows are {frequency} apart, but {show_time(times[i])} is followed by {show_time(times[i + 1])}; "
            f"fill such gaps with --gaps fill, or take the rows as they are with --gaps keep"
        )
    if gaps == "fill" or (gaps == "auto" and fits and share >= EVEN):
        return frequency, places.astype(np.int64), True
    notes.append(f"{share:.1%} of the steps between rows are {frequency}; rows are taken as they follow")
    return None, rows, False


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _list(times: Times | Any) -> str:
    shown = ", ".join(show_time(t) for t in times[:5])
    return shown if len(times) <= 5 else f"{shown}, ... to {show_time(times[-1])}"
