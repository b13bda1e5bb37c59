"""Two texts that belong together as the numbers that a network reads and writes, and back."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.data import Subwords, Vocabulary, Words, vocabulary_from_json
from bptt.tasks.classify.tokens import spans
from bptt.tasks.seq2seq.special import END, FIRST, UNKNOWN

Ids = NDArray[np.int64]

_OPENING, _CLOSING = frozenset("([{«„“‘¿¡$£€#@"), frozenset(")]}»”’,.;:!?%…")


class Tokens:
    """Turns texts into tokens by a vocabulary of sub-words, or of words (small letters where ``lower``), and back.

    The numbers begin with `bptt.tasks.seq2seq.special`'s; ``size`` counts all. At most ``longest`` tokens of a text are read.
    With ``copy``, words of a text that the vocabulary lacks have numbers from ``size`` on, in that text and its partner alone.
    """

    def __init__(self, vocabulary: Vocabulary, lower: bool, longest: int, copy: bool = False) -> None:
        self.vocabulary, self.lower, self.longest, self.copy = vocabulary, lower, longest, copy
        self.words = vocabulary.unit == Words.unit
        self.size = vocabulary.size + FIRST - (2 if self.words else 0)  # <unk> and <eos> of words have numbers of ours
        self.unit = vocabulary.unit

    @classmethod
    def fit(cls, texts: Iterable[str], unit: str, size: int, lower: bool, longest: int, copy: bool = False) -> Tokens:
        """With a vocabulary of these texts; **raises** ``ValueError`` where they hold no words, or the size is too small."""
        if unit == Subwords.unit:
            return cls(Subwords.fit((_plain(text, lower) + "\n" for text in texts), size), lower, longest, copy)
        return cls(Words.fit((" ".join(parted(text, lower)) + "\n" for text in texts), size), lower, longest, copy)

    def encode(self, text: str) -> tuple[Ids, tuple[str, ...]]:
        """The tokens of a text that is read, the end last, and the words of its own that they number from ``size`` on."""
        if not self.words:
            return self._ended(self.vocabulary.encode(_plain(text, self.lower))[: self.longest].astype(np.int64) + FIRST), ()
        words = parted(text, self.lower)[: self.longest]
        own: dict[str, int] = {}
        if not self.copy:
            return self._numbered(words, own), ()
        for word, number in zip(words, self._numbered(words, own)[:-1].tolist(), strict=True):
            if number == UNKNOWN and word not in own:
                own[word] = self.size + len(own)
        return self._numbered(words, own), tuple(own)

    def encode_target(self, text: str, own: Sequence[str] = ()) -> Ids:
        """The tokens of a text that is written, the end last, where the one read has those words of its ``own``."""
        if not self.words:
            return self._ended(self.vocabulary.encode(_plain(text, self.lower)).astype(np.int64) + FIRST)
        return self._numbered(parted(text, self.lower), {word: self.size + i for i, word in enumerate(own)})

    def decode(self, ids: Iterable[int], own: Sequence[str] = (), source: str = "") -> str:
        """The text of tokens; words are written as ``source`` first writes them, where it does."""
        ids = [number for number in ids if number >= FIRST]
        if not self.words:
            return self.vocabulary.decode([number - FIRST for number in ids]).strip()
        written = {word.lower(): word for word in reversed(parted(source, False))} if self.lower else {}
        symbols = getattr(self.vocabulary, "symbols", ())
        found = [own[number - self.size] if number >= self.size else symbols[number - FIRST + 2] for number in ids]
        return joined([written.get(word, word) for word in found])

    def pieces(self, ids: Iterable[int], own: Sequence[str] = ()) -> list[str]:
        """Each token as it is shown beside others."""
        symbols = getattr(self.vocabulary, "symbols", ())
        made = []
        for number in ids:
            if number < FIRST:
                made.append({END: "⏎"}.get(number, "·"))
            elif self.words:
                made.append(own[number - self.size] if number >= self.size else symbols[number - FIRST + 2])
            else:
                made.append(self.vocabulary.decode([number - FIRST]).replace(" ", "▁"))
        return made

    def whole(self, text: str) -> bool:
        """Whether all of a text is read."""
        return len(text) <= self.longest or len(self.encode_target(text)) - 1 <= self.longest

    def unknown(self, texts: Iterable[str]) -> tuple[int, int]:
        """How many words of these texts the vocabulary lacks, and how many they are; of sub-words, those of single bytes."""
        lacking = count = 0
        for text in texts:
            found = self.encode_target(text)[:-1]
            lacking += int((found == UNKNOWN).sum() if self.words else (found < FIRST + 256).sum())
            count += len(found)
        return lacking, count

    def to_json(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary.to_json(), "lower": self.lower, "longest": self.longest, "copy": self.copy}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Tokens:
        return cls(vocabulary_from_json(saved["vocabulary"]), bool(saved["lower"]), int(saved["longest"]), bool(saved["copy"]))

    def _numbered(self, words: Sequence[str], own: dict[str, int]) -> Ids:
        if not words:
            return self._ended(np.empty(0, dtype=np.int64))
        known = self.vocabulary.encode(" ".join(words)).astype(np.int64)
        found = np.where(known == 0, UNKNOWN, known + FIRST - 2)
        if own:
            found = np.array([own.get(word, number) for word, number in zip(words, found.tolist(), strict=True)])
        return self._ended(found)

    def _ended(self, ids: Ids) -> Ids:
        return np.append(ids, END).astype(np.int64)


def parted(text: str, lower: bool) -> list[str]:
    """The words of a text, punctuation marks among them."""
    text = unicodedata.normalize("NFC", text)
    text = text.lower() if lower else text
    return [text[a:b] for a, b in spans(text)]


def joined(words: Sequence[str]) -> str:
    """Words as a line of text: no blank before a mark that closes, nor after one that opens."""
    line = ""
    for i, word in enumerate(words):
        before = words[i - 1] if i else ""
        tight = word[0] in _CLOSING or word.lower() in _CLITICS or before[-1:] in _OPENING
        hyphen = i + 1 < len(words) and (word == "-" or before == "-")
        line += word if not line or tight or hyphen else f" {word}"
    return line


_CLITICS = frozenset(mark + ending for mark in "'’" for ending in ("s", "re", "ve", "ll", "d", "m")) | {"n't", "n’t"}


def _plain(text: str, lower: bool) -> str:
    """One line with single blanks and one before the first word, which so is the same sub-word as elsewhere."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    text = text.lower() if lower else text
    return f" {text}" if text else ""
