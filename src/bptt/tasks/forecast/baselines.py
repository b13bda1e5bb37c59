"""Forecasts that take no learning: the present value, the value a season ago, smoothed values, the mean of the season."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.data.table import Table
from bptt.data.times import Times
from bptt.tasks.forecast.calendar import phase, steps_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RANDOM_WALK = "random walk"
"""No change at all: what is forecast of a return by whoever knows nothing."""

_SHARES = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
_AROUND = 15  # days on either side that the mean of a day of the year takes in: a day has too few years of its own


@dataclass(frozen=True)
class Profile:
    """The mean of each target at each place of a cycle (day, week, year), from the training part: ``means [K, C]``."""

    cycle: str
    means: Floats

    @classmethod
    def fit(cls, table: Table, rows: int, cycle: str) -> Profile:
        """From the first ``rows`` rows; places never seen take the mean of all."""
        places = _places(table, cycle)
        where = _place(table.times[:rows], cycle, places)
        values, there = table.values[:rows, : len(table.targets)], table.observed[:rows, : len(table.targets)]
        sums, counts = np.zeros((places, values.shape[1])), np.zeros((places, values.shape[1]))
        np.add.at(sums, where, np.where(there, values, 0.0))
        np.add.at(counts, where, there)
        around = _AROUND if cycle == "year" and places == 366 else 0
        near = (np.arange(places)[:, None] + np.arange(-around, around + 1)) % places
        sums, counts = sums[near].sum(1), counts[near].sum(1)
        overall = sums.sum(0) / np.maximum(counts.sum(0), 1)
        return cls(cycle, np.where(counts > 0, sums / np.maximum(counts, 1), overall))

    @property
    def name(self) -> str:
        around = f" ±{_AROUND} days" if self.cycle == "year" and len(self.means) == 366 else ""
        return f"mean of the time of {self.cycle}{around}"

    def at(self, times: Times) -> Floats:
        """The means for these times ``[..., C]``."""
        return np.asarray(self.means[_place(times, self.cycle, len(self.means))])

    def to_json(self) -> dict[str, Any]:
        return {"cycle": self.cycle, "means": self.means.tolist()}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Profile:
        return cls(saved["cycle"], np.asarray(saved["means"], dtype=np.float64))


@dataclass(frozen=True)
class Plain:
    """What the plain forecasts of one series need: ``zero`` where no change at all is one of them, as of returns."""

    seasons: Mapping[str, int]
    profiles: Sequence[Profile] = ()
    smoothing: Mapping[str, Sequence[float]] = field(default_factory=dict)
    zero: bool = False


def forecasts(table: Table, origins: Ints, horizon: int, plain: Plain) -> dict[str, Floats]:
    """Each baseline's forecast ``[N, H, C]`` of the rows after ``origins [N]``, from nothing but rows up to each origin.

    A season longer than what lies before the first origin is left out.
    """
    values = table.values[:, : len(table.targets)]
    ahead = np.arange(1, horizon + 1)
    seen = _seen(values)
    found = {RANDOM_WALK: np.zeros((len(origins), horizon, values.shape[1]))} if plain.zero else {}
    found["persistence"] = np.repeat(seen[origins][:, None], horizon, axis=1)

    def before(season: int) -> Ints:
        return np.asarray(origins[:, None] + ahead - season * -(-ahead // season))

    for name, season in plain.seasons.items():
        if before(season).min(initial=0) >= 0:
            found[f"{name} rows ago" if name.isdecimal() else f"a {name} ago"] = seen[before(season)]
    names = {season: name for name, season in plain.seasons.items()}
    for key, shares in plain.smoothing.items():
        season = int(key)
        if before(season).min(initial=0) >= 0:
            name = names.get(season, "")
            each = "" if season == 1 else f", every {name}{' rows' * name.isdecimal()}"
            found[f"exponential smoothing{each}"] = smoothed(seen, season, np.asarray(shares))[before(season)]
    for profile in plain.profiles:
        found[profile.name] = profile.at(table.times[origins[:, None] + ahead])
    return found


def smoothed(values: Floats, season: int, shares: Floats) -> Floats:
    """l_t = α y_t + (1-α) l_{t-season} ``[T, ..., C]`` of values ``[T, C]`` without gaps; begins with the first season.

    ``shares``: α, ``[C]`` or ``[A, C]`` for several at once. Season 1 is simple exponential smoothing (Brown 1959).
    """
    made = np.empty((len(values), *shares.shape))
    level = np.broadcast_to(values[:season].reshape(-1, *(1,) * (shares.ndim - 1), values.shape[1]), (season, *shares.shape))
    for start in range(0, len(values), season):
        block = values[start : start + season].reshape(-1, *(1,) * (shares.ndim - 1), values.shape[1])
        level = level[: len(block)] + shares * (block - level[: len(block)])
        made[start : start + season] = level
    return made


def fit_smoothing(values: Floats, seasons: Sequence[int]) -> dict[str, tuple[float, ...]]:
    """For each season the α ``[C]`` whose one-season-ahead forecasts of ``values [T, C]`` err least; of the training part.

    One half where two seasons are not there.
    """
    seen, there, found = np.nan_to_num(_seen(values)), np.isfinite(values), {}
    for season in dict.fromkeys(seasons):
        found[str(season)] = (0.5,) * values.shape[1]
        if len(values) > 2 * season:
            every = np.broadcast_to(_SHARES[:, None], (len(_SHARES), values.shape[1]))
            errors = np.abs(seen[season:, None] - smoothed(seen, season, every)[:-season])
            summed = np.where(there[season:, None], errors, 0.0).sum(0)
            found[str(season)] = tuple(_SHARES[summed.argmin(0)].tolist())
    return found


def seasons_of(table: Table, rows: int) -> dict[str, int]:
    """The lengths of day, week and year in rows, where they are at least 2 and the first ``rows`` rows hold two."""
    each = {name: steps_of(table, name) for name in ("day", "week", "year")}
    return {name: steps for name, steps in each.items() if steps is not None and 2 <= steps <= rows // 2}


def _seen(values: Floats) -> Floats:
    """The values, a missing one replaced by the last before it; before the first one, by that."""
    there = np.isfinite(values)
    last = np.maximum.accumulate(np.where(there, np.arange(len(values))[:, None], 0), axis=0)
    last = np.maximum(last, there.argmax(axis=0))
    return np.take_along_axis(values, last, axis=0)


def _places(table: Table, cycle: str) -> int:
    steps = steps_of(table, cycle)
    assert steps is not None
    return min(steps + (steps == 365), 366) if cycle == "year" else steps


def _place(times: Times, cycle: str, places: int) -> Ints:
    if cycle == "year" and places == 366:
        days = times.astype("datetime64[D]") - times.astype("datetime64[Y]").astype("datetime64[D]")
        return np.asarray(days.astype(np.int64))
    if cycle == "year" and 12 % places == 0:
        return np.asarray(times.astype("datetime64[M]").astype(np.int64) % 12 * places // 12)
    return np.asarray((phase(times, cycle) * places + 1e-6).astype(np.int64) % places)
