"""Reading any sequence by stretches of steps: sized and sliceable ones, pairs of tensors, and endless iterables of pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from bptt.data.piece import Piece
from bptt.state import leaves, map_leaves


class Reader:
    """Stretches ``start..stop`` of a sequence as checked pieces; see `reader`."""

    def upto(self, step: float) -> int:
        """``step``, or the length where the sequence is shorter; reads a streamed input that far."""
        raise NotImplementedError

    def read(self, start: int, stop: int) -> Piece:
        """The steps ``start <= t < stop``."""
        raise NotImplementedError

    def forget(self, before: int) -> None:
        """Steps before this one will not be asked for again."""


def reader(sequence: Any) -> Reader:
    """A reader over ``sequence``: what `bptt.backprop` accepts.

    A pair ``(x, target)`` of tensors ``[T, B, ...]`` (or of nested structures of them), with ``mask`` and ``reset`` where
    rows are ragged; anything with ``len()`` in steps and ``sequence[a:b]`` giving such a piece; or an iterable of pieces
    of any length, which may be endless.

    **Raises** ``TypeError`` for anything else.
    """
    if isinstance(sequence, Piece):
        return _Sized(sequence.x, sequence)
    if isinstance(sequence, (tuple, list)) and 2 <= len(sequence) <= 4 and isinstance(sequence[1], Tensor):
        return _Sized(sequence[0], Piece(*sequence))
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
    if not isinstance(item, Piece):
        if not isinstance(item, (tuple, list)) or not 2 <= len(item) <= 4:
            raise TypeError(f"{where}: expected a piece (x, target[, mask[, reset]]), got {type(item).__name__}")
        item = Piece(*item)
    x, target = _first(item.x), _first(item.target)
    if x is None or target is None:
        raise TypeError(f"{where}: x and target must hold tensors, got {type(item.x).__name__}, {type(item.target).__name__}")
    if x.ndim == 0 or target.ndim == 0:
        raise ValueError(f"{where}: x and target have time first, [T, B, ...]; got {list(x.shape)} and {list(target.shape)}")
    if x.shape[0] != target.shape[0]:
        raise ValueError(
            f"{where}: x has {x.shape[0]} steps and target has {target.shape[0]}: both have time first, [T, B, ...]"
        )
    for name, flags in (("mask", item.mask), ("reset", item.reset)):
        if flags is None:
            continue
        if not isinstance(flags, Tensor) or flags.dtype != torch.bool:
            got = flags.dtype if isinstance(flags, Tensor) else type(flags).__name__
            raise TypeError(f"{where}: {name} must be a bool tensor [T, B], got {got}")
        if flags.shape != x.shape[:2]:
            raise ValueError(f"{where}: {name} is {list(flags.shape)}, expected [T, B] = {list(x.shape[:2])} as in x")
    return Piece(*item)


def _slice(piece: Piece, start: int, stop: int) -> Piece:
    return Piece(*(map_leaves(lambda t: t[start:stop], part) for part in piece))


class _Sized(Reader):
    def __init__(self, x: Any, piece: Piece) -> None:
        self._piece = _checked(piece, "sequence")
        first = _first(x)
        assert first is not None
        self._length = first.shape[0]

    def upto(self, step: float) -> int:
        return self._length if step >= self._length else int(step)

    def read(self, start: int, stop: int) -> Piece:
        return self._piece if (start, stop) == (0, self._length) else _slice(self._piece, start, stop)


class _Sliced(Reader):
    def __init__(self, sequence: Any) -> None:
        self._sequence, self._length = sequence, len(sequence)

    def upto(self, step: float) -> int:
        return self._length if step >= self._length else int(step)

    def read(self, start: int, stop: int) -> Piece:
        where = f"sequence[{start}:{stop}]"
        piece = _checked(self._sequence[start:stop], where)
        x = _first(piece.x)
        assert x is not None
        if x.shape[0] != stop - start:
            raise ValueError(f"{where} gave {x.shape[0]} steps, expected {stop - start}")
        return piece


class _Streamed(Reader):
    """Holds the pieces between the oldest step that may be asked for again and the newest one read."""

    def __init__(self, pieces: Iterator[Any]) -> None:
        self._pieces, self._held = pieces, list[tuple[int, Piece]]()
        self._read, self._count, self._ended = 0, 0, False

    def upto(self, step: float) -> int:
        while self._read < step and not self._ended:
            try:
                item = next(self._pieces)
            except StopIteration:
                self._ended = True
                break
            piece = _checked(item, f"piece {self._count}")
            x = _first(piece.x)
            assert x is not None
            self._count += 1
            if x.shape[0]:
                self._held.append((self._read, piece))
                self._read += x.shape[0]
        return self._read if self._read < step else int(step)

    def read(self, start: int, stop: int) -> Piece:
        if self.upto(stop) < stop or (self._held and self._held[0][0] > start):
            raise ValueError(f"steps {start}..{stop} are not at hand: the stream holds {self._held[0][0]}..{self._read}")
        parts = []
        for first, piece in self._held:
            x = _first(piece.x)
            assert x is not None
            a, b = max(start - first, 0), min(stop - first, x.shape[0])
            if a < b:
                parts.append(_slice(piece, a, b))
        return parts[0] if len(parts) == 1 else _joined(parts)

    def forget(self, before: int) -> None:
        while len(self._held) > 1 and self._held[1][0] <= before:
            self._held.pop(0)


def _joined(parts: list[Piece]) -> Piece:
    def flags(name: str, absent: bool) -> Tensor | None:
        if all(getattr(part, name) is None for part in parts):
            return None
        made = []
        for part in parts:
            x, given = _first(part.x), getattr(part, name)
            assert x is not None
            made.append(torch.full(x.shape[:2], absent, device=x.device) if given is None else given)
        return torch.cat(made)

    return Piece(
        _cat([part.x for part in parts]),
        _cat([part.target for part in parts]),
        flags("mask", True),
        flags("reset", False),
    )


def _cat(items: list[Any]) -> Any:
    joined = iter([torch.cat(parts) for parts in zip(*map(leaves, items), strict=True)])
    return map_leaves(lambda _: next(joined), items[0])


def _first(nested: Any) -> Tensor | None:
    return next(iter(leaves(nested)), None)
