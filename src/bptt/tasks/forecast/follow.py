"""A table that grows: after each new row, what comes next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
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
from bptt.tasks.forecast.row import cleaned, columns_of, has, holds_only, number

_MONTHS = 3  # in a row, of which two have other lengths


@dataclass(frozen=True)
class _Row:
    """Targets, past and known columns ``[1, C]`` of one time ``[1]``."""

    values: np.ndarray[Any, np.dtype[np.float64]]
    observed: np.ndarray[Any, np.dtype[np.bool_]]
    times: Times


class Onward(Follower):
    """What comes after each row, from all rows so far; of months, from the third on: three tell that they are ends of months.

    Where columns are known ahead of time, a row that has these alone tells them of a time to come, and is not answered; told
    again, it replaces what was told. A row with values is answered once the ``horizon`` rows after it were told. Told rows
    whose values never came count as missing. Without a column of times, rows have the order in which they were told, beginning
    with the next one that is to have values, and nothing can be told again.
    """

    def __init__(self, model: ForecastModel, settings: ForecastSettings, what: Fitted, own: Own) -> None:
        self._model, self._settings, self._what, self._own = model, settings, what, own
        self._frequency = None if what.frequency is None else Frequency.parse(what.frequency)
        self._last: list[_Row] = []
        self._told: list[_Row] = []
        self._state: Any = None

    def step(self, row: Any) -> dict[str, Any] | None:
        if not isinstance(row, Mapping):
            raise ValueError(f"got {type(row).__name__}, expected the columns by name: {listed(self._columns())}")
        what, row = self._what, cleaned(row)
        stamp = self._time(row)
        known = np.array([[number(row, name) if has(row, name) else math.nan for name in what.known]])
        if what.known and holds_only(row, (*what.time, *self._series(), *what.known), (*what.targets, *what.past)):
            self._tell(row, known, stamp)
            return None
        now = np.array([[number(row, name) for name in (*what.targets, *what.past)]])
        skipped, told, left = self._place(stamp)
        if told is not None and not what.time and (np.isfinite(known) & (known != self._known_of(told))).any():
            raise ValueError(
                f"{listed(columns_of(what.known))} differ from what was told of this row: without a column of times, told rows "
                "begin with the next one that is to have values"
            )
        rows = list(self._missing(skipped))
        rows.append(self._row(now, self._known(row, known, stamp, told), stamp, [*self._last, *rows]))
        if what.known and len(left) < self._settings.horizon:
            raise ValueError(self._untold(stamp, left))
        ahead = [*rows[1:], *left]
        answer = None
        for n, each in enumerate(rows):
            answer = self._answer(each, ahead[n : n + self._settings.horizon] if what.known else [])
        self._told = left
        return answer

    def _answer(self, now: _Row, ahead: list[_Row]) -> dict[str, Any] | None:
        rows = [*self._last[1 - _MONTHS :], now]
        if self._frequency is not None and self._frequency.unit == "month" and len(rows) < _MONTHS:
            self._last = rows
            return None
        table, fresh = self._table(rows, ahead), len(rows) if self._state is None else 1
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
            places = np.arange(len(rows) - 1, len(rows) + horizon, dtype=np.int64)
            stamps = [show_time(stamp) for stamp in table.frequency.after(table.times, places)]
        past = now.values[:, : len(what.targets)]
        outlook = Outlook(what.targets, stamps, np.arange(len(stamps)), past, settings.quantiles, quantiles, mean=mean)
        after = {} if table.frequency is None else {"after": stamps[0]}
        return {**after, **outlook.columns()}

    def _columns(self) -> tuple[str, ...]:
        what = self._what
        return columns_of((*what.time, *self._series(), *what.targets, *what.past, *what.known))

    def _series(self) -> tuple[str, ...]:
        return () if self._settings.series is None else (self._settings.series,)

    def _tell(self, row: Mapping[str, Any], known: Any, stamp: Times) -> None:
        """Keeps a row of the future, in the place of an earlier one of its time."""
        told = self._row(None, self._known(row, known, stamp), stamp)
        times = [each.times[0] for each in self._told]
        if self._what.time and stamp[0] in times:
            self._told[times.index(stamp[0])] = told
            return
        self._check_follows(stamp)
        self._told.append(told)

    def _missing(self, told: list[_Row]) -> Iterator[_Row]:
        """These rows as they stand once their time is over; as in a table, values begin with the first that came."""
        before = list(self._last)
        if not before and self._settings.missing not in ("mask", "zero"):
            return
        for each in told:
            nothing = np.full((1, len(self._what.targets) + len(self._what.past)), np.nan)
            before.append(self._row(nothing, self._known_of(each), each.times, before))
            yield before[-1]

    def _known_of(self, row: _Row) -> Any:
        return row.values[:, len(self._what.targets) + len(self._what.past) :]

    def _known(self, row: Mapping[str, Any], given: Any, stamp: Times, told: _Row | None = None) -> Any:
        """The columns known ahead of a row: as it gives them, else as they were told."""
        found = given if told is None else np.where(np.isfinite(given), given, self._known_of(told))
        if not np.isfinite(found).all():
            name = self._what.known[int((~np.isfinite(found[0])).argmax())]
            if not has(row, name):
                number(row, name)  # raises
            raise ValueError(
                f"nothing tells {columns_of([name])[0]}{self._of(stamp)}: what is known ahead needs a value in every row"
            )
        return found

    def _place(self, stamp: Times) -> tuple[list[_Row], _Row | None, list[_Row]]:
        """The told rows before this one, whose values never came; what was told of its own time; the told rows after it."""
        told, times = self._told, [each.times[0] for each in self._told]
        if not self._what.time:
            return [], told[0] if told else None, told[1:]
        if stamp[0] in times:
            place = times.index(stamp[0])
            return told[:place], told[place], told[place + 1 :]
        if told and not self._last and stamp[0] < times[0]:
            self._check_next(stamp, told[0].times)
            return [], None, told
        self._check_follows(stamp)
        return told, None, []

    def _row(self, now: Any, known: Any, stamp: Times, before: Sequence[_Row] = ()) -> _Row:
        """With values in the place of missing ones, as the network was trained; ``now`` ``None``: of the future."""
        names = (*self._what.targets, *self._what.past)
        values = np.full((1, len(names)), np.nan) if now is None else now
        there, how = np.isfinite(values), self._settings.missing
        if now is not None and not there.all():
            if how == "forward" and before:
                values = np.where(there, values, before[-1].values[:, : len(names)])
            elif how == "zero":
                values, there = np.nan_to_num(values), np.ones_like(there)
            elif how != "mask":
                rows = "the first row" if how == "forward" else "every row"
                raise ValueError(
                    f"{names[int((~there[0]).argmax())]}{self._of(stamp)} is missing, and the network was trained with "
                    f"--missing {how}: it needs a number in {rows}"
                )
        return _Row(
            np.concatenate([values, known], axis=1), np.concatenate([there, np.ones(known.shape, dtype=bool)], axis=1), stamp
        )

    def _of(self, stamp: Times) -> str:
        return f" of {show_time(stamp[0])}" if self._what.time else ""

    def _untold(self, stamp: Times, left: list[_Row]) -> str:
        horizon, what = self._settings.horizon, self._what
        after = f" after {show_time(stamp[0])}" if what.time else ""
        return (
            f"a forecast of {horizon} row{'s' * (horizon > 1)}{after} needs {listed(columns_of(what.known))} of each, and "
            f"{len(left)} {'was' if len(left) == 1 else 'were'} told: give before it {horizon - len(left)} more that hold "
            f"{listed(columns_of((*what.time, *self._series(), *what.known)))}, and nothing under "
            f"{listed(columns_of((*what.targets, *what.past)))}"
        )

    def _time(self, row: Mapping[str, Any]) -> Times:
        import polars as pl

        names = self._what.time
        if not names:
            return np.array([self._last[-1].times[0] + 1 if self._last else 0])
        if absent := [name for name in names if row.get(name) is None]:
            raise ValueError(f"nothing stands in {listed(absent)}; every row needs its time")
        if len(names) == 1:
            return read_times(pl.Series(names[0], [str(row[names[0]])]), self._settings.time_format)
        return join_times(pl.DataFrame({name: [int(row[name])] for name in names}), list(names))

    def _check_follows(self, stamp: Times) -> None:
        """That this time comes after all that came or was told, and is the next one."""
        if not self._what.time or (self._frequency is None and not self._what.known):
            return
        for rows in (self._last, self._told):
            if rows and stamp[0] <= rows[-1].times[0]:
                raise ValueError(
                    f"{show_time(stamp[0])} is no later than {show_time(rows[-1].times[0])}: give the rows in order, each once"
                )
        if rows := [*self._last, *self._told]:
            self._check_next(rows[-1].times, stamp)

    def _check_next(self, before: Times, stamp: Times) -> None:
        if self._frequency is not None and self._frequency.places(np.concatenate([before, stamp]))[-1] != 1:
            raise ValueError(
                f"{show_time(stamp[0])} follows {show_time(before[0])}, but rows are {self._what.frequency} apart: fill the "
                "gap, or begin anew"
            )

    def _table(self, rows: list[_Row], ahead: list[_Row]) -> Table:
        what = self._what
        rows = [*rows, *ahead]
        return Table(
            np.concatenate([each.values for each in rows]),
            np.concatenate([each.observed for each in rows]),
            np.concatenate([each.times for each in rows]),
            what.targets,
            what.past,
            what.known,
            time=", ".join(what.time) or None,
            frequency=self._frequency,
            missing=self._settings.missing,
            future=len(ahead),
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
