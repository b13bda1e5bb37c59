"""The classifier: embedding, recurrent layers read both ways, one vector of all steps, a score for each class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bptt.nn.pool import Pool
from bptt.tasks.layers import recurrent


class ClassifyModel(nn.Module):
    """Token numbers ``x [T, B]`` to the scores ``y [T, B, C]`` of C classes, at every step of what was read up to there.

    In training a share ``word_dropout`` of the tokens is ``blank``. With ``bidirectional`` only the scores at a row's last
    step mean anything, and the sequence must come whole; without, it may come in pieces, by any strategy.
    """

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        blank: int = 0,
        embed: int = 100,
        cell: str = "lstm",
        hidden: int = 100,
        layers: int = 1,
        bidirectional: bool = True,
        pool: str = "max",
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        clip_step: float | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.blank, self.word_dropout = blank, word_dropout
        self.embed = nn.Embedding(size, embed)
        nn.init.normal_(self.embed.weight, std=_SPREAD)
        self.layers = recurrent(
            cell, embed, hidden, layers, dropout=dropout, bidirectional=bidirectional, clip_step=clip_step, backend=backend
        )
        self.pool = Pool(pool, hidden * (2 if bidirectional else 1), backward=hidden if bidirectional else 0)
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Linear(self.pool.input_size, classes)

    def forward(self, x: Tensor, state: Any = None, mask: Tensor | None = None) -> tuple[Tensor, Any]:
        inner, pooled = (None, None) if state is None else state
        if self.training and self.word_dropout:
            x = x.masked_fill(torch.rand(x.shape, device=x.device) < self.word_dropout, self.blank)
        y, inner = self.layers(self.dropout(self.embed(x)), inner, mask=mask)
        y, pooled = self.pool(y, pooled, mask)
        return self.readout(self.dropout(y)), (inner, pooled)


_SPREAD = 0.1  # of a new embedding's numbers: of the size that training moves them by, so that rare words do not stay noise
