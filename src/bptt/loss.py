"""Losses as sums over steps and rows, with the number of targets they sum over."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bptt.data.piece import Piece
from bptt.state import leaves, map_leaves


class CrossEntropy(nn.Module):
    """E = -Σ log softmax(y)[target], in nats, over every step and row whose target is not ``ignore_index``.

    ``y [..., V]``, ``target [...]`` whole numbers below V.

    **Raises** ``ValueError`` for shapes that do not fit.
    """

    unit = "nats"

    def __init__(self, ignore_index: int = -100) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, y: Tensor, target: Tensor) -> Tensor:
        if y.shape[:-1] != target.shape:
            raise ValueError(
                f"y is {list(y.shape)} and target {list(target.shape)}: y has one dimension more, the scores of every symbol"
            )
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


def check_loss(loss: Any) -> None:
    """Refuses a loss that is known not to be a sum: torch's loss classes and functions say so themselves.

    **Raises** ``TypeError`` or ``ValueError``.
    """
    if not callable(loss):
        raise TypeError(f"loss must be a function of (y, target), got {type(loss).__name__}")
    kind = getattr(loss, "reduction", None)
    if kind is None and not isinstance(loss, nn.Module):
        try:
            given = inspect.signature(loss).parameters.get("reduction")
        except (TypeError, ValueError):
            given = None
        kind = None if given is None or given.default is inspect.Parameter.empty else given.default
    if isinstance(kind, str) and kind != "sum":
        name = type(loss).__name__ if isinstance(loss, nn.Module) else getattr(loss, "__name__", "loss")
        mend = f"{name}(reduction='sum')" if isinstance(loss, nn.Module) else f"functools.partial({name}, reduction='sum')"
        raise ValueError(f"{name} has reduction={kind!r}, but a loss must be the sum over steps and rows: {mend}")


def counted(loss: Any, y: Any, piece: Piece, where: str) -> tuple[Tensor, int]:
    """The loss of a piece, and the number of targets it sums over."""
    return summed(loss, y, piece, where), targets(loss, piece)


def summed(loss: Any, y: Any, piece: Piece, where: str) -> Tensor:
    """The loss of a piece, over the steps and rows that exist."""
    y, target = existing(y, piece, where)
    if isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss)) and isinstance(y, Tensor) and y.ndim == target.ndim + 1 > 2:
        raise ValueError(
            f"{where}: y is {list(y.shape)} with the classes last, and torch's {type(loss).__name__} wants them second: use "
            "bptt.CrossEntropy(), which also says how many targets it sums over"
        )
    made = loss(y, target)
    if not isinstance(made, Tensor) or made.ndim:
        got = f"a tensor of shape {list(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
        raise TypeError(
            f"{where}: loss(y, target) returned {got}, expected a tensor without dimensions: the sum over steps and rows, as "
            "with reduction='sum'"
        )
    return made


def targets(loss: Any, piece: Piece) -> int:
    """The number of targets that the loss of a piece sums over."""
    counts, mask, target = getattr(loss, "count", None), piece.mask, piece.target
    if callable(counts):
        whole = mask is None or bool(mask.all())
        return int(counts(target if whole else map_leaves(lambda t: t[mask], target)))
    return math.prod(leaves(piece.x)[0].shape[:2]) if mask is None else int(mask.sum())


def existing(y: Any, piece: Piece, where: str) -> tuple[Any, Any]:
    """``y`` and the target at the steps and rows that exist: ``[N, ...]`` where some do not, else as they are."""
    target, mask = piece.target, piece.mask
    if mask is None or bool(mask.all()):
        return y, target
    for leaf in leaves(y):
        if leaf.shape[:2] != mask.shape:
            raise ValueError(
                f"{where}: y is {list(leaf.shape)}, expected [T, B, ...] with T, B = {list(mask.shape)} as in mask"
            )
    y, target = (map_leaves(lambda t: t[mask], part) for part in (y, target))
    return y, target
