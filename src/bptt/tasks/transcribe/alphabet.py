"""Transcripts as symbols: what is spelled, and how two transcripts are the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

BLANK = 0
"""The symbol of CTC that says nothing; those of the alphabet follow."""

_APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'"})


@dataclass(frozen=True)
class Alphabet:
    """The characters that transcripts are spelled in; symbol i is ``characters[i - 1]``."""

    characters: str
    lower: bool = True
    punctuation: bool = False

    @classmethod
    def fit(cls, texts: Iterable[str], lower: bool, punctuation: bool) -> Alphabet:
        """The characters of the training transcripts."""
        found = {character for text in texts for character in spelled(text, lower, punctuation)}
        return cls("".join(sorted(found)), lower, punctuation)

    @property
    def size(self) -> int:
        """Symbols in all, the blank among them."""
        return len(self.characters) + 1

    def spelled(self, text: str) -> str:
        """A transcript as it is learned and compared."""
        return spelled(text, self.lower, self.punctuation)

    def strange(self, text: str) -> str:
        """The characters of a transcript, so spelled, that the alphabet lacks."""
        return "".join(sorted(set(self.spelled(text)) - set(self.characters)))

    def encode(self, text: str) -> list[int]:
        """The symbols of a transcript; characters that the alphabet lacks are left out."""
        return [self.characters.index(each) + 1 for each in self.spelled(text) if each in self.characters]

    def decode(self, symbols: Iterable[int]) -> str:
        """The text of symbols, with single spaces between words."""
        return " ".join("".join(self.characters[each - 1] for each in symbols).split())

    def to_json(self) -> dict[str, Any]:
        return {"characters": self.characters, "lower": self.lower, "punctuation": self.punctuation}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Alphabet:
        return cls(str(saved["characters"]), bool(saved["lower"]), bool(saved["punctuation"]))


def spelled(text: str, lower: bool, punctuation: bool) -> str:
    """A transcript in one form: composed characters, single spaces; small letters and no marks but apostrophes, as asked."""
    text = unicodedata.normalize("NFC", text).translate(_APOSTROPHES)
    text = text.lower() if lower else text
    if not punctuation:  # marks part words (pre-paid), apostrophes do not
        text = "".join(each if each == "'" or unicodedata.category(each)[0] in "LMN" else " " for each in text)
        text = " ".join(word.strip("'") for word in text.split())
    return " ".join(text.split())
