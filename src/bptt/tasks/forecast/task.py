"""The forecast task: from settings to a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bptt.data import Batches, Joined, Panel, Parts, Table, Windows
from bptt.tasks import curves, pictures
from bptt.tasks.config import TrainingSettings, option
from bptt.tasks.forecast.calendar import with_calendar
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.fitted import Fitted
from bptt.tasks.forecast.make import later_rows, make_model, read
from bptt.tasks.forecast.model import Pinball, check_quantiles
from bptt.tasks.forecast.trained import ARTIFACT, BATCH, NAME, TrainedForecast
from bptt.tasks.report import Report
from bptt.tasks.task import Task, Which, begins_from, built, following, parameters, restored, settings_in

_VALIDATED = 500  # windows, about, that a validation looks at
_AT_ONCE = 30_000_000  # numbers that the network may say in one batch of them


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
            taken = {"history": first.history, "scale": first.scale, "calendar": calendar}
            settings = following(settings, start, taken)
        self.settings = settings
        self.panel = read(settings, settings.data, settings.target, settings.past, settings.known, settings.time)
        self.parts = _parts(settings, self.panel)
        for name, table in self.panel.tables.items():
            _check_filled(settings, name, table, self.parts[name])
        self.what = self._fitted(folder, start, first)
        history, horizon = self.what.history, settings.horizon
        if settings.lags >= history:
            raise ValueError(
                f"--lags {settings.lags} values need a longer --history, which is {history}: above {settings.lags}"
            )
        if len(self.panel) == 1:
            _check_sizes(settings, next(iter(self.parts.values())), history)
        stride = settings.stride or max(1, history // 16)
        learned, held = [], []
        for name, own in self.what.series.items():
            extended, parts = with_calendar(self.panel.tables[name], horizon, self.what.cycles), self.parts[name]
            (begin, end), (first_held, last_held) = parts.train, parts.valid
            how: dict[str, Any] = {"history": history, "horizon": horizon, "scaler": own.scaler}
            if end - begin >= history + horizon:
                warm = min(settings.lags, history - 1)
                learned.append(Windows(extended, rows=parts.train, stride=stride, warm=warm, **how))
            if last_held - max(first_held, history) >= horizon:
                every = -(-sum(b - a for _, (a, b), _ in self.parts.values()) // _VALIDATED)
                held.append(Windows(extended, rows=parts.valid, stride=every, dense=False, **how))
        if not learned:
            raise ValueError(
                f"no series of {settings.data} has the {history + horizon} rows to learn from that history {history} and "
                f"horizon {horizon} need: shorten one of them, or hold out less (--valid, --test)"
            )
        self.source = Batches(Joined(learned), settings.rows, seed=settings.seed)
        self.learned = len(learned)
        self.validation = None
        if held:
            outputs = len(settings.quantiles) * horizon * len(self.what.targets)
            self.validation = Batches(Joined(held), max(1, min(BATCH, _AT_ONCE // (history * outputs))), shuffle=False)
        self.loss = Pinball(settings.quantiles, settings.point == "mean")
        inputs, series = learned[0].piece([0]).x.shape[-1], len(self.what.targets)
        self.model = built(lambda: make_model(settings, inputs, series), settings, folder)

    def _fitted(self, folder: Path | None, start: Path | None, first: Fitted | None) -> Fitted:
        """As in the folder where a run is there; else from the training part, scaled as the run to start from was."""
        if folder is not None and (folder / self.artifact).exists():
            return restored(folder, self.artifact, Fitted.from_json)
        what = Fitted.fit(self.panel, self.settings, self.parts)
        return what if start is None or first is None else what.scaled_as(first, start)

    def describe(self) -> list[tuple[str, str]]:
        given, what = self.settings, self.what
        sums = [sum(b - a for a, b in each) for each in zip(*self.parts.values(), strict=True)]
        sizes = " + ".join(
            f"{count:,} {name}" for name, count in zip(("to learn from", "validation", "test"), sums, strict=True) if count
        )
        lines = self.panel.describe().split("\n")
        if (fewer := len(self.panel) - self.learned) > 0:
            short = [name for name in self.panel.tables if name not in what.series]
            lines.append(f"{fewer} of the series are too short to learn from{f', {len(short)} to be forecast' * bool(short)}")
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
        if pictures.installed() and any(b > a for parts in self.parts.values() for a, b in parts[1:]):
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


def _parts(settings: ForecastSettings, panel: Panel) -> dict[str, Parts]:
    """The parts of every series; those rows that ``later`` holds are the test part, where it is given."""
    later = later_rows(settings, panel)
    if not later:
        return panel.split(settings.valid or None, settings.test or None)
    before = {name: replace(table, future=later[name]) for name, table in panel.tables.items()}
    parts = Panel(before, panel.column).split(settings.valid or None, None)
    return {name: parts[name]._replace(test=(parts[name].valid[1], len(table))) for name, table in panel.tables.items()}


def _check_filled(settings: ForecastSettings, name: str, table: Table, parts: Parts) -> None:
    """Refuses columns of which the training part has nothing."""
    begin, end = parts.train
    for c, column in enumerate(table.columns):
        if end > begin and not np.isfinite(table.values[begin:end, c]).any():
            of = f"of series {name!r} " if name else ""
            raise ValueError(
                f"the column {column!r} {of}of {settings.data} is empty in the {end - begin} rows to learn from: leave it out, "
                "or hold out less (--valid, --test)"
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
