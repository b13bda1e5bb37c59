"""The gradient against the lag: its mean over losses, its exponential decay, and the horizon."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.observe.plain import as_dict

Array = NDArray[np.float64]
HORIZON = 0.01
_FITTED = 1e-4  # below this share of the greatest value, rounding and early ends speak too


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error (0: exact)."""

    value: float
    error: float

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.3g}" + (f" ± {self.error:.2g}" if self.error else "")


@dataclass(frozen=True, eq=False)
class Profile:
    """φ(lag), the mean over losses of a gradient's norm ``lag`` steps before them.

    - ``lags``, ``mean``, ``error`` (standard error; 0: exact, NaN: of one loss alone), ``seen`` (how many losses): ``[L]``.
    - ``horizon``: the least lag from which on φ is under 1 % of its greatest value, infinite where that was not reached;
      ``horizon_low`` and ``horizon_high``: the same, one standard error below and above (NaN of one loss alone).
    - ``decay`` β and ``scale``: the least-squares fit φ(lag) ≈ scale · β^lag from the greatest value down to 1e-4 of it; NaN
      where there are fewer than 3 such lags. Above 1 the gradient grows.
    """

    lags: NDArray[np.int64]
    mean: Array
    error: Array
    seen: NDArray[np.int64]
    horizon: float
    horizon_low: float
    horizon_high: float
    decay: float
    scale: float

    @property
    def time_constant(self) -> float:
        """Lags until the fitted decay has fallen to 1/e: -1/log β; infinite where it does not fall."""
        return lasting(math.log(self.decay)) if self.decay > 0 else self.decay  # 0, or NaN

    @property
    def growth(self) -> float:
        """The greatest value over the first one: above 1 where the gradient grows on its way back."""
        return float(self.mean.max() / self.mean[0]) if len(self.mean) and self.mean[0] > 0 else math.nan

    def to_dict(self) -> dict[str, Any]:
        return as_dict(self)


def lasting(rate: float) -> float:
    """Steps until what grows by ``rate`` nats a step has fallen to 1/e; infinite where it does not fall."""
    return math.inf if rate >= 0 else -1 / rate


def profile_of(values: Array, first_lag: int, population: int) -> Profile:
    """From ``values [n, L]``, one row a loss, NaN where its lag does not exist; ``population``: the losses there are."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # a gradient that overflows is shown, not refused
        return _profile(values, first_lag, population)


def _profile(values: Array, first_lag: int, population: int) -> Profile:
    there = ~np.isnan(values)
    seen = there.sum(0)
    last = int(np.flatnonzero(seen)[-1]) + 1 if seen.any() else 0
    values, there, seen = values[:, :last], there[:, :last], seen[:last]
    filled = np.where(there, values, 0.0)
    mean = filled.sum(0) / np.maximum(seen, 1)
    square = (np.where(there, values - mean, 0.0) ** 2).sum(0)
    unseen = max(0.0, 1 - len(values) / max(population, 1))
    error = np.sqrt(square / (seen - 1) / seen * unseen) if unseen else np.zeros_like(mean)
    lags = np.arange(first_lag, first_lag + last)
    scale, decay = _fit(lags, mean)
    spread = np.where(np.isnan(error), mean, error)  # what one loss alone has seen may be off by all of it
    low, high = (math.nan, math.nan) if unseen and len(values) < 2 else (
        _horizon(lags, mean - spread, mean), _horizon(lags, mean + spread, mean)
    )  # fmt: skip
    return Profile(lags, mean, error, seen, _horizon(lags, mean, mean), low, high, decay, scale)


def _horizon(lags: NDArray[np.int64], values: Array, mean: Array) -> float:
    if not len(mean) or not np.isfinite(mean).all():
        return math.nan
    above = np.flatnonzero(values >= HORIZON * mean.max()) if mean.max() > 0 else np.array([], dtype=np.int64)
    if not len(above):
        return float(lags[0])
    return math.inf if above[-1] == len(lags) - 1 else float(lags[above[-1] + 1])


def _fit(lags: NDArray[np.int64], mean: Array) -> tuple[float, float]:
    if not len(mean) or not np.isfinite(mean).all() or mean.max() <= 0:
        return math.nan, math.nan
    peak = int(mean.argmax())
    low = np.flatnonzero(mean[peak:] < _FITTED * mean[peak])
    stop = peak + int(low[0]) if len(low) else len(mean)
    # Where the greatest value is the last one the gradient grows all the way: the rise is what there is to fit.
    start = peak if stop - peak >= 3 else 0
    use = slice(start, stop) if stop - start >= 3 else slice(0, 0)
    x, y = lags[use], mean[use]
    x, y = x[y > 0], y[y > 0]
    if len(x) < 3:
        return math.nan, math.nan
    slope, intercept = np.polyfit(x, np.log(y), 1)
    return float(np.exp(intercept)), float(np.exp(slope))
