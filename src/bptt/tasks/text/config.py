"""The settings of the text task."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import field_validator

from bptt.tasks.config import TrainingSettings, setting, share_or_file


class TextSettings(TrainingSettings):
    """What `TextTask` is made from; each field is an option of ``bptt train text``."""

    files: ClassVar[frozenset[str]] = TrainingSettings.files | {"data", "valid", "test"}
    movable: ClassVar[frozenset[str]] = TrainingSettings.movable | {"column"}
    task: ClassVar[str | None] = "text"

    data: str = setting(..., "Text to learn from: a file, folder, 'pattern*' or s3://…; or shakespeare, ptb, fetched.", "Data")
    unit: Literal["character", "byte", "word", "subword"] = setting("character", "What one token is.", "Data")
    vocabulary: int | None = setting(
        None, "Most words or sub-words; the vocabulary is of the training part alone.", "Data", ge=3
    )
    column: str | None = setting(None, "Column of texts in Parquet; found by itself where it is clear.", "Data")
    encoding: str = setting("utf-8", "Encoding of the file; binary, with bytes, takes any file.", "Data")
    valid: float | str = setting(0.05, "Share of the text, at its end, to validate on; or a file.", "Data")
    test: float | str = setting(0.0, "Share of the text, after that, kept for the end; or a file.", "Data")
    embed: int | None = setting(None, "Size of a token's embedding; 64 for characters and bytes, else hidden.", "Network", ge=1)
    dropout: float = setting(0.2, "Share of activations dropped in training.", "Network", ge=0, lt=1)
    variational: bool = setting(False, "Drop the same activations at every step of a window.", "Network")
    weight_drop: float = setting(
        0.0, "Share of the weights from state to state dropped in training, anew each window.", "Network", ge=0, lt=1
    )
    lr: float = setting(3e-3, "Learning rate.", "Training", gt=0)
    tie: bool = setting(False, "Read out with the embedding's weights; needs embed = hidden.", "Network")

    restart: float = setting(0.02, "Share of a row's windows that start afresh: so it learns to begin.", "Training", ge=0, le=1)

    @field_validator("valid", "test", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        return share_or_file(value, "the text")

    @property
    def embedding(self) -> int:
        """The size of a token's embedding, as given or by the unit."""
        if self.embed is not None:
            return self.embed
        return self.hidden if self.tie or self.unit in ("word", "subword") else min(64, self.hidden)
