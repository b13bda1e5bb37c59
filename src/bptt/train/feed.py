"""Whatever a user gives as data, as a source of sequences whose ends are known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from bptt.data.piece import Piece
from bptt.data.source import Source
from bptt.state import named_leaves
from bptt.through import Strategy
from bptt.train.pack import plain


def as_source(data: Any, name: str = "data") -> Source:
    """``data`` itself where it is a source, else a source of one sequence an epoch (a list: of its sequences, in order).

    **Raises** ``TypeError`` for what is neither, and for an iterator, which could be read only once.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, list) and data and all(_is_sequence(item) for item in data):
        return Sequences(data)
    if isinstance(data, Iterator):
        raise TypeError(f"{name} is a {type(data).__name__}, which can be read only once: give an object with __iter__")
    if _is_sequence(data):
        return Sequences([data])
    raise TypeError(
        f"{name} must be a pair (x, target) of tensors, a sequence with len() and sequence[a:b], an iterable of pieces, a list "
        f"of sequences, or a source such as bptt.data.Stream; got {type(data).__name__}"
    )


class Sequences:
    """A source of the given sequences, in this order in every epoch."""

    def __init__(self, sequences: list[Any]) -> None:
        self._sequences = sequences

    @property
    def sequences(self) -> int:
        return len(self._sequences)

    @property
    def steps(self) -> int | None:
        lengths = {length_of(sequence) for sequence in self._sequences}
        return lengths.pop() if len(lengths) == 1 else None

    def epoch(self, n: int, start: int = 0) -> Iterator[Any]:  # noqa: ARG002 - every epoch is alike
        return iter(self._sequences[start:])

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for sequence in self._sequences:
            _digest(sequence, digest)
        lengths = ", ".join(str(length_of(sequence) or "?") for sequence in self._sequences[:5])
        more = ", …" if len(self._sequences) > 5 else ""
        return f"{len(self._sequences)} sequences of {lengths}{more} steps, {digest.hexdigest()[:16]}"


class Pieces:
    """An iterable of pieces that reads one piece ahead, so that its end is known when the last one is handed out."""

    def __init__(self, pieces: Iterable[Any]) -> None:
        self._pieces = pieces
        self.length: int | None = None

    def __iter__(self) -> Iterator[Any]:
        steps, held = 0, None
        for piece in self._pieces:
            if held is not None:
                yield held
            held = piece
            steps += next((leaf.shape[0] for _, leaf in named_leaves(piece[0])), 0)
        self.length = steps
        if held is not None:
            yield held


def length_of(sequence: Any) -> int | None:
    """The steps of a sequence; ``None`` for one whose end has not been seen."""
    if isinstance(sequence, Pieces):
        return sequence.length
    if isinstance(sequence, tuple | list):
        return next((leaf.shape[0] for _, leaf in named_leaves(sequence[0])), None)
    return len(sequence) if hasattr(sequence, "__len__") and hasattr(sequence, "__getitem__") else None


def with_end(sequence: Any) -> Any:
    """The sequence, or, where it does not say how long it is, one that does in the end."""
    return sequence if length_of(sequence) is not None else Pieces(sequence)


def windows_of(source: Source, through: Strategy) -> int | None:
    """The windows of one epoch, where that can be told."""
    each = through.windows(source.steps)
    return None if each is None else source.sequences * each


def _is_sequence(data: Any) -> bool:
    if isinstance(data, Piece):
        return True
    if isinstance(data, tuple | list):
        return 2 <= len(data) <= 4 and isinstance(data[1], Tensor)
    if isinstance(data, str | bytes | dict | Tensor):
        return False
    return (hasattr(data, "__len__") and hasattr(data, "__getitem__")) or isinstance(data, Iterable)


def _digest(sequence: Any, digest: Any) -> None:
    """Adds what tells this sequence from another: all its tensors, or where it is sliced or streamed what is cheap to know."""
    if isinstance(sequence, tuple | list):
        for name, leaf in named_leaves(tuple(sequence)):
            digest.update(f"{name} {leaf.dtype} {list(leaf.shape)}".encode())
            digest.update(plain(leaf).flatten().view(dtype=torch.uint8).numpy().tobytes() if leaf.numel() else b"")
        return
    if hasattr(sequence, "fingerprint"):
        digest.update(str(sequence.fingerprint()).encode())
        return
    length = length_of(sequence)
    digest.update(f"{type(sequence).__qualname__} {length}".encode())
    if length:
        _digest(tuple(sequence[0:1]), digest)
        _digest(tuple(sequence[length - 1 : length]), digest)
