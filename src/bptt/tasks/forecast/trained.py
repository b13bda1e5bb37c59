"""A trained forecaster, as its run's folder holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from bptt.data import Table, Windows
from bptt.data.table import Rows, show_time
from bptt.data.windows import Histories
from bptt.tasks.forecast.baselines import forecasts
from bptt.tasks.forecast.calendar import with_calendar
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.fitted import Fitted
from bptt.tasks.forecast.follow import Onward
from bptt.tasks.forecast.make import make_model, read
from bptt.tasks.forecast.outlook import Backtest, Floats, Outlook
from bptt.tasks.forecast.score import score
from bptt.tasks.report import Report
from bptt.tasks.task import NothingHeldOut, Trained, Which, load, restored, settings_in

NAME, ARTIFACT = "forecast", "fitted.json"
BATCH = 256  # windows forecast side by side
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
_DRAWN = 180  # rows of the test part that the picture shows


class TrainedForecast(Trained):
    """A trained forecaster: it looks ahead, and it can be measured."""

    def __init__(self, folder: Path, which: Which = None) -> None:
        self.settings = settings_in(folder, NAME, ForecastSettings)
        self.what = restored(folder, ARTIFACT, Fitted.from_json)
        columns = len(self.what.targets) + len(self.what.past)
        ahead = (len(self.what.known) + 2 * len(self.what.cycles)) * self.settings.horizon
        flags = columns if self.settings.missing == "mask" else 0
        self.model = make_model(self.settings, columns + flags + ahead, len(self.what.targets))
        load(self.model, folder, which)

    def evaluate(self, data: str | None = None, **how: Any) -> Report:
        """On the held-out ``part`` ("valid" or "test"), or on a table with the same columns.

        Of a table that goes on from the rows that were learned, only rows after those are measured on. ``how`` may also say
        how ``data`` is read: encoding, separator, time_format, missing, gaps.

        **Raises** ``ValueError`` where the rows that were held out are no longer in the table; `NothingHeldOut`.
        """
        table, rows, name = self._held_out(data, how.pop("part", None), how)
        origins, quantiles = self._forecasts(table, rows)
        ahead = origins[:, None] + np.arange(1, self.settings.horizon + 1)
        seen = np.where(table.observed, table.values, np.nan)[:, : len(self.what.targets)]
        plain = forecasts(table, origins, self.settings.horizon, self.what.seasons, list(self.what.profiles))
        naive = np.asarray(self.what.naive)
        report = score(name, self.what.targets, seen[ahead], quantiles, self.settings.quantiles, plain, naive)
        if data is not None or self.what.cut.knows(table):
            return report
        changed = f"{self.settings.data} has changed since: other rows were learned from than now stand before {name}."
        return replace(report, remarks=[*report.remarks, changed])

    def predict(self, data: str | None = None, **how: Any) -> Outlook:
        """The rows that follow the last one of the table trained on, or of ``data``, read as ``how`` says; see `evaluate`."""
        table = self._table(data, how)
        horizon, history, end = self.settings.horizon, self.what.history, len(table) - table.future
        if end < history:
            raise ValueError(f"{data or self.settings.data} holds {end} rows, but each forecast reads the {history} before it")
        extended = with_calendar(table, horizon, self.what.cycles)
        quantiles = self._quantiles(Histories(extended, history, horizon, scaler=self.what.scaler).latest())[0]
        first = max(0, end - max(60, 3 * horizon))
        past = np.asarray(table.values[first:end, : len(self.what.targets)])
        if table.frequency is None:
            axis: Any = np.arange(first - end + 1, horizon + 1)
            stamps = [str(n) for n in axis[: len(past)]] + [f"+{n}" for n in range(1, horizon + 1)]
        else:
            axis = np.concatenate([table.times[first:end], table.stamps_after(horizon)])
            stamps = [show_time(stamp) for stamp in axis]
        return Outlook(self.what.targets, stamps, axis, past, self.settings.quantiles, quantiles)

    def follow(self) -> Onward:
        """The same one row at a time, from all rows that came; see `Onward.step`."""
        return Onward(self.model, self.settings, self.what)

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

    def _table(self, data: str | None, how: Mapping[str, Any]) -> Table:
        what, name = self.what, data or self.settings.data
        reading = {key: value for key, value in how.items() if value is not None}
        told = reading.get("missing", self.settings.missing)
        if (told == "mask") != (self.settings.missing == "mask"):
            trained = f"--missing {self.settings.missing}"
            raise ValueError(f"--missing {told}: the network was trained with {trained}, and only one of the two may be mask")
        if data is None and not Path(name).exists():
            raise FileNotFoundError(f"the table of this run, {name}, is no longer there: say where it is now, --data FILE")
        settings = self.settings.model_copy(update=reading)
        table = read(settings, name, what.targets, what.past, what.known, what.time)
        every = None if table.frequency is None else str(table.frequency)
        if what.frequency is not None and every != what.frequency:
            raise ValueError(
                f"the rows of {name} are {'unevenly spaced' if every is None else f'{every} apart'}, but the model was trained "
                f"on rows {what.frequency} apart"
            )
        return table

    def _held_out(self, data: str | None, part: str | None, how: Mapping[str, Any] = NO_OPTIONS) -> tuple[Table, Rows, str]:
        """The table, the rows of it to measure on, and what they are called."""
        table, cut = self._table(data, how), self.what.cut
        extended, end = with_calendar(table, self.settings.horizon, self.what.cycles), len(table) - table.future
        if data is not None and not cut.knows(table):
            if part is not None:
                raise ValueError(
                    f"--part {part} was held out of another table than {data}: leave it out to measure on all rows"
                )
            return extended, (0, end), data
        name = part or cut.held_out
        if data is not None and part is None and (name is None or table.times[end - 1] > cut.stamps(name)[1]):
            begin = cut.after(table)
            if begin >= end:
                raise NothingHeldOut(f"this run learned from every row of {data}: give a table that goes on after it")
            return extended, (begin, end), f"{data} from {show_time(table.times[begin])} on, which was not learned"
        if name is None or name not in cut.parts:
            lacking = f"no part {name!r}" if name else "nothing to measure it on"
            raise NothingHeldOut(f"this run held out {lacking}: give a table to evaluate on, --data FILE")
        rows = cut.find(table, name)
        if rows is None:
            count, (first, last) = cut.parts[name][2], map(show_time, cut.stamps(name))
            raise ValueError(
                f"{data or self.settings.data} has changed since this run learned from it: the {count} rows from {first} to "
                f"{last} that were held out as {name} are not there as they were; give a table to evaluate on, --data FILE"
            )
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
