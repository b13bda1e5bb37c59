"""The forecast task: from settings to a run, and from a run's folder to a model that forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from bptt.data import Batches, Scaler, Table, Windows, read_table
from bptt.data.table import Rows, show_time
from bptt.tasks import curves, pictures
from bptt.tasks.config import TrainingSettings
from bptt.tasks.forecast.baselines import Profile, forecasts, seasons_of
from bptt.tasks.forecast.calendar import cycles, with_calendar
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.model import ForecastModel, Pinball, check_quantiles
from bptt.tasks.forecast.outlook import Backtest, Floats, Outlook
from bptt.tasks.forecast.score import score
from bptt.tasks.report import Report
from bptt.tasks.task import NothingHeldOut, Task, Trained, Which, load, parameters, seeded, settings_of, stored
from bptt.train import FolderError, read_config

_BATCH = 256  # windows forecast side by side
_DRAWN = 180  # rows of the test part that the picture shows


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


class ForecastTask(Task):
    """A forecaster about to be trained on a table; see `ForecastSettings`."""

    name: ClassVar[str] = "forecast"
    artifact: ClassVar[str] = "fitted.json"
    settings: ForecastSettings

    def __init__(self, settings: TrainingSettings, folder: Path | None = None) -> None:  # noqa: ARG002
        if not isinstance(settings, ForecastSettings):
            raise TypeError(f"the forecast task takes ForecastSettings, got {type(settings).__name__}")
        check_quantiles(settings.quantiles)
        self.settings = settings
        self.table = _read(settings, settings.data, settings.target, settings.past, settings.known, settings.time)
        self.parts = self.table.split(settings.valid or None, settings.test or None)
        end = self.parts.train[1]
        self.what = Fitted.fit(self.table, settings, end)
        extended = with_calendar(self.table, settings.horizon, self.what.cycles)
        history = self.what.history
        stride = settings.stride or max(1, history // 16)
        windows = Windows(extended, history, settings.horizon, rows=self.parts.train, scaler=self.what.scaler, stride=stride)
        self.source = Batches(windows, settings.rows, seed=settings.seed)
        self.validation = None
        if self.parts.valid[1] > self.parts.valid[0]:
            held = Windows(extended, history, settings.horizon, rows=self.parts.valid, scaler=self.what.scaler, dense=False)
            self.validation = Batches(held, _BATCH, shuffle=False)
        self.loss = Pinball(settings.quantiles)
        seeded(settings.seed)
        self.model = _model(settings, windows.piece([0]).x.shape[-1], len(self.table.targets))

    def describe(self) -> list[tuple[str, str]]:
        given, what = self.settings, self.what
        sizes = " + ".join(
            f"{b - a:,} {name}"
            for name, (a, b) in zip(("to learn from", "validation", "test"), self.parts, strict=True)
            if b > a
        )
        lines = self.table.describe().split("\n")
        told = f"; told the time of {', '.join(what.cycles)}" if what.cycles else ""
        return [
            ("data", f"{given.data}: {lines[0]}"),
            *(("", line) for line in lines[1:]),
            ("parts", f"{sizes} rows; forecasts of {given.horizon} after {what.history}{told}"),
            (
                "model",
                f"{given.cell.upper()} {given.layers}×{given.hidden}, dropout {given.dropout:g}, "
                f"{len(given.quantiles)} quantiles: {parameters(self.model):,} parameters",
            ),
            ("training", f"{given.through}; {given.rows} rows; {given.optimizer}, lr {given.lr:g}, {given.schedule}"),
        ]

    def fitted(self) -> dict[str, Any]:
        return self.what.to_json()

    @classmethod
    def open(cls, folder: Path, which: Which = None) -> TrainedForecast:
        return TrainedForecast(folder, which)

    def pictures(self, folder: Path, report: Report) -> list[Path]:  # noqa: ARG002
        drawn = curves.draw(folder, "pinball loss (scaled)")
        if pictures.installed() and any(b > a for a, b in self.parts[1:]):
            path = folder / "backtest.png"
            self.open(folder).backtest().draw(path)
            drawn.append(path)
        return drawn

    def next_commands(self, folder: Path) -> list[str]:
        return [
            f"bptt predict {folder} --out next.csv --plot next.png",
            f"bptt evaluate {folder}",
            f"bptt train forecast --out {folder} --epochs {2 * self.settings.epochs}",
        ]


class TrainedForecast(Trained):
    """A trained forecaster: it looks ahead, and it can be measured."""

    def __init__(self, folder: Path, which: Which = None) -> None:
        name, settings = settings_of(read_config(folder), folder)
        if name != ForecastTask.name:
            raise FolderError(f"{folder} holds a run of task {name!r}, which forecasts nothing: see bptt --help")
        self.settings = ForecastSettings(**settings)
        self.what = Fitted.from_json(stored(folder, ForecastTask.artifact))
        columns = len(self.what.targets) + len(self.what.past)
        ahead = (len(self.what.known) + 2 * len(self.what.cycles)) * self.settings.horizon
        flags = columns if self.settings.missing == "mask" else 0
        self.model = _model(self.settings, columns + flags + ahead, len(self.what.targets))
        load(self.model, folder, which)

    def evaluate(self, data: str | None = None, **how: Any) -> Report:
        """On the held-out ``part`` ("valid" or "test"), or on a whole table with the same columns."""
        table, rows, name = self._held_out(data, how.get("part"))
        origins, quantiles = self._forecasts(table, rows)
        ahead = origins[:, None] + np.arange(1, self.settings.horizon + 1)
        seen = np.where(table.observed, table.values, np.nan)[:, : len(self.what.targets)]
        plain = forecasts(table, origins, self.settings.horizon, self.what.seasons, list(self.what.profiles))
        naive = np.asarray(self.what.naive)
        return score(name, self.what.targets, seen[ahead], quantiles, self.settings.quantiles, plain, naive)

    def predict(self, data: str | None = None) -> Outlook:
        """The rows that follow the last one of the table trained on, or of ``data``."""
        table = self._table(data)
        horizon, end = self.settings.horizon, len(table) - table.future
        extended = with_calendar(table, horizon, self.what.cycles)
        windows = self._windows(extended, (0, end))
        quantiles = self._quantiles(windows.latest())[0]
        first = max(0, end - max(60, 3 * horizon))
        past = np.asarray(table.values[first:end, : len(self.what.targets)])
        if table.frequency is None:
            axis: Any = np.arange(first - end + 1, horizon + 1)
            stamps = [str(n) for n in axis[: len(past)]] + [f"+{n}" for n in range(1, horizon + 1)]
        else:
            axis = np.concatenate([table.times[first:end], table.stamps_after(horizon)])
            stamps = [show_time(stamp) for stamp in axis]
        return Outlook(self.what.targets, stamps, axis, past, self.settings.quantiles, quantiles)

    def backtest(self, part: str | None = None) -> Backtest:
        """The newest forecasts of the held-out part, each made from the rows before it."""
        table, rows, name = self._held_out(None, part)
        origins, quantiles = self._forecasts(table, rows)
        horizon = self.settings.horizon
        picked = np.arange(len(origins))[::-1][::horizon][: max(1, _DRAWN // horizon)][::-1]
        ahead = (origins[picked][:, None] + np.arange(1, horizon + 1)).reshape(-1)
        truth = np.where(table.observed, table.values, np.nan)[ahead, : len(self.what.targets)]
        made = quantiles[picked].reshape(len(ahead), len(self.what.targets), -1)
        steps = "one row" if horizon == 1 else f"{horizon} rows"
        title = f"{name}: {steps} ahead, each from the rows before"
        return Backtest(self.what.targets, table.times[ahead], truth, self.settings.quantiles, made, title)

    def _table(self, data: str | None) -> Table:
        what = self.what
        table = _read(self.settings, data or self.settings.data, what.targets, what.past, what.known, what.time)
        if str(table.frequency) != what.frequency:
            name, every = data or self.settings.data, table.frequency or "unevenly"
            raise ValueError(f"the rows of {name} are {every} apart, but the model was trained on rows {what.frequency} apart")
        return table

    def _held_out(self, data: str | None, part: str | None) -> tuple[Table, Rows, str]:
        table = self._table(data)
        extended = with_calendar(table, self.settings.horizon, self.what.cycles)
        if data is not None:
            return extended, (0, len(table) - table.future), data
        parts = table.split(self.settings.valid or None, self.settings.test or None)
        name = part or ("test" if parts.test[1] > parts.test[0] else "valid")
        rows: Rows = getattr(parts, name)
        if rows[1] <= rows[0]:
            raise NothingHeldOut(f"this run held out no part {name!r}: give a table to evaluate on, --data FILE")
        return extended, rows, f"the {'validation' if name == 'valid' else name} part"

    def _windows(self, table: Table, rows: Rows) -> Windows:
        return Windows(table, self.what.history, self.settings.horizon, rows=rows, scaler=self.what.scaler, dense=False)

    def _forecasts(self, table: Table, rows: Rows) -> tuple[Any, Floats]:
        windows = self._windows(table, rows)
        made = [
            self._quantiles(windows.piece(np.arange(start, min(start + _BATCH, len(windows)))).x)
            for start in range(0, len(windows), _BATCH)
        ]
        return windows.origins, np.concatenate(made)

    def _quantiles(self, x: torch.Tensor) -> Floats:
        """``[B, H, C, Q]`` in the table's units, from histories ``x [L, B, I]``."""
        with torch.no_grad():
            y, _ = self.model(x)
        made = y[-1].to(torch.float64).numpy()
        targets = slice(0, len(self.what.targets))
        return np.moveaxis(self.what.scaler.inverse(np.moveaxis(made, -1, -2), targets), -1, -2)


def _read(
    settings: ForecastSettings,
    data: str,
    targets: Sequence[str],
    past: Sequence[str],
    known: Sequence[str],
    time: Sequence[str],
) -> Table:
    return read_table(
        data,
        time=list(time) or None,
        targets=list(targets),
        past=list(past),
        known=list(known),
        missing=settings.missing,
        gaps=settings.gaps,
        time_format=settings.time_format,
        encoding=settings.encoding,
        separator=settings.separator,
    )


def _history(seasons: dict[str, int]) -> int:
    """Some of the shortest seasons, within bounds: a day of hours is read for a week, a year of months for three."""
    shortest = min(seasons.values(), default=10)
    return int(np.clip({7: 8 * 7, 24: 7 * 24}.get(shortest, 3 * shortest), 30, 200))


def _model(settings: ForecastSettings, inputs: int, series: int) -> ForecastModel:
    return ForecastModel(
        inputs,
        series,
        settings.horizon,
        settings.quantiles,
        cell=settings.cell,
        hidden=settings.hidden,
        layers=settings.layers,
        dropout=settings.dropout,
        change=settings.change,
        norm=settings.norm,
        clip_step=settings.clip_step,
        backend=settings.backend,
    )
