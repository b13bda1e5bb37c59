"""A text as the numbers that a classifier reads: its words or sub-words, then one token that ends it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.data import Subwords, Vocabulary, Words, vocabulary_from_json

# English contractions are parted as in the Penn Treebank (do n't, it 's); numbers keep their points; any other mark stands
# alone. A letter takes the marks written over or after it along, as scripts of India and vowel signs need.
_LETTER = r"(?:[^\W_]|[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0e31-\u0e4e])"
_WORD = re.compile(
    rf"\d+(?:[.,]\d+)+|{_LETTER}+?(?=n['’]t\b)|n['’]t\b|['’](?:s|re|ve|ll|d|m)\b|{_LETTER}+|([^\w\s]|_)\1*", re.IGNORECASE
)


def spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a text begin and end, punctuation marks among them."""
    return [match.span() for match in _WORD.finditer(text)]


class Tokens:
    """Turns texts into token numbers by a vocabulary of words (lower case where ``lower``) or of sub-words.

    ``blank`` is the token that stands for a word left out in training or never met; ``size`` counts all tokens.
    """

    def __init__(self, vocabulary: Vocabulary, lower: bool, longest: int) -> None:
        self.vocabulary, self.lower, self.longest = vocabulary, lower, longest
        self._words = vocabulary.unit == Words.unit
        self.blank = 0 if self._words else vocabulary.size + 1
        self.unit = vocabulary.unit
        self.size = vocabulary.size + (0 if self._words else 2)

    @classmethod
    def fit(cls, texts: Iterable[str], unit: str, size: int | None, lower: bool, longest: int) -> Tokens:
        """With a vocabulary of these texts: words, or sub-words (which need the extra ``text``).

        **Raises** ``ValueError`` for texts without words, or a size too small.
        """
        lines = (_normal(text, lower) + "\n" for text in texts)
        if unit == Subwords.unit:
            return cls(Subwords.fit(lines, **({} if size is None else {"size": size})), lower, longest)
        return cls(Words.fit((_spaced(line) + "\n" for line in lines), size=size), lower, longest)

    def encode(self, text: str) -> NDArray[np.int64]:
        """The tokens of a text, at most ``longest`` from its beginning, and the one that ends it."""
        text = _normal(text, self.lower)
        if self._words:
            found = self.vocabulary.encode(_spaced(text))[: self.longest]
            return np.append(found, 1).astype(np.int64)
        return np.append(self.vocabulary.encode(text)[: self.longest], self.vocabulary.size).astype(np.int64)

    def whole(self, text: str) -> bool:
        """Whether all of a text is read."""
        if len(text) <= self.longest:
            return True
        text = _normal(text, self.lower)
        return len(self.vocabulary.encode(_spaced(text) if self._words else text)) <= self.longest

    def unknown(self, texts: Iterable[str]) -> tuple[int, int]:
        """How many words of these texts the vocabulary lacks, and how many they are; sub-words lack none."""
        lacking = count = 0
        for text in texts:
            found = self.encode(text)[:-1]
            lacking, count = lacking + int((found == 0).sum()) * self._words, count + len(found)
        return lacking, count

    def to_json(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary.to_json(), "lower": self.lower, "longest": self.longest}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Tokens:
        return cls(vocabulary_from_json(saved["vocabulary"]), bool(saved["lower"]), int(saved["longest"]))


def _normal(text: str, lower: bool) -> str:
    text = unicodedata.normalize("NFC", text)
    return text.lower() if lower else text


def _spaced(text: str) -> str:
    return " ".join(text[a:b] for a, b in spans(text))
