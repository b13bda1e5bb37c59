"""The classify task: from settings to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from bptt import CrossEntropy
from bptt.data.grouped import Grouped
from bptt.tasks.classify import pictures
from bptt.tasks.classify.baseline import require
from bptt.tasks.classify.config import ClassifySettings
from bptt.tasks.classify.corpus import batches, read_corpus
from bptt.tasks.classify.fitted import Fitted
from bptt.tasks.classify.model import ClassifyModel
from bptt.tasks.classify.trained import ARTIFACT, BATCH, NAME, TrainedClassify, make_model, probabilities
from bptt.tasks.config import TrainingSettings, option
from bptt.tasks.report import Report
from bptt.tasks.task import Task, Which, begins_from, built, following, parameters, restored, settings_in
from bptt.through import Full, parse


class ClassifyTask(Task):
    """A classifier about to be trained on labelled texts; see `ClassifySettings`."""

    name: ClassVar[str] = NAME
    artifact: ClassVar[str] = ARTIFACT
    judged_by: ClassVar[str] = "accuracy"
    settings: ClassifySettings
    model: ClassifyModel
    source: Grouped

    def __init__(self, settings: TrainingSettings, folder: Path | None = None) -> None:
        if not isinstance(settings, ClassifySettings):
            raise TypeError(f"the classify task takes ClassifySettings, got {type(settings).__name__}")
        require()
        self.settings = settings
        first = None
        if folder is not None and (folder / self.artifact).exists():
            self.what = restored(folder, self.artifact, Fitted.from_json)
            self.corpus = read_corpus(settings, self.what.labels)
        else:
            start = begins_from(settings, folder)
            if start is not None:
                before = settings_in(start, self.name, ClassifySettings)
                kept = ("unit", "vocabulary", "lower", "longest")
                self.settings = settings = following(settings, start, {key: getattr(before, key) for key in kept})
                first = restored(start, self.artifact, Fitted.from_json)
            self.corpus = read_corpus(settings, None if first is None else first.labels)
            self.what = Fitted.fit(self.corpus, settings, None if first is None else first.tokens)
        _check_through(settings)
        self.source = batches(self.corpus.train, self.what.tokens, settings.rows, shuffle=True, seed=settings.seed)
        self.validation = batches(self.corpus.valid, self.what.tokens, BATCH) if len(self.corpus.valid) else None
        if self.validation is None and "patience" not in settings.model_fields_set:
            self.settings = settings = settings.model_copy(update={"patience": None})  # there is nothing to wait for
        self.test = batches(self.corpus.test, self.what.tokens, BATCH).fingerprint() if len(self.corpus.test) else None
        self.loss = CrossEntropy()
        self.model = built(lambda: make_model(self.settings, self.what), settings, folder)

    def metrics(self, model: nn.Module) -> dict[str, float]:
        """The accuracy on the validation part, which chooses the best weights."""
        made = probabilities(model, self.what.tokens, self.corpus.valid.texts)
        wanted = torch.tensor(self.corpus.valid.classes)
        return {"accuracy": float((made.argmax(1) == wanted).double().mean())}

    def describe(self) -> list[tuple[str, str]]:
        given, corpus, tokens = self.settings, self.corpus, self.what.tokens
        sizes = " + ".join(
            f"{len(part):,} {what}"
            for part, what in ((corpus.train, "to learn from"), (corpus.valid, "validation"), (corpus.test, "test"))
            if len(part)
        )
        total = sum(self.what.counts)
        shares = ", ".join(f"{label} {n / total:.0%}" for label, n in zip(corpus.labels, self.what.counts, strict=True))
        lengths = self.source.examples.lengths
        cut = sum(not tokens.whole(text) for text in corpus.train.texts)
        read = f"; of {cut:,} longer ones the first {tokens.longest:,} ({option('longest')})" if cut else ""
        named = f"texts in column {corpus.text_column!r}, labels in {corpus.label_column!r}"
        return [
            ("data", f"{given.data}: {named}; {sizes}"),
            ("labels", shares if len(corpus.labels) <= _MOST else f"{len(corpus.labels)} different ones"),
            ("texts", f"{int(lengths.min())} to {int(lengths.max())} tokens, {lengths.mean():.0f} on average{read}; "
                      f"{tokens.size:,} different {tokens.unit}s"),
            *(("", note) for note in corpus.notes),
            (
                "model",
                f"{'bi' if given.bidirectional else ''}{given.cell.upper()} {given.layers}×{given.hidden}, embedding "
                f"{given.embed}, {given.pool} pooling, dropout {given.dropout:g}, word dropout {given.word_dropout:g}: "
                f"{parameters(self.model):,} parameters",
            ),
            ("training", f"{given.through}; {given.rows} rows; {given.optimizer}, lr {given.lr:g}, {given.schedule}"),
        ]  # fmt: skip

    def fitted(self) -> dict[str, Any]:
        return self.what.to_json()

    @classmethod
    def open(cls, folder: Path, which: Which = None) -> TrainedClassify:
        return TrainedClassify(folder, which)

    def pictures(self, folder: Path, report: Report) -> list[Path]:
        return [*pictures.curves(folder), *pictures.confusion(folder, report)]

    def next_commands(self, folder: Path) -> list[str]:
        return [
            f"bptt predict {folder} --text 'a text of yours' --words",
            f"bptt predict {folder} --data new.tsv --out labels.csv",
            f"bptt evaluate {folder}",
            self.longer(folder),
        ]


_MOST = 12  # labels that are named one by one


def _check_through(settings: ClassifySettings) -> None:
    if settings.bidirectional and not isinstance(parse(settings.through), Full):
        raise ValueError(
            f"--through {settings.through} runs a text piece by piece, but a network that reads it from both its ends needs it "
            "whole: add --no-bidirectional, or leave out --through"
        )
