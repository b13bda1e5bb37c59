"""A trained forecaster, as its run's folder holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from bptt.data import Panel, Table, Windows
from bptt.data.cells import listed
from bptt.data.files import is_there
from bptt.data.table import Rows, show_time
from bptt.data.windows import Histories
from bptt.tasks.forecast.baselines import Plain
from bptt.tasks.forecast.calendar import with_calendar
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.fitted import Fitted, Own
from bptt.tasks.forecast.follow import Onward, Together
from bptt.tasks.forecast.make import make_model, read
from bptt.tasks.forecast.outlook import SHOWN, Backtest, Floats, Outlook, Outlooks
from bptt.tasks.forecast.score import Measured, measured, score, score_many
from bptt.tasks.forecast.spread import spread
from bptt.tasks.report import Report
from bptt.tasks.task import NothingHeldOut, Trained, Which, load, restored, settings_in

NAME, ARTIFACT = "forecast", "fitted.json"
BATCH = 256  # windows forecast side by side
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
_DRAWN = 180  # rows of the test part that the picture shows


class Held(NamedTuple):
    """Rows of a series to measure on: what was fitted to it, its table with the calendar, and what the rows are called."""

    own: Own
    table: Table
    rows: Rows
    called: str


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
        """On the held-out ``part`` ("valid" or "test"), or on a file with the same columns.

        Of a table that goes on from the rows that were learned, only rows after those are measured on. ``how`` may also say
        how ``data`` is read: encoding, separator, time_format, missing, gaps.

        **Raises** ``ValueError`` where the rows that were held out are no longer in the table; `NothingHeldOut`.
        """
        panel, part = self._panel(data, how), how.get("part")
        held = self._held_out(panel, data, part)
        found, changed = {}, False
        for name, each in held.items():
            found[name] = self._measured(each)
            changed = changed or (data is None and "train" in each.own.cut.parts and not each.own.cut.knows(each.table))
        called = next(iter(held.values())).called
        by, levels = {"median": "mae", "mean": "rmse"}[self.settings.point], self.settings.quantiles
        if panel.column is None:
            report = score(called, self.what.targets, found[""], levels, by)
        else:
            report = score_many(called, self.what.targets, found, levels, by)
        if not changed:
            return report
        told = f"{self.settings.data} has changed since: other rows were learned from than now stand before {called}."
        return replace(report, remarks=[*report.remarks, told])

    def predict(self, data: str | None = None, **how: Any) -> Outlook | Outlooks:
        """The rows that follow the last one of the tables trained on, or of ``data``, read as ``how`` says; see `evaluate`."""
        panel = self._panel(data, how)
        short = [name for name, table in panel.tables.items() if len(table) - table.future < self.what.history]
        if short:
            rows = len(panel.tables[short[0]]) - panel.tables[short[0]].future
            of = f"series {short[0]!r} of " if short[0] else ""
            raise ValueError(
                f"{of}{data or self.settings.data} holds {rows} rows, but each forecast reads the {self.what.history} before it"
            )
        made = {name: self._ahead(name, table) for name, table in panel.tables.items()}
        return made[""] if panel.column is None else Outlooks(panel.column, made)

    def follow(self) -> Onward | Together:
        """The same one row at a time, from all rows that came; see `Onward.step`."""
        if self.settings.transform != "none":
            raise ValueError(f"--follow takes values as they are, but this run forecasts their {self.settings.transform}")
        if self.settings.wide:
            raise ValueError("--follow reads a row for each time, but this run was trained on a row for each series (--wide)")
        if self.settings.series is None:
            return Onward(self.model, self.settings, self.what, self.what.series[""])
        return Together(self.settings.series, self.model, self.settings, self.what)

    def backtest(self, part: str | None = None) -> Backtest | Outlooks:
        """The newest forecasts of the held-out part, each made from the rows before it; of many series, one of each."""
        panel = self._panel(None, NO_OPTIONS)
        held = self._held_out(panel, None, part)
        if panel.column is not None:
            shown = list(held.items())[:: -(-len(held) // SHOWN)]
            return Outlooks(panel.column, {name: self._last(each) for name, each in shown})
        table = held[""].table
        origins, quantiles = self._forecasts(held[""])
        horizon = self.settings.horizon
        picked = np.arange(len(origins))[::-1][::horizon][: max(1, _DRAWN // horizon)][::-1]
        ahead = (origins[picked][:, None] + np.arange(1, horizon + 1)).reshape(-1)
        truth = np.where(table.observed, table.values, np.nan)[ahead, : len(self.what.targets)]
        made = quantiles[picked].reshape(len(ahead), len(self.what.targets), -1)[..., : len(self.settings.quantiles)]
        steps = "one row" if horizon == 1 else f"{horizon} rows"
        title = f"{held[''].called}: {steps} ahead, each from the rows before"
        return Backtest(self.what.targets, table.times[ahead], truth, self.settings.quantiles, made, title)

    def _measured(self, held: Held) -> Measured:
        own, table = held.own, held.table
        origins, quantiles = self._forecasts(held)
        count, levels = len(self.what.targets), self.settings.quantiles
        ahead = origins[:, None] + np.arange(1, self.settings.horizon + 1)
        truth = np.where(table.observed, table.values, np.nan)[:, :count][ahead]
        plain = Plain(self.what.seasons, own.profiles, own.smoothing, self.settings.transform == "return")
        learned = own.cut.learned(table)
        made, spreads = spread(table, learned, origins, self.settings.horizon, plain, levels)
        point = quantiles[..., -1 if self.settings.point == "mean" else list(levels).index(0.5)]
        usual = np.asarray(own.naive), np.asarray(own.deviation)
        return measured(truth, quantiles[..., : len(levels)], point, made, *usual, spreads)

    def _ahead(self, name: str, table: Table) -> Outlook:
        horizon, end, own = self.settings.horizon, len(table) - table.future, self.what.of(name, table)
        extended = with_calendar(table, horizon, self.what.cycles)
        latest = Histories(extended, self.what.history, horizon, scaler=own.scaler).latest()
        return self._outlook(table, end, self._quantiles(own, latest)[0])

    def _last(self, held: Held) -> Outlook:
        """The newest forecast of these rows, with what came."""
        (own, table, rows, _), horizon = held, self.settings.horizon
        windows = self._windows(held._replace(rows=(max(rows[0], rows[1] - horizon), rows[1])))
        end = int(windows.origins[-1]) + 1
        truth = np.where(table.observed, table.values, np.nan)[end : end + horizon, : len(self.what.targets)]
        made = self._quantiles(own, windows.piece([len(windows) - 1]).x)[0]
        return replace(self._outlook(table, end, made), truth=truth)

    def _outlook(self, table: Table, end: int, quantiles: Floats) -> Outlook:
        """The forecast ``[H, C, Q]`` after the first ``end`` rows, beside those."""
        horizon, levels = self.settings.horizon, self.settings.quantiles
        first = max(0, end - max(60, 3 * horizon))
        past = np.asarray(table.values[first:end, : len(self.what.targets)])
        if table.frequency is None:
            axis: Any = np.arange(first - end + 1, horizon + 1)
            stamps = [str(n) for n in axis[: len(past)]] + [f"+{n}" for n in range(1, horizon + 1)]
        else:
            axis = table.frequency.after(table.times, np.arange(first, end + horizon, dtype=np.int64))
            stamps = [show_time(stamp) for stamp in axis]
        mean = quantiles[..., -1] if self.settings.point == "mean" else None
        return Outlook(self.what.targets, stamps, axis, past, levels, quantiles[..., : len(levels)], mean=mean)

    def _panel(self, data: str | None, how: Mapping[str, Any]) -> Panel:
        what, name = self.what, data or self.settings.data
        reading = {key: value for key, value in how.items() if value is not None and key != "part"}
        told = reading.get("missing", self.settings.missing)
        if (told == "mask") != (self.settings.missing == "mask"):
            trained = f"--missing {self.settings.missing}"
            raise ValueError(f"--missing {told}: the network was trained with {trained}, and only one of the two may be mask")
        if data is None and not is_there(name):
            raise FileNotFoundError(f"the table of this run, {name}, is no longer there: say where it is now, --data FILE")
        settings = self.settings.model_copy(update=reading)
        panel = read(settings, name, what.targets, what.past, what.known, what.time)
        every = None if panel.first.frequency is None else str(panel.first.frequency)
        if what.frequency is not None and every != what.frequency:
            raise ValueError(
                f"the rows of {name} are {'unevenly spaced' if every is None else f'{every} apart'}, but the model was trained "
                f"on rows {what.frequency} apart"
            )
        return panel

    def _held_out(self, panel: Panel, data: str | None, part: str | None) -> dict[str, Held]:
        """What is measured on, of each series that has such rows."""
        held, lacking = {}, []
        for name, table in panel.tables.items():
            end = len(table) - table.future
            if panel.column is not None and (end < self.what.history + self.settings.horizon):
                lacking.append(name)
                continue
            own = self.what.of(name, table)
            try:
                rows, called = self._rows(own, table, data, part)
            except NothingHeldOut:
                if panel.column is None:
                    raise
                lacking.append(name)
                continue
            if panel.column is None or rows[1] - max(rows[0], self.what.history) >= self.settings.horizon:
                held[name] = Held(own, with_calendar(table, self.settings.horizon, self.what.cycles), rows, called)
            else:
                lacking.append(name)
        if not held:
            raise NothingHeldOut(
                f"of no series there are rows to measure on ({listed(lacking)}): give a table to evaluate on, --data FILE"
            )
        return held

    def _rows(self, own: Own, table: Table, data: str | None, part: str | None) -> tuple[Rows, str]:
        cut, end = own.cut, len(table) - table.future
        if data is not None and not cut.knows(table):
            if part is not None:
                raise ValueError(
                    f"--part {part} was held out of another table than {data}: leave it out to measure on all rows"
                )
            return (0, end), data
        name = part or cut.held_out
        if data is not None and part is None and (name is None or table.times[end - 1] > cut.stamps(name)[1]):
            begin = cut.after(table)
            if begin >= end:
                raise NothingHeldOut(f"this run learned from every row of {data}: give a table that goes on after it")
            return (begin, end), f"{data} from {show_time(table.times[begin])} on, which was not learned"
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
        return rows, f"the {'validation' if name == 'valid' else name} part"

    def _windows(self, held: Held) -> Windows:
        own, table, rows, _ = held
        return Windows(table, self.what.history, self.settings.horizon, rows=rows, scaler=own.scaler, dense=False)

    def _forecasts(self, held: Held) -> tuple[Any, Floats]:
        windows = self._windows(held)
        made = [
            self._quantiles(held.own, windows.histories(np.arange(start, min(start + BATCH, len(windows)))))
            for start in range(0, len(windows), BATCH)
        ]
        return windows.origins, np.concatenate(made)

    def _quantiles(self, own: Own, x: torch.Tensor) -> Floats:
        """``[B, H, C, Q]`` in the table's units, from histories ``x [L, B, I]``."""
        with torch.no_grad():
            y, _ = self.model(x, last=True)
        made = y[-1].to(torch.float64).numpy()
        targets = slice(0, len(self.what.targets))
        return np.moveaxis(own.scaler.inverse(np.moveaxis(made, -1, -2), targets), -1, -2)
