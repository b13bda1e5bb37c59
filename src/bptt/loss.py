"""Losses as sums over steps and rows, with the number of targets they sum over."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class CrossEntropy(nn.Module):
    """E = -Σ log softmax(y)[target], in nats, over every step and row whose target is not ``ignore_index``.

    ``y [..., V]``, ``target [...]`` whole numbers below V.
    """

    def __init__(self, ignore_index: int = -100) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, y: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(y.flatten(0, -2), target.flatten(), ignore_index=self.ignore_index, reduction="sum")

    def count(self, target: Tensor) -> int:
        return int((target != self.ignore_index).sum())


class SquaredError(nn.Module):
    """E = Σ (y - target)², over every element whose target is not NaN.

    ``y`` and ``target`` of one shape. Give a target that is missing as NaN.

    **Raises** ``ValueError`` for shapes that differ, instead of broadcasting them.
    """

    def forward(self, y: Tensor, target: Tensor) -> Tensor:
        if y.shape != target.shape:
            raise ValueError(f"y is {list(y.shape)} and target {list(target.shape)}: a squared error needs one shape")
        known = ~torch.isnan(target)
        return (y - target.masked_fill(~known, 0)).masked_fill(~known, 0).square().sum()

    def count(self, target: Tensor) -> int:
        return int((~torch.isnan(target)).sum())
