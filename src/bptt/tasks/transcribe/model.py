"""The transcriber: recurrent layers over frames, a score for each symbol at every step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bptt.tasks.layers import recurrent

_SPANS = 2  # blanked in time and in bands each, as in Park et al. 2019


class TranscribeModel(nn.Module):
    """Frames ``x = (features [T, B, stack · bands], exists [T, B])`` to the scores ``y [T, B, V]`` of V symbols.

    In training spans of steps and of bands are zero, which is the mean of normalised features: at most a share ``mask_time``
    and ``mask_bands`` of them. Park et al. 2019, SpecAugment, arXiv 1904.08779. With ``bidirectional`` the sequence must come
    whole.
    """

    def __init__(
        self,
        bands: int,
        stack: int,
        size: int,
        *,
        cell: str = "lstm",
        hidden: int = 128,
        layers: int = 2,
        bidirectional: bool = True,
        dropout: float = 0.0,
        mask_time: float = 0.0,
        mask_bands: float = 0.0,
        clip_step: float | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.bands, self.stack, self.mask_time, self.mask_bands = bands, stack, mask_time, mask_bands
        self.layers = recurrent(
            cell, bands * stack, hidden, layers, dropout=dropout, bidirectional=bidirectional, clip_step=clip_step,
            backend=backend,
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Linear(hidden * (2 if bidirectional else 1), size)

    def forward(self, x: tuple[Tensor, Tensor], state: Any = None) -> tuple[Tensor, Any]:
        features, exists = x
        if self.training:
            features = self._blanked(features, exists)
        y, state = self.layers(features, state, mask=None if bool(exists.all()) else exists)
        return self.readout(self.dropout(y)), state

    def _blanked(self, features: Tensor, exists: Tensor) -> Tensor:
        steps, rows = exists.shape
        if self.mask_time:
            features = features.masked_fill(_spans(exists.sum(0), steps, self.mask_time)[:, :, None], 0)
        if self.mask_bands:
            bands = torch.full((rows,), self.bands, device=features.device)
            blank = _spans(bands, self.bands, self.mask_bands).t().repeat(1, self.stack)
            features = features.masked_fill(blank, 0)
        return features


def _spans(lengths: Tensor, longest: int, share: float) -> Tensor:
    """Which of ``longest`` places ``[longest, B]`` lie in one of some random spans, all of a row's at most a share of it."""
    place = torch.arange(longest, device=lengths.device)[:, None]
    found = torch.zeros(longest, len(lengths), dtype=torch.bool, device=lengths.device)
    for width, where in torch.rand(_SPANS, 2, len(lengths), device=lengths.device).unbind(0):
        width = (width * lengths * share / _SPANS).floor()
        start = (where * (lengths - width + 1)).floor()
        found |= (place >= start) & (place < start + width)
    return found
