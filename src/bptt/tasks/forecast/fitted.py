"""What a forecaster takes from the training part of its table, and keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bptt.data import Scaler, Table
from bptt.tasks.forecast.baselines import Profile, seasons_of
from bptt.tasks.forecast.calendar import cycles, with_calendar
from bptt.tasks.forecast.config import ForecastSettings


@dataclass(frozen=True)
class Fitted:
    """All that was fitted to the training part, and the roles of the columns."""

    targets: tuple[str, ...]
    past: tuple[str, ...]
    known: tuple[str, ...]
    time: tuple[str, ...]
    frequency: str
    history: int
    cycles: tuple[str, ...]
    scaler: Scaler
    seasons: dict[str, int]
    profiles: tuple[Profile, ...]
    naive: tuple[float, ...]

    @classmethod
    def fit(cls, table: Table, settings: ForecastSettings, rows: int) -> Fitted:
        """From the first ``rows`` rows of the table and nothing after them."""
        found = cycles(table, rows) if settings.calendar else ()
        seasons = seasons_of(table, rows)
        values = table.values[:rows, : len(table.targets)]
        steps = np.abs(np.diff(values, axis=0))
        return cls(
            targets=table.targets,
            past=table.past,
            known=table.known,
            time=tuple(table.time.split(", ")) if table.time else (),
            frequency=str(table.frequency),
            history=settings.history or _history(seasons),
            cycles=found,
            scaler=Scaler.fit(with_calendar(table, 0, found).values[:rows], settings.scale, [*table.columns, *found, *found]),
            seasons=seasons,
            profiles=tuple(Profile.fit(table, rows, cycle) for cycle in seasons),
            naive=tuple(float(value) for value in np.nanmean(steps, axis=0)) if len(steps) else (0.0,) * len(table.targets),
        )

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "scaler": self.scaler.to_json(), "profiles": [profile.to_json() for profile in self.profiles]}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Fitted:
        lists = ("targets", "past", "known", "time", "cycles", "naive")
        return cls(
            **{
                **saved,
                **{name: tuple(saved[name]) for name in lists},
                "scaler": Scaler.from_json(saved["scaler"]),
                "profiles": tuple(map(Profile.from_json, saved["profiles"])),
            }
        )


def _history(seasons: dict[str, int]) -> int:
    """Some of the shortest seasons, within bounds: a day of hours is read for a week, a year of months for three."""
    shortest = min(seasons.values(), default=10)
    return int(np.clip({7: 8 * 7, 24: 7 * 24}.get(shortest, 3 * shortest), 30, 200))
