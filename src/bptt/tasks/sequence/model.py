"""The network of the sequence task, and its loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from bptt.tasks.layers import recurrent


class SequenceModel(nn.Module):
    """At every step, the log odds of every label to be there at the next: dropout, recurrent layers, dropout, readout.

    ``logits, state = model(x, state, mask=None, reset=None)`` with ``x [T, B, L]`` of 0 and 1 and ``logits [T, B, L]``; a
    stateful module for `bptt.backprop`, with `LabelsCrossEntropy` as its loss.

    The labels of one step are independent of each other given all steps before it. Not where which of them go together
    matters more than that: a chord's keys are then drawn one by one, by a text model.
    """

    def __init__(
        self,
        labels: int,
        *,
        cell: str = "lstm",
        hidden: int = 256,
        layers: int = 1,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        clip_step: float | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.before, self.after = nn.Dropout(input_dropout), nn.Dropout(dropout)
        self.layers = recurrent(cell, labels, hidden, layers, dropout=dropout, clip_step=clip_step, backend=backend)
        self.readout = nn.Linear(hidden, labels)

    def start_at(self, shares: Tensor) -> None:
        """Sets the readout so that a network that knows nothing yet says the share ``[L]`` of each label."""
        with torch.no_grad():
            self.readout.bias.copy_(torch.logit(shares))

    def forward(
        self, x: Tensor, state: Any = None, *, mask: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        y, state = self.layers(self.before(x), state, mask=mask, reset=reset)
        return self.readout(self.after(y)), state


class LabelsCrossEntropy(nn.Module):
    """E = -Σ_t Σ_l target log σ(y) + (1 - target) log(1 - σ(y)), in nats; the count is of steps, not of labels.

    ``y`` and ``target`` ``[..., L]``. The sum over labels is the negative log-likelihood of a step's set, as the results on
    polyphonic music are given (Boulanger-Lewandowski et al. 2012, arXiv 1206.6392).

    **Raises** ``ValueError`` for shapes that differ.
    """

    unit = "nats"

    def forward(self, y: Tensor, target: Tensor) -> Tensor:
        if y.shape != target.shape:
            raise ValueError(f"y is {list(y.shape)} and target {list(target.shape)}: they need one shape")
        return binary_cross_entropy_with_logits(y, target, reduction="sum")

    def count(self, target: Tensor) -> int:
        return target.numel() // target.shape[-1]


def surprise(y: Tensor, target: Tensor) -> Tensor:
    """-log likelihood ``[...]`` of each step's set, in nats, from log odds and truth ``[..., L]``."""
    return -(target * logsigmoid(y) + (1 - target) * logsigmoid(-y)).sum(-1)
