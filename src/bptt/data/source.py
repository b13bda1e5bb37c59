"""What training asks of data: sequences, epoch after epoch, in an order that can be taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Source(Protocol):
    """Hands out the sequences of each epoch in an order that depends on the epoch's number alone.

    ``Stream`` is a source of one long sequence an epoch, ``Batches`` of many short ones. A sequence has a length in
    steps (``sequence[a:b] -> Piece``) or is itself a ``Piece``. Position ``(n, i)``, epoch and sequence, is all that
    must be kept to go on exactly: ``epoch(n, start=i)``.

    ``len()`` is not part of this protocol on purpose: a stream is a sequence too, and its ``len`` is in steps.
    """

    @property
    def sequences(self) -> int:
        """How many sequences one epoch holds."""
        ...

    @property
    def steps(self) -> int | None:
        """The steps of one sequence, or None where sequences differ in length."""
        ...

    def epoch(self, n: int, start: int = 0) -> Iterator[Any]:
        """The sequences of epoch ``n`` from number ``start`` on; raises ValueError when there is no such place."""
        ...

    def fingerprint(self) -> str:
        """A readable string that changes when the data or their order of use changes; equal strings mean equal data."""
        ...
