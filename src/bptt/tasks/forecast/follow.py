"""A table that grows: after each new row, what comes next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from bptt.data import Table
from bptt.data.cells import listed
from bptt.data.grid import Frequency
from bptt.data.table import show_time
from bptt.data.times import Times, join_times, read_times
from bptt.data.windows import Histories
from bptt.tasks.follow import Follower
from bptt.tasks.forecast.calendar import with_calendar
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.fitted import Fitted, Own
from bptt.tasks.forecast.model import ForecastModel
from bptt.tasks.forecast.outlook import Outlook

_MONTHS = 3  # in a row, of which two have other lengths


@dataclass(frozen=True)
class _Row:
    values: np.ndarray[Any, np.dtype[np.float64]]
    observed: np.ndarray[Any, np.dtype[np.bool_]]
    times: Times


class Onward(Follower):
    """What comes after each row, from all rows so far; of months, from the third on: three tell that they are ends of months.

    **Raises** ``ValueError`` for a forecaster that is told some columns ahead of time: the next rows have not come yet.
    """

    def __init__(self, model: ForecastModel, settings: ForecastSettings, what: Fitted, own: Own) -> None:
        if what.known:
            raise ValueError(
                f"the columns {listed(what.known)} are known ahead of time, and a row that comes tells its own time only"
            )
        self._model, self._settings, self._what, self._own = model, settings, what, own
        self._frequency = None if what.frequency is None else Frequency.parse(what.frequency)
        self._last: list[_Row] = []
        self._state: Any = None

    def step(self, row: Any) -> dict[str, Any] | None:
        if not isinstance(row, Mapping):
            raise ValueError(f"got {type(row).__name__}, expected the columns by name: {listed(self._columns())}")
        values, observed = self._values(row)
        now = _Row(values, observed, self._time(row))
        rows = [*self._last[1 - _MONTHS :], now]
        if self._frequency is not None and self._frequency.unit == "month" and len(rows) < _MONTHS:
            self._last = rows
            return None
        table, fresh = self._table(rows), len(rows) if self._state is None else 1
        settings, what = self._settings, self._what
        horizon = settings.horizon
        extended = with_calendar(table, horizon, what.cycles)
        with torch.no_grad():
            y, self._state = self._model(Histories(extended, fresh, horizon, scaler=self._own.scaler).latest(), self._state)
        self._last = rows
        made = np.moveaxis(y[-1].to(torch.float64).numpy(), -1, -2)
        quantiles = np.moveaxis(self._own.scaler.inverse(made, slice(0, len(what.targets))), -1, -2)[0]
        mean = quantiles[..., -1] if settings.point == "mean" else None
        quantiles = quantiles[..., : len(settings.quantiles)]
        if table.frequency is None:
            stamps = ["", *(f"+{n}" for n in range(1, horizon + 1))]
        else:
            stamps = [show_time(stamp) for stamp in (table.times[-1], *table.stamps_after(horizon))]
        past = values[:, : len(what.targets)]
        outlook = Outlook(what.targets, stamps, np.arange(len(stamps)), past, settings.quantiles, quantiles, mean=mean)
        after = {} if table.frequency is None else {"after": stamps[0]}
        return {**after, **outlook.columns()}

    def _columns(self) -> tuple[str, ...]:
        return (*self._what.time, *self._what.targets, *self._what.past)

    def _values(self, row: Mapping[str, Any]) -> tuple[Any, Any]:
        found = []
        for name in (*self._what.targets, *self._what.past):
            if name not in row:
                raise ValueError(f"there is no {name!r}, only {listed(list(map(str, row)))}")
            cell = row[name]
            try:
                found.append(math.nan if cell in (None, "") else float(cell))
            except (TypeError, ValueError):
                raise ValueError(f"{name} is {cell!r}, no number") from None
        values = np.array([found])
        there = np.isfinite(values)
        how = self._settings.missing
        if not there.all() and how == "forward" and self._last:
            values = np.where(there, values, self._last[-1].values)
        elif not there.all() and how != "mask":
            name = (*self._what.targets, *self._what.past)[int((~there[0]).argmax())]
            raise ValueError(
                f"{name} is missing, and the network was trained with --missing {how}: it needs a number in every row"
            )
        return values, there

    def _time(self, row: Mapping[str, Any]) -> Times:
        import polars as pl

        names = self._what.time
        if not names:
            return np.array([self._last[-1].times[0] + 1 if self._last else 0])
        if absent := [name for name in names if row.get(name) in (None, "")]:
            raise ValueError(f"nothing stands in {listed(absent)}; every row needs its time")
        if len(names) == 1:
            stamp = read_times(pl.Series(names[0], [str(row[names[0]])]), self._settings.time_format)
        else:
            stamp = join_times(pl.DataFrame({name: [int(row[name])] for name in names}), list(names))
        self._check_follows(stamp)
        return stamp

    def _check_follows(self, stamp: Times) -> None:
        if not self._last or self._frequency is None:
            return
        before = np.concatenate([each.times for each in self._last])
        if stamp[0] <= before[-1]:
            raise ValueError(
                f"{show_time(stamp[0])} is no later than {show_time(before[-1])}: give the rows in order, each once"
            )
        place = self._frequency.places(np.concatenate([before[-1:], stamp]))[-1]
        if place != 1:
            raise ValueError(
                f"{show_time(stamp[0])} follows {show_time(before[-1])}, but rows are {self._what.frequency} apart: fill the "
                "gap, or begin anew"
            )

    def _table(self, rows: list[_Row]) -> Table:
        what = self._what
        return Table(
            np.concatenate([each.values for each in rows]),
            np.concatenate([each.observed for each in rows]),
            np.concatenate([each.times for each in rows]),
            what.targets,
            what.past,
            time=", ".join(what.time) or None,
            frequency=self._frequency,
            missing=self._settings.missing,
        )


class Together(Follower):
    """The same for rows of many series in any mixture; every series has a state of its own.

    A row of a series that training had nothing of is refused: nothing says in what scale to read it.
    """

    def __init__(self, column: str, model: ForecastModel, settings: ForecastSettings, what: Fitted) -> None:
        self._column, self._what = column, what
        self._made = partial(Onward, model, settings, what)
        self._series: dict[str, Onward] = {}

    def step(self, row: Any) -> dict[str, Any] | None:
        if not isinstance(row, Mapping) or row.get(self._column) in (None, ""):
            raise ValueError(f"every row says which series it belongs to, in {self._column!r}")
        name = str(row[self._column])
        if name not in self._series:
            if name not in self._what.series:
                known = listed(list(self._what.series))
                raise ValueError(f"{self._column} {name!r} was not trained on, so its scale is not known; there are {known}")
            self._series[name] = self._made(self._what.series[name])
        answer = self._series[name].step(row)
        return None if answer is None else {self._column: name, **answer}
