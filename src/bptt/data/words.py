"""The vocabulary of words in the manner of the Penn Treebank experiments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bptt.data.vocabulary import Ids, checked_ids, ids_type, recut

UNK, EOS = "<unk>", "<eos>"


class Words:
    """Words between white space; every line end ("\\n") is the token ``<eos>``, an unseen word is ``<unk>``.

    ``symbols[0]`` is ``<unk>`` and ``symbols[1]`` is ``<eos>``, so ``size`` counts both; a text that spells either out
    means that token. ``decode`` puts single spaces between words: the original spacing is not kept. Not for text
    whose words are many and rare, or not parted by spaces: use ``Subwords``.
    """

    unit: ClassVar[str] = "word"

    def __init__(self, symbols: Iterable[str]) -> None:
        self.symbols = tuple(symbols)
        if self.symbols[:2] != (UNK, EOS) or len(self.symbols) < 3:
            raise ValueError(f"a vocabulary of words is {UNK}, {EOS}, then at least one word; got {self.symbols[:3]}")
        self._index = {word: i for i, word in enumerate(self.symbols)}
        if len(self._index) < len(self.symbols):
            raise ValueError("the words of a vocabulary must be different")

    @classmethod
    def fit(cls, chunks: Iterable[str], size: int | None = None, min_count: int = 1) -> Words:
        """The words of a text in chunks of any length, most frequent first (equal counts: in code point order).

        ``size`` keeps at most that many tokens, ``<unk>`` and ``<eos>`` among them; ``min_count`` keeps only words
        that occur that often. Raises ValueError for ``size`` < 3, ``min_count`` < 1, or a text without words.
        """
        if size is not None and size < 3:
            raise ValueError(f"size={size}: a vocabulary of words needs room for {UNK}, {EOS} and a word, at least 3")
        if min_count < 1:
            raise ValueError(f"min_count={min_count}: a word is kept when it occurs that often, at least 1")
        counts = Counter[str]()
        for text in recut(chunks, settled):
            counts.update(text.split())
        kept = sorted((-n, word) for word, n in counts.items() if n >= min_count and word not in (UNK, EOS))
        if not kept:
            often = "" if not counts else f" that occurs at least {min_count} times; lower min_count"
            raise ValueError(f"the text holds no word{often}")
        return cls([UNK, EOS, *(word for _, word in kept[: None if size is None else size - 2])])

    def __repr__(self) -> str:
        return f"Words({self.size} tokens)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Words) and self.symbols == other.symbols

    def __hash__(self) -> int:
        return hash(self.symbols)

    @property
    def size(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> Ids:
        words = text.replace("\n", f" {EOS} ").split()
        get = self._index.get
        return np.fromiter((get(word, 0) for word in words), dtype=ids_type(self.size), count=len(words))

    def cut(self, text: str) -> int:
        return settled(text)

    def decode(self, ids: ArrayLike) -> str:
        decoder = self.decoder()
        return "".join(map(decoder.push, checked_ids(ids, self.size).tolist()))

    def decoder(self) -> WordDecoder:
        return WordDecoder(self.symbols)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.unit, "symbols": list(self.symbols)}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Words:
        return cls(saved["symbols"])


class WordDecoder:
    """Puts a space before each word that does not begin a line."""

    def __init__(self, symbols: tuple[str, ...]) -> None:
        self._symbols = symbols
        self._line_start = True

    def push(self, token: int) -> str:
        if not 0 <= token < len(self._symbols):
            raise ValueError(f"token {token} is outside the vocabulary, which has the tokens 0..{len(self._symbols) - 1}")
        word = self._symbols[token]
        if word == EOS:
            self._line_start = True
            return "\n"
        space = "" if self._line_start else " "
        self._line_start = False
        return space + word

    def flush(self) -> str:
        return ""


def settled(text: str) -> int:
    """The length up to and including the last white space: the word after it may still grow."""
    end = len(text)
    while end and not text[end - 1].isspace():
        end -= 1
    return end
