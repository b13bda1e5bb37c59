"""A trained forecaster, as its run's folder holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bptt.data import Table, Windows
from bptt.data.table import Rows, show_time
from bptt.tasks.forecast.baselines import forecasts
from bptt.tasks.forecast.calendar import with_calendar
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.fitted import Fitted
from bptt.tasks.forecast.make import make_model, read
from bptt.tasks.forecast.outlook import Backtest, Floats, Outlook
from bptt.tasks.forecast.score import score
from bptt.tasks.report import Report
from bptt.tasks.task import NothingHeldOut, Trained, Which, load, settings_of, stored
from bptt.train import FolderError, read_config

NAME, ARTIFACT = "forecast", "fitted.json"
BATCH = 256  # windows forecast side by side
_DRAWN = 180  # rows of the test part that the picture shows


class TrainedForecast(Trained):
    """A trained forecaster: it looks ahead, and it can be measured."""

    def __init__(self, folder: Path, which: Which = None) -> None:
        name, settings = settings_of(read_config(folder), folder)
        if name != NAME:
            raise FolderError(f"{folder} holds a run of task {name!r}, which forecasts nothing: see bptt --help")
        self.settings = ForecastSettings(**settings)
        self.what = Fitted.from_json(stored(folder, ARTIFACT))
        columns = len(self.what.targets) + len(self.what.past)
        ahead = (len(self.what.known) + 2 * len(self.what.cycles)) * self.settings.horizon
        flags = columns if self.settings.missing == "mask" else 0
        self.model = make_model(self.settings, columns + flags + ahead, len(self.what.targets))
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
        table = read(self.settings, data or self.settings.data, what.targets, what.past, what.known, what.time)
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
            self._quantiles(windows.piece(np.arange(start, min(start + BATCH, len(windows)))).x)
            for start in range(0, len(windows), BATCH)
        ]
        return windows.origins, np.concatenate(made)

    def _quantiles(self, x: torch.Tensor) -> Floats:
        """``[B, H, C, Q]`` in the table's units, from histories ``x [L, B, I]``."""
        with torch.no_grad():
            y, _ = self.model(x)
        made = y[-1].to(torch.float64).numpy()
        targets = slice(0, len(self.what.targets))
        return np.moveaxis(self.what.scaler.inverse(np.moveaxis(made, -1, -2), targets), -1, -2)
