"""The sequence task: from settings to a run, and from a run's folder to a model that foretells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from bptt.data import Batches
from bptt.data.files import is_there
from bptt.data.rolls import Label, Roll, read_rolls
from bptt.tasks import curves
from bptt.tasks.answers import as_file
from bptt.tasks.config import TrainingSettings
from bptt.tasks.report import Report
from bptt.tasks.sequence.config import SequenceSettings
from bptt.tasks.sequence.follow import Foretell
from bptt.tasks.sequence.model import LabelsCrossEntropy, SequenceModel
from bptt.tasks.sequence.parts import RollParts, pairs, read_parts
from bptt.tasks.sequence.score import BATCH, Counts, score
from bptt.tasks.task import (
    Task,
    Trained,
    Which,
    begins_from,
    built,
    load,
    parameters,
    restored,
    settings_in,
)
from bptt.train import read_config

_PARTS = {"valid": "validation", "test": "test"}


class SequenceTask(Task):
    """A model of sequences of sets about to be trained; see `SequenceSettings`."""

    name: ClassVar[str] = "sequence"
    artifact: ClassVar[str] = "labels.json"
    settings: SequenceSettings

    def __init__(self, settings: TrainingSettings, folder: Path | None = None) -> None:
        if not isinstance(settings, SequenceSettings):
            raise TypeError(f"the sequence task takes SequenceSettings, got {type(settings).__name__}")
        self.settings = settings
        labels, start = None, begins_from(settings, folder)
        if folder is not None and (folder / self.artifact).exists():
            labels = restored(folder, self.artifact, _labels)
        elif start is not None:
            labels = restored(start, self.artifact, _labels)
        self.parts = read_parts(settings, labels)
        self.source = Batches(pairs(self.parts.train), settings.rows, seed=settings.seed)
        self.validation = Batches(pairs(self.parts.valid), BATCH, shuffle=False) if self.parts.valid else None
        self.test = _print(self.parts.test)
        self.loss = LabelsCrossEntropy()
        self.model = built(lambda: _model(settings, len(self.parts.labels)), settings, folder)
        if start is None:
            self.model.start_at(torch.from_numpy(Counts.fit(self.parts.train).share))

    def describe(self) -> list[tuple[str, str]]:
        given, parts = self.settings, self.parts
        sizes = " + ".join(
            f"{len(part):,} {what}"
            for part, what in ((parts.train, "to learn from"), (parts.valid, "validation"), (parts.test, "test"))
            if part
        )
        left = f"; {parts.short} shorter than two steps are left out" if parts.short else ""
        steps = sum(map(len, parts.train))
        return [
            ("data", f"{given.data}: {sizes} sequences; {steps:,} steps, {len(parts.labels)} labels{left}"),
            (
                "model",
                f"{given.cell.upper()} {given.layers}×{given.hidden}, dropout {given.dropout:g}: "
                f"{parameters(self.model):,} parameters",
            ),
            ("training", f"{given.through}; {given.rows} rows; {given.optimizer}, lr {given.lr:g}, {given.schedule}"),
        ]

    def fitted(self) -> dict[str, Any]:
        return {"labels": list(self.parts.labels), "counts": Counts.fit(self.parts.train).to_json()}

    @classmethod
    def open(cls, folder: Path, which: Which = None) -> TrainedSequence:
        return TrainedSequence(folder, which)

    def pictures(self, folder: Path, report: Report) -> list[Path]:
        plain = report.figures.get("scores", {})
        lines = {label: each["nats"] for label, each in plain.items() if label == "each label after itself"}
        return curves.draw(folder, "nats per step", 1.0, lines)

    def next_commands(self, folder: Path) -> list[str]:
        return [f"bptt predict {folder} --data FILE", f"bptt evaluate {folder}", self.longer(folder)]


class TrainedSequence(Trained):
    """A trained model of sequences of sets: it says what comes next, and it can be measured."""

    model: SequenceModel

    def __init__(self, folder: Path, which: Which = None) -> None:
        self.settings = settings_in(folder, SequenceTask.name, SequenceSettings)
        record = read_config(folder)
        self._learned_from, self._test = record.get("data"), record["config"].get("test")
        self.labels, self.counts = restored(
            folder, SequenceTask.artifact, lambda kept: (_labels(kept), Counts.from_json(kept["counts"]))
        )
        self.model = _model(self.settings, len(self.labels))
        load(self.model, folder, which)

    def evaluate(self, data: str | None = None, **how: Any) -> Report:
        """On the sequences of the file ``data``, or on what was held out: ``part="valid"`` or ``"test"``.

        **Raises** ``ValueError`` where the sequences learned from have changed; `bptt.tasks.task.NothingHeldOut`.
        """
        part = how.get("part")
        if data is None:
            name, rolls = self._own().held_out(part)
            return score(self.model, rolls, f"the {_PARTS[name]} part", self.counts)
        if part is not None:
            raise ValueError(f"--part {part} was held out of another file than {data}: leave it out to measure on all of it")
        found = read_rolls(data, self.labels).rolls
        rolls = [roll for roll in found if len(roll) > 1]
        if not rolls:
            raise ValueError(f"{data} has no sequence of two steps or more")
        report = score(self.model, rolls, data, self.counts)
        left = len(found) - len(rolls)
        return replace(report, remarks=[*report.remarks, *[f"{left} shorter than two steps are left out."] * bool(left)])

    def predict(self, data: str | None = None) -> NextSteps:
        """What comes after each sequence of the file ``data``, in their order; an empty one has nothing to go on from.

        **Raises** ``ValueError`` where no file is given, and what reading it does.
        """
        if data is None:
            raise ValueError("say which sequences, --data FILE")
        rolls = read_rolls(data, self.labels).rolls
        return NextSteps([len(roll) for roll in rolls], [self.next_step(roll) if len(roll) else [] for roll in rolls])

    def follow(self) -> Foretell:
        """The same one step at a time; see `Foretell.step`."""
        return Foretell(self.model, self.labels)

    def next_step(self, roll: Roll) -> list[tuple[Label, float]]:
        """The probability of each label at the step after ``roll [T, L]``, the likeliest first."""
        with torch.no_grad():
            y, _ = self.model(torch.from_numpy(roll[:, None]).float())
        likely = torch.sigmoid(y[-1, 0]).tolist()
        return sorted(zip(self.labels, likely, strict=True), key=lambda each: -each[1])

    def _own(self) -> RollParts:
        if not is_there(self.settings.data):
            raise FileNotFoundError(
                f"the file of this run, {self.settings.data}, is no longer there: say where it is now, "
                f"bptt train {SequenceTask.name} --out RUN --data FILE"
            )
        parts = read_parts(self.settings, self.labels)
        source = Batches(pairs(parts.train), self.settings.rows, seed=self.settings.seed).fingerprint()
        if source != self._learned_from or _print(parts.test) != self._test:
            raise ValueError(
                f"{self.settings.data} has changed since this run learned from it, so what was held out cannot be told from "
                "what was learned"
            )
        return parts


@dataclass(frozen=True)
class NextSteps:
    """For each sequence its steps, and the probability of each label at the next, the likeliest first."""

    steps: Sequence[int]
    likely: Sequence[Sequence[tuple[Label, float]]]

    def file(self, kind: str) -> bytes:
        """A row for each sequence, as the contents of a file; see `bptt.tasks.answers.as_file`."""
        columns: dict[str, list[Any]] = {
            "steps": list(self.steps),
            "next": [[label for label, share in each if share > 0.5] for each in self.likely],
            "probabilities": [[[label, round(share, 6)] for label, share in each] for each in self.likely],
        }
        return as_file(columns, kind)


def _labels(kept: dict[str, Any]) -> tuple[Label, ...]:
    return tuple(kept["labels"])


def _print(rolls: Sequence[Roll]) -> str | None:
    return pairs(rolls).fingerprint() if rolls else None


def _model(settings: SequenceSettings, labels: int) -> SequenceModel:
    return SequenceModel(labels, input_dropout=settings.input_dropout, **settings.network)
