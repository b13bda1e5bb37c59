"""A text as tokens in three parts: to learn from, to validate on, to test on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bptt.data import Stream, Vocabulary, encode_file, fit_vocabulary, read_text, split
from bptt.data.text import Progress
from bptt.data.vocabulary import Ids
from bptt.tasks.task import NothingHeldOut
from bptt.tasks.text.borders import SETTLED, borders, fit, tokens_after
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
        return NothingHeldOut.unless(vars(self), part, "give a text to evaluate on, --data FILE")


def read_corpus(settings: TextSettings, vocabulary: Vocabulary | None = None, progress: Progress | None = None) -> Corpus:
    """The parts of the text as ``settings`` say, encoded with ``vocabulary`` or, without one, one fitted to the text.

    A vocabulary of words or sub-words is fitted to the training part alone. Characters are those of the whole file, as a
    character that is held out could not be read otherwise: what it gives away is that it exists. **Raises** what
    `bptt.data.fit_vocabulary`, `bptt.data.encode_file` and `bptt.data.split` raise.
    """
    path, encoding = settings.data, settings.encoding
    fractions = {name: value for name in ("valid", "test") if isinstance(value := getattr(settings, name), (int, float))}
    if settings.unit not in SETTLED:
        if vocabulary is None:
            vocabulary = fit_vocabulary(settings.unit, path, encoding=encoding, size=settings.vocabulary, progress=progress)
        parts = split(encode_file(path, vocabulary, encoding), **{"valid": 0.0, **fractions})._asdict()
    else:
        vocabulary, parts = _by_characters(settings, vocabulary, fractions)
    for name in ("valid", "test"):
        if name not in fractions:
            parts[name] = encode_file(getattr(settings, name), vocabulary, encoding)
            if len(parts[name]) < 2:
                raise ValueError(f"{getattr(settings, name)} holds {len(parts[name])} tokens, expected at least 2")
    return Corpus(vocabulary, **parts)


def _by_characters(
    settings: TextSettings, vocabulary: Vocabulary | None, fractions: dict[str, float]
) -> tuple[Vocabulary, dict[str, Ids]]:
    """The vocabulary, fitted where there is none to the training part, and the parts, as shares of the characters."""

    def chunks() -> Iterator[str]:
        return read_text(settings.data, settings.encoding)

    shares = (fractions.get("valid", 0.0), fractions.get("test", 0.0))
    if sum(shares) >= 1:
        raise ValueError(f"valid={shares[0]} and test={shares[1]} leave nothing to train on; their sum must stay below 1")
    first, second = borders(chunks, settings.unit, shares)
    if not first:
        raise ValueError(f"{settings.data} is too short: its training part would hold no whole {settings.unit}")
    if vocabulary is None:
        vocabulary = fit(chunks, settings.unit, settings.vocabulary, first)
    tokens = encode_file(settings.data, vocabulary, settings.encoding)
    valid, test = tokens_after(chunks, vocabulary, first, second)
    train = len(tokens) - valid - test
    for name, size, wanted in (("train", train, 1.0), ("valid", valid, shares[0]), ("test", test, shares[1])):
        if wanted and size < 2:
            raise ValueError(f"{len(tokens)} tokens are too few: the part {name!r} would hold {size}, expected at least 2")
    return vocabulary, {"train": tokens[:train], "valid": tokens[train : train + valid], "test": tokens[train + valid :]}


def training(tokens: Ids, rows: int, restart: float, every: int, seed: int) -> Stream:
    """Tokens to learn from; before each ``every`` steps of a row its state starts afresh with probability ``restart``.

    A network that is trained with a carried state alone meets a fresh one only at the beginning of an epoch. It may then do
    badly, for as long as it runs, wherever it starts on a text of its own. Melis, Dyer & Blunsom 2018, arXiv 1707.05589.
    """
    plain = Stream(tokens, rows=rows)
    if not restart:
        return plain
    each, longer = divmod(len(tokens) - 1, rows)
    row = np.arange(rows)
    begins = row * each + np.minimum(row, longer)  # as `Stream` deals out its rows
    positions = begins + np.arange(every, each, every)[:, None]
    drawn = np.random.Generator(np.random.PCG64(seed)).random(positions.shape) < restart
    return Stream(tokens, rows=rows, resets=np.sort(positions[drawn]))


def evaluation(tokens: Ids, rows: int) -> Stream:
    """Tokens to measure on, in at most ``rows`` rows of some length."""
    return Stream(tokens, rows=max(1, min(rows, len(tokens) // _CONTEXT)))


def characters(tokens: Ids, vocabulary: Vocabulary) -> int:
    """The characters that the predicted tokens, all but the first, stand for."""
    if vocabulary.unit == "character":
        return len(tokens) - 1
    return sum(len(vocabulary.decode(part)) for part in np.array_split(tokens[1:], max(1, len(tokens) // 1_000_000)))
