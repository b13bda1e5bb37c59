"""Tables of numbers in time: what was there, what was filled, and which part comes first."""

from __future__ import annotations

import hashlib
import operator
import re
from dataclasses import dataclass
from typing import NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from bptt.data.grid import Frequency, back
from bptt.data.times import Times

Rows = tuple[int, int]
"""A range of rows, ``first <= row < last``."""


class Parts(NamedTuple):
    """Three ranges of rows, in this order in time; a part that was not asked for is empty."""

    train: Rows
    valid: Rows
    test: Rows


@dataclass(frozen=True, eq=False)
class Table:
    """Numbers ``values [T, C]`` float64 at rising ``times [T]``, with what was really ``observed [T, C]``.

    The columns are those of ``targets``, then ``past`` (covariates known up to the present), then ``known`` (known
    ahead of time). ``values`` hold filled-in numbers where ``observed`` is False, or NaN under ``missing="mask"``.
    The last ``future`` rows have known covariates only, for forecasting beyond the data. ``frequency`` is None where
    rows are not evenly spaced; ``gaps`` are the stamps that were absent from the even grid; ``notes`` say in plain
    lines what was done to the data.
    """

    values: NDArray[np.float64]
    observed: NDArray[np.bool_]
    times: Times
    targets: tuple[str, ...]
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    time: str | None = None
    frequency: Frequency | None = None
    gaps: Times | None = None
    missing: str = "error"
    future: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of ``values``."""
        return self.targets + self.past + self.known

    def describe(self) -> str:
        """What the table holds and what was done to it, in a few lines."""
        span = f"{show_time(self.times[0])} to {show_time(self.times[-1])}"
        if self.time is None:
            place = "no time column: rows are taken in the order of the file"
        else:
            every = f"every {self.frequency}" if self.frequency else "unevenly spaced"
            place = f"{span}, {every} (column {self.time!r})"
        roles = [f"target {', '.join(self.targets)}"]
        roles += [f"past {', '.join(self.past)}"] * bool(self.past)
        roles += [f"known ahead {', '.join(self.known)}"] * bool(self.known)
        return "\n".join([f"{len(self)} rows, {place}; {'; '.join(roles)}", *self.notes])

    def split(self, valid: float | int | str | None = None, test: float | int | str | None = None) -> Parts:
        """Cut the rows in time order into training, then ``valid``, then ``test``.

        Each is a fraction of the rows (``0.1``), a number of rows (``365``), a duration counted back from the end
        ("2y", "6mo", "730d", "36h"), or the text of one of these. Raises ValueError when nothing is left to train on,
        when a part has no row, or for a duration where there is no calendar.
        """
        end = len(self) - self.future
        second = self._begin("test", test, end)
        first = self._begin("valid", valid, second)
        if first < 1:
            raise ValueError(f"valid={valid!r} and test={test!r} leave none of the {end} rows to train on")
        return Parts((0, first), (first, second), (second, end))

    def stamps_after(self, steps: int) -> Times:
        """The time stamps of the ``steps`` steps that follow the last row with data; row numbers without a calendar."""
        last = len(self) - self.future
        if self.frequency is None:
            raise ValueError("the rows are unevenly spaced: there are no next time stamps to count on")
        return self.frequency.after(self.times, np.arange(last, last + steps, dtype=np.int64))

    def fingerprint(self) -> str:
        """Rows, columns and a hash of values, times and roles; equal strings mean equal tables."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update(repr((self.targets, self.past, self.known, self.missing, self.future)).encode())
        for array in (self.values, self.observed, self.times):
            digest.update(np.ascontiguousarray(array).tobytes())
        return f"table of {len(self)} rows, {', '.join(self.columns)}, {digest.hexdigest()}"

    def _begin(self, name: str, amount: float | int | str | None, end: int) -> int:
        """The row at which a part that ends before row ``end`` begins."""
        if amount is None:
            return end
        rows = self._rows(name, amount, end)
        if not 1 <= rows < end:
            raise ValueError(
                f"{name}={amount!r} is {rows} rows, but {end} rows are there to take it from; expected 1..{end - 1}"
            )
        return end - rows

    def _rows(self, name: str, amount: float | int | str, end: int) -> int:
        number = _number(amount) if isinstance(amount, str) else amount
        if isinstance(number, bool) or (isinstance(number, float) and not 0 < number < 1):
            raise ValueError(f"{name}={amount!r}: expected a fraction in 0..1, a whole number of rows, or a duration like 2y")
        if isinstance(number, float):
            return round(number * (len(self) - self.future))
        if isinstance(number, SupportsIndex):
            return operator.index(number)
        if self.times.dtype == np.int64:
            raise ValueError(f"{name}={amount!r}: durations need dates; give a number of rows or a fraction")
        border = self.times[end - 1]
        if self.frequency is not None:  # the last row covers one step, so that "1d" of daily rows is one row
            border = self.frequency.after(self.times, np.array([end]))[0]
            return int((self.times[:end] >= back(border, str(amount))).sum())
        return int((self.times[:end] > back(border, str(amount))).sum())


def show_time(stamp: np.datetime64 | np.int64) -> str:
    """A time stamp without the parts of the clock that are zero."""
    text = str(stamp)
    if "T" not in text:
        return text
    day, clock = text.split("T")
    clock = clock.removesuffix(".000000").removesuffix(":00")
    return day if clock in ("00:00", "00") else f"{day} {clock}"


def _number(text: str) -> float | int | None:
    if text.strip().isdecimal():
        return int(text)
    return float(text) if re.fullmatch(r"\s*\d*\.\d+\s*", text) else None
