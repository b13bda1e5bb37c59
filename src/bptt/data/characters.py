"""The two vocabularies whose tokens are the smallest pieces of text: bytes and characters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bptt.data.vocabulary import Ids, UnknownCharacter, Utf8Decoder, checked_ids, ids_type


class Bytes:
    """The 256 bytes of UTF-8: holds any text, and needs no fitting.

    Not the best choice for scripts whose characters take several bytes: the network reads that many more steps.
    """

    unit: ClassVar[str] = "byte"
    size: ClassVar[int] = 256

    def __repr__(self) -> str:
        return "Bytes()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bytes)

    def __hash__(self) -> int:
        return hash(self.unit)

    def encode(self, text: str) -> Ids:
        # surrogateescape: a prompt from the command line may hold bytes that were no UTF-8
        return np.frombuffer(text.encode("utf-8", "surrogateescape"), dtype=np.uint8)

    def cut(self, text: str) -> int:
        return len(text)

    def decode(self, ids: ArrayLike) -> str:
        return checked_ids(ids, self.size).astype(np.uint8).tobytes().decode("utf-8", "replace")

    def decoder(self) -> Utf8Decoder:
        return Utf8Decoder([bytes([byte]) for byte in range(256)])

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.unit}

    @classmethod
    def from_json(cls, _: dict[str, Any]) -> Bytes:
        return cls()


class Characters:
    """The different characters of a text, in the order of their code points.

    There is no token for unseen characters: ``encode`` raises ``UnknownCharacter``, which names the character and its
    place. Not for text that will meet new characters (many languages, emoji): use ``Bytes``.
    """

    unit: ClassVar[str] = "character"

    def __init__(self, symbols: str) -> None:
        if not symbols:
            raise ValueError("a vocabulary of characters needs at least one character; the text is empty")
        if list(symbols) != sorted(set(symbols)):
            raise ValueError("the characters of a vocabulary must be different and in the order of their code points")
        self.symbols = symbols
        self._points = _points(symbols)
        self._table = np.full(int(self._points[-1]) + 1, -1, dtype=np.int32)
        self._table[self._points] = np.arange(len(symbols))

    @classmethod
    def fit(cls, chunks: Iterable[str]) -> Characters:
        """The vocabulary of a text that comes in chunks of any length."""
        return cls("".join(sorted(set[str]().union(*chunks))))

    def __repr__(self) -> str:
        return f"Characters({self.symbols!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Characters) and self.symbols == other.symbols

    def __hash__(self) -> int:
        return hash(self.symbols)

    @property
    def size(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> Ids:
        points = _points(text)
        ids = self._table[np.minimum(points, len(self._table) - 1)]
        unknown = np.flatnonzero((ids < 0) | (points >= len(self._table)))
        if unknown.size:
            raise UnknownCharacter(text[unknown[0]], int(unknown[0]), self.size)
        known: Ids = ids.astype(ids_type(self.size))
        return known

    def cut(self, text: str) -> int:
        return len(text)

    def decode(self, ids: ArrayLike) -> str:
        return _text(self._points[checked_ids(ids, self.size)])

    def decoder(self) -> CharacterDecoder:
        return CharacterDecoder(self.symbols)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.unit, "symbols": self.symbols}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Characters:
        return cls(saved["symbols"])


class CharacterDecoder:
    """Decodes tokens that each are one character."""

    def __init__(self, symbols: str) -> None:
        self._symbols = symbols

    def push(self, token: int) -> str:
        return self._symbols[int(checked_ids([token], len(self._symbols))[0])]

    def flush(self) -> str:
        return ""


def _points(text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
    # surrogatepass: a lone surrogate is then reported as an unknown character rather than as a codec's error
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _text(points: np.ndarray[Any, np.dtype[np.uint32]]) -> str:
    return points.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
