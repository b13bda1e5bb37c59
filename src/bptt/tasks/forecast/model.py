"""The network of the forecast task, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

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
        clip_step: float | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        check_quantiles(quantiles)
        if norm not in ("none", "window"):
            raise ValueError(f"norm={norm!r} does not exist: 'none' or 'window'")
        self.series, self.horizon, self.change, self.norm = series, horizon, change, norm
        self.middle, self.levels = list(quantiles).index(0.5), len(quantiles)
        self.layers = recurrent(cell, inputs, hidden, layers, dropout=dropout, clip_step=clip_step, backend=backend)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, horizon * series * len(quantiles))
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        inner, seen = (None, None) if state is None else state
        present = own = x[..., : self.series]
        scale = own.new_ones(())
        if self.norm == "window":
            center, scale, seen = _so_far(own, seen)
            x = torch.cat([(own - center) / scale, x[..., self.series :]], -1)
            present = own if self.change else center
            scale = scale[:, :, None]
        elif not self.change:
            present = torch.zeros_like(own)
        y, inner = self.layers(x, inner)
        raw = self.head(self.dropout(y)).unflatten(-1, (self.horizon, self.series, self.levels))
        median = raw[..., self.middle] * scale + present[:, :, None]
        gaps = softplus(raw) * scale[..., None]
        below = gaps[..., : self.middle].flip(-1).cumsum(-1).flip(-1)
        above = gaps[..., self.middle + 1 :].cumsum(-1)
        median = median[..., None]
        return torch.cat([median - below, median, median + above], -1), (inner, seen)


Seen = tuple[Tensor, Tensor, Tensor, Tensor]
"""What is known of each series up to a step: first value [B, C], count [B, 1], sum and sum of squares [B, C] from the first."""


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

    ``y [..., Q]``, ``target [...]``; a target that is missing is NaN, and is left out of the sum and of the count.
    Koenker & Bassett 1978, "Regression quantiles".

    **Raises** ``ValueError`` for shapes that do not fit.
    """

    unit = "scaled"

    def __init__(self, quantiles: Sequence[float]) -> None:
        super().__init__()
        check_quantiles(quantiles)
        self.quantiles = tuple(quantiles)

    def forward(self, y: Tensor, target: Tensor) -> Tensor:
        if y.shape != (*target.shape, len(self.quantiles)):
            raise ValueError(
                f"y is {list(y.shape)}, but a target of {list(target.shape)} and {len(self.quantiles)} quantiles need "
                f"{[*target.shape, len(self.quantiles)]}"
            )
        known = ~torch.isnan(target)
        error = (target.masked_fill(~known, 0)[..., None] - y).masked_fill(~known[..., None], 0)
        q = y.new_tensor(self.quantiles)
        return torch.maximum(q * error, (q - 1) * error).sum() * (2 / len(self.quantiles))

    def count(self, target: Tensor) -> int:
        return int((~torch.isnan(target)).sum())


def check_quantiles(quantiles: Sequence[float]) -> None:
    """**Raises** ``ValueError`` for quantiles that are not rising, lie outside 0..1, or lack 0.5."""
    inside = all(isinstance(q, (int, float)) and 0 < q < 1 for q in quantiles)
    if not inside or list(quantiles) != sorted(set(quantiles)) or 0.5 not in quantiles:
        raise ValueError(f"quantiles rise between 0 and 1 and hold 0.5, as in 0.05, 0.5, 0.95; got {list(quantiles)}")
