"""One row that comes alone: its cells by name, read as those of a table are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from bptt.data.cells import MISSING, listed

Row = Mapping[str, Any]


def cleaned(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The cells without blanks around them, ``None`` for every way of writing that a value is missing."""
    return {str(name).strip(): _clean(value) for name, value in row.items()}


def columns_of(names: Iterable[str]) -> tuple[str, ...]:
    """The columns that these are read from: ``wind`` for ``wind=NW``."""
    return tuple(dict.fromkeys(name.partition("=")[0] for name in names))


def holds_only(row: Row, names: Iterable[str], others: Iterable[str]) -> bool:
    """Whether the row holds nothing under ``others``: they are empty, or it has only columns of ``names``."""
    columns = [_column(row, name) for name in others]
    if any(row.get(column) is not None for column in columns):
        return False
    return all(column in row for column in columns) or set(row) <= {_column(row, name) for name in names}


def has(row: Row, name: str) -> bool:
    """Whether there is a column that this name is read from."""
    return _column(row, name) in row


def number(row: Row, name: str) -> float:
    """The number under this name, NaN where it is missing; of ``wind=NW``, whether ``wind`` says NW.

    **Raises** ``ValueError`` where there is no such column, or it holds something else.
    """
    column = _column(row, name)
    if column not in row:
        raise ValueError(f"there is no {column!r}, only {listed(list(row))}")
    cell = row[column]
    if cell is None:
        return math.nan
    if column != name:
        return float((str(cell).lower() if isinstance(cell, bool) else str(cell)) == name.partition("=")[2])
    try:
        found = float(cell)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {cell!r}, no number") from None
    if not math.isfinite(found):
        raise ValueError(f"{name} is {cell!r}, no finite number")
    return found


def _column(row: Row, name: str) -> str:
    return name if name in row else name.partition("=")[0]


def _clean(cell: Any) -> Any:
    if isinstance(cell, str):
        cell = cell.strip()
        return None if cell in MISSING else cell
    return None if isinstance(cell, float) and math.isnan(cell) else cell
