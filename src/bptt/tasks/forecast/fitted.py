"""What a forecaster takes from the training part of its tables, and keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bptt.data import Panel, Parts, Scaler, Table
from bptt.tasks.forecast.baselines import Profile, fit_smoothing, seasons_of
from bptt.tasks.forecast.calendar import cycles, with_calendar
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.cut import Cut


@dataclass(frozen=True)
class Own:
    """What was fitted to one series: its scaling, what its plain forecasts need, and where it was cut.

    ``naive [C]``: the mean absolute step of each target; ``deviation [C]``: its standard deviation, 1 where it never moved.
    """

    scaler: Scaler
    profiles: tuple[Profile, ...]
    smoothing: dict[str, tuple[float, ...]]
    naive: tuple[float, ...]
    deviation: tuple[float, ...]
    cut: Cut

    @classmethod
    def fit(cls, table: Table, parts: Parts, rows: int, scale: str, found: tuple[str, ...], seasons: Mapping[str, int]) -> Own:
        """From the first ``rows`` rows and nothing after them, but for where the parts lie."""
        values = table.values[:rows, : len(table.targets)]
        steps = np.abs(np.diff(values, axis=0))
        known = np.isfinite(steps)
        return cls(
            scaler=Scaler.fit(
                with_calendar(table, 0, found).values[:rows], scale, [*table.columns, *found, *found], len(table.targets)
            ),
            profiles=tuple(Profile.fit(table, rows, cycle) for cycle in seasons if not cycle.isdecimal()),
            smoothing=fit_smoothing(values, [1, *sorted(seasons.values())[:1]]),
            naive=tuple((np.where(known, steps, 0.0).sum(0) / np.maximum(known.sum(0), 1)).tolist()),
            deviation=Scaler.fit(values, columns=table.targets).scale,
            cut=Cut.of(table, parts),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "scaler": self.scaler.to_json(),
            "profiles": [profile.to_json() for profile in self.profiles],
            "smoothing": {season: list(each) for season, each in self.smoothing.items()},
            "naive": list(self.naive),
            "deviation": list(self.deviation),
            "cut": self.cut.to_json(),
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Own:
        return cls(
            Scaler.from_json(saved["scaler"]),
            tuple(map(Profile.from_json, saved["profiles"])),
            {season: tuple(each) for season, each in saved["smoothing"].items()},
            tuple(saved["naive"]),
            tuple(saved["deviation"]),
            Cut.from_json(saved["cut"]),
        )


@dataclass(frozen=True)
class Fitted:
    """All that was fitted to the training part, and the roles of the columns.

    ``series``: what was fitted to each; those that have nothing to learn from, but are long enough to be forecast, by their
    first ``history`` rows, which every forecast of them comes after.
    """

    targets: tuple[str, ...]
    past: tuple[str, ...]
    known: tuple[str, ...]
    time: tuple[str, ...]
    frequency: str | None
    history: int
    cycles: tuple[str, ...]
    seasons: dict[str, int]
    scale: str
    series: dict[str, Own]

    @classmethod
    def fit(cls, panel: Panel, settings: ForecastSettings, parts: Mapping[str, Parts]) -> Fitted:
        """From the training parts of the tables and nothing after them, but for where the other parts lie."""
        longest = max(panel.tables, key=lambda name: parts[name].train[1])
        table, rows = panel.tables[longest], parts[longest].train[1]
        found = cycles(table, rows) if settings.calendar else ()
        seasons = {str(season): season for season in settings.season} or seasons_of(table, rows)
        history = settings.history or max(_history(seasons), 2 * settings.lags)
        what = cls(
            targets=table.targets,
            past=table.past,
            known=table.known,
            time=tuple(table.time.split(", ")) if table.time else (),
            frequency=None if table.frequency is None else str(table.frequency),
            history=history,
            cycles=found,
            seasons=seasons,
            scale=settings.scale,
            series={},
        )
        need, alone = history + settings.horizon, len(panel) == 1
        series = {}
        for name, each in panel.tables.items():
            learned = parts[name].train[1]
            if alone or len(each) - each.future >= need:
                series[name] = what.own(each, parts[name], learned if alone or learned >= need else history)
        return replace(what, series=series)

    def own(self, table: Table, parts: Parts, rows: int) -> Own:
        """What belongs to one series, from its first ``rows``."""
        return Own.fit(table, parts, rows, self.scale, self.cycles, self.seasons)

    def of(self, name: str, table: Table) -> Own:
        """What was fitted to the series ``name``; where training had none of that name, by its first rows."""
        end = len(table) - table.future
        return self.series.get(name) or self.own(table, Parts((0, 0), (0, 0), (0, end)), min(self.history, end))

    def scaled_as(self, other: Fitted, where: Path) -> Fitted:
        """This, but with what the weights of the run in ``where`` go with: its scaling, its cycles and its history.

        **Raises** ``ValueError`` where that run has other columns.
        """
        for role in ("targets", "past", "known", "frequency"):
            if getattr(self, role) != getattr(other, role):
                raise ValueError(
                    f"--start {where}: its {role} {getattr(other, role)} are not those of the new run, {getattr(self, role)}"
                )
        series = {
            name: replace(own, scaler=other.series[name].scaler) if name in other.series else own
            for name, own in self.series.items()
        }
        return replace(self, series=series, cycles=other.cycles, history=other.history)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values, such as JSON gives back."""
        lists = {name: list(value) for name, value in vars(self).items() if isinstance(value, tuple)}
        series = {name: own.to_json() for name, own in self.series.items()}
        return {**vars(self), **lists, "seasons": dict(self.seasons), "series": series}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Fitted:
        lists = ("targets", "past", "known", "time", "cycles")
        series = {name: Own.from_json(own) for name, own in saved["series"].items()}
        return cls(**{**saved, **{name: tuple(saved[name]) for name in lists}, "series": series})


def _history(seasons: dict[str, int]) -> int:
    """Some of the shortest seasons, within bounds: a day of hours is read for a week, a year of months for three."""
    shortest = min(seasons.values(), default=10)
    return int(np.clip({7: 8 * 7, 24: 7 * 24}.get(shortest, 3 * shortest), 30, 200))
