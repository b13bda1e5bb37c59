"""Readout and cross-entropy in one, for large vocabularies: the scores of all symbols never stand in memory at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bptt.kernels.native import readout as native
from bptt.kernels.native.readout import Found

# Scores held at once. Larger pieces no longer make the products faster, smaller ones leave the cache sooner.
_ELEMENTS = 1 << 21
_LEAST_ROWS = 64


def readout_cross_entropy(h: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, ignore_index: int = -100) -> Tensor:
    """E = -Σ log softmax(W h + b)[target], in nats, over all whose target is not ``ignore_index``.

    ``h [..., H]``, ``weight [V, H]``, ``bias [V]`` or none, ``target [...]`` whole numbers below V. The gradients are made
    along with E, piece by piece, so that the backward pass computes no product again. They have no gradients themselves.
    Not for small V, where nothing is gained, nor where the scores are needed for something else.

    **Raises** ``ValueError`` for shapes that do not fit, ``IndexError`` for a target that is no symbol.
    """
    if weight.ndim != 2 or h.shape[-1:] != weight.shape[1:]:
        raise ValueError(f"h is {list(h.shape)} and the readout's weight {list(weight.shape)}: expected [..., H] and [V, H]")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"the readout's bias is {list(bias.shape)}, expected {list(weight.shape[:1])}, as V in its weight")
    if target.shape != h.shape[:-1]:
        raise ValueError(f"target is {list(target.shape)}, expected {list(h.shape[:-1])}, as h without its last dimension")
    h, target = h.flatten(0, -2), target.flatten()
    counts = target != ignore_index
    if not bool(counts.all()):
        h, target = h[counts], target[counts]
    if len(target) and (int(target.min()) < 0 or int(target.max()) >= len(weight)):
        raise IndexError(f"targets lie in {int(target.min())}..{int(target.max())}, expected 0..{len(weight) - 1}")
    return _ReadoutCrossEntropy.apply(h, weight, bias, target)  # type: ignore[no-any-return, no-untyped-call]


class ReadoutCrossEntropy(nn.Module):
    """`readout_cross_entropy` as a loss of what comes before the readout: ``loss(h, target)``.

    ``readout``: the model's own ``nn.Linear`` from H to V. It stays the model's, which returns h where this loss is used
    (and the scores where they are wanted); the loss lists no parameters.
    """

    unit = "nats"

    def __init__(self, readout: nn.Linear, ignore_index: int = -100) -> None:
        super().__init__()
        self._readout = (readout,)
        self.ignore_index = ignore_index

    def forward(self, h: Tensor, target: Tensor) -> Tensor:
        (readout,) = self._readout
        return readout_cross_entropy(h, readout.weight, readout.bias, target, self.ignore_index)

    def count(self, target: Tensor) -> int:
        return int((target != self.ignore_index).sum())


class _ReadoutCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor) -> Tensor:
        ctx.wanted = tuple(ctx.needs_input_grad[:3])
        total, ctx.found = _computed(h, weight, bias, target, ctx.wanted)
        if any(ctx.wanted):
            ctx.save_for_backward(h, weight, bias, target)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        # Handed on, not copied: whoever goes back once more through a graph that was kept has them computed once more.
        found, ctx.found = ctx.found, None
        if found is None:
            h, weight, bias, target = ctx.saved_tensors
            _, found = _computed(h, weight, bias, target, ctx.wanted)
        if bool(error != 1):
            for gradient in found:
                if gradient is not None:
                    gradient.mul_(error)
        return (*found, None)


def _computed(h: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, wanted: tuple[bool, ...]) -> tuple[Tensor, Found]:
    """E, and the gradients of h, weight and bias where wanted."""
    if native.serves(h, weight, bias, target):
        loss, found = native.cross_entropy(h, weight, bias, target, wanted)
        return h.new_tensor(loss), found
    return _by_torch(h, weight, bias, target, wanted)


def _by_torch(h: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, wanted: tuple[bool, ...]) -> tuple[Tensor, Found]:
    wants_h, wants_weight, wants_bias = wanted
    rows, symbols = len(h), len(weight)
    dh = torch.empty_like(h) if wants_h else None
    dweight = torch.zeros_like(weight) if wants_weight and not rows else None
    dbias = weight.new_zeros(symbols) if wants_bias else None
    pieces = max(1, -(-rows // max(_LEAST_ROWS, _ELEMENTS // symbols)))
    size = max(1, -(-rows // pieces))
    buffer = h.new_empty(min(size, rows), symbols)
    total = torch.zeros((), dtype=torch.float64 if h.device.type != "mps" else h.dtype, device=h.device)
    for start in range(0, rows, size):
        part, right = h[start : start + size], target[start : start + size, None]
        scores = buffer[: len(part)]
        torch.mm(part, weight.t(), out=scores) if bias is None else torch.addmm(bias, part, weight.t(), out=scores)
        # log Σ exp: the largest score, less the logarithm of its share. The shares take the place of the scores.
        largest, reached = scores.amax(1), scores.gather(1, right)[:, 0]
        shares = torch.softmax(scores, 1, out=scores)
        total += (largest - shares.amax(1).log() - reached).sum(dtype=total.dtype)
        if not any(wanted):
            continue
        shares.scatter_add_(1, right, shares.new_full((1, 1), -1.0).expand_as(right))
        if dh is not None:
            torch.mm(shares, weight, out=dh[start : start + size])
        if wants_weight:
            dweight = torch.mm(shares.t(), part) if dweight is None else dweight.addmm_(shares.t(), part)
        if dbias is not None:
            dbias += shares.sum(0)
    return total.to(h.dtype), (dh, dweight, dbias)
