"""The network of the forecast task, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from bptt.state import map_leaves
from bptt.tasks.layers import recurrent


class ForecastModel(nn.Module):
    """At every step, the quantiles of the next ``H`` values of ``C`` series: recurrent layers over the history, a direct head.

    ``y, state = model(x, state)`` with ``x [T, B, I]``, whose first C columns are the series
    themselves, and ``y [T, B, H, C, Q]``; a stateful module for `bptt.backprop`, with `Pinball` as its loss.

    The median is the present value plus what the network adds (``change=True``), or what the network says alone; the other
    quantiles lie above and below it by sums of positive steps, so that they never cross. All H steps come out at once:
    errors do not feed on themselves.

    ``norm="window"``: each series is read, and its forecast written, in units of its mean and deviation over the history so
    far (no step sees what comes after it); for series whose level or scale wanders far from those of training.
    Not for horizons beyond some hundred steps: the head grows with H.

    **Raises** ``ValueError`` for quantiles that are not rising, lie outside 0..1, or lack 0.5.
    """

    def __init__(
        self,
        inputs: int,
        series: int,
        horizon: int,
        quantiles: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
        *,
        cell: str = "gru",
        hidden: int = 64,
        layers: int = 1,
        dropout: float = 0.0,
        change: bool = True,
        norm: str = "none",
        lags: int = 0,
        apart: bool = False,
        point: str = "median",
        clip_step: float | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        check_quantiles(quantiles)
        if norm not in ("none", "window"):
            raise ValueError(f"norm={norm!r} does not exist: 'none' or 'window'")
        self.series, self.horizon, self.change, self.norm = series, horizon, change, norm
        self.lags, self.apart = lags, apart and series > 1
        self.middle, self.levels = list(quantiles).index(0.5), len(quantiles)
        self.outputs = self.levels + (point == "mean")
        read, each = (inputs - series + 1, 1) if self.apart else (inputs, series)
        self.layers = recurrent(cell, read, hidden, layers, dropout=dropout, clip_step=clip_step, backend=backend)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, horizon * each * self.outputs)
        nn.init.zeros_(self.head.bias)
        self.lagged = nn.Linear(lags, horizon, bias=False) if lags else None
        if self.lagged is not None:
            nn.init.zeros_(self.lagged.weight)

    def forward(self, x: Tensor, state: Any = None, *, last: bool = False) -> tuple[Tensor, Any]:
        """``last``: only what is said at the last step, ``y [1, B, H, C, Q]``, for a fraction of the memory."""
        if not self.apart:
            return self._together(x, state, last)
        rows = x.shape[1]
        own, rest = x[..., : self.series], x[..., self.series :]
        rest = rest[:, :, None].expand(-1, -1, self.series, -1)
        alone = torch.cat([own[..., None], rest], -1).flatten(1, 2)
        y, inner = self._together(alone, None if state is None else map_leaves(self._spread, state), last)
        y = y.reshape(len(y), rows, self.series, self.horizon, -1).transpose(2, 3)
        return y, map_leaves(lambda leaf: leaf.reshape(*leaf.shape[:-2], rows, -1), inner)

    def _spread(self, leaf: Tensor) -> Tensor:
        """The state ``[..., B, C·F]``, whose rows are those of the batch, as each series alone has it: ``[..., B·C, F]``."""
        return leaf.reshape(*leaf.shape[:-2], leaf.shape[-2] * self.series, -1)

    def _together(self, x: Tensor, state: Any, last: bool) -> tuple[Tensor, Any]:
        series = 1 if self.apart else self.series
        inner, seen, recent = (None, None, None) if state is None else state
        own = x[..., :series]
        center, scale = torch.zeros_like(own), torch.ones_like(own)
        if self.norm == "window":
            center, scale, seen = _so_far(own, seen)
            x = torch.cat([(own - center) / scale, x[..., series:]], -1)
        present = own if self.change else center
        y, inner = self.layers(x, inner)
        before = None
        if self.lagged is not None:
            before, recent = _last(own, self.lags, recent)
        if last:
            y, present, scale = y[-1:], present[-1:], scale[-1:]
            before = None if before is None else before[-1:]
        raw = self.head(self.dropout(y)).unflatten(-1, (self.horizon, series, self.outputs))
        point = raw[..., [self.middle, *range(self.levels, self.outputs)]]
        if self.lagged is not None and before is not None:
            away = (before - present[..., None]) / scale[..., None]
            point = point + self.lagged(away.nan_to_num(0)).transpose(-1, -2)[..., None]
        scale = scale[:, :, None, :, None]
        point = point * scale + present[:, :, None, :, None]
        median, mean = point[..., :1], point[..., 1:]
        gaps = softplus(raw[..., : self.levels]) * scale
        below = gaps[..., : self.middle].flip(-1).cumsum(-1).flip(-1)
        above = gaps[..., self.middle + 1 :].cumsum(-1)
        return torch.cat([median - below, median, median + above, mean], -1), (inner, seen, recent)


Seen = tuple[Tensor, Tensor, Tensor, Tensor]
"""What is known of each series up to a step: first value [B, C], count [B, 1], sum and sum of squares [B, C] from the first."""


def _last(own: Tensor, count: int, before: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The last ``count`` values ``[T, B, C, count]`` up to and including each step, NaN where there is none yet."""
    steps, rows, _ = own.shape
    if before is None:
        before = own.new_zeros(count - 1, *own.shape[1:]), own.new_zeros(rows, 1)
    values, seen = before  # zeros and a count, for a state that starts afresh is zeros
    joined = torch.cat([values, own])
    counts = seen + torch.arange(1, steps + 1, device=own.device, dtype=own.dtype)[:, None, None]
    age = torch.arange(count - 1, -1, -1, device=own.device, dtype=own.dtype)
    windows = joined.unfold(0, count, 1)
    return windows.masked_fill(age >= counts[..., None], torch.nan), (joined[len(joined) - count + 1 :], counts[-1])


