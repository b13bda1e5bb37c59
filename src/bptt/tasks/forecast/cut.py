"""Where a table was cut when a model learned from it, kept so that the parts are found again in a table that has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bptt.data import Parts, Table
from bptt.data.table import Rows

_TAIL = 16  # learned rows by which a table is known again: enough that no two series share them by chance

Stamp = str | int


@dataclass(frozen=True)
class Cut:
    """Each part that was not empty by its first and last time stamp and its rows; ``tail`` hashes the last learned rows.

    There is no part ``train`` of a series that had nothing to learn from.
    """

    parts: Mapping[str, tuple[Stamp, Stamp, int]]
    tail: str
    dated: bool

    @classmethod
    def of(cls, table: Table, parts: Parts) -> Cut:
        """The cut of ``table`` into ``parts``."""
        kept = {
            name: (_plain(table.times[a]), _plain(table.times[b - 1]), b - a)
            for name, (a, b) in parts._asdict().items()
            if b > a
        }
        return cls(kept, _digest(table, parts.train), table.time is not None)

    @property
    def held_out(self) -> str | None:
        """The part that is measured on unless another is asked for: test, else validation, else none."""
        return next((name for name in ("test", "valid") if name in self.parts), None)

    def knows(self, table: Table) -> bool:
        """Whether ``table`` goes on from the rows that were learned."""
        if "train" not in self.parts:
            return False
        _, last, rows = self.parts["train"]
        end = self._place(table, last, "right")
        return end >= min(rows, _TAIL) and _digest(table, (max(0, end - rows), end)) == self.tail

    def find(self, table: Table, part: str) -> Rows | None:
        """The rows of a part in ``table``; ``None`` where they are not all there, or rows are only numbered and have moved."""
        first, last, rows = self.parts[part]
        a, b = self._place(table, first, "left"), self._place(table, last, "right")
        return (a, b) if b - a == rows and (self.dated or self.knows(table)) else None

    def learned(self, table: Table) -> int:
        """How many of the first rows of ``table`` were learned from."""
        return self._place(table, self.parts["train"][1], "right") if self.knows(table) else 0

    def stamps(self, part: str) -> tuple[Any, Any]:
        """The first and the last time stamp of a part, to compare with those of a table."""
        first, last, _ = self.parts[part]
        if isinstance(first, int):
            return np.int64(first), np.int64(last)
        return np.datetime64(first, "us"), np.datetime64(last, "us")

    def after(self, table: Table) -> int:
        """The first row of ``table`` after all that was learned from, or that chose the best weights."""
        last = "valid" if self.held_out == "test" and "valid" in self.parts else "train"
        return self._place(table, self.parts[last][1], "right") if last in self.parts else 0

    def _place(self, table: Table, stamp: Stamp, side: Any) -> int:
        times = table.times[: len(table) - table.future]
        if (times.dtype == np.int64) != isinstance(stamp, int):
            return 0
        return int(np.searchsorted(times, np.asarray(stamp, dtype=times.dtype), side))

    def to_json(self) -> dict[str, Any]:
        return {"parts": {name: list(part) for name, part in self.parts.items()}, "tail": self.tail, "dated": self.dated}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Cut:
        parts = {name: (first, last, int(rows)) for name, (first, last, rows) in saved["parts"].items()}
        return cls(parts, str(saved["tail"]), bool(saved["dated"]))


def _plain(stamp: Any) -> Stamp:
    return int(stamp) if isinstance(stamp, np.integer) else str(stamp)


def _digest(table: Table, rows: Rows) -> str:
    """A hash of the times and the observed targets of the last of these rows."""
    last = slice(max(rows[0], rows[1] - _TAIL), rows[1])
    targets = len(table.targets)
    seen = np.where(table.observed[last, :targets], table.values[last, :targets], np.nan)
    digest = hashlib.blake2b(digest_size=8)
    for array in (table.times[last], seen):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
