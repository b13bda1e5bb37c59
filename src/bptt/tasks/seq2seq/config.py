"""The settings that tasks from one text to another have in common."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import field_validator, model_validator

from bptt.tasks.config import TrainingSettings, setting, share_or_file


class Seq2SeqSettings(TrainingSettings):
    """What `bptt.tasks.seq2seq.task.Seq2SeqTask` is made from; each field is an option of the command that trains."""

    movable: ClassVar[frozenset[str]] = TrainingSettings.movable | {"beam", "length_penalty", "coverage_penalty", "stutter"}
    files: ClassVar[frozenset[str]] = TrainingSettings.files | {
        "data", "target", "valid", "valid_target", "test", "test_target",
    }  # fmt: skip

    data: str = setting(..., "Texts to learn from: a text a line, or a table with both texts.", "Data")
    target: str | None = setting(None, "File with what belongs to each line of --data.", "Data")
    text_column: str | None = setting(None, "Column of a table with the texts read.", "Data")
    target_column: str | None = setting(None, "Column of a table with the texts to write.", "Data")
    encoding: str = setting("utf-8", "Encoding of the files.", "Data")
    separator: str | None = setting(None, "What stands between cells; found by itself, unless given.", "Data")
    valid: float | str = setting(0.05, "Share of the pairs, drawn by the seed, to validate on; or a file.", "Data")
    valid_target: str | None = setting(None, "File with what belongs to each line of --valid.", "Data")
    test: float | str = setting(0.0, "Share of the pairs kept for the end; or a file.", "Data")
    test_target: str | None = setting(None, "File with what belongs to each line of --test.", "Data")
    unit: Literal["subword", "word"] = setting("subword", "What one token is.", "Data")
    vocabulary: int = setting(5000, "Most tokens of a vocabulary, which is of the training part alone.", "Data", ge=3)
    lower: bool = setting(False, "Take capital letters for small ones.", "Data")
    longest: int = setting(100, "Tokens read of a text, from its beginning; longer targets are left out.", "Data", ge=1)

    cell: Literal["lstm", "gru", "rnn"] = setting("gru", "Recurrent cell.", "Network")
    embed: int = setting(192, "Size of a token's embedding.", "Network", ge=1)
    hidden: int = setting(256, "Units in each layer of the decoder, and of the encoder's two directions.", "Network", ge=2)
    layers: int = setting(1, "Layers of the encoder, and of the decoder above its attention.", "Network", ge=1)
    dropout: float = setting(0.3, "Share of activations dropped in training.", "Network", ge=0, lt=1)
    copy_words: bool = setting(False, "Words of the text read may be copied, those the vocabulary lacks too.", "Network")

    through: str = setting("full", "How gradients travel back over the written text: full, truncated:k1=8.", "Through time")
    rows: int = setting(128, "Most pairs side by side in a batch, of like lengths.", "Training", ge=1)
    tokens: int = setting(2000, "Most tokens in a batch, of both texts, padding counted.", "Training", ge=1)
    optimizer: str = setting("adam", "sgd, adam, adamw or rmsprop, with settings.", "Training")
    lr: float = setting(5e-3, "Learning rate.", "Training", gt=0)
    smoothing: float = setting(
        0.1, "Share of each target spread over all tokens; none with copied words.", "Training", ge=0, lt=1
    )
    epochs: int = setting(20, "Walks over the training part.", "Run", ge=1)
    beam: int = setting(5, "Texts kept side by side while writing; 1 takes the likeliest token at each step.", "Run", ge=1)
    length_penalty: float = setting(1.0, "Above 0, longer texts are preferred (Wu et al. 2016, alpha).", "Run", ge=0)
    coverage_penalty: float = setting(0.0, "Above 0, texts that look at all that was read are (beta).", "Run", ge=0)
    stutter: bool = setting(True, "A token may follow itself.", "Run")

    @field_validator("valid", "test", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        return share_or_file(value, "the pairs")

    @model_validator(mode="after")
    def _fit_together(self) -> Seq2SeqSettings:
        for part in ("valid", "test"):
            path, target = getattr(self, part), getattr(self, f"{part}_target")
            if target is not None and not isinstance(path, str):
                raise ValueError(f"--{part}-target {target} belongs to a file of texts: give it too, --{part} FILE")
        if self.hidden % 2:
            raise ValueError(f"--hidden {self.hidden} is parted among the encoder's two directions: give an even number")
        return self
