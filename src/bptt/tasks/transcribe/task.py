"""The transcribe task: from settings to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from bptt.data import audio
from bptt.data.grouped import Grouped
from bptt.tasks import curves
from bptt.tasks.config import TrainingSettings
from bptt.tasks.report import Report
from bptt.tasks.task import Task, Which, begins_from, built, following, parameters, restored, settings_in
from bptt.tasks.transcribe.alphabet import Alphabet
from bptt.tasks.transcribe.config import TranscribeSettings
from bptt.tasks.transcribe.corpus import read_corpus
from bptt.tasks.transcribe.decode import greedy
from bptt.tasks.transcribe.fitted import Fitted
from bptt.tasks.transcribe.heard import log_probabilities
from bptt.tasks.transcribe.loss import CTC
from bptt.tasks.transcribe.model import TranscribeModel
from bptt.tasks.transcribe.score import error_rate, require
from bptt.tasks.transcribe.trained import ARTIFACT, NAME, TrainedTranscribe, fingerprints, make_model
from bptt.through import Full, parse

_KEPT = ("rate", "bands", "stack", "lower", "punctuation")


class TranscribeTask(Task):
    """A transcriber about to be trained on recordings and what is said in them; see `TranscribeSettings`."""

    name: ClassVar[str] = NAME
    artifact: ClassVar[str] = ARTIFACT
    judged_by: ClassVar[str] = "accuracy"
    settings: TranscribeSettings
    model: TranscribeModel
    source: Grouped

    def __init__(self, settings: TrainingSettings, folder: Path | None = None) -> None:
        if not isinstance(settings, TranscribeSettings):
            raise TypeError(f"the transcribe task takes TranscribeSettings, got {type(settings).__name__}")
        require()
        audio.require()
        _check_through(settings)
        first = None
        start = begins_from(settings, folder)
        if folder is not None and (folder / self.artifact).exists():
            first = restored(folder, self.artifact, Fitted.from_json)
        elif start is not None:
            before = settings_in(start, self.name, TranscribeSettings)
            settings = following(settings, start, {key: getattr(before, key) for key in _KEPT})
            first = restored(start, self.artifact, Fitted.from_json)
        self.corpus = read_corpus(settings)
        if not len(self.corpus.valid) and "patience" not in settings.model_fields_set:
            settings = settings.model_copy(update={"patience": None})  # there is nothing to wait for
        self.what = Fitted.fit(self.corpus, settings) if first is None else first
        if start is not None:
            self.what = self.what.of(self.corpus)
        self._check_symbols()
        self.settings = settings
        self.source = self.what.batches(self.corpus.train, settings, settings.rows, shuffle=True)
        valid = self.corpus.valid
        self.validation = self.what.batches(valid, settings, settings.rows) if len(valid) else None
        _, self.test = fingerprints(self.what, self.corpus, settings)
        self._heard = [self.what.steps(frames, settings.stack) for frames in valid.frames]
        self.loss = CTC()
        self.model = built(lambda: make_model(settings, self.what), settings, folder)

    def metrics(self, model: nn.Module) -> dict[str, float]:
        """1 - the character error rate on the validation part, of the likeliest symbols, which chooses the best weights."""
        alphabet: Alphabet = self.what.alphabet
        made = [alphabet.decode(greedy(scores)) for scores in log_probabilities(model, self._heard)]
        return {"accuracy": 1 - error_rate(self.corpus.valid.spelled, made)}

    def describe(self) -> list[tuple[str, str]]:
        given, corpus, alphabet = self.settings, self.corpus, self.what.alphabet
        sizes = " + ".join(
            f"{len(part):,} {what} ({part.seconds / 60:.1f} min)"
            for part, what in ((corpus.train, "to learn from"), (corpus.valid, "validation"), (corpus.test, "test"))
            if len(part)
        )
        columns = (
            f": files in column {corpus.file_column!r}, transcripts in {corpus.text_column!r}" if corpus.file_column else ""
        )
        lengths = self.source.examples.lengths
        copies = f", each also {given.speed:.0%} slower and faster" if given.speed else ""
        return [
            ("data", f"{given.data}{columns}; {sizes}"),
            ("sound", f"{given.rate:,} Hz, {given.bands} mel bands, {given.stack} frames a step: {int(lengths.min())} to "
                      f"{int(lengths.max())} steps, {lengths.mean():.0f} on average{copies}"),
            ("alphabet", f"{len(alphabet.characters)} characters: {alphabet.characters.replace(' ', '␣')}"),
            *(("", note) for note in corpus.notes),
            (
                "model",
                f"{'bi' if given.bidirectional else ''}{given.cell.upper()} {given.layers}×{given.hidden}, dropout "
                f"{given.dropout:g}, up to {given.mask_time:.0%} of time and {given.mask_bands:.0%} of bands blanked: "
                f"{parameters(self.model):,} parameters",
            ),
            ("training", f"{given.through}; {given.rows} rows; {given.optimizer}, lr {given.lr:g}, {given.schedule}"),
        ]  # fmt: skip

    def fitted(self) -> dict[str, Any]:
        return self.what.to_json()

    @classmethod
    def open(cls, folder: Path, which: Which = None) -> TrainedTranscribe:
        return TrainedTranscribe(folder, which)

    def pictures(self, folder: Path, report: Report) -> list[Path]:  # noqa: ARG002
        return curves.draw(folder, "nats per character")

    def next_commands(self, folder: Path) -> list[str]:
        return [
            f"bptt predict {folder} --data recording.wav --plot heard.png",
            f"bptt predict {folder} --data recordings/ --out transcripts.csv",
            f"bptt evaluate {folder}",
            self.longer(folder),
        ]

    def _check_symbols(self) -> None:
        """Refuses transcripts to learn from that the alphabet of the run that this one begins from cannot spell."""
        for name, text in zip(self.corpus.train.names, self.corpus.train.texts, strict=True):
            strange = self.what.alphabet.strange(text)
            if strange:
                raise ValueError(
                    f"{name}: its transcript holds {strange!r}, which the alphabet of the run under way or begun from lacks "
                    f"({self.what.alphabet.characters!r}): leave such recordings out, or begin anew without --start"
                )


def _check_through(settings: TranscribeSettings) -> None:
    if not isinstance(parse(settings.through), Full):
        raise ValueError(
            f"--through {settings.through} takes the loss piece by piece, and that of a transcript is of a whole recording: "
            "leave out --through"
        )
