"""Batches of sequences that differ in length, those of a like length together, so that little is padded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bptt.data.batches import Batches, Examples
from bptt.data.piece import Piece

_POOLED = 32  # batches that are sorted by length together: with more, less is padded, and rows are mixed less


class Lengthy(Examples, Protocol):
    """Examples that know how long each of them is."""

    @property
    def lengths(self) -> NDArray[np.int64]: ...


class Grouped(Batches):
    """`Batches` whose rows are of a like length.

    With ``shuffle`` the order of epoch n is made from ``(seed, n)`` alone: rows are mixed, sorted by length among some
    batches' worth of them, cut into batches, and the batches mixed. Without, rows go from the shortest to the longest.
    """

    examples: Lengthy

    def __init__(self, examples: Lengthy, rows: int, *, shuffle: bool = True, seed: int = 0) -> None:
        super().__init__(examples, rows, shuffle=shuffle, seed=seed)

    def epoch(self, n: int, start: int = 0) -> Iterator[Piece]:
        """The batches of epoch ``n`` from number ``start`` on."""
        super().epoch(n, start)  # refuses a place that does not exist
        return (self.examples.piece(numbers) for numbers in self.batches(n)[start:])

    def batches(self, n: int) -> list[NDArray[np.int64]]:
        """The numbers of the examples in each batch of epoch ``n``."""
        order, lengths = self._order(n), self.examples.lengths
        if not self.shuffle:
            return self._cut(order[np.argsort(lengths, kind="stable")])
        pools = [order[i : i + self.rows * _POOLED] for i in range(0, len(order), self.rows * _POOLED)]
        made = self._cut(np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]))
        mixed = np.random.Generator(np.random.PCG64([self.seed, n, 1])).permutation(len(made))
        return [made[i] for i in mixed]

    def fingerprint(self) -> str:
        return f"grouped by length, {super().fingerprint()}"

    def _cut(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [order[i : i + self.rows] for i in range(0, len(order), self.rows)]
