"""What a forecaster takes from the training part of its table, and keeps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bptt.data import Parts, Scaler, Table
from bptt.tasks.forecast.baselines import Profile, seasons_of
from bptt.tasks.forecast.calendar import cycles, with_calendar
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.cut import Cut


@dataclass(frozen=True)
class Fitted:
    """All that was fitted to the training part, and the roles of the columns."""

    targets: tuple[str, ...]
    past: tuple[str, ...]
    known: tuple[str, ...]
    time: tuple[str, ...]
    frequency: str | None
    history: int
    cycles: tuple[str, ...]
    scaler: Scaler
    seasons: dict[str, int]
    profiles: tuple[Profile, ...]
    naive: tuple[float, ...]
    cut: Cut

    @classmethod
    def fit(cls, table: Table, settings: ForecastSettings, parts: Parts) -> Fitted:
        """From the training part of the table and nothing after it, but for where the other parts lie."""
        rows = parts.train[1]
        found = cycles(table, rows) if settings.calendar else ()
        seasons = seasons_of(table, rows)
        values = table.values[:rows, : len(table.targets)]
        steps = np.abs(np.diff(values, axis=0))
        known = np.isfinite(steps)
        return cls(
            targets=table.targets,
            past=table.past,
            known=table.known,
            time=tuple(table.time.split(", ")) if table.time else (),
            frequency=None if table.frequency is None else str(table.frequency),
            history=settings.history or _history(seasons),
            cycles=found,
            scaler=Scaler.fit(with_calendar(table, 0, found).values[:rows], settings.scale, [*table.columns, *found, *found]),
            seasons=seasons,
            profiles=tuple(Profile.fit(table, rows, cycle) for cycle in seasons),
            naive=tuple((np.where(known, steps, 0.0).sum(0) / np.maximum(known.sum(0), 1)).tolist()),
            cut=Cut.of(table, parts),
        )

    def scaled_as(self, other: Fitted, where: Path) -> Fitted:
        """This, but with what the weights of the run in ``where`` go with: its scaling, its cycles and its history.

        **Raises** ``ValueError`` where that run has other columns.
        """
        for role in ("targets", "past", "known", "frequency"):
            if getattr(self, role) != getattr(other, role):
                raise ValueError(
                    f"--start {where}: its {role} {getattr(other, role)} are not those of the new run, {getattr(self, role)}"
                )
        return replace(self, scaler=other.scaler, cycles=other.cycles, history=other.history)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values, such as JSON gives back."""
        lists = {name: list(value) for name, value in vars(self).items() if isinstance(value, tuple)}
        profiles = [profile.to_json() for profile in self.profiles]
        return {
            **vars(self),
            **lists,
            "scaler": self.scaler.to_json(),
            "seasons": dict(self.seasons),
            "profiles": profiles,
            "cut": self.cut.to_json(),
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Fitted:
        lists = ("targets", "past", "known", "time", "cycles", "naive")
        return cls(
            **{
                **saved,
                **{name: tuple(saved[name]) for name in lists},
                "scaler": Scaler.from_json(saved["scaler"]),
                "profiles": tuple(map(Profile.from_json, saved["profiles"])),
                "cut": Cut.from_json(saved["cut"]),
            }
        )


def _history(seasons: dict[str, int]) -> int:
    """Some of the shortest seasons, within bounds: a day of hours is read for a week, a year of months for three."""
    shortest = min(seasons.values(), default=10)
    return int(np.clip({7: 8 * 7, 24: 7 * 24}.get(shortest, 3 * shortest), 30, 200))
