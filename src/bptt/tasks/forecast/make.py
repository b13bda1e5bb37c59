"""Tables and model from the settings, alike in training and in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bptt.data import Panel, Table, read_panel
from bptt.data.table import show_time
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.model import ForecastModel

_LARGEST = 1e36  # float32, in which the network computes, ends at 3e38


def read(
    settings: ForecastSettings,
    data: str,
    targets: Sequence[str],
    past: Sequence[str],
    known: Sequence[str],
    time: Sequence[str],
) -> Panel:
    """The series in the file ``data`` with these columns, read as ``settings`` say; with ``later`` those that follow them."""
    own = data == settings.data
    panel = _panel(settings, data, targets, past, known, time)
    if own and settings.until is not None:
        end = settings.until
        if isinstance(end, str) and panel.first.times.dtype == np.int64:
            raise ValueError(f"--until {end}: {data} has no dates; give a number of rows")
        panel = panel.until(end if isinstance(end, int) else np.datetime64(end, "us"))
    if own and settings.later is not None:
        first = panel.first
        panel = panel.followed_by(_panel(settings, settings.later, first.targets, past, known, time), settings.later)
    return Panel({name: _transformed(settings, name, table) for name, table in panel.tables.items()}, panel.column)


def later_rows(settings: ForecastSettings, panel: Panel) -> dict[str, int]:
    """How many rows of each series come from the file of ``--later``; none where there is none."""
    if settings.later is None:
        return {}
    first = panel.first
    time = first.time.split(", ") if first.time else ()
    later = _panel(settings, settings.later, first.targets, first.past, first.known, time)
    return {name: len(table) for name, table in later.tables.items()}


def _panel(
    settings: ForecastSettings,
    data: str,
    targets: Sequence[str],
    past: Sequence[str],
    known: Sequence[str],
    time: Sequence[str],
) -> Panel:
    panel = read_panel(
        data,
        series=settings.series,
        wide=settings.wide,
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
    for name, table in panel.tables.items():
        for c, column in enumerate(table.columns):
            if (worst := np.nanmax(np.abs(table.values[:, c]), initial=0.0)) > _LARGEST:
                of = f" of series {name!r}" if name else ""
                raise ValueError(
                    f"{data}: the column {column!r}{of} holds a number of the size {worst:.4g}, expected at most {_LARGEST:g}: "
                    "mend it, or give the column in larger units"
                )
    return panel


def _transformed(settings: ForecastSettings, name: str, table: Table) -> Table:
    """Returns of the targets, or their sizes, in percent; the first row, which has none, is left out."""
    how = "--scale log" if settings.scale == "log" else f"--transform {settings.transform}"
    if how == "--transform none":
        return table
    count = len(table.targets)
    prices, there = table.values[:, :count], table.observed[:, :count]
    if (wrong := prices <= 0).any():
        row, column = np.argwhere(wrong)[0]
        of = f"series {name!r}, " if name else ""
        raise ValueError(
            f"{of}{table.targets[column]} is {prices[row, column]:g} at {show_time(table.times[row])}, and {how} takes "
            "logarithms: all values must be above zero"
        )
    if settings.transform == "none":
        return table
    if len(table) - table.future < 2:
        raise ValueError(f"--transform {settings.transform} needs two rows at least")
    made = 100 * np.diff(np.log(prices), axis=0)
    values, observed = table.values[1:].copy(), table.observed[1:].copy()
    values[:, :count] = made if settings.transform == "return" else np.abs(made)
    observed[:, :count] = there[1:] & there[:-1]
    what = "returns in percent" if settings.transform == "return" else "sizes of returns in percent"
    return replace(
        table, values=values, observed=observed, times=table.times[1:], notes=(*table.notes, f"forecast are {what}, row to row")
    )


def make_model(settings: ForecastSettings, inputs: int, series: int) -> ForecastModel:
    """The model that ``settings`` describe, with fresh weights, for ``inputs`` numbers a row and ``series`` targets."""
    return ForecastModel(
        inputs,
        series,
        settings.horizon,
        settings.quantiles,
        change=settings.change,
        norm=settings.norm,
        lags=settings.lags,
        apart=settings.apart,
        point=settings.point,
        **settings.network,
    )
