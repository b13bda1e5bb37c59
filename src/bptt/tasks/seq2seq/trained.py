"""A trained model from one text to another, as its run's folder holds it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bptt.data.files import is_there
from bptt.data.pairs import Names
from bptt.tasks.config import names_a_file, option
from bptt.tasks.report import Report
from bptt.tasks.seq2seq.beam import Beam, Found, write
from bptt.tasks.seq2seq.config import Seq2SeqSettings
from bptt.tasks.seq2seq.corpus import PARTS, Corpus, Part, complete, read, read_corpus
from bptt.tasks.seq2seq.fitted import Fitted
from bptt.tasks.seq2seq.model import Seq2SeqModel
from bptt.tasks.seq2seq.predictions import Answer, Answers
from bptt.tasks.task import NothingHeldOut, Trained, Which, load, restored, settings_in
from bptt.train import read_config

ARTIFACT = "fitted.json"
_ROOM = 8000  # tokens read side by side, all beginnings of the search counted


class TrainedSeq2Seq(Trained):
    """A trained model from one text to another: it writes, and can be measured."""

    name: ClassVar[str]
    kind: ClassVar[type[Seq2SeqSettings]]
    names: ClassVar[Names]
    heading: ClassVar[str]
    """The column of answers."""

    def __init__(self, folder: Path, which: Which = None) -> None:
        self.settings = settings_in(folder, self.name, self.kind)
        self.what = restored(folder, ARTIFACT, Fitted.from_json)
        record = read_config(folder)
        self._learned_from = record.get("data"), record["config"].get("test")
        self.model = make_model(self.settings, self.what)
        load(self.model, folder, which)

    @abstractmethod
    def measure(self, name: str, part: Part, written: Sequence[str], train: Part | None) -> Report:
        """How good what was ``written`` for the texts of ``part`` is, beside plain baselines."""

    def write(self, texts: Sequence[str], beam: int | None = None) -> Answers:
        """What the model writes for each of the texts; nothing for an empty one.

        **Raises** ``TypeError`` for what is no text.
        """
        if isinstance(texts, str):
            raise TypeError(f"expected a list of texts, got one: [{texts[:20]!r}]")
        strange = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
        if strange is not None:
            raise TypeError(f"text {strange} is a {type(texts[strange]).__name__}, expected a str")
        return Answers(self.heading, tuple(written(self.model, self.what, texts, beam_of(self.settings, beam))))

    def predict(self, data: str | None = None, text: str | None = None, **how: Any) -> Answers:
        """What the model writes for the texts in the file ``data``, one for each row in its order, or for one ``text``.

        ``how``: ``beam``; and ``text_column``, ``encoding``, ``separator`` of the file, where they are others than in training.

        **Raises** ``ValueError`` where neither or both are given, and what reading the file does.
        """
        if (data is None) == (text is None):
            raise ValueError(f"say which texts: a file, --data FILE, or one text, --text TEXT ({self.heading} of each follow)")
        if text is not None:
            return self.write([text], how.get("beam"))
        assert data is not None
        column = how.get("text_column") or self.what.text_column
        found = read(self._reading(how), self.names, data, None, _held(data, column, how), None, targets=False)
        return self.write(found.sources, how.get("beam"))

    def evaluate(self, data: str | None = None, **how: Any) -> Report:
        """On the held-out ``part`` ("valid" or "test"), or on all of a file of pairs (or ``data`` with its ``target`` file).

        ``how``: ``part``, or how the files are read, as in `predict`, and ``target_column``; ``beam``.

        **Raises** ``ValueError`` where the data of the run have changed; `NothingHeldOut`.
        """
        part = how.get("part")
        if data is None:
            if how.get("target") is not None:
                raise ValueError(f"--target {how['target']} belongs to texts: give them too, --data FILE")
            corpus = self._own()
            name, held = NothingHeldOut.unless(vars(corpus), part, "give texts to evaluate on, --data FILE")
            return self._report(f"the {PARTS[name]} part", held, corpus.train, how.get("beam"), [])
        if part is not None:
            raise ValueError(f"--part {part} was held out of other texts than {data}: leave it out to measure on all of it")
        notes: list[str] = []
        columns = (how.get(name) or getattr(self.what, name) for name in ("text_column", "target_column"))
        found = read(self._reading(how), self.names, data, how.get("target"), *columns)
        try:
            train = self._own().train
        except (OSError, ValueError):
            train = None
        return self._report(data, complete(found, notes), train, how.get("beam"), notes)

    def _report(self, name: str, part: Part, train: Part | None, beam: int | None, notes: list[str]) -> Report:
        made = [row.text for row in written(self.model, self.what, part.sources, beam_of(self.settings, beam))]
        report = self.measure(name, part, made, train)
        remarks = [f"{note[0].upper()}{note[1:]}." for note in notes]
        if train is None:
            remarks.append(f"{self.settings.data}, which some baselines learn from, is gone or has changed: they are left out.")
        return replace(report, remarks=[*report.remarks, *self._remarks(part), *remarks])

    def _remarks(self, part: Part) -> list[str]:
        tokens, remarks = self.what.source, []
        if cut := sum(not tokens.whole(text) for text in part.sources):
            remarks.append(f"Of {cut:,} texts only the first {tokens.longest:,} {tokens.unit}s were read.")
        unknown, every = tokens.unknown(part.sources)
        if every and unknown > _STRANGE * every:
            what = "are words that training lacks" if tokens.words else "are single bytes, not words or parts of words"
            remarks.append(f"{unknown / every:.0%} of the tokens read {what}: is it the language that was learned?")
        return remarks

    def _own(self) -> Corpus:
        """The data of the run, with the parts as they were.

        **Raises** ``FileNotFoundError`` or ``ValueError`` where a file is gone or has changed.
        """
        given = self.settings
        for key in sorted(self.kind.files - {"start"}):
            path = getattr(given, key)
            if names_a_file(path) and not is_there(path):
                raise FileNotFoundError(
                    f"a file of this run, {path} ({option(key)}), is no longer there: give texts to evaluate on, --data FILE"
                )
        corpus = read_corpus(given, self.names)
        source = self.what.batches(corpus.train, given.rows, given.tokens, shuffle=True, seed=given.seed).fingerprint()
        test = self.what.batches(corpus.test, given.rows, given.tokens).fingerprint() if len(corpus.test) else None
        if (source, test) != self._learned_from:
            raise ValueError(
                f"{given.data} has changed since this run learned from it, so what was held out cannot be told from what was "
                "learned: give texts to evaluate on, --data FILE"
            )
        return corpus

    def _reading(self, how: dict[str, Any]) -> Seq2SeqSettings:
        changed = {key: how[key] for key in ("encoding", "separator") if how.get(key) is not None}
        return self.settings.model_copy(update=changed)


_STRANGE = 0.25  # the share of unknown words, or of bytes, from which a text looks like another language


def make_model(settings: Seq2SeqSettings, what: Fitted) -> Seq2SeqModel:
    """The model that ``settings`` describe, with fresh weights."""
    return Seq2SeqModel(
        what.source.size,
        what.target.size,
        embed=settings.embed,
        joint=what.source is what.target,
        copy=settings.copy_words,
        **settings.network,
    )


def beam_of(settings: Seq2SeqSettings, width: int | None = None) -> Beam:
    """How texts are searched for, as settings say; ``width`` in the place of theirs."""
    return Beam(width or settings.beam, settings.length_penalty, settings.coverage_penalty, settings.stutter)


def written(model: Seq2SeqModel, what: Fitted, texts: Sequence[str], how: Beam) -> list[Answer]:
    """What the model writes for each text, in their order; texts of like lengths are written side by side."""
    encoded = [what.source.encode(text) for text in texts]
    answers = [Answer(text, "", 0.0, "the text is empty") for text in texts]
    order = sorted((i for i, text in enumerate(texts) if text.strip()), key=lambda i: len(encoded[i][0]))
    while order:
        longest, batch = len(encoded[order[-1]][0]), max(1, _ROOM // (how.width * len(encoded[order[-1]][0])))
        assert longest
        rows, order = order[-batch:], order[:-batch]
        found = write(model, [encoded[i][0] for i in rows], how)
        for i, each in zip(rows, found, strict=True):
            answers[i] = _answer(what, texts[i], encoded[i], each)
    return answers


def _answer(what: Fitted, text: str, encoded: tuple[Any, tuple[str, ...]], found: Found) -> Answer:
    ids, own = encoded
    notes = []
    if not what.source.whole(text):
        notes.append(f"only the first {what.source.longest} {what.source.unit}s were read")
    if not found.ended:
        notes.append("it came to no end and was cut")
    return Answer(
        text,
        what.target.decode(found.tokens, own, text),
        found.score,
        "; ".join(notes),
        tuple(what.source.pieces(ids.tolist(), own)),
        tuple(what.target.pieces([*found.tokens, 1][: len(found.weights)], own)),
        np.asarray(found.weights.double().numpy()),
    )


def _held(data: str, column: str | None, how: dict[str, Any]) -> str | None:
    """The column of texts to ask for: that of training is not asked of a file that has a text a line."""
    from bptt.data.pairs import is_table

    return column if how.get("text_column") or is_table(data) else None
