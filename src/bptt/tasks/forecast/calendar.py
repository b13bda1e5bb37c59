"""What the calendar says of a row, known as far ahead as one likes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bptt.data.table import Table
from bptt.data.times import Times

_DAY = 86_400_000_000  # microseconds
_CYCLES = {"day": 1.0, "week": 7.0, "year": 365.2425}  # days


def cycles(table: Table, rows: int) -> tuple[str, ...]:
    """The cycles of the calendar that the first ``rows`` rows can teach: of several steps, and seen nearly twice."""
    lengths = {name: steps_of(table, name) for name in _CYCLES}
    return tuple(name for name, steps in lengths.items() if steps is not None and steps >= 4 and rows >= 2 * steps - 1)


def steps_of(table: Table, cycle: str) -> int | None:
    """The rows that a ``"day"``, ``"week"`` or ``"year"`` takes, rounded; ``None`` without a calendar or even steps."""
    frequency = table.frequency
    if frequency is None or frequency.unit == "step" or table.times.dtype == np.int64:
        return None
    if frequency.unit == "month":
        return 12 // frequency.count if cycle == "year" and 12 % frequency.count == 0 else None
    steps = _CYCLES[cycle] * _DAY / frequency.count
    return round(steps) if steps >= 1 else None


def with_calendar(table: Table, horizon: int, names: tuple[str, ...]) -> Table:
    """The table with a sine and a cosine for each cycle as columns known ahead, and rows for the next ``horizon`` steps.

    Rows that hold known covariates only are made where the table has no columns of its own to be known ahead.
    """
    add = 0 if table.known or table.frequency is None else max(0, horizon - table.future)
    times = np.concatenate([table.times, table.stamps_after(add)]) if add else table.times
    values = np.concatenate([table.values, np.full((add, table.values.shape[1]), np.nan)])
    observed = np.concatenate([table.observed, np.zeros((add, table.values.shape[1]), dtype=bool)])
    columns, features = calendar(times, names)
    return replace(
        table,
        values=np.concatenate([values, features], axis=1),
        observed=np.concatenate([observed, np.ones(features.shape, dtype=bool)], axis=1),
        times=times,
        known=table.known + columns,
        future=table.future + add,
    )


def calendar(times: Times, names: tuple[str, ...]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Sine and cosine of each cycle's phase ``[T, 2·cycles]``, and their names."""
    columns = tuple(f"{part} of {name}" for name in names for part in ("sin", "cos"))
    angles = [2 * np.pi * phase(times, name) for name in names]
    features = [part(angle) for angle in angles for part in (np.sin, np.cos)]
    return columns, np.stack(features, axis=1) if features else np.empty((len(times), 0))


def phase(times: Times, name: str) -> NDArray[np.float64]:
    """Where each time stands in its day, week or year, from 0 to below 1."""
    if name == "year":
        first = times.astype("datetime64[Y]")
        length = ((first + 1).astype("datetime64[us]") - first.astype("datetime64[us]")).astype(np.int64)
        return np.asarray((times - first.astype("datetime64[us]")).astype(np.int64) / length)
    cycle = int(_CYCLES[name] * _DAY)
    return np.asarray(times.astype("datetime64[us]").astype(np.int64) % cycle / cycle)
