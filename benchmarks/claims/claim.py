"""What a claim is: what introductions assert, how it is measured, and how numbers become a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Found = Mapping[str, Any]
"""What the parts of a claim measured, by part, as JSON gives it back."""

TRUE, CONDITIONAL, FALSE = "true", "conditional", "false"


@dataclass(frozen=True)
class Part:
    """One measurement, as JSON can hold it; ``timed`` ones need a quiet machine and are short, others take ``jobs``."""

    measure: Callable[..., Any]
    timed: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Claim:
    """``judge(found)`` gives a verdict and the sentence with the numbers behind it, both from thresholds in code."""

    name: str
    title: str
    asserted: str
    how: str
    parts: Mapping[str, Part]
    judge: Callable[[Found], tuple[str, str]]
    table: Callable[[Found], Table]
    draw: Callable[[Found, Path], None]


def number(value: float | None, digits: int = 3) -> str:
    """Plain where it can be, else a power of ten; a dash for what there is not."""
    if value is None:
        return "–"
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.1e}"
    return f"{float(f'{value:.{digits}g}'):,.10g}"
