"""The settings of the summarize task."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from bptt.tasks.config import setting
from bptt.tasks.seq2seq.config import Seq2SeqSettings


class SummarizeSettings(Seq2SeqSettings):
    """What `SummarizeTask` is made from; each field is an option of ``bptt train summarize``."""

    task: ClassVar[str | None] = "summarize"

    data: str = setting(..., "Table of texts and summaries to learn from, or a text a line; or news-summary.", "Data")
    valid: float | str = setting(0.1, "Share of the pairs, drawn by the seed, to validate on; or a file.", "Data")
    test: float | str = setting(0.1, "Share of the pairs kept for the end; or a file.", "Data")
    unit: Literal["subword", "word"] = setting("word", "What one token is; only words are copied.", "Data")
    lower: bool = setting(True, "Take capital letters for small ones; copied words have theirs again.", "Data")
    longest: int = setting(400, "Tokens read of a text, from its beginning.", "Data", ge=1)

    embed: int = setting(128, "Size of a token's embedding.", "Network", ge=1)
    copy_words: bool = setting(True, "Words of the text read may be copied, those the vocabulary lacks too.", "Network")

    tokens: int = setting(3000, "Most tokens in a batch, of both texts, padding counted.", "Training", ge=1)
    lr: float = setting(3e-3, "Learning rate.", "Training", gt=0)
    smoothing: float = setting(
        0.0, "Share of each target spread over all tokens; none with copied words.", "Training", ge=0, lt=1
    )
    epochs: int = setting(12, "Walks over the training part.", "Run", ge=1)
    length_penalty: float = setting(1.5, "Above 0, longer texts are preferred (Wu et al. 2016, alpha).", "Run", ge=0)
    stutter: bool = setting(False, "A word may follow itself.", "Run")

    @model_validator(mode="after")
    def _can_copy(self) -> SummarizeSettings:
        if self.copy_words and self.unit != "word":
            raise ValueError(f"--unit {self.unit} has no words to copy: add --no-copy-words, or leave out --unit")
        return self
