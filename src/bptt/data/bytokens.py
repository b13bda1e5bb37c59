"""Batches of pairs of sequences that hold about so many tokens each, pairs of like lengths together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bptt.data.batches import Batches, Examples
from bptt.data.piece import Piece

_ALIKE = 4  # tokens by which the sources of one batch may differ before they are kept apart


class Paired(Examples, Protocol):
    """Pairs that know how long both their sides are."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The steps of each target, ``[N]``."""
        ...

    @property
    def widths(self) -> NDArray[np.int64]:
        """The tokens of each source, ``[N]``."""
        ...


class ByTokens(Batches):
    """`Batches` of at most ``rows`` pairs and at most ``tokens`` places, those of padding and of both sides counted.

    Pairs are sorted by their lengths, those of like lengths mixed, then cut into batches, which are mixed: by ``(seed, n)``
    alone in epoch n, and every epoch has equally many. Without ``shuffle`` they go from the shortest to the longest.
    """

    examples: Paired

    def __init__(self, examples: Paired, rows: int, tokens: int, *, shuffle: bool = True, seed: int = 0) -> None:
        super().__init__(examples, rows, shuffle=shuffle, seed=seed)
        if isinstance(tokens, bool) or not isinstance(tokens, int | np.integer) or tokens < 1:
            raise ValueError(f"tokens={tokens!r}: a batch needs room for tokens, at least 1")
        self.tokens = int(tokens)
        self._number = len(self._cut(self._sorted(np.arange(len(examples)))))

    def __len__(self) -> int:
        return self._number

    def epoch(self, n: int, start: int = 0) -> Iterator[Piece]:
        """The batches of epoch ``n`` from number ``start`` on."""
        super().epoch(n, start)  # refuses a place that does not exist
        return (self.examples.piece(numbers) for numbers in self.batches(n)[start:])

    def batches(self, n: int) -> list[NDArray[np.int64]]:
        """The numbers of the pairs in each batch of epoch ``n``."""
        made = self._cut(self._sorted(self._order(n)))
        if not self.shuffle:
            return made
        mixed = np.random.Generator(np.random.PCG64([self.seed, n, 1])).permutation(len(made))
        return [made[i] for i in mixed]

    def fingerprint(self) -> str:
        return f"of {self.tokens} tokens, {super().fingerprint()}"

    def _sorted(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        lengths, widths = self.examples.lengths[order], self._widths()[order]
        return order[np.lexsort((widths, lengths))]

    def _widths(self) -> NDArray[np.int64]:
        return -(-self.examples.widths // _ALIKE) * _ALIKE

    def _cut(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Where a batch ends follows from the sorted lengths alone, which are those of every epoch."""
        lengths, widths = self.examples.lengths[order].tolist(), self._widths()[order].tolist()
        made, first, longest, widest = [], 0, 0, 0
        for i, (length, width) in enumerate(zip(lengths, widths, strict=True)):
            longer, wider = max(longest, length), max(widest, width)
            if i > first and (i - first == self.rows or (i + 1 - first) * (longer + wider) > self.tokens):
                made.append(order[first:i])
                first, longer, wider = i, length, width
            longest, widest = longer, wider
        return [*made, order[first:]]
