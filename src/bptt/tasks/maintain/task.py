"""The maintenance task: from settings to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from bptt import SquaredError
from bptt.data import Batches
from bptt.data.units import Units
from bptt.tasks import curves, pictures
from bptt.tasks.config import TrainingSettings
from bptt.tasks.maintain.config import MaintainSettings
from bptt.tasks.maintain.fitted import Fitted
from bptt.tasks.maintain.parts import read_parts
from bptt.tasks.maintain.trained import ARTIFACT, BATCH, NAME, TrainedMaintain, make_model
from bptt.tasks.report import Report
from bptt.tasks.task import Task, Which, begins_from, built, following, parameters, restored, settings_in


class MaintainTask(Task):
    """A model of remaining life about to be trained; see `MaintainSettings`."""

    name: ClassVar[str] = NAME
    artifact: ClassVar[str] = ARTIFACT
    settings: MaintainSettings

    def __init__(self, settings: TrainingSettings, folder: Path | None = None) -> None:
        if not isinstance(settings, MaintainSettings):
            raise TypeError(f"the maintenance task takes MaintainSettings, got {type(settings).__name__}")
        start = begins_from(settings, folder)
        if start is not None:
            settings = following(settings, start, {"cap": settings_in(start, NAME, MaintainSettings).cap})
        self.settings = settings
        self.parts = read_parts(settings)
        known = folder if folder is not None and (folder / ARTIFACT).exists() else start
        self.what = Fitted.fit(self.parts.train, settings.cap) if known is None else restored(known, ARTIFACT, Fitted.from_json)
        self.source = Batches(self.what.sequences(self.parts.train), settings.rows, seed=settings.seed)
        held = self.parts.valid
        self.validation = Batches(self.what.sequences(held), BATCH, shuffle=False) if len(held) else None
        self.test = self.what.sequences(self.parts.test).fingerprint() if len(self.parts.test) else None
        self.loss = SquaredError()
        self.model = built(lambda: make_model(settings, len(self.what.sensors)), settings, folder)

    def describe(self) -> list[tuple[str, str]]:
        given, parts, what = self.settings, self.parts, self.what
        sizes = " + ".join(
            f"{len(part):,} {name}"
            for part, name in ((parts.train, "to learn from"), (parts.valid, "validation"), (parts.test, "test"))
            if len(part)
        )
        lines = [("data", f"{given.data}: {sizes} units; {_lives(parts.train)}")]
        if what.constant:
            lines.append(("", f"{len(what.constant)} never change and are left out: {', '.join(what.constant)}"))
        capped = f"up to {what.cap:g} cycles" if given.cap else "of any length"
        return [
            *lines,
            (
                "model",
                f"{given.cell.upper()} {given.layers}×{given.hidden}, dropout {given.dropout:g}, {len(what.sensors)} sensors, "
                f"life {capped}: {parameters(self.model):,} parameters",
            ),
            ("training", f"{given.through}; {given.rows} rows; {given.optimizer}, lr {given.lr:g}, {given.schedule}"),
        ]

    def fitted(self) -> dict[str, Any]:
        return self.what.to_json()

    @classmethod
    def open(cls, folder: Path, which: Which = None) -> TrainedMaintain:
        return TrainedMaintain(folder, which)

    def pictures(self, folder: Path, report: Report) -> list[Path]:  # noqa: ARG002
        drawn = curves.draw(folder, "squared error, in units of the cap")
        if pictures.installed() and (len(self.parts.test) or len(self.parts.valid)):
            path = folder / "lives.png"
            self.open(folder).draw(path)
            drawn.append(path)
        return drawn

    def next_commands(self, folder: Path) -> list[str]:
        return [f"bptt predict {folder} --data FILE", f"bptt evaluate {folder}", self.longer(folder)]


def _lives(units: Units) -> str:
    lives = [len(when) for when in units.cycles]
    return f"{min(lives)} to {max(lives)} cycles each, {sum(lives):,} in all"
