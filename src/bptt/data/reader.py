"""Reading any sequence by stretches of steps: sized and sliceable ones, pairs of tensors, and endless iterables of pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from bptt.data.piece import Piece
from bptt.state import leaves, map_leaves, named_leaves


class Reader:
    """Stretches ``start..stop`` of a sequence as checked pieces; see `reader`."""

    holds = False
    """Whether what has been read is held until it is forgotten, because it cannot be read again."""

    @property
    def tells_flags(self) -> bool:
        """Whether `flags` is less work than `read`."""
        return False

    def held(self) -> int:
        """The bytes of what is held."""
        return 0

    def upto(self, step: float) -> int:
        """``step``, or the length where the sequence is shorter; reads a streamed input that far."""
        raise NotImplementedError

    def read(self, start: int, stop: int) -> Piece:
        """The steps ``start <= t < stop``."""
        raise NotImplementedError

    def flags(self, start: int, stop: int) -> tuple[Tensor | None, Tensor | None]:
        """The mask and the reset of those steps."""
        piece = self.read(start, stop)
        return piece.mask, piece.reset

    def known(self) -> int:
        """How far the sequence is known to reach: to its end, or as far as a stream has been read."""
        raise NotImplementedError

    def forget(self, before: int) -> None:
        """Steps before this one will not be asked for again."""


def reader(sequence: Any) -> Reader:
    """A reader over ``sequence``: what `bptt.backprop` accepts.

    A pair ``(x, target)`` of tensors ``[T, B, ...]`` (or of nested structures of them), with ``mask`` and ``reset`` where
    rows are ragged; anything with ``len()`` in steps and ``sequence[a:b]`` giving such a piece (and perhaps ``flags(a, b)``
    giving its mask and reset alone, where that is less work); or an iterable of pieces of any length, which may be endless.

    **Raises** ``TypeError`` for anything else, ``ValueError`` where the parts of a piece do not fit or it has no row.
    """
    if isinstance(sequence, Piece):
        return _Sized(sequence)
    if isinstance(sequence, (tuple, list)) and 2 <= len(sequence) <= 4:
        tensors = all(isinstance(part, Tensor) for part in sequence[:2])
        if tensors or (isinstance(sequence, tuple) and all(leaves(part) for part in sequence[:2])):
            return _Sized(Piece(*sequence))
        if any(type(part).__module__ == "numpy" for part in sequence):
            raise TypeError("a sequence is made of tensors, got NumPy arrays: torch.from_numpy(x), torch.from_numpy(target)")
    if not isinstance(sequence, (str, bytes, Tensor, Mapping)):
        if hasattr(sequence, "__len__") and hasattr(sequence, "__getitem__") and not isinstance(sequence, (list, tuple)):
            return _Sliced(sequence)
        if isinstance(sequence, Iterable):
            return _Streamed(iter(sequence))
    raise TypeError(
        f"a sequence is a pair (x, target) of tensors, something with len() and sequence[a:b] -> (x, target), or an iterable "
        f"of such pieces; got {type(sequence).__name__}"
    )


def _checked(item: Any, where: str) -> Piece:
    """A piece whose parts fit together, from whatever the sequence gave."""
    if type(item) in (tuple, Piece) and len(item) >= 2 and all(part is None for part in item[2:]) and len(item) <= 4:
        x, target = item[:2]
        if (
            isinstance(x, Tensor)
            and isinstance(target, Tensor)
            and x.ndim > 1 < target.ndim
            and x.shape[:2] == target.shape[:2]
            and x.shape[1]
        ):
            return Piece(x, target)
    if not isinstance(item, Piece):
        if not isinstance(item, (tuple, list)) or not 2 <= len(item) <= 4:
            raise TypeError(f"{where}: expected a piece (x, target[, mask[, reset]]), got {type(item).__name__}")
        item = Piece(*item)
    for name, part in (("x", item.x), ("target", item.target)):
        if not leaves(part):
            raise TypeError(f"{where}: {name} must hold tensors, got {type(part).__name__}")
    first = leaves(item.x)[0]
    for name, leaf in (*named_leaves(item.x, "x"), *named_leaves(item.target, "target")):
        if leaf.ndim < 2:
            raise ValueError(f"{where}: {name} is {list(leaf.shape)}, expected [T, B, ...], time first (one row: unsqueeze(1))")
        for dim, what in ((0, "steps"), (1, "rows")):
            if leaf.shape[dim] != first.shape[dim]:
                raise ValueError(
                    f"{where}: x has {first.shape[dim]} {what} and {name} has {leaf.shape[dim]}: both have time first, "
                    "[T, B, ...]"
                )
    if not first.shape[1]:
        raise ValueError(
            f"{where}: x is {list(first.shape)}, expected [T, B, ...] with at least one row: leave out a batch that has none"
        )
    for name, flags in (("mask", item.mask), ("reset", item.reset)):
        if flags is None:
            continue
        if not isinstance(flags, Tensor) or flags.dtype != torch.bool:
            got = flags.dtype if isinstance(flags, Tensor) else type(flags).__name__
            raise TypeError(f"{where}: {name} must be a bool tensor [T, B], got {got}")
        if flags.shape != first.shape[:2]:
            raise ValueError(f"{where}: {name} is {list(flags.shape)}, expected [T, B] = {list(first.shape[:2])} as in x")
    return Piece(*item)


def _size(piece: Piece) -> tuple[int, int]:
    """The steps and rows of a checked piece."""
    steps, rows = leaves(piece.x)[0].shape[:2]
    return steps, rows


def nbytes(piece: Piece) -> int:
    """The bytes of a piece's numbers."""
    return sum(leaf.nbytes for part in piece for leaf in leaves(part))


