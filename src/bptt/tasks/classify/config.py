"""The settings of the classify task."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import field_validator

from bptt.tasks.config import TrainingSettings, setting, share_or_file


class ClassifySettings(TrainingSettings):
    """What `ClassifyTask` is made from; each field is an option of ``bptt train classify``."""

    files: ClassVar[frozenset[str]] = TrainingSettings.files | {"data", "valid", "test"}
    task: ClassVar[str | None] = "classify"

    data: str = setting(..., "Texts and labels to learn from: TSV, CSV, JSON Lines, Parquet; or sst2, fetched.", "Data")
    text_column: str | None = setting(None, "Column of texts; found by itself where it is clear.", "Data")
    label_column: str | None = setting(None, "Column of labels; found by itself where it is clear.", "Data")
    encoding: str = setting("utf-8", "Encoding of the files.", "Data")
    separator: str | None = setting(None, "What stands between cells; found by itself, unless given.", "Data")
    valid: float | str = setting(0.1, "Share of the texts, drawn by the seed, to validate on; or a file.", "Data")
    test: float | str = setting(0.0, "Share of the texts kept for the end; or a file.", "Data")
    unit: Literal["word", "subword"] = setting("word", "What one token is.", "Data")
    vocabulary: int | None = setting(None, "Most words or sub-words; the vocabulary is of the training part.", "Data", ge=3)
    lower: bool = setting(True, "Take capital letters for small ones.", "Data")
    longest: int = setting(400, "Tokens read of a text, from its beginning.", "Data", ge=1)

    embed: int = setting(100, "Size of a token's embedding.", "Network", ge=1)
    hidden: int = setting(100, "Units in each recurrent layer, of each direction.", "Network", ge=1)
    bidirectional: bool = setting(True, "Read each text from both its ends.", "Network")
    pool: Literal["max", "mean", "last", "attention"] = setting("max", "How the steps become one vector.", "Network")
    dropout: float = setting(0.5, "Share of activations dropped in training.", "Network", ge=0, lt=1)
    word_dropout: float = setting(0.3, "Share of words left out in training.", "Network", ge=0, lt=1)

    through: str = setting("full", "How gradients travel back: full; without --bidirectional any other.", "Through time")
    rows: int = setting(50, "Texts side by side in a batch, of a like length.", "Training", ge=1)
    optimizer: str = setting("adamw:weight_decay=0.01", "sgd, adam, adamw or rmsprop, with settings.", "Training")
    lr: float = setting(2e-3, "Learning rate.", "Training", gt=0)
    epochs: int = setting(8, "Walks over the training part.", "Run", ge=1)
    patience: int | None = setting(3, "Stop after this many validations without a better one.", "Run", ge=1)

    @field_validator("valid", "test", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        return share_or_file(value, "the texts")
