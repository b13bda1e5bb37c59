"""One row of a sequence, run as many times side by side: a single backward pass then gives a whole Jacobian."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bptt import state as states
from bptt.call import Caller, check_history
from bptt.data.piece import Piece
from bptt.data.reader import reader
from bptt.kernels.errors_only import errors_only
from bptt.observe.parts import differentiable
from bptt.state import State

Step = tuple[list[Tensor], list[Tensor]]


class Replica:
    """Copies of one ``row``; ``size`` n is how many numbers its state has. To be used with the model in evaluation mode."""

    def __init__(self, model: nn.Module, sequence: Any, state: State, row: int, steps: int) -> None:
        check_history()
        self.call = Caller(model)
        self.name = type(model).__name__
        if self.call.whole is not None:
            raise ValueError(f"a bidirectional layer ({self.call.whole}) has no state that is carried from step to step")
        source = reader(sequence)
        end = source.upto(steps + 1)
        if end < 2:
            raise ValueError(f"the sequence has {end} step{'s' * (end != 1)}: a step from state to state takes at least 2")
        piece = source.read(0, end)
        rows = states.leaves(piece.x)[0].shape[1]
        if not 0 <= row < rows:
            raise ValueError(f"row must be one of the {rows} rows, 0 to {rows - 1}, got {row!r}")
        self._piece = _one_row(piece, row)
        self._dims = self._find_dims()
        self.size = sum(_reals(leaf).numel() for leaf in self._own)
        if not self.size:
            raise ValueError(f"{self.name} carries no state that a gradient can travel through")
        self._initial = None if state is None else self._of_row(state, row, rows)

    def run(self, copies: int) -> Iterator[Step]:
        """The state before and after each step that has one before it, rows equal, as leaves and results of its graph."""
        state = None if self._initial is None else states.map_leaves(lambda t: self._spread(t, copies), self._initial)
        for k in range(states.leaves(self._piece.x)[0].shape[0]):
            x = states.map_leaves(lambda t, k=k: t[k : k + 1].expand(-1, copies, *t.shape[2:]), self._piece.x)  # type: ignore[misc]
            before = None if state is None else states.inlet(state)
            with torch.enable_grad():
                _, after = self.call(Piece(x, None), before, f"step {k}")
            if before is not None:
                yield differentiable(before), differentiable(after)
            state = after

    def flat(self, leaves: list[Tensor | None], like: list[Tensor]) -> Tensor:
        """The leaves' numbers row by row, ``[copies, n]``; zero where there is none."""
        filled = [torch.zeros_like(b) if a is None else a for a, b in zip(leaves, like, strict=True)]
        return torch.cat([_reals(leaf.movedim(dim, 0)).flatten(1) for leaf, dim in zip(filled, self._dims, strict=True)], 1)

    def shaped(self, flat: Tensor, like: list[Tensor]) -> list[Tensor]:
        """The inverse of `flat`."""
        found, at = [], 0
        for leaf, dim in zip(like, self._dims, strict=True):
            moved = _reals(leaf.movedim(dim, 0))
            size = moved[0].numel()
            part = flat[:, at : at + size].reshape(moved.shape).to(moved)
            found.append((torch.view_as_complex(part.contiguous()) if leaf.is_complex() else part).movedim(0, dim))
            at += size
        return found

    def vjp(self, step: Step, cotangents: Tensor) -> Tensor:
        """``cotangents [copies, n]`` times the step's Jacobian: row by row, v ↦ v J."""
        before, after = step
        joined = [(a, c) for a, c in zip(after, self.shaped(cotangents, after), strict=True) if a.requires_grad]
        found: list[Tensor | None] = [None]
        if joined:
            roots, seeds = zip(*joined, strict=True)
            with errors_only():
                found = list(torch.autograd.grad(roots, before, seeds, allow_unused=True))
        if all(part is None for part in found):
            raise ValueError(
                f"{self.name} cuts its state off: the state after a step does not depend on the state before it by torch "
                "operations. Look inside for .detach(), .data, .item(), NumPy or torch.no_grad()"
            )
        product = self.flat(found, before).double()
        if not bool(torch.isfinite(product).all()):
            raise ValueError(
                f"a Jacobian of {self.name} is not finite: bptt.observe.gradient_flow tells the step and the place"
            )
        return product

    def _find_dims(self) -> list[int]:
        """Where the rows are, in every differentiable leaf: the dimension that grows with them."""
        two = states.map_leaves(lambda t: t.expand(-1, 2, *t.shape[2:]), self._piece.x)
        one, both = (differentiable(self.call.structure(Piece(x, None))) for x in (self._piece.x, two))
        self._own = one
        dims = []
        for a, b in zip(one, both, strict=True):
            grown = [dim for dim, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)) if m != n]
            if len(grown) != 1:
                raise ValueError(
                    f"a state tensor of {self.name} is {list(a.shape)} for one row and {list(b.shape)} for two: which numbers "
                    "belong to a row cannot be told"
                )
            dims.append(grown[0])
        return dims

    def _of_row(self, state: State, row: int, rows: int) -> State:
        dims = iter(self._dims)

        def pick(leaf: Tensor) -> Tensor:
            if not (leaf.is_floating_point() or leaf.is_complex()):
                return leaf
            dim = next(dims)
            if leaf.shape[dim] != rows:
                raise ValueError(f"the state given has {leaf.shape[dim]} rows, the sequence {rows}")
            return leaf.detach().narrow(dim, row, 1)

        return states.map_leaves(pick, state)

    def _spread(self, leaf: Tensor, copies: int) -> Tensor:
        if not (leaf.is_floating_point() or leaf.is_complex()):
            return leaf
        dim = next(d for own, d in zip(self._own, self._dims, strict=True) if own.shape == leaf.shape)
        return leaf.repeat_interleave(copies, dim)


def _reals(leaf: Tensor) -> Tensor:
    """A complex number as two: its Jacobian is that of the pair."""
    return torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf


def exponents(stretches: list[NDArray[np.float64]], settle: int) -> NDArray[np.float64]:
    """λ_i = mean log|R_ii| after the first ``settle`` steps, greatest first."""
    with np.errstate(divide="ignore"):
        logs = np.log(np.abs(np.stack(stretches[settle:])))
    return np.asarray(np.sort(logs.mean(0))[::-1])


def _one_row(piece: Piece, row: int) -> Piece:
    """The row's own steps: without those that do not exist, and up to where it starts afresh."""
    x = states.map_leaves(lambda t: t[:, row : row + 1], piece.x)
    if piece.reset is not None:
        afresh = piece.reset[1:, row].nonzero()
        if len(afresh):
            end = int(afresh[0]) + 1
            x = states.map_leaves(lambda t: t[:end], x)
    if piece.mask is not None:
        there = piece.mask[: len(states.leaves(x)[0]), row]
        x = states.map_leaves(lambda t: t[there], x)
    steps = len(states.leaves(x)[0])
    if steps < 2:
        raise ValueError(f"row {row} has {steps} step{'s' * (steps != 1)} before it ends or starts afresh; it takes at least 2")
    return Piece(x, None)
