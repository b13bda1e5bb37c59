"""The text task: from settings to a run, and from a run's folder to a model that writes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from torch import nn

from bptt import CrossEntropy
from bptt.data import Stream, Vocabulary, vocabulary_from_json
from bptt.data.encode import Tokens
from bptt.data.files import is_there
from bptt.tasks import curves
from bptt.tasks.config import Settings, TrainingSettings, names_a_file, option
from bptt.tasks.report import Report
from bptt.tasks.task import Task, Trained, Which, begins_from, built, following, load, parameters, restored, settings_in
from bptt.tasks.text.config import TextSettings
from bptt.tasks.text.corpus import Corpus, evaluation, read_corpus, tokens_of, training
from bptt.tasks.text.follow import Reader
from bptt.tasks.text.model import TextModel
from bptt.tasks.text.sample import generate
from bptt.tasks.text.score import score
from bptt.tasks.text.together import Crew
from bptt.through import parse
from bptt.train import Result, read_config
from bptt.train.processes import processes

_OUTLINES = "outlines.json"
_STRETCH = 64  # steps, where the strategy has no windows of its own
_SPREAD = 2  # begins words within ±√(2/H): 0.1, 0.055 and 0.037 where Zaremba et al. 2014 chose 0.1, 0.05 and 0.04
_SPREADING = ("lstm", "gru")
_LARGE = 2000  # symbols from which a readout in one with its loss is faster


class TextTask(Task):
    """A language model about to be trained on a text; see `TextSettings`."""

    name: ClassVar[str] = "text"
    artifact: ClassVar[str] = "vocabulary.json"
    settings: TextSettings

    def __init__(self, settings: TrainingSettings, folder: Path | None = None) -> None:
        self.settings = _text(settings)
        crew = Crew(processes())
        begun = folder if folder is not None and (folder / self.artifact).exists() else None
        if begun is None and (start := begins_from(self.settings, folder)) is not None:
            first, begun = settings_in(start, self.name, TextSettings), start
            self.settings = following(self.settings, start, {"unit": first.unit, "vocabulary": first.vocabulary})
        saved, outlines = crew.first(lambda: (_saved(begun), _outlines(folder)))
        vocabulary = None if saved is None else vocabulary_from_json(saved)
        self.corpus = read_corpus(self.settings, vocabulary, crew, outlines)
        self.vocabulary = self.corpus.vocabulary
        self.source = _source(self.corpus, self.settings)
        self.validation = evaluation(self.corpus.valid, self.settings.rows) if len(self.corpus.valid) else None
        self.test = _print(self.corpus.test)
        self.loss: nn.Module = CrossEntropy()
        self.model: TextModel = built(lambda: _model(self.settings, self.vocabulary), self.settings, folder)

    def fit(self, folder: Path, **how: Any) -> Result:
        if self.vocabulary.size < _LARGE:
            return super().fit(folder, **how)
        plain = self.loss
        with self.model.leaving_readout() as loss:
            self.loss = loss
            try:
                return super().fit(folder, **how)
            finally:
                self.loss = plain

    def describe(self) -> list[tuple[str, str]]:
        given, corpus = self.settings, self.corpus
        sizes = " + ".join(
            f"{len(part):,} {what}"
            for part, what in ((corpus.train, "to learn from"), (corpus.valid, "validation"), (corpus.test, "test"))
            if len(part)
        )
        return [
            ("data", f"{given.data}: {sizes}; {self.vocabulary.size:,} different {_KINDS[self.vocabulary.unit]}"),
            (
                "model",
                f"{given.cell.upper()} {given.layers}×{given.hidden}, embedding {given.embedding}"
                f"{' tied' if given.tie else ''}, {'variational ' * given.variational}dropout {given.dropout:g}"
                f"{f', weight drop {given.weight_drop:g}' * (given.weight_drop > 0)}: {parameters(self.model):,} parameters",
            ),
            ("training", f"{given.through}; {given.rows} rows; {given.optimizer}, lr {given.lr:g}, {given.schedule}"),
        ]

    def fitted(self) -> dict[str, Any]:
        return self.vocabulary.to_json()

    def beside(self) -> dict[str, Any]:
        return {_OUTLINES: self.corpus.outlines} if self.corpus.outlines else {}

    @classmethod
    def open(cls, folder: Path, which: Which = None) -> TrainedText:
        return TrainedText(folder, which)

    def pictures(self, folder: Path, report: Report) -> list[Path]:
        plain = report.figures.get("baselines", {})
        lines = {f"{plain['order']}-gram": plain["ngram"], "unigram": plain["unigram"]} if plain else {}
        return curves.draw(folder, f"bits per {self.vocabulary.unit}", 1 / math.log(2), lines)

    def next_commands(self, folder: Path) -> list[str]:
        return [
            f"bptt generate {folder} --temperature 0.8",
            f"bptt evaluate {folder}",
            self.longer(folder),
        ]


class TrainedText(Trained):
    """A trained language model: it writes, and it can be measured."""

    def __init__(self, folder: Path, which: Which = None) -> None:
        self.settings = settings_in(folder, TextTask.name, TextSettings)
        self._folder = folder
        record = read_config(folder)
        self._learned_from = record.get("data"), record["config"].get("test")
        self.vocabulary = restored(folder, TextTask.artifact, vocabulary_from_json)
        self.model = _model(self.settings, self.vocabulary)
        load(self.model, folder, which)

    def generate(self, prompt: str = "", length: int = 500, **how: Any) -> Iterator[str]:
        """Text that goes on after ``prompt``; see `bptt.tasks.text.sample.generate`."""
        return generate(self.model, self.vocabulary, prompt, length, **how)

    def follow(self) -> Reader:
        """The model for lines as they come; see `bptt.tasks.text.follow.Reader`."""
        return Reader(self.model, self.vocabulary)

    def predict(self, **_: Any) -> NoReturn:
        """**Raises** ``ValueError``: a text is followed, gone on with, or measured."""
        raise ValueError(
            f"a model of texts reads lines as they come: bptt predict {self._folder} --follow < lines.txt; to go on with a "
            f"text: bptt generate {self._folder}; to measure: bptt evaluate {self._folder} --data FILE"
        )

    def evaluate(self, data: str | None = None, **how: Any) -> Report:
        """On the text file ``data``, or on what was held out: ``part="valid"`` or ``"test"``; ``rows`` read side by side.

        Where ``data`` holds the very text that was learned from, on what was held out of it.

        **Raises** ``ValueError`` where the text of the run has changed; `NothingHeldOut`.
        """
        part, rows = how.get("part"), how.get("rows") or self.settings.rows
        read = {"encoding": how.get("encoding"), "column": how.get("text_column")}
        own = self._own(data, read)
        if own is not None and part is not None and part in self._gone():
            raise FileNotFoundError(self._where(part))
        if own is not None and (data is None or part is not None or len(own.valid) or len(own.test)):
            name, tokens = own.held_out(part)
            return score(self.model, self.vocabulary, tokens, rows, f"the {_PARTS[name]} part", own.train)
        if data is None:
            raise ValueError(
                f"{self.settings.data} has changed since this run learned from it, so what was held out cannot be told from "
                "what was learned: give a text to evaluate on, --data FILE"
            )
        if part is not None:
            raise ValueError(f"--part {part} was held out of another text than {data}: leave it out to measure on all of it")
        given = self.settings.model_copy(update={key: value for key, value in read.items() if value is not None})
        tokens, _ = tokens_of(data, given, self.vocabulary)
        learned = own or (self._own(self.settings.data, {}) if is_there(self.settings.data) else None)
        report = score(self.model, self.vocabulary, tokens, rows, data, None if learned is None else learned.train)
        if learned is None:
            gone = f"No n-grams beside it: {self.settings.data}, which they are counted on, is gone or has changed."
            return replace(report, remarks=[*report.remarks, gone])
        return report

    def _own(self, data: str | None, read: dict[str, str | None]) -> Corpus | None:
        """The corpus learned from, read from ``data`` or from where it was; ``None`` where the contents are others."""
        if data is None and not is_there(self.settings.data):
            raise FileNotFoundError(
                f"the text of this run, {self.settings.data}, is no longer there: say where it is now, or give another to "
                "evaluate on, --data FILE"
            )
        gone = self._gone()
        if data is None and gone:
            raise FileNotFoundError(self._where(gone[0]))
        moved = {"data": data or self.settings.data, **{key: value for key, value in read.items() if value is not None}}
        try:
            corpus = self._read(self.settings.model_copy(update=moved | dict.fromkeys(gone, 0.0)))
            source = _source(corpus, self.settings).fingerprint()  # of another text, there may be too little for the rows
        except ValueError:
            if data is None:
                raise
            return None
        learned, test = self._learned_from
        return corpus if source == learned and ("test" in gone or _print(corpus.test) == test) else None

    def _read(self, settings: TextSettings) -> Corpus:
        return read_corpus(settings, self.vocabulary, outlines=_outlines(self._folder))

    def _gone(self) -> list[str]:
        """The held-out parts that are files of their own, and no longer there."""
        parts = {part: getattr(self.settings, part) for part in ("valid", "test")}
        return [part for part, path in parts.items() if names_a_file(path) and not is_there(path)]

    def _where(self, part: str) -> str:
        return (
            f"the {_PARTS[part]} file of this run, {getattr(self.settings, part)}, is no longer there: say where it is now, "
            f"bptt train {TextTask.name} --out {self._folder} {option(part)} FILE, or give a text to evaluate on, --data FILE"
        )


_KINDS = {
    "byte": "bytes",
    "character": "characters in the whole file",
    "word": "words in the training part",
    "subword": "sub-words fitted to the training part",
}
_PARTS = {"valid": "validation", "test": "test", "train": "training"}


def _text(settings: Settings) -> TextSettings:
    if not isinstance(settings, TextSettings):
        raise TypeError(f"the text task takes TextSettings, got {type(settings).__name__}")
    return settings


def _saved(folder: Path | None) -> dict[str, Any] | None:
    """The vocabulary of the run in ``folder`` as it is kept there."""
    return None if folder is None else restored(folder, TextTask.artifact, vocabulary_from_json).to_json()


def _outlines(folder: Path | None) -> dict[str, Any]:
    """The outlines of the texts of the run in ``folder``, where it has read some page by page."""
    return {} if folder is None or not (folder / _OUTLINES).exists() else restored(folder, _OUTLINES, dict)


def _source(corpus: Corpus, settings: TextSettings) -> Stream:
    every = getattr(parse(settings.through), "k1", _STRETCH)  # windows that start afresh are not cut in two
    return training(corpus.train, settings.rows, settings.restart, every, settings.seed)


def _print(tokens: Tokens) -> str | None:
    """What tells a part from another; ``None`` where it is empty."""
    return Stream(tokens, rows=1).fingerprint() if len(tokens) else None


def _model(settings: TextSettings, vocabulary: Vocabulary) -> TextModel:
    spread = (
        math.sqrt(_SPREAD / settings.hidden) if settings.unit in ("word", "subword") and settings.cell in _SPREADING else None
    )
    return TextModel(
        vocabulary.size, spread=spread, embed=settings.embedding, tie=settings.tie, variational=settings.variational,
        weight_drop=settings.weight_drop, **settings.network,
    )  # fmt: skip
