"""What a vocabulary is, and what all of them share."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ids = NDArray[np.unsignedinteger[Any]]


class Decoder(Protocol):
    """Turns tokens into text one at a time, holding back what is not yet a whole character."""

    def push(self, token: int) -> str:
        """The text that is certain now that this token has come; "" while a character is incomplete."""
        ...

    def flush(self) -> str:
        """What was held back, "\N{REPLACEMENT CHARACTER}" standing for a character that was never completed."""
        ...


class Vocabulary(Protocol):
    """A set of ``size`` tokens and the way between text and their numbers ``0 .. size - 1``.

    ``decode(ids)`` equals what a ``decoder()`` gives for the same tokens. ``to_json()`` is a dict of plain values with
    a ``"kind"``, from which ``vocabulary_from_json`` makes an equal vocabulary.
    """

    @property
    def unit(self) -> str:
        """The name of one token: "byte", "character", "word" or "subword"."""
        ...

    @property
    def size(self) -> int:
        """``V``, the number of different tokens."""
        ...

    def encode(self, text: str) -> Ids:
        """The tokens of ``text``, in the smallest unsigned type that holds ``size - 1``."""
        ...

    def cut(self, text: str) -> int:
        """How much of the beginning of ``text`` has its tokens settled, whatever text may follow.

        ``encode(text[:cut]) + encode(text[cut:] + more)`` equals ``encode(text + more)``.
        """
        ...

    def decode(self, ids: ArrayLike) -> str:
        """The text of the tokens; raises ValueError for a number outside the vocabulary."""
        ...

    def decoder(self) -> Decoder:
        """A fresh decoder for tokens that come one by one."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Everything needed to make this vocabulary again."""
        ...


class UnknownCharacter(ValueError):
    """A character that a ``Characters`` vocabulary lacks; ``position`` counts characters from 0 in the text given."""

    def __init__(self, character: str, position: int, size: int, where: str = "the text") -> None:
        self.character, self.position, self.size = character, position, size
        super().__init__(
            f"{where} holds {character!r} (U+{ord(character):04X}) at character {position}, which is not among the "
            f"{size} of the vocabulary; leave it out, or train with --unit byte, which can hold any text"
        )


def ids_type(size: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds ``0 .. size - 1``."""
    return np.min_scalar_type(max(size - 1, 0))


def checked_ids(ids: ArrayLike, size: int) -> NDArray[np.int64]:
    """``ids`` as a flat int64 array; raises when one lies outside ``0 .. size - 1`` or is not whole."""
    array = np.asarray(ids)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"token numbers are {array.dtype}; expected whole numbers 0..{size - 1}")
    array = array.reshape(-1).astype(np.int64)
    if (wrong := np.flatnonzero((array < 0) | (array >= size))).size:
        raise ValueError(f"token {array[wrong[0]]} is outside the vocabulary, which has the tokens 0..{size - 1}")
    return array


def recut(chunks: Iterable[str], cut: Callable[[str], int]) -> Iterator[str]:
    """The same text in pieces that can be encoded one by one without changing a token (``Vocabulary.cut``)."""
    held = ""
    for chunk in chunks:
        held += chunk
        if end := cut(held):
            yield held[:end]
            held = held[end:]
    if held:
        yield held


class Utf8Decoder:
    """Decodes tokens that stand for UTF-8 bytes, ``table[token]``, whose characters may be split over tokens."""

    def __init__(self, table: Sequence[bytes]) -> None:
        self._table = table
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        if not 0 <= token < len(self._table):
            raise ValueError(f"token {token} is outside the vocabulary, which has the tokens 0..{len(self._table) - 1}")
        return self._utf8.decode(self._table[token])

    def flush(self) -> str:
        return self._utf8.decode(b"", final=True)
