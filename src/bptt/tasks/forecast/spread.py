"""Intervals of the plain forecasts, from what they erred by in the training part: what those of the network must beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bptt.data.table import Table
from bptt.tasks.forecast.baselines import RANDOM_WALK, Plain, forecasts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ORIGINS = 2000  # of the training part, evenly spaced, from which errors are taken
_FEW = 30  # errors, from which no quantile can be told
_KEPT = 0.94  # of yesterday's variance; RiskMetrics 1996, for daily data


def spread(
    table: Table, learned: int, origins: Ints, horizon: int, plain: Plain, levels: Sequence[float]
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Each plain forecast ``[N, H, C]``, and its quantiles ``[N, H, C, Q]`` where the training part has enough errors.

    The quantiles are the forecast plus those of its errors on the first ``learned`` rows. Of the first forecast there is a
    second kind, in proportion to how much the rows before it changed: σ²_t = 0.94 σ²_{t-1} + 0.06 e²_t.
    """
    made = forecasts(table, origins, horizon, plain)
    longest = max([1, *plain.seasons.values()])
    first, last = max(_FEW, longest if longest < learned // 2 else 1), learned - horizon
    before = np.unique(np.linspace(first, last - 1, min(_ORIGINS, max(0, last - first)), dtype=np.int64))
    if len(before) < _FEW:
        return made, {}
    learnt = forecasts(table, before, horizon, plain)
    ahead = np.arange(1, horizon + 1)
    seen = np.where(table.observed, table.values, np.nan)[:, : len(table.targets)]
    truth = seen[before[:, None] + ahead]
    found = {}
    for label in made.keys() & learnt.keys():
        found[label] = made[label][..., None] + _quantiles(truth - learnt[label], levels)
    base = RANDOM_WALK if plain.zero else "persistence"
    wide = _recent(seen, plain.zero)
    relative = (truth - learnt[base]) / wide[before][:, None]
    made[_late(base)] = made[base]
    found[_late(base)] = made[base][..., None] + wide[origins][:, None, :, None] * _quantiles(relative, levels)
    return made, found


def _late(base: str) -> str:
    return f"{base}, as wide as of late"


def _quantiles(errors: Floats, levels: Sequence[float]) -> Floats:
    """``[H, C, Q]`` of errors ``[N, H, C]``."""
    there = np.where(np.isfinite(errors).any(0), errors, 0.0)
    return np.moveaxis(np.nanquantile(there, list(levels), axis=0), 0, -1)


def _recent(seen: Floats, zero: bool) -> Floats:
    """The deviation of late ``[T, C]``, of values about zero or of their changes; a step that nobody saw changes nothing."""
    moves = seen if zero else np.diff(seen, axis=0, prepend=seen[:1])
    squares = moves**2
    level, made = np.full(seen.shape[1], np.nan), np.empty_like(squares)
    for t, now in enumerate(squares):
        mixed = np.where(np.isfinite(level), _KEPT * level + (1 - _KEPT) * now, now)
        made[t] = level = np.where(np.isfinite(now), mixed, level)
    return np.sqrt(np.nan_to_num(made)) + 1e-9 * (1 + np.abs(np.nan_to_num(seen)))
