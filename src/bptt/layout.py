"""A nested state as one matrix ``[R, n]`` of real numbers: what carries an error, row by row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bptt import state as states
from bptt.state import State


class Layout:
    """Turns states of one form into ``[R, n]`` and back.

    R is the number of rows where rows can be told apart, else 1, with all of them in one. Complex numbers count as two.
    Whole numbers and text carry no error and are no part of it. ``dims(name, leaf)`` finds a tensor's batch dimension.
    """

    def __init__(self, template: State, rows: int, dims: Callable[[str, Tensor], int | None], apart: bool = True) -> None:
        self._places: list[int | None] = []
        self.rows = rows if apart else 1
        for name, leaf in states.named_leaves(template):
            if not _carries(leaf):
                continue
            try:
                place = dims(name, leaf)
            except ValueError:
                place = None
            self._places.append(place)
            if place is None:
                self.rows = 1
        flat = self.flatten(template)
        self.size = flat.shape[1]
        self.dtype, self.device = flat.dtype, flat.device

    def flatten(self, state: State) -> Tensor:
        """``[R, n]``, with the history of the state's tensors."""
        parts = []
        for leaf, place in zip(filter(_carries, states.leaves(state)), self._places, strict=True):
            real = torch.view_as_real(leaf) if leaf.is_complex() else leaf
            parts.append(real.reshape(1, -1) if self.rows == 1 else real.movedim(place or 0, 0).reshape(self.rows, -1))
        if not parts:
            raise ValueError(
                "the state holds no real or complex numbers, so nothing can be learned through it: use bptt.Full()"
            )
        kinds = {part.dtype for part in parts}
        dtype = parts[0].dtype if len(kinds) == 1 else torch.float64 if torch.float64 in kinds else torch.float32
        return torch.cat([part.to(dtype) for part in parts], 1)

    def build(self, flat: Tensor, like: State) -> State:
        """The state whose numbers are those of ``flat``; the rest is that of ``like``."""
        place, start = iter(self._places), 0

        def put(leaf: Tensor) -> Tensor:
            nonlocal start
            if not _carries(leaf):
                return leaf
            dim = next(place)
            real = torch.view_as_real(leaf) if leaf.is_complex() else leaf
            shape = real.shape if self.rows == 1 else real.movedim(dim or 0, 0).shape
            width = real.numel() // self.rows
            made = flat[:, start : start + width].reshape(shape).to(real.dtype)
            start += width
            if self.rows > 1:
                made = made.movedim(0, dim or 0)
            return torch.view_as_complex(made.contiguous()) if leaf.is_complex() else made

        return states.map_leaves(put, like)


def _carries(leaf: Tensor) -> bool:
    return leaf.is_floating_point() or leaf.is_complex()
