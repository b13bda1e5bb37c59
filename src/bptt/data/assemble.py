"""From the numbers and times of one series to a `Table`: in order, on a grid, filled as asked for, and said so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.data.grid import Frequency, infer
from bptt.data.missing import fill, first_missing
from bptt.data.table import Table, show_time
from bptt.data.times import Times

EVEN = 0.9  # the share of equal steps from which rows count as evenly spaced, with gaps (trading days have 0.8)

_ABSENT = {
    "forward": "filled with the value before",
    "interpolate": "interpolated",
    "mask": "marked as missing",
    "zero": "taken for zeros",
}
_MISSING = {"forward": "filled forward", "interpolate": "interpolated", "mask": "marked", "zero": "taken for zeros"}


@dataclass(frozen=True)
class Reading:
    """What all series of a file have in common: the roles of its columns, and how they are read."""

    path: Path
    targets: tuple[str, ...]
    past: tuple[str, ...]
    known: tuple[str, ...]
    time: tuple[str, ...]
    missing: str
    gaps: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in their order."""
        return self.targets + self.past + self.known


def assemble(
    how: Reading, values: NDArray[np.float64], times: Times, lines: NDArray[np.int64], series: str | None = None
) -> Table:
    """The table of ``values [T, C]`` at ``times [T]``, which stand in the rows ``lines [T]`` of the file (from 1).

    **Raises** ``ValueError`` naming the rows, and the ``series`` where there are several.
    """
    where = str(how.path) if series is None else f"{how.path}, series {series!r}"
    given = how.columns
    _check_rising(times, ", ".join(how.time), where, lines, series is None)
    future = _future(values, len(how.known))
    for c, name in enumerate(given):
        if not np.isfinite(values[: len(values) - future, c]).any():
            raise ValueError(f"column {name!r} of {where} has no value in any of its {len(values)} rows; leave it out")
    notes: list[str] = []
    if how.missing == "error":
        inner = values.copy()
        if future:
            inner[-future:, : len(given) - len(how.known)] = 0.0
        if what := first_missing(inner, given, lines):
            of = "" if series is None else f"series {series!r}: "
            raise ValueError(f"{of}{what}; say what to do with missing values: --missing forward, interpolate or mask")
    observed = np.isfinite(values)

    frequency, places, even = _grid(times, how.gaps, bool(how.time), notes)
    absent = times[:0]
    if even and frequency is not None and places[-1] + 1 > len(times):
        full = np.full((int(places[-1]) + 1, len(given)), np.nan)
        full[places] = values
        whole = frequency.after(times, np.arange(len(full), dtype=np.int64))
        absent = np.delete(whole, places)
        observed = np.isfinite(full)
        values, times = full, whole
    policy = "forward" if how.missing == "error" else how.missing
    if len(absent):
        notes.append(f"{_count(len(absent), 'absent time stamp')} {_ABSENT[policy]}: {_list(absent)}")
    holes = int((~observed[: len(values) - future]).sum()) - len(absent) * len(given)
    if holes > 0 and how.missing != "error":
        notes.append(f"{_count(holes, 'missing value')} {_MISSING[policy]} ({100 * holes / observed.size:.2g} % of all)")
    values, begin = fill(values, policy)
    if policy == "zero":
        observed[: len(values) - future] = True
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
        targets=how.targets,
        past=how.past,
        known=how.known,
        time=", ".join(how.time) or None,
        frequency=frequency,
        gaps=absent,
        missing=how.missing,
        future=future,
        notes=tuple(notes),
    )


def _check_rising(times: Times, column: str, where: str, lines: NDArray[np.int64], alone: bool) -> None:
    steps = np.diff(times).astype(np.int64)
    if (steps > 0).all():
        return
    cure = "one series in a file, or say which column names the series, --series COLUMN" if alone else "one row for each time"
    if (same := np.flatnonzero(steps == 0)).size and not (steps < 0).any():
        i = int(same[0])
        more = "keep one row for each time, and " + cure if alone else "keep " + cure
        raise ValueError(
            f"{where}: rows {lines[i]} and {lines[i + 1]} have the same time stamp {show_time(times[i])} ({len(same)} such "
            f"pairs in {column!r}); {more}"
        )
    if (steps < 0).all():
        raise ValueError(f"{where}: the newest row comes first (column {column!r}); turn the rows round")
    i = int(np.flatnonzero(steps < 0)[0])
    raise ValueError(
        f"{where}: row {lines[i + 1]} ({show_time(times[i + 1])}) is earlier than row {lines[i]} ({show_time(times[i])}); "
        f"sort the rows by {column!r}, and keep {cure}"
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
