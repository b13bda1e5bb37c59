"""Encoded pairs side by side: what is read stands beside every step of what is written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bptt.data import Piece
from bptt.data.ragged import digest, one_length
from bptt.tasks.seq2seq.special import END, PAD
from bptt.tasks.seq2seq.tokens import Ids


class PairExamples:
    """Pairs of token sequences, each with its end, as examples for `bptt.data.bytokens.ByTokens`.

    ``piece(indices)`` has ``x = (tokens [T, B], source [T, B, S])``: the tokens of the target one step late, after an end, and
    at every step the whole source (a view, which takes no memory). ``target [T, B]``, padded under a mask.
    """

    def __init__(self, sources: Sequence[Ids], targets: Sequence[Ids]) -> None:
        self._sources, self._targets = sources, targets
        self.lengths: NDArray[np.int64] = np.array([len(each) for each in targets], dtype=np.int64)
        self.widths: NDArray[np.int64] = np.array([len(each) for each in sources], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._targets)

    @property
    def steps(self) -> int | None:
        """The steps of every target, or None where they differ."""
        return one_length(self.lengths)

    def piece(self, indices: ArrayLike) -> Piece:
        """The pairs of these numbers ``[B]`` as the rows of one piece."""
        rows = np.atleast_1d(np.asarray(indices))
        target = padded([self._targets[row] for row in rows]).t().contiguous()
        source = padded([self._sources[row] for row in rows])
        tokens = torch.cat([torch.full_like(target[:1], END), target[:-1]])
        exists = torch.arange(len(target))[:, None] < torch.from_numpy(self.lengths[rows])
        return Piece(
            (tokens.masked_fill(~exists, PAD), source.expand(len(target), *source.shape)),
            target,
            None if bool(exists.all()) else exists,
        )

    def fingerprint(self) -> str:
        """How many pairs, how many tokens in all, and a hash of them."""
        hashed = digest((*self._sources, *self._targets))
        return f"{len(self)} pairs of {int(self.widths.sum())} and {int(self.lengths.sum())} tokens, {hashed}"


def padded(sequences: Sequence[Ids]) -> Tensor:
    """Token sequences as rows ``[B, S]``, padded at their ends."""
    made = np.full((len(sequences), max(map(len, sequences))), PAD, dtype=np.int64)
    for row, each in zip(made, sequences, strict=True):
        row[: len(each)] = each
    return torch.from_numpy(made)
