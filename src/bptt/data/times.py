"""Reading a column of dates, whichever way they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

Times = NDArray[Any]
"""Time stamps [T]: datetime64[us], or int64 where time is a plain number."""

_DAYS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%m-%d-%Y", "%d-%m-%Y",
    "%b %d %Y", "%b %d, %Y", "%d %b %Y", "%d-%b-%Y", "%B %d, %Y", "%d %B %Y",
)  # fmt: skip
_CLOCKS = ("", " %H:%M:%S%.f", "T%H:%M:%S%.f", " %H:%M", "T%H:%M", " %H:%M:%S%.f%#z", "T%H:%M:%S%.f%#z")
FORMATS = ("%Y-%m", "%Y/%m", *(day + clock for clock in _CLOCKS for day in _DAYS))
_PARTS = ("year", "month", "day", "hour", "minute", "second")
_COMPACT = r"^(1[6-9]|20|21)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])$"  # 20240131 is a date, other integers count time
_HEAD = 200


def looks_like_dates(cells: pl.Series) -> bool:
    """Whether a column holds dates, a few unreadable cells aside; plain numbers do not count."""
    if _is_stamp(cells):
        return True
    head = cells.drop_nulls().head(_HEAD)
    if str(cells.dtype) != "String" or len(head) == 0:
        return False
    return 2 * max(_read(head, form).is_not_null().sum() for form in FORMATS) > len(head)


def read_times(cells: pl.Series, time_format: str | None) -> Times:
    """The time stamps of a column: datetime64[us] (those with an offset in UTC), or int64 for a column of integers.

    Raises ValueError with the row (from 1, the header not counted) and the cell that cannot be read, and where days
    and months could be exchanged.
    """
    name = cells.name
    if (empty := cells.is_null()).any():
        raise ValueError(f"column {name!r}, row {_row(empty)}: the time is missing; every row needs one")
    if cells.dtype.is_integer():
        return np.asarray(cells.to_numpy(), dtype=np.int64)
    if _is_stamp(cells):
        return _stamps(cells)
    if str(cells.dtype) != "String":
        raise ValueError(f"column {name!r} is {cells.dtype}; expected dates, or integers that count time")
    if time_format is None and cells.str.contains(r"^-?\d+$").all() and not cells.str.contains(_COMPACT).all():
        return np.asarray(cells.to_numpy(), dtype=np.int64)
    head = cells.head(_HEAD)
    forms = (time_format,) if time_format else (*FORMATS, "%Y%m%d")
    hits = {form: int(_read(head, form).is_not_null().sum()) for form in forms}
    best = [form for form in forms if hits[form] == max(hits.values())]
    if max(hits.values()) == 0:
        tried = f"with the format {time_format!r}" if time_format else "as a date"
        raise ValueError(
            f"column {name!r}, row 1: {cells[0]!r} cannot be read {tried}; "
            f"say how the dates are written, as in --time-format '%d.%m.%Y %H:%M'"
        )
    read = {form: _read(cells, form) for form in best}
    fewest = min(made.null_count() for made in read.values())
    read = {form: made for form, made in read.items() if made.null_count() == fewest}
    form, made = next(iter(read.items()))
    if fewest:
        row = _row(made.is_null())
        raise ValueError(f"column {name!r}, row {row}: {cells[row - 1]!r} is not a date of the form {form} as the others are")
    others = [(f, m) for f, m in read.items() if not (m == made).all()]
    if others:
        rising = [(f, m) for f, m in read.items() if bool((m.diff().drop_nulls().dt.total_microseconds() > 0).all())]
        if len(rising) != 1:
            forms_text = " or ".join(f"{f} ({m[0]:%Y-%m-%d})" for f, m in [(form, made), *others])
            raise ValueError(f"column {name!r}: {cells[0]!r} may mean {forms_text}; say which with --time-format")
        made = rising[0][1]
    return _stamps(made)


def parts_of_time(columns: list[str]) -> list[str]:
    """The columns named year, month, day, hour, minute, second, as far as they are there without a break."""
    folded = {column.casefold(): column for column in columns}
    found = []
    for part in _PARTS:
        if part not in folded:
            break
        found.append(folded[part])
    return found if len(found) > 1 else []


def join_times(frame: pl.DataFrame, columns: list[str]) -> Times:
    """Time stamps from columns that hold the year, the month and so on, in this order; what is left out is 1 or 0."""
    import polars

    if not 2 <= len(columns) <= len(_PARTS):
        raise ValueError(f"time columns {columns}: expected 2 to 6 of them, in the order {', '.join(_PARTS)}")
    whole = frame.select(polars.col(columns).cast(polars.Int32, strict=False))
    for column in columns:
        if (bad := whole[column].is_null()).any():
            row = _row(bad)
            raise ValueError(f"column {column!r}, row {row}: {frame[column][row - 1]!r} is not a whole number of the date")
    given = [polars.col(column) for column in columns] + [polars.lit(1)] * (len(columns) < 3)
    made = whole.select(time=polars.datetime(*given)) if _valid(whole, given) else None
    if made is None:
        rows = (i + 1 for i in range(whole.height) if not _valid(whole.slice(i, 1), given))
        row = next(rows)
        raise ValueError(f"row {row}: {dict(zip(columns, whole.row(row - 1), strict=True))} is not a date")
    return _stamps(made["time"])


def _valid(whole: pl.DataFrame, given: list[Any]) -> bool:
    import polars

    try:
        return whole.select(polars.datetime(*given)).to_series().null_count() == 0
    except polars.exceptions.PolarsError:
        return False


def _is_stamp(cells: pl.Series) -> bool:
    import polars

    return cells.dtype in (polars.Date, polars.Datetime)


def _read(cells: pl.Series, form: str) -> pl.Series:
    import polars

    if form in ("%Y-%m", "%Y/%m"):  # a date needs a day
        cells, form = cells + form[2] + "01", form + form[2] + "%d"
    try:
        made = cells.str.to_datetime(form, time_unit="us", strict=False, ambiguous="null")
    except polars.exceptions.PolarsError as error:
        told = str(error).splitlines()[0]
        raise ValueError(f"{form!r} is no form of dates ({told}); as in --time-format '%d.%m.%Y %H:%M'") from None
    if made.dtype.time_zone is not None:  # type: ignore[attr-defined]
        made = made.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return made.cast(polars.Datetime("us"))


def _stamps(made: pl.Series) -> Times:
    import polars

    if getattr(made.dtype, "time_zone", None) is not None:
        made = made.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return made.cast(polars.Datetime("us")).to_numpy().astype("datetime64[us]")


def _row(flags: pl.Series) -> int:
    return int(np.argmax(flags.to_numpy())) + 1
