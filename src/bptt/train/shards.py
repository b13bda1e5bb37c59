"""The rows of a batch dealt out over processes: each one reads, and carries the state of, its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bptt.data.piece import Piece
from bptt.data.source import Source
from bptt.data.stream import Stream
from bptt.state import leaves, map_leaves
from bptt.train.processes import Processes


def own_rows(rows: int, rank: int, size: int) -> slice:
    """Those of ``rows`` that process ``rank`` of ``size`` has: contiguous, the first processes have one more where they differ.

    A process for which there is none goes along with the first row; see `Shard`.
    """
    each, more = divmod(rows, size)
    start = rank * each + min(rank, more)
    stop = start + each + (rank < more)
    return slice(start, stop) if stop > start else slice(0, 1)


class Shard:
    """A source of the rows of another that belong to one process.

    Where there are fewer rows than processes, the last ones are given the first row, so that they go along in all that is
    done together; what comes of it is not theirs to tell. ``own``: how many rows of the newest piece are this process's.
    """

    def __init__(self, source: Source, rank: int, size: int) -> None:
        self._source, self._rank, self._size = source, rank, size
        self.own = 0

    @property
    def sequences(self) -> int:
        return self._source.sequences

    @property
    def steps(self) -> int | None:
        return self._source.steps

    def fingerprint(self) -> str:
        """That of the whole."""
        return self._source.fingerprint()

    def epoch(self, n: int, start: int = 0) -> Iterator[Any]:
        for sequence in self._source.epoch(n, start):
            yield self._part(sequence)

    def cut(self, piece: Any) -> Piece:
        """The rows of a piece that are this process's."""
        piece = Piece(*piece)
        rows = leaves(piece.x)[0].shape[1]
        where = self.rows(rows)
        return Piece(*(None if part is None else map_leaves(lambda t: t[:, where], part) for part in piece))

    def rows(self, rows: int) -> slice:
        """Which of so many rows are this process's; see `own_rows`."""
        where = own_rows(rows, self._rank, self._size)
        self.own = where.stop - where.start if self._rank < rows else 0
        return where

    def _part(self, sequence: Any) -> Any:
        if isinstance(sequence, tuple | list):
            return self.cut(sequence)
        if isinstance(sequence, Stream):
            where = self.rows(sequence.rows)
            return sequence.part(where.start, where.stop)
        if hasattr(sequence, "__len__") and hasattr(sequence, "__getitem__"):
            return _Sliced(sequence, self)
        return _Streamed(sequence, self)


class _Sliced:
    def __init__(self, sequence: Any, shard: Shard) -> None:
        self._sequence, self._shard = sequence, shard

    def __len__(self) -> int:
        return len(self._sequence)

    def __getitem__(self, where: slice) -> Piece:
        return self._shard.cut(self._sequence[where])


class _Streamed:
    def __init__(self, pieces: Any, shard: Shard) -> None:
        self._pieces, self._shard = pieces, shard

    def __iter__(self) -> Iterator[Piece]:
        return map(self._shard.cut, self._pieces)


def sharded(source: Source, processes: Processes) -> Source:
    """The rows of a source that are this process's: the source itself where it is alone."""
    return source if processes.size == 1 else Shard(source, processes.rank, processes.size)
