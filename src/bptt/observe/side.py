"""All steps of a chain but the first side by side, as the rows of one: what is summed over steps then takes one product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from bptt import state as states
from bptt.call import Caller
from bptt.data.piece import Piece
from bptt.executor import Loss
from bptt.loss import counted
from bptt.observe.parts import carries_error, differentiable, rows_dim
from bptt.state import State

Errors = list[Tensor | None]


class Step(Protocol):
    """What a link of a chain tells of its step."""

    @property
    def after(self) -> list[Tensor]: ...
    @property
    def loss(self) -> Tensor: ...
    @property
    def piece(self) -> Piece: ...
    @property
    def state(self) -> State: ...


class SideBySide:
    """One step of (T - 1) · B rows, which begins where the steps 1 to T - 1 of a chain do; see `side_by_side`."""

    def __init__(self, before: list[Tensor], after: list[Tensor], loss: Tensor, dims: list[int], steps: int) -> None:
        self._before, self.after, self._loss, self._dims, self._steps = before, after, loss, dims, steps

    def explicit(self, weights: list[Tensor]) -> tuple[list[Errors], Errors]:
        """The error of each step's own loss just before it, and Σ_t C[t,t] over the steps."""
        if not self._loss.requires_grad:
            return [[None] * len(self._before) for _ in range(self._steps)], [None] * len(weights)
        found = torch.autograd.grad(self._loss, [*self._before, *weights], retain_graph=True, allow_unused=True)
        split = [
            [None] * self._steps if error is None else list(error.chunk(self._steps, dim))
            for error, dim in zip(found, self._dims, strict=False)
        ]
        return [list(each) for each in zip(*split, strict=True)], list(found[len(self._before) :])

    def implicit(self, weights: list[Tensor], errors: Sequence[Errors | None]) -> Errors:
        """Σ_{k<t} C[t,k] over the steps k, from the error of all later losses after each."""
        roots, seeds = [], []
        for i, (leaf, dim) in enumerate(zip(self.after, self._dims, strict=True)):
            given = [None if each is None else each[i] for each in errors]
            known = next((error for error in given if error is not None), None)
            if known is None or not leaf.requires_grad:
                continue
            roots.append(leaf)
            seeds.append(torch.cat([torch.zeros_like(known) if error is None else error for error in given], dim))
        if not roots or not weights:
            return [None] * len(weights)
        return list(torch.autograd.grad(roots, weights, seeds, retain_graph=True, allow_unused=True))


def side_by_side(call: Caller, loss: Loss, links: Sequence[Step], rows: int) -> SideBySide | None:
    """``None`` where rows cannot be told from each other, or influence each other, or numbers are drawn at random.

    Whether that is so is seen by the loss and the states, which must come out as those of the steps one by one.
    """
    rest = links[1:]
    if not rest or not all(carries_error(leaf) for leaf in states.leaves(rest[0].state)):
        return None  # a state that counts steps may do something else at each
    try:
        dims = [rows_dim(name, leaf, rows) for name, leaf in states.named_leaves(rest[0].state)]
    except (ValueError, IndexError):
        return None
    rows_at = [dim for dim in dims if dim is not None]
    if len(rows_at) < len(dims):
        return None
    parts = zip(*(link.piece for link in rest), strict=True)
    piece = Piece(*(_joined(part, [1] * len(states.leaves(part[0]))) for part in parts))
    before = states.inlet(_joined([link.state for link in rest], rows_at))
    try:
        y, after = Caller(call.model)(piece, before, "all steps side by side")  # with more rows than the chain's own expects
        made, _ = counted(loss, y, piece, "all steps side by side")
    except (ValueError, TypeError, RuntimeError):
        return None
    found = SideBySide(differentiable(before), differentiable(after), made, rows_at, len(rest))
    pairs = [(made, torch.stack([link.loss for link in rest]).sum())]
    pairs += [(leaf, torch.cat([link.after[i] for link in rest], rows_at[i])) for i, leaf in enumerate(found.after)]
    return found if all(close(a.detach(), b.detach()) for a, b in pairs) else None


def _joined(given: Sequence[State], dims: Sequence[int]) -> State:
    """Structures that are alike, their tensors joined along the dimension of the rows of each."""
    columns = zip(*(states.leaves(each) for each in given), strict=True)
    joined = iter([torch.cat([leaf.detach() for leaf in column], dim) for column, dim in zip(columns, dims, strict=True)])
    return states.map_leaves(lambda _: next(joined), given[0])


def close(a: Tensor, b: Tensor) -> bool:
    """Whether they are alike but for rounding."""
    if a.shape != b.shape:
        return False
    scale = float(b.abs().max()) if b.numel() else 0.0
    rounding = math.sqrt(torch.finfo(b.dtype).eps)
    return not b.numel() or float((a - b).abs().max()) <= rounding * max(scale, 1e-6)
