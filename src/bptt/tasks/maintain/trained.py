"""A trained model of remaining life, as its run's folder holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bptt.data import Batches
from bptt.data.files import is_there
from bptt.data.ragged import Ragged
from bptt.data.units import Units
from bptt.tasks.answers import as_file
from bptt.tasks.maintain.alarm import best_age, best_alarm
from bptt.tasks.maintain.config import MaintainSettings
from bptt.tasks.maintain.fitted import Fitted
from bptt.tasks.maintain.follow import Watch
from bptt.tasks.maintain.model import RemainingModel
from bptt.tasks.maintain.parts import UnitParts, read, read_parts
from bptt.tasks.maintain.score import alarm_table, score
from bptt.tasks.pictures import BLUE, INK, ORANGE, finish, picture
from bptt.tasks.report import Report
from bptt.tasks.task import Trained, Which, load, restored, settings_in
from bptt.train import read_config

NAME, ARTIFACT = "maintain", "fitted.json"
BATCH = 64  # units read side by side
_PARTS = {"valid": "the validation part", "test": "the test part"}
Floats = NDArray[np.float64]


class TrainedMaintain(Trained):
    """A trained model of remaining life: it says how long each unit will go on, and it can be measured."""

    def __init__(self, folder: Path, which: Which = None) -> None:
        self.settings = settings_in(folder, NAME, MaintainSettings)
        record = read_config(folder)
        self._learned_from, self._test = record.get("data"), record["config"].get("test")
        self.what = restored(folder, ARTIFACT, Fitted.from_json)
        self.model = make_model(self.settings, len(self.what.sensors))
        load(self.model, folder, which)

    def evaluate(self, data: str | None = None, **how: Any) -> Report:
        """On what was held out (``part="valid"`` or ``"test"``), or on a file of units that ran to failure.

        With the alarm of least cost where validation units were held out, on which it is chosen.

        **Raises** ``ValueError`` where the units learned from have changed; `bptt.tasks.task.NothingHeldOut`.
        """
        part = how.get("part")
        if data is not None:
            if part is not None:
                raise ValueError(
                    f"--part {part} was held out of another file than {data}: leave it out to measure on all of it"
                )
            return self._scored(data, self._read(data), ends=False)
        own = self._own()
        name, units = own.held_out(part)
        report = self._scored(_PARTS[name], units, ends=name == "test" and own.ends)
        if not len(own.valid):
            return report
        given, left = self.settings, own.valid.remaining
        assert left is not None
        alarm = best_alarm(self.lives(own.valid), left, given.lead, given.failure)
        age = best_age(own.valid.cycles, left, given.lead, given.failure)
        table = alarm_table(alarm, age, given.lead, given.failure)
        figures = {**report.figures, "alarm": asdict(alarm), "age": asdict(age)}
        return replace(report, tables=[*report.tables, table], figures=figures)

    def predict(self, data: str | None = None, alarm: float | None = None) -> Lives:
        """The life that each unit in the file ``data`` has left after its last row; marked where at most ``alarm``.

        **Raises** ``ValueError`` where no file is given, and what reading it does.
        """
        if data is None:
            raise ValueError("say which units, --data FILE: a table with the columns of the training, up to the present")
        units = self._read(data, known=False)
        return Lives(units, [float(life[-1]) for life in self.lives(units)], alarm)

    def follow(self, alarm: float | None = None) -> Watch:
        """The same one row at a time, of whichever unit; see `Watch.step`."""
        return Watch(self.model, self.what, alarm)

    def lives(self, units: Units) -> list[Floats]:
        """The cycles that each unit is predicted to have left, after each of its cycles ``[T_i]``."""
        inputs = self.what.inputs(units)
        examples = Batches(Ragged(inputs, [np.zeros((len(x), 1)) for x in inputs]), BATCH, shuffle=False)
        made: list[Floats] = []
        with torch.no_grad():
            for piece in examples.epoch(0):
                y, _ = self.model(piece.x, mask=piece.mask)
                rows = np.clip(y[:, :, 0].double().numpy().T * self.what.cap, 0, self.what.cap)
                made += [row[: len(inputs[len(made) + i])] for i, row in enumerate(rows)]
        return made

    def draw(self, path: Path, part: str | None = None) -> None:
        """Predicted beside true life: of test units that stop before their failure, else along each life."""
        name, units = (own := self._own()).held_out(part)
        assert units.remaining is not None
        made, left = self.lives(units), [np.minimum(each, self.what.cap) for each in units.remaining]
        with picture(path) as panels:
            axes = panels[0]
            if name == "test" and own.ends:
                order = np.argsort([each[-1] for each in left])
                axes.plot([left[i][-1] for i in order], color=INK, linewidth=1.8, label="true")
                axes.plot([made[i][-1] for i in order], "o", color=BLUE, markersize=4, label="predicted")
                axes.set_xlabel(f"units of {_PARTS[name]}, by the life they have left")
            else:
                for number, (likely, when) in enumerate(zip(made, units.remaining, strict=True)):
                    label = None if number else "predicted, a line a unit"
                    axes.plot(when, likely, color=BLUE, alpha=0.35, linewidth=1, label=label)
                longest = max(float(each.max()) for each in units.remaining)
                axes.plot(
                    [longest, self.what.cap, 0], [self.what.cap, self.what.cap, 0], color=ORANGE, label="true, up to the cap"
                )
                axes.invert_xaxis()
                axes.set_xlabel(f"cycles before the failure, {_PARTS[name]}")
            axes.set_ylabel("cycles left")
            axes.set_ylim(0)
            finish(panels)

    def _scored(self, name: str, units: Units, ends: bool) -> Report:
        assert units.remaining is not None
        made: dict[str, Sequence[Floats]] = {"this model": self.lives(units), **self.what.plain(units)}
        return score(name, made, units.remaining, self.what.cap, ends)

    def _read(self, data: str, known: bool = True) -> Units:
        what = self.what
        like = Units(what.unit, what.cycle, what.sensors, (), (), ())
        return read(self.settings, data, like, known)

    def _own(self) -> UnitParts:
        if not is_there(self.settings.data):
            raise FileNotFoundError(
                f"the table of this run, {self.settings.data}, is no longer there: say where it is now, bptt train {NAME} "
                "--out RUN --data FILE"
            )
        parts = read_parts(self.settings)
        source = Batches(self.what.sequences(parts.train), self.settings.rows, seed=self.settings.seed).fingerprint()
        test = self.what.sequences(parts.test).fingerprint() if len(parts.test) else None
        if source != self._learned_from or test != self._test:
            raise ValueError(
                f"{self.settings.data} has changed since this run learned from it, so what was held out cannot be told from "
                "what was learned: give another file of units, --data FILE"
            )
        return parts


@dataclass(frozen=True)
class Lives:
    """The cycles ``left`` to each of the units after its last row, and whether that is below ``alarm``."""

    units: Units
    left: Sequence[float]
    alarm: float | None = None

    def file(self, kind: str) -> bytes:
        """A row for each unit, as the contents of a file; see `bptt.tasks.answers.as_file`."""
        columns: dict[str, list[Any]] = {
            self.units.unit: list(self.units.names),
            self.units.cycle: [float(when[-1]) for when in self.units.cycles],
            "left": [round(left, 2) for left in self.left],
        }
        if self.alarm is not None:
            columns["alarm"] = [left <= self.alarm for left in self.left]
        return as_file(columns, kind)


def make_model(settings: MaintainSettings, sensors: int) -> RemainingModel:
    """The model that ``settings`` describe, with fresh weights."""
    return RemainingModel(sensors, noise=settings.noise, **settings.network)
