"""Products of many vectors with one Jacobian."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def products(output: Tensor, inputs: Sequence[Tensor], vectors: Tensor) -> list[Tensor | None]:
    """vᵀ ∂output/∂input for each v of ``vectors [V, *output.shape]``: for each input ``[V, *input.shape]``.

    ``None`` where the output does not depend on that input. The graph is kept; the products have no history.
    """
    if not output.requires_grad or not inputs:
        return [None] * len(inputs)
    try:
        found: tuple[Tensor | None, ...] = torch.autograd.grad(
            output, inputs, vectors, retain_graph=True, allow_unused=True, is_grads_batched=True
        )
    except (RuntimeError, TypeError):
        # A backward pass of the module's own that takes one error at a time; if it fails on that too, it says why.
        each = [torch.autograd.grad(output, inputs, v, retain_graph=True, allow_unused=True) for v in vectors]
        found = tuple(_stacked(column) for column in zip(*each, strict=True))
    return [None if g is None else g.detach() for g in found]


def _stacked(column: tuple[Tensor | None, ...]) -> Tensor | None:
    given = [g.to_dense() if g.is_sparse else g for g in column if g is not None]
    return torch.stack(given) if given else None
