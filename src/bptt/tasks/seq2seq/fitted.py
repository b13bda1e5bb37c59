"""What is taken from the training part, and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bptt.data.bytokens import ByTokens
from bptt.tasks.seq2seq.config import Seq2SeqSettings
from bptt.tasks.seq2seq.corpus import Corpus, Part
from bptt.tasks.seq2seq.examples import PairExamples
from bptt.tasks.seq2seq.special import UNKNOWN
from bptt.tasks.seq2seq.tokens import Ids, Tokens


@dataclass(frozen=True)
class Fitted:
    """The tokens of the texts read and of those written (the same where words are copied), and the columns they stood in."""

    source: Tokens
    target: Tokens
    text_column: str | None
    target_column: str | None

    @classmethod
    def fit(cls, corpus: Corpus, settings: Seq2SeqSettings, joint: bool) -> Fitted:
        """From the training part alone; ``joint``: one vocabulary for both texts."""
        how = settings.unit, settings.vocabulary, settings.lower, settings.longest, settings.copy_words
        train = corpus.train
        if joint:
            both = Tokens.fit((*train.sources, *train.targets), *how)
            return cls(both, both, corpus.text_column, corpus.target_column)
        source, target = Tokens.fit(train.sources, *how), Tokens.fit(train.targets, *how)
        return cls(source, target, corpus.text_column, corpus.target_column)

    def encode(self, part: Part) -> tuple[list[Ids], list[Ids], int]:
        """The tokens of pairs; those whose target is longer than what may be read are left out, and counted."""
        sources, targets = [], []
        for text, wanted in zip(part.sources, part.targets, strict=True):
            tokens, own = self.source.encode(text)
            target = self.target.encode_target(wanted, own)
            if len(target) - 1 <= self.target.longest:
                sources.append(tokens)
                targets.append(target)
        return sources, targets, len(part) - len(targets)

    def batches(self, part: Part, rows: int, tokens: int, *, shuffle: bool = False, seed: int = 0) -> ByTokens:
        """The pairs as batches for training or measuring.

        **Raises** ``ValueError`` where every target is too long.
        """
        sources, targets, _ = self.encode(part)
        if not targets:
            raise ValueError(f"no target has {self.target.longest} tokens or fewer: read longer ones, --longest")
        return ByTokens(PairExamples(sources, targets), rows, tokens, shuffle=shuffle, seed=seed)

    def to_json(self) -> dict[str, Any]:
        target = None if self.target is self.source else self.target.to_json()
        return {
            "source": self.source.to_json(),
            "target": target,
            "text_column": self.text_column,
            "target_column": self.target_column,
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Fitted:
        source = Tokens.from_json(saved["source"])
        target = source if saved["target"] is None else Tokens.from_json(saved["target"])
        return cls(source, target, saved["text_column"], saved["target_column"])


def unknown_share(ids: list[Ids]) -> float:
    """The share of tokens that are an unknown word."""
    every = np.concatenate(ids)
    return float((every == UNKNOWN).mean())
