"""The network of the text task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from bptt.loss import CrossEntropy
from bptt.nn import VariationalDropout, readout_cross_entropy
from bptt.tasks.layers import recurrent

_TIED = 0.1


class TextModel(nn.Module):
    """Predicts each next token: embedding, recurrent layers, readout; dropout before and after the layers.

    ``logits, state = model(x, state, mask=None, reset=None)`` with ``x [T, B]`` whole numbers below V and
    ``logits [T, B, V]``; a stateful module for `bptt.backprop`, with `bptt.CrossEntropy` as its loss.

    ``tie=True`` reads out with the embedding's own weights (Press & Wolf 2017, arXiv 1608.05859): fewer parameters,
    good for large V. Not for tokens that are classes of unrelated inputs and outputs. With ``spread`` all weights begin
    uniformly within ±it, and biases as 0; without, as each part of the network does by itself, tied embeddings within ±0.1.
    ``variational``: dropout drops the same features at every step; ``weight_drop``: the share of weights from state to state
    dropped in training.

    **Raises** ``ValueError`` where tied sizes differ, naming both.
    """

    def __init__(
        self,
        size: int,
        *,
        cell: str = "lstm",
        hidden: int = 512,
        layers: int = 1,
        embed: int = 64,
        dropout: float = 0.0,
        variational: bool = False,
        weight_drop: float = 0.0,
        tie: bool = False,
        spread: float | None = None,
        clip_step: float | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if tie and embed != hidden:
            raise ValueError(f"tied weights need embed = hidden, got {embed} and {hidden}: make them equal, or --no-tie")
        self.embedding = nn.Embedding(size, embed)
        self.dropout = VariationalDropout(dropout) if variational else nn.Dropout(dropout)
        self.layers = recurrent(
            cell, embed, hidden, layers, dropout=dropout, clip_step=clip_step, backend=backend, variational=variational,
            weight_drop=weight_drop,
        )  # fmt: skip
        self.readout = nn.Linear(hidden, size)
        if tie:
            nn.init.uniform_(self.embedding.weight, -_TIED, _TIED)
            self.readout.weight = self.embedding.weight
        nn.init.zeros_(self.readout.bias)
        if spread is not None:
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -spread, spread) if parameter.ndim > 1 else nn.init.zeros_(parameter)
        self._leaves_readout = False

    def forward(
        self, x: Tensor, state: Any = None, *, mask: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        y, state = self.layers(self.dropout(self.embedding(x)), state, mask=mask, reset=reset)
        y = self.dropout(y)
        return (y if self._leaves_readout and self.training else self.readout(y)), state

    @contextmanager
    def leaving_readout(self) -> Iterator[ReadoutByLoss]:
        """Inside, what is trained gives ``[T, B, H]``, and the loss handed out reads it out: faster for large V.

        In evaluation mode the model gives its logits as ever, and that loss takes them.
        """
        self._leaves_readout = True
        try:
            yield ReadoutByLoss(self)
        finally:
            self._leaves_readout = False


class ReadoutByLoss(CrossEntropy):
    """`bptt.CrossEntropy` of a `TextModel` that leaves its readout to the loss while it is trained."""

    def __init__(self, model: TextModel) -> None:
        super().__init__()
        self._model = (model,)  # not a part of the loss, whose parameters would be its own

    def forward(self, y: Tensor, target: Tensor) -> Tensor:
        (model,) = self._model
        if not model.training:
            return super().forward(y, target)
        return readout_cross_entropy(y, model.readout.weight, model.readout.bias, target, self.ignore_index)

    def __repr__(self) -> str:
        return repr(CrossEntropy())  # by which a run's folder knows its loss: it is the same one
