"""What is taken from the training part, and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bptt.data.bytokens import ByTokens
from bptt.tasks.seq2seq.config import Seq2SeqSettings
from bptt.tasks.seq2seq.corpus import Corpus, Part
from bptt.tasks.seq2seq.examples import PairExamples
from bptt.tasks.seq2seq.tokens import Ids, Tokens


@dataclass(frozen=True)
class Fitted:
    """The tokens of the texts read and of those written (the same where words are copied), and the columns they stood in.

    ``words``: how many words a target has, on average.
    """

    source: Tokens
    target: Tokens
    text_column: str | None
    target_column: str | None
    words: int

    @classmethod
    def fit(cls, corpus: Corpus, settings: Seq2SeqSettings, joint: bool) -> Fitted:
        """From the training part alone; ``joint``: one vocabulary for both texts."""
        how = settings.unit, settings.vocabulary, settings.lower, settings.longest, settings.copy_words
        train = corpus.train
        source = Tokens.fit((*train.sources, *train.targets) if joint else train.sources, *how)
        target = source if joint else Tokens.fit(train.targets, *how)
        words = round(sum(len(text.split()) for text in train.targets) / len(train))
        return cls(source, target, corpus.text_column, corpus.target_column, max(1, words))

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
            "words": self.words,
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Fitted:
        source = Tokens.from_json(saved["source"])
        target = source if saved["target"] is None else Tokens.from_json(saved["target"])
        return cls(source, target, saved["text_column"], saved["target_column"], int(saved["words"]))
