"""What a task has to tell at the end: tables for people, the same figures for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; ``strong`` is the row of the model itself."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: int | None = None


@dataclass(frozen=True)
class Report:
    """Tables, remarks in plain lines, and ``figures``: everything in them and more, as JSON."""

    tables: Sequence[Table] = ()
    remarks: Sequence[str] = ()
    figures: dict[str, Any] = field(default_factory=dict)
