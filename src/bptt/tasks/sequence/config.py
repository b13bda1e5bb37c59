"""The settings of the sequence task."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import field_validator

from bptt.tasks.config import TrainingSettings, setting, share_or_file


class SequenceSettings(TrainingSettings):
    """What `SequenceTask` is made from; each field is an option of ``bptt train sequence``."""

    files: ClassVar[frozenset[str]] = TrainingSettings.files | {"data", "valid", "test"}
    task: ClassVar[str | None] = "sequence"

    data: str = setting(..., "Sequences to learn from: JSON lines, .mat; or jsb, nottingham, fetched.", "Data")
    valid: float | str | None = setting(None, "Share of them to validate on, or a file; as the file says, else 0.1.", "Data")
    test: float | str | None = setting(None, "Share kept for the end, or a file; as the file says, else 0.1.", "Data")

    hidden: int = setting(256, "Units in each recurrent layer.", "Network", ge=1)
    dropout: float = setting(0.7, "Share of activations dropped in training.", "Network", ge=0, lt=1)
    input_dropout: float = setting(0.1, "Share of the present labels hidden in training.", "Network", ge=0, lt=1)

    through: str = setting("full", "How gradients travel back: full, truncated:k1=32,k2=128.", "Through time")
    rows: int = setting(16, "Sequences side by side in a batch.", "Training", ge=1)
    optimizer: str = setting(
        "adamw:weight_decay=0.1", "sgd, adam, adamw or rmsprop, with settings as in sgd:momentum=0.9.", "Training"
    )
    lr: float = setting(6e-3, "Learning rate.", "Training", gt=0)
    epochs: int = setting(80, "Walks over the training part.", "Run", ge=1)

    @field_validator("valid", "test", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        return share_or_file(value, "the sequences")
