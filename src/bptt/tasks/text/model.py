"""The network of the text task."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from bptt.tasks.layers import recurrent


class TextModel(nn.Module):
    """Predicts each next token: embedding, recurrent layers, readout; dropout before and after the layers.

    ``logits, state = model(x, state, mask=None, reset=None)`` with ``x [T, B]`` whole numbers below V and
    ``logits [T, B, V]``; a stateful module for `bptt.backprop`, with `bptt.CrossEntropy` as its loss.

    ``tie=True`` reads out with the embedding's own weights (Press & Wolf 2017, arXiv 1608.05859): fewer parameters,
    good for large V. Not for tokens that are classes of unrelated inputs and outputs.

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
        tie: bool = False,
        clip_step: float | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if tie and embed != hidden:
            raise ValueError(f"tied weights need embed = hidden, got {embed} and {hidden}: make them equal, or --no-tie")
        self.embedding = nn.Embedding(size, embed)
        self.dropout = nn.Dropout(dropout)
        self.layers = recurrent(cell, embed, hidden, layers, dropout=dropout, clip_step=clip_step, backend=backend)
        self.readout = nn.Linear(hidden, size)
        if tie:
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
            self.readout.weight = self.embedding.weight
        nn.init.zeros_(self.readout.bias)

    def forward(
        self, x: Tensor, state: Any = None, *, mask: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        y, state = self.layers(self.dropout(self.embedding(x)), state, mask=mask, reset=reset)
        return self.readout(self.dropout(y)), state
