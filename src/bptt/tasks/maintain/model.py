"""The network of the maintenance task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bptt.tasks.layers import recurrent


class RemainingModel(nn.Module):
    """At every cycle, the life that is left: recurrent layers over all readings so far, dropout, one number.

    ``y, state = model(x, state, mask=None, reset=None)`` with ``x [T, B, S]`` scaled readings and ``y [T, B, 1]`` in units of
    the cap; a stateful module for `bptt.backprop`, with `bptt.SquaredError` as its loss. No step sees what comes after it.
    """

    def __init__(
        self,
        sensors: int,
        *,
        cell: str = "gru",
        hidden: int = 32,
        layers: int = 1,
        dropout: float = 0.0,
        noise: float = 0.0,
        clip_step: float | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.noise = noise
        self.layers = recurrent(cell, sensors, hidden, layers, dropout=dropout, clip_step=clip_step, backend=backend)
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Linear(hidden, 1)
        nn.init.constant_(self.readout.bias, 0.6)

    def forward(
        self, x: Tensor, state: Any = None, *, mask: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        if self.training and self.noise:
            x = x + self.noise * torch.randn_like(x)
        y, state = self.layers(x, state, mask=mask, reset=reset)
        return self.readout(self.dropout(y)), state
