"""Table and model from the settings, alike in training and in use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bptt.data import Table, read_table
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
) -> Table:
    """The table in the file ``data`` with these columns, read as ``settings`` say."""
    table = read_table(
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
    for c, column in enumerate(table.columns):
        values = table.values[:, c]
        if (worst := np.nanmax(np.abs(values), initial=0.0)) > _LARGEST:
            raise ValueError(
                f"{data}: the column {column!r} holds a number of the size {worst:.4g}, expected at most {_LARGEST:g}: mend "
                "it, or give the column in larger units"
            )
    return table


def make_model(settings: ForecastSettings, inputs: int, series: int) -> ForecastModel:
    """The model that ``settings`` describe, with fresh weights, for ``inputs`` numbers a row and ``series`` targets."""
    return ForecastModel(
        inputs,
        series,
        settings.horizon,
        settings.quantiles,
        change=settings.change,
        norm=settings.norm,
        **settings.network,
    )
