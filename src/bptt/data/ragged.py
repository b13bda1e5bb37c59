"""Sequences of different lengths, side by side under a mask."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bptt.data.piece import Piece


class Ragged:
    """``N`` sequences of ``T_i`` steps each, with what is to be learned at every step; examples for `Batches`.

    ``x[i] [T_i, ...]`` and ``target[i] [T_i, ...]``, alike in all but their lengths. ``piece(indices)`` pads them at the end
    with zeros to ``[T, B, ...]``, T the longest of them, under a mask ``[T, B]``; there is none where all are of one length.

    **Raises** ``ValueError`` for sequences that do not fit each other, naming the first of them.

    Not for one long sequence: `Stream` cuts it into rows of one length.
    """

    def __init__(
        self, x: Sequence[ArrayLike], target: Sequence[ArrayLike], *, dtype: torch.dtype | None = torch.float32
    ) -> None:
        self._x, self._target = [np.asarray(each) for each in x], [np.asarray(each) for each in target]
        self.dtype = dtype
        if len(self._x) != len(self._target):
            raise ValueError(f"{len(self._x)} sequences have {len(self._target)} targets: each needs one")
        for number, (inputs, wanted) in enumerate(zip(self._x, self._target, strict=True)):
            if inputs.ndim == 0 or len(inputs) == 0:
                raise ValueError(f"sequence {number} has no steps")
            if len(inputs) != len(wanted):
                raise ValueError(f"sequence {number} has {len(inputs)} steps and targets for {len(wanted)}")
            for name, part, first in (("x", inputs, self._x[0]), ("target", wanted, self._target[0])):
                if part.shape[1:] != first.shape[1:]:
                    raise ValueError(
                        f"{name} {number} is {list(part.shape[1:])} a step, but {list(first.shape[1:])} in the first"
                    )
        self.lengths: NDArray[np.int64] = np.array([len(each) for each in self._x], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._x)

    @property
    def steps(self) -> int | None:
        """The steps of every sequence, or None where they differ."""
        return one_length(self.lengths)

    def piece(self, indices: ArrayLike) -> Piece:
        """The sequences of these numbers ``[B]`` as the rows of one piece."""
        rows = np.atleast_1d(np.asarray(indices))
        lengths = self.lengths[rows]
        steps = int(lengths.max())
        x, target = (self._padded([part[row] for row in rows], steps) for part in (self._x, self._target))
        exists = np.arange(steps)[:, None] < lengths
        return Piece(x, target, None if exists.all() else torch.from_numpy(exists))

    def fingerprint(self) -> str:
        """How many sequences, how many steps in all, and a hash of them."""
        hashed = digest((*self._x, *self._target))
        return f"{len(self)} sequences of {int(self.lengths.sum())} steps in all, {hashed}"

    def _padded(self, parts: Sequence[NDArray[np.generic]], steps: int) -> Tensor:
        made = np.zeros((steps, len(parts), *parts[0].shape[1:]), dtype=parts[0].dtype)
        for row, part in enumerate(parts):
            made[: len(part), row] = part
        tensor = torch.from_numpy(made)
        return tensor if self.dtype is None else tensor.to(self.dtype)


def one_length(lengths: NDArray[np.int64]) -> int | None:
    """The length of all, or None where they differ."""
    found = set(lengths.tolist())
    return found.pop() if len(found) == 1 else None


def digest(parts: Iterable[NDArray[Any]]) -> str:
    """A hash of arrays: of their types, their shapes and what is in them."""
    made = hashlib.blake2b(digest_size=8)
    for part in parts:
        made.update(f"{part.dtype} {part.shape}".encode() + np.ascontiguousarray(part).tobytes())
    return made.hexdigest()
