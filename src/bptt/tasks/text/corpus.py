"""A text as tokens in three parts: to learn from, to validate on, to test on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bptt.data import Stream, Vocabulary, encode_file, fit_vocabulary, split
from bptt.data.text import Progress
from bptt.data.vocabulary import Ids
from bptt.tasks.task import NothingHeldOut
from bptt.tasks.text.config import TextSettings

_CONTEXT = 1024  # tokens that a row of an evaluation holds at least, so that its empty beginning hardly counts


@dataclass(frozen=True)
class Corpus:
    """Tokens ``[N]`` of each part, empty where it was not asked for."""

    vocabulary: Vocabulary
    train: Ids
    valid: Ids
    test: Ids

    def held_out(self, part: str | None = None) -> tuple[str, Ids]:
        """The part of that name; unless named, the test part if there is one, else the validation part.

        **Raises** `NothingHeldOut`.
        """
        name = part or ("test" if len(self.test) else "valid")
        tokens: Ids = getattr(self, name)
        if not len(tokens):
            raise NothingHeldOut(f"this run held out no part {name!r}: give a text to evaluate on, --data FILE")
        return name, tokens


def read_corpus(settings: TextSettings, vocabulary: Vocabulary | None = None, progress: Progress | None = None) -> Corpus:
    """The parts of the text as ``settings`` say, encoded with ``vocabulary`` or, without one, one fitted to the text.

    A vocabulary is fitted to the whole file; a part from a file of its own is not looked at for it. **Raises** what
    `bptt.data.fit_vocabulary`, `bptt.data.encode_file` and `bptt.data.split` raise.
    """
    fractions = {name: value for name in ("valid", "test") if isinstance(value := getattr(settings, name), (int, float))}
    if vocabulary is None:
        vocabulary = fit_vocabulary(
            settings.unit, settings.data, encoding=settings.encoding, size=settings.vocabulary, progress=progress
        )
    tokens = encode_file(settings.data, vocabulary, settings.encoding)
    parts = split(tokens, **fractions)._asdict()
    for name in ("valid", "test"):
        if name not in fractions:
            parts[name] = encode_file(getattr(settings, name), vocabulary, settings.encoding)
            if len(parts[name]) < 2:
                raise ValueError(f"{getattr(settings, name)} holds {len(parts[name])} tokens, expected at least 2")
    return Corpus(vocabulary, **parts)


def evaluation(tokens: Ids, rows: int) -> Stream:
    """Tokens to measure on, in at most ``rows`` rows of some length."""
    return Stream(tokens, rows=max(1, min(rows, len(tokens) // _CONTEXT)))


def characters(tokens: Ids, vocabulary: Vocabulary) -> int:
    """The characters that the predicted tokens, all but the first, stand for."""
    if vocabulary.unit == "character":
        return len(tokens) - 1
    return sum(len(vocabulary.decode(part)) for part in np.array_split(tokens[1:], max(1, len(tokens) // 1_000_000)))