def _slice(piece: Piece, start: int, stop: int) -> Piece:
    return Piece(*(map_leaves(lambda t: t[start:stop], part) for part in piece))


class _Sized(Reader):
    def __init__(self, piece: Piece) -> None:
        self._piece = _checked(piece, "sequence")
        self._length, _ = _size(self._piece)

    def flags(self, start: int, stop: int) -> tuple[Tensor | None, Tensor | None]:
        mask, reset = (None if flags is None else flags[start:stop] for flags in (self._piece.mask, self._piece.reset))
        return mask, reset

    def upto(self, step: float) -> int:
        return self._length if step >= self._length else int(step)

    def read(self, start: int, stop: int) -> Piece:
        return self._piece if (start, stop) == (0, self._length) else _slice(self._piece, start, stop)

    def known(self) -> int:
        return self._length


class _Sliced(Reader):
    def __init__(self, sequence: Any) -> None:
        self._sequence, self._length = sequence, len(sequence)

    def known(self) -> int:
        return self._length

    @property
    def tells_flags(self) -> bool:
        return callable(getattr(self._sequence, "flags", None))

    def flags(self, start: int, stop: int) -> tuple[Tensor | None, Tensor | None]:
        return self._sequence.flags(start, stop) if self.tells_flags else super().flags(start, stop)

    def upto(self, step: float) -> int:
        return self._length if step >= self._length else int(step)

    def read(self, start: int, stop: int) -> Piece:
        where = f"sequence[{start}:{stop}]"
        piece = _checked(self._sequence[start:stop], where)
        if _size(piece)[0] != stop - start:
            raise ValueError(f"{where} gave {_size(piece)[0]} steps, expected {stop - start}")
        return piece


class _Streamed(Reader):
    """Holds the pieces between the oldest step that may be asked for again and the newest one read."""

    holds = True

    def __init__(self, pieces: Iterator[Any]) -> None:
        self._pieces, self._held = pieces, deque[tuple[int, Piece]]()
        self._read, self._count, self._ended = 0, 0, False
        self._rows: int | None = None

    def known(self) -> int:
        return self._read

    def upto(self, step: float) -> int:
        while self._read < step and not self._ended:
            try:
                item = next(self._pieces)
            except StopIteration:
                self._ended = True
                break
            piece = _checked(item, f"piece {self._count}")
            steps, rows = _size(piece)
            self._rows = self._rows or rows
            if rows != self._rows:
                raise ValueError(
                    f"piece {self._count} has {rows} rows, those before it {self._rows}: a sequence keeps its rows"
                )
            self._count += 1
            if steps:
                self._held.append((self._read, piece))
                self._read += steps
        return self._read if self._read < step else int(step)

    def read(self, start: int, stop: int) -> Piece:
        if self.upto(stop) < stop or (self._held and self._held[0][0] > start):
            raise ValueError(f"steps {start}..{stop} are not at hand: the stream holds {self._held[0][0]}..{self._read}")
        parts = []
        for first, piece in self._held:
            a, b = max(start - first, 0), min(stop - first, _size(piece)[0])
            if a < b:
                parts.append(_slice(piece, a, b))
        return parts[0] if len(parts) == 1 else _joined(parts)

    def held(self) -> int:
        return sum(nbytes(piece) for _, piece in self._held)

    def forget(self, before: int) -> None:
        while len(self._held) > 1 and self._held[1][0] <= before:
            self._held.popleft()


def _joined(parts: list[Piece]) -> Piece:
    def flags(name: str, absent: bool) -> Tensor | None:
        if all(getattr(part, name) is None for part in parts):
            return None
        given = [(part, getattr(part, name)) for part in parts]
        device = next(flag.device for _, flag in given if flag is not None)
        return torch.cat([torch.full(_size(part), absent, device=device) if flag is None else flag for part, flag in given])

    return Piece(
        _cat([part.x for part in parts]),
        _cat([part.target for part in parts]),
        flags("mask", True),
        flags("reset", False),
    )


def _cat(items: list[Any]) -> Any:
    joined = iter([torch.cat(parts) for parts in zip(*map(leaves, items), strict=True)])
    return map_leaves(lambda _: next(joined), items[0])
