"""What a task has to tell at the end: tables for people, the same figures for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_HUGE = 1e6


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; ``strong`` is the row of the model itself."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: int | None = None


@dataclass(frozen=True)
class Report:
    """Tables, remarks in plain lines, and ``figures``: everything in them and more, as JSON.

    ``headline``: the few figures of the model itself by which runs are compared.
    """

    tables: Sequence[Table] = ()
    remarks: Sequence[str] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    headline: dict[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """``figures`` as JSON has them: null stands for a number that is not finite."""
        return {key: _finite(value) for key, value in self.figures.items()}


def cell(value: float, form: str) -> str:
    """A number in a table; a dash where there is none, and few digits of a huge one, which would widen the table."""
    return format(value, form if abs(value) < _HUGE else ".4g") if math.isfinite(value) else "–"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
