"""A trained transcriber, as its run's folder holds it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bptt.data.audio import SUFFIXES, BadAudio, content, decoded
from bptt.data.features import Floats, log_mel
from bptt.data.grams import Grams
from bptt.data.recordings import Recordings, read_recordings
from bptt.data.rows import table
from bptt.tasks.config import names_a_file, option
from bptt.tasks.report import Report
from bptt.tasks.task import NothingHeldOut, Trained, Which, load, restored, settings_in
from bptt.tasks.transcribe.config import TranscribeSettings
from bptt.tasks.transcribe.corpus import PARTS, Corpus, Part, read_corpus, read_part
from bptt.tasks.transcribe.decode import Search
from bptt.tasks.transcribe.fitted import Fitted
from bptt.tasks.transcribe.heard import Scores, log_probabilities, log_probability, parts
from bptt.tasks.transcribe.model import TranscribeModel
from bptt.tasks.transcribe.predictions import Heard, Transcripts
from bptt.tasks.transcribe.score import COMMONEST, NEAREST, nearest, score
from bptt.train import read_config

NAME, ARTIFACT = "transcribe", "fitted.json"
_TOGETHER = 64  # recordings whose frames stand in memory at a time


class TrainedTranscribe(Trained):
    """A trained transcriber: it writes down recordings, and can be measured."""

    def __init__(self, folder: Path, which: Which = None) -> None:
        self.settings = settings_in(folder, NAME, TranscribeSettings)
        self.what = restored(folder, ARTIFACT, Fitted.from_json)
        record = read_config(folder)
        self._learned_from = record.get("data"), record["config"].get("test")
        self.model = make_model(self.settings, self.what)
        load(self.model, folder, which)

    @cached_property
    def grams(self) -> Grams:
        """The n-gram of the transcripts learned."""
        alphabet = self.what.alphabet
        return Grams(map(alphabet.encode, self.what.texts), alphabet.size, self.settings.order)

    def search(self, beam: int | None = None, language: float | None = None) -> Search:
        """How transcripts are searched for: as in training, unless ``beam`` or the n-gram's weight ``language`` is given."""
        beam = self.settings.beam if beam is None else beam
        weight = self.settings.language if language is None else language
        return Search(beam, self.grams if beam > 1 and weight else None, weight)

    def transcribe(self, files: Iterable[str | Path], *, beam: int | None = None, language: float | None = None) -> Transcripts:
        """The transcript of each recording.

        One that is empty, truncated, no audio, silent or of 0 seconds has none, and a note that says so; one longer than
        ``longest`` is read in parts, cut where it is quietest. **Raises** ``FileNotFoundError`` for one that is not there.
        """
        if isinstance(files, (str, Path)):
            raise TypeError(f"expected a list of files, got one: [{str(files)!r}]")
        paths = [Path(each) for each in files]
        absent = next((path for path in paths if not path.is_file()), None)
        if absent is not None:
            raise FileNotFoundError(f"there is no file {absent}")
        return self._heard(paths, [str(path) for path in paths], self.search(beam, language))

    def predict(self, data: str | None = None, **how: Any) -> Transcripts:
        """The transcript of each recording of a manifest (in its order), of a folder (by name), or of one file.

        ``how``: ``beam``; ``encoding`` and ``separator`` of a manifest, where they are others than in training.

        **Raises** ``ValueError`` where no data are given, and what `bptt.data.recordings.read_recordings` does.
        """
        if data is None:
            raise ValueError("say what to transcribe: a recording, a folder or a manifest, --data PATH")
        found = self._read(data, how, texts=False)
        return self._heard(found.files, found.names, self.search(how.get("beam"), how.get("language")))

    def evaluate(self, data: str | None = None, **how: Any) -> Report:
        """On the held-out ``part`` ("valid" or "test"), or on all of a manifest or folder with transcripts.

        ``how``: ``part``; ``beam``; or how a manifest is read: ``text_column``, ``encoding``, ``separator``.

        **Raises** ``ValueError`` where the data of the run have changed, or a recording cannot be read; `NothingHeldOut`.
        """
        part, search = how.get("part"), self.search(how.get("beam"), how.get("language"))
        if data is None:
            corpus = self._own()
            name, held = NothingHeldOut.unless(vars(corpus), part, "give recordings to evaluate on, --data FILE")
            return self._report(f"the {PARTS[name]} part", held, corpus.train, search)
        if part is not None:
            raise ValueError(
                f"--part {part} was held out of other recordings than {data}: leave it out to measure on all of it"
            )
        found = self._read(data, how)
        held = read_part(self.settings, found, range(len(found)), learned=False)
        try:
            train = self._own().train
        except (OSError, ValueError):
            train = None
        return self._report(data, held, train, search)

    def _read(self, data: str, how: dict[str, Any], texts: bool = True) -> Recordings:
        return read_recordings(
            data,
            file=_there(data, self.what.file_column, how),
            text=how.get("text_column") or _there(data, self.what.text_column, how),
            texts=texts,
            names=self.settings.names if texts else None,
            encoding=how.get("encoding") or self.settings.encoding,
            separator=how.get("separator") or self.settings.separator,
        )

    def _report(self, name: str, part: Part, train: Part | None, search: Search) -> Report:
        made = self.written(part.frames, search)
        rows: dict[str, Sequence[str]] = {"this model": made}
        if search.beam > 1:
            rows["this model, its likeliest symbols alone"] = self.written(part.frames, Search())
        sound = [frames if len(frames) else np.zeros((1, self.settings.bands), np.float32) for frames in part.frames]
        if train is not None:
            rows[NEAREST] = nearest(train.frames, train.spelled, sound)
        rows[COMMONEST] = [self.what.commonest] * len(part)
        report = score(name, part.spelled, rows)
        remarks = list(report.remarks)
        if train is None:
            remarks.append(f"{self.settings.data}, which a baseline learns from, is gone or has changed: it is left out.")
        strange = [text for text in part.texts if self.what.alphabet.strange(text)]
        if strange:
            symbols = "".join(sorted(set("".join(map(self.what.alphabet.strange, strange)))))
            remarks.append(
                f"{len(strange):,} transcripts hold symbols that training lacks, {symbols!r}: the model cannot write them, and "
                "each counts as an error."
            )
        if not self.settings.punctuation:
            remarks.append("Compared without punctuation marks" + (" and capital letters." if self.settings.lower else "."))
        return replace(report, remarks=remarks)

    def written(self, frames: Sequence[Floats], search: Search) -> list[str]:
        """The transcripts of recordings whose frames ``[T, M]`` are given."""
        return [text for text, _, _ in self._parted(frames, search)]

    def _parted(self, frames: Sequence[Floats], search: Search) -> list[tuple[str, float, Scores]]:
        """Of each recording the transcript, log P a character, and the scores of its steps; long ones in parts."""
        pieces = [parts(each, self.settings.longest) for each in frames]
        flat = [self.what.steps(piece, self.settings.stack) for own in pieces for piece in own]
        scores = iter(log_probabilities(self.model, flat))
        made = []
        for own in pieces:
            found = [next(scores) for _ in own]
            symbols = [search(each) for each in found]
            chance = sum(log_probability(each, wanted) for each, wanted in zip(found, symbols, strict=True))
            text = " ".join(filter(None, map(self.what.alphabet.decode, symbols)))
            made.append((text, chance / max(1, sum(map(len, symbols))), np.concatenate(found)))
        return made

    def _heard(self, files: Sequence[Path], names: Sequence[str], search: Search) -> Transcripts:
        rows: list[Heard] = []
        kept = False
        for first in range(0, len(files), _TOGETHER):
            chosen = slice(first, first + _TOGETHER)
            read = [self._listened(path) for path in files[chosen]]
            found = self._parted([frames for frames, _, _ in read], search)
            for name, (frames, seconds, note), (text, chance, scores) in zip(names[chosen], read, found, strict=True):
                keep = not kept and len(frames) > 0
                kept = kept or keep
                rows.append(Heard(name, text, chance, seconds, note, frames if keep else None, scores if keep else None))
        return Transcripts(tuple(rows), self.what.alphabet)

    def _listened(self, path: Path) -> tuple[Floats, float, str]:
        """The frames of a recording, its seconds, and a note; no frames of what cannot be transcribed."""
        given, nothing = self.settings, np.zeros((0, self.settings.bands), np.float32)
        try:
            samples = decoded(path, content(path), given.rate)
        except BadAudio as error:
            return nothing, 0.0, f"not transcribed: {error}"
        seconds = len(samples) / given.rate
        if not len(samples):
            return nothing, 0.0, "0 seconds"
        if not np.ptp(samples):
            return nothing, seconds, "silent"
        frames = log_mel(samples, given.rate, given.bands)
        count = len(parts(frames, given.longest))
        return frames, seconds, f"read in {count} parts" if count > 1 else ""

    def _own(self) -> Corpus:
        """The data of the run, with the parts as they were.

        **Raises** ``FileNotFoundError`` or ``ValueError`` where a file is gone or has changed.
        """
        given = self.settings
        for key in ("data", "valid", "test"):
            path = getattr(given, key)
            if names_a_file(path) and not Path(path).exists():
                raise FileNotFoundError(
                    f"{path} ({option(key)}), of this run, is no longer there: give recordings to evaluate on, --data FILE"
                )
        corpus = read_corpus(given)
        if fingerprints(self.what, corpus, given) != self._learned_from:
            raise ValueError(
                f"{given.data} has changed since this run learned from it, so what was held out cannot be told from what was "
                "learned: give recordings to evaluate on, --data FILE"
            )
        return corpus


