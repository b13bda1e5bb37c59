"""The settings of the transcribe task."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import field_validator

from bptt.tasks.config import TrainingSettings, setting, share_or_file


class TranscribeSettings(TrainingSettings):
    """What `TranscribeTask` is made from; each field is an option of ``bptt train transcribe``."""

    movable: ClassVar[frozenset[str]] = TrainingSettings.movable | {"beam", "language"}
    files: ClassVar[frozenset[str]] = TrainingSettings.files | {"data", "valid", "test"}
    task: ClassVar[str | None] = "transcribe"

    data: str = setting(..., "Recordings to learn from: a manifest (files, transcripts), a folder; or fsdd.", "Data")
    names: str | None = setting(None, "What names of a folder's files tell: '{transcript}_{speaker}_{index}'.", "Data")
    file_column: str | None = setting(None, "Column of files; found by itself where it is clear.", "Data")
    text_column: str | None = setting(None, "Column of transcripts; found by itself where it is clear.", "Data")
    speaker_column: str | None = setting(None, "Column, or part of names, whose values are held out as a whole.", "Data")
    encoding: str = setting("utf-8", "Encoding of manifests and transcripts.", "Data")
    separator: str | None = setting(None, "What stands between cells; found by itself, unless given.", "Data")
    valid: float | str = setting(0.1, "Share of the recordings, drawn by the seed, to validate on; or a manifest.", "Data")
    test: float | str = setting(0.0, "Share of the recordings kept for the end; or a manifest.", "Data")
    valid_where: str | None = setting(None, "Rows to validate on, by a column: speaker=theo,lucas.", "Data")
    test_where: str | None = setting(None, "Rows kept for the end, by a column: index=0,1,2,3,4.", "Data")
    apart: Literal["auto", "prompt", "recording"] = setting(
        "auto", "What is held out as a whole: all recordings of one prompt, or each by itself.", "Data"
    )
    unfit: Literal["refuse", "leave"] = setting("refuse", "Recordings that cannot be learned: refused, or left out.", "Data")
    longest: float = setting(30.0, "Seconds of a recording, at most; a longer one is transcribed in parts.", "Data", gt=0)
    lower: bool = setting(True, "Take capital letters for small ones.", "Data")
    punctuation: bool = setting(False, "Learn punctuation marks too, other than apostrophes.", "Data")

    rate: int = setting(8000, "Samples a second that recordings are brought to; 16000 for wide-band speech.", "Data",
                        ge=1000, le=48000)  # fmt: skip
    bands: int = setting(40, "Mel bands of a frame, of which there are 100 a second.", "Data", ge=1)
    stack: int = setting(3, "Frames that one step reads.", "Data", ge=1)
    speed: float = setting(0.0, "Learn each recording also this much slower and faster: 0.1.", "Data", ge=0, lt=0.5)
    mask_time: float = setting(0.2, "Share of the steps blanked in training, in spans, at most.", "Data", ge=0, lt=1)
    mask_bands: float = setting(0.3, "Share of the bands blanked in training, in spans, at most.", "Data", ge=0, lt=1)

    cell: Literal["lstm", "gru", "rnn"] = setting("gru", "Recurrent cell.", "Network")
    hidden: int = setting(160, "Units in each recurrent layer, of each direction.", "Network", ge=1)
    layers: int = setting(2, "Recurrent layers on top of each other.", "Network", ge=1)
    bidirectional: bool = setting(True, "Read each recording from both its ends.", "Network")
    dropout: float = setting(0.2, "Share of activations dropped in training.", "Network", ge=0, lt=1)

    beam: int = setting(16, "Transcripts kept side by side while reading; 1 takes the likeliest symbol.", "Run", ge=1)
    order: int = setting(6, "Characters that the n-gram of the learned transcripts looks at.", "Run", ge=1, le=12)
    language: float = setting(0.6, "Weight of that n-gram beside the network; 0: none.", "Run", ge=0)

    through: str = setting("full", "How gradients travel back; a transcript's loss takes full.", "Through time")
    rows: int = setting(16, "Recordings side by side in a batch, of a like length.", "Training", ge=1)
    optimizer: str = setting("adamw:weight_decay=0.01", "sgd, adam, adamw or rmsprop, with settings.", "Training")
    lr: float = setting(4e-3, "Learning rate.", "Training", gt=0)
    epochs: int = setting(30, "Walks over the training part.", "Run", ge=1)
    patience: int | None = setting(None, "Stop after this many validations without a better one.", "Run", ge=1)

    @field_validator("valid", "test", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        return share_or_file(value, "the recordings")

    @field_validator("valid_where", "test_where")
    @classmethod
    def _where(cls, value: str | None) -> str | None:
        if value is not None and not all(value.partition("=")):
            raise ValueError(f"expected a column and its values, as in index=0,1, got {value!r}")
        return value
