"""What a classifier takes from its training part, and keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bptt.tasks.classify.config import ClassifySettings
from bptt.tasks.classify.corpus import Corpus
from bptt.tasks.classify.tokens import Tokens


@dataclass(frozen=True)
class Fitted:
    """The tokens, the classes' names with how often each was learned from, and the columns they stood in."""

    tokens: Tokens
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    text_column: str
    label_column: str

    @classmethod
    def fit(cls, corpus: Corpus, settings: ClassifySettings, tokens: Tokens | None = None) -> Fitted:
        """From the training part alone; ``tokens`` are those of a run that this one begins from."""
        tokens = tokens or Tokens.fit(corpus.train.texts, settings.unit, settings.vocabulary, settings.lower, settings.longest)
        counts = np.bincount(corpus.train.classes, minlength=len(corpus.labels))
        return cls(tokens, corpus.labels, tuple(counts.tolist()), corpus.text_column, corpus.label_column)

    def to_json(self) -> dict[str, Any]:
        return {
            "tokens": self.tokens.to_json(),
            "labels": list(self.labels),
            "counts": list(self.counts),
            "text_column": self.text_column,
            "label_column": self.label_column,
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Fitted:
        return cls(
            Tokens.from_json(saved["tokens"]),
            tuple(map(str, saved["labels"])),
            tuple(map(int, saved["counts"])),
            str(saved["text_column"]),
            str(saved["label_column"]),
        )
