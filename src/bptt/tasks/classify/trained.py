"""A trained classifier, as its run's folder holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bptt.call import evaluating
from bptt.data.files import is_there
from bptt.tasks.classify.baseline import BAYES, MAJORITY, Floats, majority, naive_bayes
from bptt.tasks.classify.carried import carried
from bptt.tasks.classify.config import ClassifySettings
from bptt.tasks.classify.corpus import PARTS, Corpus, Part, batches, classes_of, read, read_corpus, shared
from bptt.tasks.classify.fitted import Fitted
from bptt.tasks.classify.model import ClassifyModel
from bptt.tasks.classify.predictions import Prediction, Predictions
from bptt.tasks.classify.score import score
from bptt.tasks.classify.tokens import Tokens
from bptt.tasks.config import names_a_file, option
from bptt.tasks.report import Report
from bptt.tasks.task import NothingHeldOut, Trained, Which, load, restored, settings_in
from bptt.train import read_config

NAME, ARTIFACT = "classify", "fitted.json"
BATCH = 256  # texts read side by side where nothing is learned


class TrainedClassify(Trained):
    """A trained classifier: it labels texts, says by which words, and can be measured."""

    def __init__(self, folder: Path, which: Which = None) -> None:
        self.settings = settings_in(folder, NAME, ClassifySettings)
        self.what = restored(folder, ARTIFACT, Fitted.from_json)
        self.labels = self.what.labels
        record = read_config(folder)
        self._learned_from = record.get("data"), record["config"].get("test")
        self.model = make_model(self.settings, self.what)
        load(self.model, folder, which)

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """The probability of each label for each text, ``[N, C]`` in the order of ``labels``."""
        return probabilities(self.model, self.what.tokens, texts)

    def label(self, texts: Sequence[str], words: bool = False) -> Predictions:
        """The likeliest label of each text, its probabilities, and where ``words`` is set which words carried it.

        **Raises** ``TypeError`` for what is no text.
        """
        if isinstance(texts, str):
            raise TypeError(f"expected a list of texts, got one: [{texts[:20]!r}]")
        strange = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
        if strange is not None:
            raise TypeError(f"text {strange} is a {type(texts[strange]).__name__}, expected a str")
        tokens = self.what.tokens
        made = self.probabilities(texts)
        found = []
        for text, shares in zip(texts, made, strict=True):
            note = "" if tokens.whole(text) else f"only the first {tokens.longest} {tokens.unit}s were read"
            note = note if text.strip() else "the text is empty"
            by = carried(self.probabilities, text, int(shares.argmax()), tokens.longest) if words else None
            found.append(Prediction(text, self.labels[int(shares.argmax())], tuple(shares.tolist()), note, by))
        return Predictions(self.labels, tuple(found))

    def predict(self, data: str | None = None, text: str | None = None, words: bool = False, **how: Any) -> Predictions:
        """The labels of the texts in the file ``data``, one for each row in its order, or of one ``text``.

        ``how``: ``text_column``, ``encoding``, ``separator`` of the file, where they are others than in training.

        **Raises** ``ValueError`` where neither or both are given, and what reading the file does.
        """
        if (data is None) == (text is None):
            raise ValueError("say what to label: a file, --data FILE, or a text, --text TEXT")
        if text is not None:
            return self.label([text], words)
        assert data is not None
        found = read(self._reading(how), data, how.get("text_column") or self.what.text_column, None, labels=False)
        return self.label(found.texts, words)

    def evaluate(self, data: str | None = None, **how: Any) -> Report:
        """On the held-out ``part`` ("valid" or "test"), or on all of a file of texts and labels.

        ``how``: ``part``, or how the file is read, as in `predict`, and ``label_column``.

        **Raises** ``ValueError`` where the data of the run have changed; `NothingHeldOut`; for a label that training has not.
        """
        part = how.pop("part", None)
        if data is None:
            corpus = self._own()
            name, held = NothingHeldOut.unless(vars(corpus), part, "give texts to evaluate on, --data FILE")
            return self._report(f"the {PARTS[name]} part", held, corpus.train)
        if part is not None:
            raise ValueError(f"--part {part} was held out of other texts than {data}: leave it out to measure on all of it")
        columns = (how.get(name) or getattr(self.what, name) for name in ("text_column", "label_column"))
        found = read(self._reading(how), data, *columns)
        try:
            train = self._own().train
        except (OSError, ValueError):
            train = None
        return self._report(data, Part(found.texts, classes_of(found, self.labels)), train)

    def _report(self, name: str, part: Part, train: Part | None) -> Report:
        plain = {MAJORITY: majority(self.what.counts, len(part))}
        remarks = list(self._remarks(part))
        if train is None:
            remarks.append(f"No naive Bayes beside it: {self.settings.data}, which it learns from, is gone or has changed.")
        else:
            plain = {BAYES: naive_bayes(train, part.texts, len(self.labels)), **plain}
            if known := shared(part.texts, train.texts):
                remarks.append(f"{known:,} of the texts are among those learned from: what is measured on them is memory.")
        report = score(name, self.labels, part.classes, self.probabilities(part.texts), plain)
        return replace(report, remarks=remarks)

    def _remarks(self, part: Part) -> list[str]:
        tokens, remarks = self.what.tokens, []
        if cut := sum(not tokens.whole(text) for text in part.texts):
            remarks.append(f"Of {cut:,} texts only the first {tokens.longest:,} {tokens.unit}s were read.")
        if empty := sum(not text.strip() for text in part.texts):
            remarks.append(f"{empty:,} texts are empty.")
        unknown, all_of_them = tokens.unknown(part.texts)
        if unknown:
            advice = ": --unit subword reads such words in parts" if unknown > _MANY * all_of_them else ""
            remarks.append(
                f"{unknown:,} of the {all_of_them:,} words do not occur in training ({unknown / all_of_them:.1%}){advice}."
            )
        return remarks

    def _own(self) -> Corpus:
        """The data of the run, with the parts as they were.

        **Raises** ``FileNotFoundError`` or ``ValueError`` where a file is gone or has changed.
        """
        for key in ("data", "valid", "test"):
            path = getattr(self.settings, key)
            if names_a_file(path) and not is_there(path):
                raise FileNotFoundError(
                    f"a file of this run, {path} ({option(key)}), is no longer there: give texts to evaluate on, --data FILE"
                )
        given, tokens = self.settings, self.what.tokens
        corpus = read_corpus(given, self.labels)
        source = batches(corpus.train, tokens, given.rows, shuffle=True, seed=given.seed).fingerprint()
        test = batches(corpus.test, tokens, BATCH).fingerprint() if len(corpus.test) else None
        if (source, test) != self._learned_from:
            raise ValueError(
                f"{given.data} has changed since this run learned from it, so what was held out cannot be told from what was "
                "learned: give texts to evaluate on, --data FILE"
            )
        return corpus

    def _reading(self, how: dict[str, Any]) -> ClassifySettings:
        changed = {key: how[key] for key in ("encoding", "separator") if how.get(key) is not None}
        return self.settings.model_copy(update=changed)


_MANY = 0.2  # the share of unknown words from which sub-words are advised


def make_model(settings: ClassifySettings, what: Fitted) -> ClassifyModel:
    """The model that ``settings`` describe, with fresh weights."""
    return ClassifyModel(
        what.tokens.size,
        len(what.labels),
        blank=what.tokens.blank,
        embed=settings.embed,
        bidirectional=settings.bidirectional,
        pool=settings.pool,
        word_dropout=settings.word_dropout,
        **settings.network,
    )


def probabilities(model: nn.Module, tokens: Tokens, texts: Sequence[str]) -> Floats:
    """The probability of each class for each text ``[N, C]``, in evaluation mode."""
    if not texts:
        raise ValueError("there are no texts to label")
    source = batches(Part(tuple(texts), (0,) * len(texts)), tokens, BATCH)
    made: list[Any] = []
    with evaluating(model), torch.no_grad():
        for piece in source.epoch(0):
            y, _ = model(piece.x, None, mask=piece.mask)
            steps = piece.x.shape[0] if piece.mask is None else piece.mask.sum(0)
            last = y[steps - 1, torch.arange(y.shape[1])] if piece.mask is not None else y[-1]
            made.append(torch.softmax(last.double(), -1).numpy())
    shuffled = np.concatenate(made)
    ordered = np.empty_like(shuffled)
    ordered[np.concatenate(source.batches(0))] = shuffled
    return ordered