def fingerprints(what: Fitted, corpus: Corpus, settings: TranscribeSettings) -> tuple[str, str | None]:
    """What tells the training part, and what was held out from it, from others."""
    train = what.batches(corpus.train, settings, settings.rows, shuffle=True).fingerprint()
    held = [part for part in (corpus.valid, corpus.test) if len(part)]
    return train, "; ".join(what.batches(part, settings, settings.rows).fingerprint() for part in held) or None


def make_model(settings: TranscribeSettings, what: Fitted) -> TranscribeModel:
    """The model that ``settings`` describe, with fresh weights."""
    return TranscribeModel(
        settings.bands,
        settings.stack,
        what.alphabet.size,
        bidirectional=settings.bidirectional,
        mask_time=settings.mask_time,
        mask_bands=settings.mask_bands,
        **settings.network,
    )


def _there(data: str, column: str | None, how: dict[str, Any]) -> str | None:
    """A column of training where ``data`` has it as well; else columns are found by themselves."""
    path = Path(data)
    if column is None or not path.is_file() or path.suffix.lower() in SUFFIXES or column.isdecimal():
        return None
    names, rows = table(path, how.get("encoding") or "utf-8", how.get("separator"), "rows")
    return column if column in (names or [str(cell).strip() for cell in rows[0]]) else None
