"""A text as tokens in three parts: to learn from, to validate on, to test on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from bptt.data import Stream, Vocabulary, encode_file, fit_vocabulary, read_text, split, vocabulary_from_json
from bptt.data.encode import Tokens
from bptt.data.files import are_tables
from bptt.tasks.task import NothingHeldOut
from bptt.tasks.text.borders import SETTLED, borders, fit, tokens_after
from bptt.tasks.text.config import TextSettings
from bptt.tasks.text.paged import Paged, is_large
from bptt.tasks.text.together import Crew

_CONTEXT = 1024  # tokens that a row of an evaluation holds at least, so that its empty beginning hardly counts
_DRAWN = 1 << 20  # windows for which it is drawn at once whether they start afresh


@dataclass(frozen=True)
class Corpus:
    """Tokens ``[N]`` of each part, empty where it was not asked for.

    ``outlines``: of the texts that are read page by page, by their setting, what need not be read through for again.
    """

    vocabulary: Vocabulary
    train: Tokens
    valid: Tokens
    test: Tokens
    outlines: dict[str, Any] = field(default_factory=dict)

    def held_out(self, part: str | None = None) -> tuple[str, Tokens]:
        """The part of that name; unless named, the test part if there is one, else the validation part.

        **Raises** `NothingHeldOut`.
        """
        parts = {name: getattr(self, name) for name in ("train", "valid", "test")}
        return NothingHeldOut.unless(parts, part, "give a text to evaluate on, --data FILE")


def read_corpus(
    settings: TextSettings,
    vocabulary: Vocabulary | None = None,
    crew: Crew | None = None,
    outlines: Mapping[str, Any] | None = None,
) -> Corpus:
    """The parts of the text as ``settings`` say, encoded with ``vocabulary`` or, without one, one fitted to the text.

    A vocabulary of words or sub-words is fitted to the training part alone. Characters are those of the whole text, as a
    character that is held out could not be read otherwise: what it gives away is that it exists. The first process of a
    ``crew`` fits it. A text of many files, or for several processes, that is larger than `bptt.data.encode.SPILL` is read page
    by page; ``outlines`` are those of an earlier reading. **Raises** what `bptt.data.fit_vocabulary`,
    `bptt.data.encode_file` and `bptt.data.split` raise.
    """
    crew, outlines, made = crew or Crew(), outlines or {}, dict[str, Any]()
    fractions = {name: value for name in ("valid", "test") if isinstance(value := getattr(settings, name), (int, float))}
    shares = (fractions.get("valid", 0.0), fractions.get("test", 0.0))
    if sum(shares) >= 1:
        raise ValueError(f"valid={shares[0]} and test={shares[1]} leave nothing to train on; their sum must stay below 1")
    shards = crew.find(settings.data)
    parts: dict[str, Tokens]
    if is_large(shards, crew.size):
        paged = Paged(settings.data, shards, settings, crew, outlines.get("data") if vocabulary is not None else None)
        vocabulary = vocabulary or paged.vocabulary(shares)
        if settings.unit in SETTLED:
            parts = dict(paged.parts(vocabulary, shares))
            _check_sizes(parts, shares)
        else:
            parts = split(paged.tokens(vocabulary), *shares)._asdict()
        made["data"] = paged.to_json()
    elif settings.unit in SETTLED:
        vocabulary, parts = _by_characters(settings, vocabulary, shares, crew)
    else:
        vocabulary = vocabulary or _fitted(settings, crew)
        parts = split(encode_file(settings.data, vocabulary, settings.encoding, column=settings.column), *shares)._asdict()
    for name in ("valid", "test"):
        if name not in fractions:
            parts[name] = _read(name, settings, vocabulary, crew, outlines, made)
    return Corpus(vocabulary, **parts, outlines=made)


def tokens_of(
    given: str, settings: TextSettings, vocabulary: Vocabulary, crew: Crew | None = None, kept: Mapping[str, Any] | None = None
) -> tuple[Tokens, dict[str, Any] | None]:
    """All tokens of a text, and its outline where it is read page by page.

    **Raises** ``ValueError`` where there are fewer than two.
    """
    crew = crew or Crew()
    shards = crew.find(given)
    if not are_tables(shards):
        settings = settings.model_copy(update={"column": None})  # which is that of the text learned from
    tokens: Tokens
    outline = None
    if is_large(shards, crew.size):
        paged = Paged(given, shards, settings, crew, kept)
        tokens, outline = paged.tokens(vocabulary), paged.to_json()
    else:
        tokens = encode_file(given, vocabulary, settings.encoding, column=settings.column)
    if len(tokens) < 2:
        raise ValueError(f"{given} holds {len(tokens)} {vocabulary.unit}s, expected at least 2")
    return tokens, outline


def _read(
    name: str,
    settings: TextSettings,
    vocabulary: Vocabulary,
    crew: Crew,
    outlines: Mapping[str, Any],
    made: dict[str, Any],
) -> Tokens:
    tokens, outline = tokens_of(getattr(settings, name), settings, vocabulary, crew, outlines.get(name))
    if outline is not None:
        made[name] = outline
    return tokens


def _fitted(settings: TextSettings, crew: Crew) -> Vocabulary:
    def fitted() -> dict[str, Any]:
        return fit_vocabulary(
            settings.unit, settings.data, encoding=settings.encoding, column=settings.column, size=settings.vocabulary
        ).to_json()

    return vocabulary_from_json(crew.first(fitted))


def _by_characters(
    settings: TextSettings, vocabulary: Vocabulary | None, shares: tuple[float, float], crew: Crew
) -> tuple[Vocabulary, dict[str, Tokens]]:
    """The vocabulary, fitted where there is none to the training part, and the parts, as shares of the characters."""

    def chunks() -> Iterator[str]:
        return read_text(settings.data, settings.encoding, column=settings.column)

    first, second = borders(chunks, settings.unit, shares)
    if not first:
        raise ValueError(f"{settings.data} is too short: its training part would hold no whole {settings.unit}")
    if vocabulary is None:
        vocabulary = vocabulary_from_json(crew.first(lambda: fit(chunks, settings.unit, settings.vocabulary, first).to_json()))
    tokens = encode_file(settings.data, vocabulary, settings.encoding, column=settings.column)
    valid, test = tokens_after(chunks, vocabulary, first, second)
    train = len(tokens) - valid - test
    parts: dict[str, Tokens] = {
        "train": tokens[:train],
        "valid": tokens[train : train + valid],
        "test": tokens[train + valid :],
    }
    _check_sizes(parts, shares)
    return vocabulary, parts


def _check_sizes(parts: Mapping[str, Tokens], shares: tuple[float, float]) -> None:
    for (name, part), wanted in zip(parts.items(), (1.0, *shares), strict=True):
        if wanted and len(part) < 2:
            total = sum(map(len, parts.values()))
            raise ValueError(f"{total} tokens are too few: the part {name!r} would hold {len(part)}, expected at least 2")


def training(tokens: Tokens, rows: int, restart: float, every: int, seed: int) -> Stream:
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
    steps = np.arange(every, each, every)
    generator, found = np.random.Generator(np.random.PCG64(seed)), [np.empty(0, np.int64)]
    for some in np.array_split(steps, max(1, len(steps) * rows // _DRAWN)):
        positions = begins + some[:, None]
        found.append(positions[generator.random(positions.shape) < restart])
    return Stream(tokens, rows=rows, resets=np.sort(np.concatenate(found)))


def evaluation(tokens: Tokens, rows: int) -> Stream:
    """Tokens to measure on, in at most ``rows`` rows of some length."""
    return Stream(tokens, rows=max(1, min(rows, len(tokens) // _CONTEXT)))


def characters(tokens: Tokens, vocabulary: Vocabulary) -> int:
    """The characters that the predicted tokens, all but the first, stand for."""
    if vocabulary.unit == "character":
        return len(tokens) - 1
    cuts = np.linspace(1, len(tokens), max(1, len(tokens) // 1_000_000) + 1).astype(int).tolist()
    return sum(len(vocabulary.decode(np.asarray(tokens[a:b]))) for a, b in pairwise(cuts))
