"""The regular grid that time stamps lie on: its step, its gaps, and durations counted back from a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.data.times import Times

_US = {"us": 1, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6, "w": 7 * 86400 * 10**6}
_MONTHS = {"mo": 1, "y": 12}
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|min|h|d|w|mo|y)$")


@dataclass(frozen=True)
class Frequency:
    """The step between two rows: ``count`` times "us" (microseconds), "month", or "step" (plain numbers).

    Months are of uneven length, so time stamps are placed by their month and by what remains to its beginning, or
    to its end where all stamps are ends of months.
    """

    count: int
    unit: str

    def __str__(self) -> str:
        if self.unit == "month":
            return f"{self.count // 12}y" if self.count % 12 == 0 else f"{self.count}mo"
        if self.unit == "step":
            return f"{self.count}"
        name, size = next((n, s) for n, s in reversed(_US.items()) if self.count % s == 0 and n != "w")
        return f"{self.count // size}{name}"

    @classmethod
    def parse(cls, text: str) -> Frequency:
        """The inverse of ``str``."""
        if text.isdigit():
            return cls(int(text), "step")
        found = re.fullmatch(r"(\d+)(us|s|min|h|d|mo|y)", text)
        if found is None:
            raise ValueError(f"{text!r} is no step between two rows: a number, or as in 15min, 1h, 1d, 1mo, 1y")
        count, unit = int(found[1]), found[2]
        return cls(count * _MONTHS[unit], "month") if unit in _MONTHS else cls(count * _US[unit], "us")

    def places(self, times: Times) -> NDArray[np.float64]:
        """Where each time stamp lies on the grid that starts at the first, in steps (whole on the grid)."""
        if self.unit == "month":
            months = times.astype("datetime64[M]").astype(np.int64)
            whole = (months - months[0]) / self.count
            return np.where(self._rest(times) == self._rest(times)[0], whole, np.nan)
        return (times.astype(np.int64) - times[:1].astype(np.int64)) / self.count

    def after(self, times: Times, steps: NDArray[np.int64]) -> Times:
        """The time stamps ``steps`` steps after the first of ``times``."""
        if self.unit == "month":
            months = times[:1].astype("datetime64[M]") + steps * self.count
            if _month_ends(times):
                return np.asarray((months + 1).astype("datetime64[us]") - self._rest(times)[0])
            return np.asarray(months.astype("datetime64[us]") + self._rest(times)[0])
        return np.asarray((times[:1].astype(np.int64) + steps * self.count).astype(times.dtype))

    @staticmethod
    def _rest(times: Times) -> NDArray[Any]:
        months = times.astype("datetime64[M]")
        if _month_ends(times):
            return np.asarray((months + 1).astype("datetime64[us]") - times)
        return np.asarray(times - months.astype("datetime64[us]"))


def _month_ends(times: Times) -> bool:
    months = times.astype("datetime64[M]")
    to_end = (months + 1).astype("datetime64[us]") - times
    from_start = times - months.astype("datetime64[us]")
    return bool(to_end[0] <= np.timedelta64(1, "D") and (to_end == to_end[0]).all() and (from_start != from_start[0]).any())


def infer(times: Times) -> tuple[Frequency, float]:
    """The commonest step between rising time stamps ``[T >= 2]``, and the share of the steps that have it."""
    if times.dtype == np.int64:
        count, share = _commonest(np.diff(times))
        return Frequency(count, "step"), share
    months = times.astype("datetime64[M]")
    from_start = times - months.astype("datetime64[us]")
    if (from_start == from_start[0]).all() or _month_ends(times):
        count, share = _commonest(np.diff(months).astype(np.int64))
        if count > 0:
            return Frequency(count, "month"), share
    count, share = _commonest(np.diff(times).astype(np.int64))
    return Frequency(count, "us"), share


def _commonest(steps: NDArray[Any]) -> tuple[int, float]:
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()]), float(counts.max() / len(steps))


def back(end: np.datetime64, duration: str) -> np.datetime64:
    """The time ``duration`` before ``end``: "2y", "6mo", "3w", "730d", "36h", "15min", "30s"."""
    match = _DURATION.match(duration.strip())
    if not match:
        raise ValueError(f"{duration!r} is not a duration; expected a number and a unit, as in 2y, 6mo, 3w, 730d, 36h, 15min")
    number, unit = float(match[1]), match[2]
    if unit in _US:
        return end - np.timedelta64(round(number * _US[unit]), "us")
    if number != int(number):
        raise ValueError(f"{duration!r}: years and months must be whole numbers; use days, as in 45d")
    month = end.astype("datetime64[M]")
    target = month - int(number) * _MONTHS[unit]
    length = (target + 1).astype("datetime64[us]") - target.astype("datetime64[us]")
    # the 31st has no counterpart in a shorter month: its last day stands in
    rest = min(end - month.astype("datetime64[us]"), length - np.timedelta64(1, "D"))
    return np.datetime64(target.astype("datetime64[us]") + rest)