def _so_far(own: Tensor, seen: Seen | None) -> tuple[Tensor, Tensor, Seen]:
    """Mean and deviation ``[T, B, C]`` of each series up to and including each step."""
    zero = torch.zeros_like(own[0])
    first, count, total, square = (own[0], zero[:, :1], zero, zero) if seen is None else seen
    first = torch.where(count > 0, first, own[0])
    away = own - first  # sums of what lies far from zero would cancel
    counts = count + torch.arange(1, len(own) + 1, device=own.device, dtype=own.dtype)[:, None, None]
    totals, squares = total + away.cumsum(0), square + away.square().cumsum(0)
    mean = totals / counts
    # A hundredth of the variance of training stands below, so that a series that has not moved yet has a scale.
    deviation = ((squares / counts - mean.square()).clamp(min=0) + 0.01).sqrt()
    return first + mean, deviation, (first, counts[-1], totals[-1], squares[-1])


class Pinball(nn.Module):
    """E = 2/Q Σ_q Σ max(q·e, (q-1)·e) with e = target - y: its minimum is the quantiles; for q = 0.5 alone it is Σ|e|.

    ``y [..., Q]``, ``target [...]``; a target that is missing is NaN, and is left out of the sum and of the count. With
    ``mean`` the last of ``y [..., Q+1]`` is no quantile: Σ e² of it is added, whose minimum is the mean.
    Koenker & Bassett 1978, "Regression quantiles".

    **Raises** ``ValueError`` for shapes that do not fit.
    """

    unit = "scaled"

    def __init__(self, quantiles: Sequence[float], mean: bool = False) -> None:
        super().__init__()
        check_quantiles(quantiles)
        self.quantiles, self.mean = tuple(quantiles), mean

    def forward(self, y: Tensor, target: Tensor) -> Tensor:
        levels = len(self.quantiles)
        if y.shape != (*target.shape, levels + self.mean):
            also = " and the mean" if self.mean else ""
            raise ValueError(
                f"y is {list(y.shape)}, but a target of {list(target.shape)} and {levels} quantiles{also} need "
                f"{[*target.shape, levels + self.mean]}"
            )
        known = ~torch.isnan(target)
        error = (target.masked_fill(~known, 0)[..., None] - y).masked_fill(~known[..., None], 0)
        q, away = y.new_tensor(self.quantiles), error[..., :levels]
        pinball = torch.maximum(q * away, (q - 1) * away).sum() * (2 / levels)
        return pinball + error[..., levels:].square().sum() if self.mean else pinball

    def count(self, target: Tensor) -> int:
        return int((~torch.isnan(target)).sum())


def check_quantiles(quantiles: Sequence[float]) -> None:
    """**Raises** ``ValueError`` for quantiles that are not rising, lie outside 0..1, or lack 0.5."""
    inside = all(isinstance(q, (int, float)) and 0 < q < 1 for q in quantiles)
    if not inside or list(quantiles) != sorted(set(quantiles)) or 0.5 not in quantiles:
        raise ValueError(f"quantiles rise between 0 and 1 and hold 0.5, as in 0.05, 0.5, 0.95; got {list(quantiles)}")
