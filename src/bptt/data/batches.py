"""Many short sequences, several side by side, in an order that can be taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bptt.data.piece import Piece


class Examples(Protocol):
    """Sequences of one length that can be put side by side, such as `Windows`."""

    def __len__(self) -> int: ...

    @property
    def steps(self) -> int | None:
        """The steps of every sequence, or None where they differ."""
        ...

    def piece(self, indices: ArrayLike) -> Piece:
        """The sequences of these numbers ``[B]`` as the rows of one piece."""
        ...

    def fingerprint(self) -> str:
        """A readable string that changes when the sequences do."""
        ...


class Batches:
    """A source that hands out ``rows`` sequences at a time, each batch a `Piece`, the last one with what is left.

    With ``shuffle`` the order of epoch ``n`` is a permutation made from ``(seed, n)`` alone; without, it is the order
    of the examples. Each batch starts with a fresh state: for one long text use `Stream`, whose rows go on.
    """

    def __init__(self, examples: Examples, rows: int, *, shuffle: bool = True, seed: int = 0) -> None:
        if isinstance(rows, bool) or not isinstance(rows, int | np.integer) or rows < 1:
            raise ValueError(f"rows={rows!r}: a batch needs a whole number of rows, at least 1")
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(f"seed={seed!r}: expected a whole number, at least 0")
        if len(examples) == 0:
            raise ValueError("there are no examples to make batches of")
        self.examples, self.rows, self.shuffle, self.seed = examples, int(rows), shuffle, int(seed)

    def __len__(self) -> int:
        return -(-len(self.examples) // self.rows)

    @property
    def sequences(self) -> int:
        """Batches in an epoch."""
        return len(self)

    @property
    def steps(self) -> int | None:
        """The steps of every sequence."""
        return self.examples.steps

    def epoch(self, n: int, start: int = 0) -> Iterator[Piece]:
        """The batches of epoch ``n`` from number ``start`` on."""
        if n < 0 or not 0 <= start <= len(self):
            raise ValueError(f"no batch {start} in epoch {n}: an epoch has the batches 0..{len(self) - 1}")
        order = self._order(n)
        return (self.examples.piece(order[i : i + self.rows]) for i in range(start * self.rows, len(order), self.rows))

    def fingerprint(self) -> str:
        """The examples, the rows, and the order."""
        order = f"shuffled by seed {self.seed}" if self.shuffle else "in order"
        return f"batches of {self.rows}, {order}: {self.examples.fingerprint()}"

    def _order(self, n: int) -> NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(len(self.examples), dtype=np.int64)
        return np.random.Generator(np.random.PCG64([self.seed, n])).permutation(len(self.examples))
