"""What learns: the parameters of a model and of its loss, and the gradients that stand in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def learned(model: nn.Module, loss: Any = None) -> list[Tensor]:
    """The parameters that require a gradient: the model's, then those of the loss that are not the model's."""
    parts = [part for part in (model, loss) if isinstance(part, nn.Module)]
    each = {id(p): p for part in parts for p in part.parameters() if p.requires_grad}
    return list(each.values())


def gradient_of(parameters: Sequence[Tensor]) -> Tensor:
    """Their gradients as one vector of real numbers in double precision: zero where none stands, complex numbers as two."""
    parts = [_real(torch.zeros_like(p) if p.grad is None else p.grad) for p in parameters]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def _real(part: Tensor) -> Tensor:
    part = part.detach()
    part = part.to_dense() if part.is_sparse else part
    return (torch.view_as_real(part.resolve_conj()) if part.is_complex() else part).flatten().to(torch.float64)


@contextmanager
def without_gradients(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Inside, no gradient stands at first; after it, those of before."""
    before = [p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    try:
        yield
    finally:
        for p, kept in zip(parameters, before, strict=True):
            p.grad = kept
