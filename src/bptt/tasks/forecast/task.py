"""The forecast task: from settings to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bptt.data import Batches, Parts, Table, Windows
from bptt.tasks import curves, pictures
from bptt.tasks.config import TrainingSettings, option
from bptt.tasks.forecast.calendar import with_calendar
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.fitted import Fitted
from bptt.tasks.forecast.make import make_model, read
from bptt.tasks.forecast.model import Pinball, check_quantiles
from bptt.tasks.forecast.trained import ARTIFACT, BATCH, NAME, TrainedForecast
from bptt.tasks.report import Report
from bptt.tasks.task import Task, Which, begins_from, built, following, parameters, restored, settings_in


class ForecastTask(Task):
    """A forecaster about to be trained on a table; see `ForecastSettings`."""

    name: ClassVar[str] = NAME
    artifact: ClassVar[str] = ARTIFACT
    settings: ForecastSettings

    def __init__(self, settings: TrainingSettings, folder: Path | None = None) -> None:
        if not isinstance(settings, ForecastSettings):
            raise TypeError(f"the forecast task takes ForecastSettings, got {type(settings).__name__}")
        check_quantiles(settings.quantiles)
        start = begins_from(settings, folder)
        first = None
        if start is not None:
            calendar = settings_in(start, self.name, ForecastSettings).calendar
            first = restored(start, self.artifact, Fitted.from_json)
            taken = {"history": first.history, "scale": first.scaler.kind, "calendar": calendar}
            settings = following(settings, start, taken)
        self.settings = settings
        self.table = read(settings, settings.data, settings.target, settings.past, settings.known, settings.time)
        self.parts = self.table.split(settings.valid or None, settings.test or None)
        _check_filled(settings, self.table, self.parts)
        self.what = self._fitted(folder, start, first)
        history = self.what.history
        _check_sizes(settings, self.parts, history)
        extended = with_calendar(self.table, settings.horizon, self.what.cycles)
        stride = settings.stride or max(1, history // 16)
        windows = Windows(extended, history, settings.horizon, rows=self.parts.train, scaler=self.what.scaler, stride=stride)
        self.source = Batches(windows, settings.rows, seed=settings.seed)
        self.validation = None
        if self.parts.valid[1] > self.parts.valid[0]:
            held = Windows(extended, history, settings.horizon, rows=self.parts.valid, scaler=self.what.scaler, dense=False)
            self.validation = Batches(held, BATCH, shuffle=False)
        self.loss = Pinball(settings.quantiles)
        inputs, series = windows.piece([0]).x.shape[-1], len(self.table.targets)
        self.model = built(lambda: make_model(settings, inputs, series), settings, folder)

    def _fitted(self, folder: Path | None, start: Path | None, first: Fitted | None) -> Fitted:
        """As in the folder where a run is there; else from the training part, scaled as the run to start from was."""
        if folder is not None and (folder / self.artifact).exists():
            return restored(folder, self.artifact, Fitted.from_json)
        what = Fitted.fit(self.table, self.settings, self.parts)
        return what if start is None or first is None else what.scaled_as(first, start)

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
            self.longer(folder),
        ]


def _check_filled(settings: ForecastSettings, table: Table, parts: Parts) -> None:
    """Refuses columns of which the training part has nothing."""
    begin, end = parts.train
    for c, column in enumerate(table.columns):
        if not np.isfinite(table.values[begin:end, c]).any():
            raise ValueError(
                f"the column {column!r} of {settings.data} is empty in the {end - begin} rows to learn from: leave it out, or "
                "hold out less (--valid, --test)"
            )


def _check_sizes(settings: ForecastSettings, parts: Parts, history: int) -> None:
    """Refuses parts too short to learn from or to measure on, which would show only after the training."""
    horizon, (begin, end) = settings.horizon, parts.train
    if end - begin < history + horizon:
        raise ValueError(
            f"{settings.data} leaves {end - begin} rows to learn from, fewer than a window: history {history} and horizon "
            f"{horizon} need {history + horizon}; shorten one of them, or hold out less (--valid, --test)"
        )
    for name, (first, last) in (("valid", parts.valid), ("test", parts.test)):
        if 0 < last - first < horizon:
            raise ValueError(
                f"{option(name)} holds out {last - first} rows, fewer than the {horizon} of --horizon: hold out more"
            )
