"""A task from Python in a line: train it in a folder, or open what a folder holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bptt.tasks.config import TrainingSettings, settle
from bptt.tasks.registry import entry

if TYPE_CHECKING:
    from bptt.tasks.task import Trained


def train(task: str, folder: str | os.PathLike[str], *, progress: bool = True, **settings: Any) -> Trained:
    """Trains as ``bptt train TASK --out FOLDER`` does, and gives the trained model; ``settings`` are named as its options.

        model = bptt.tasks.train("classify", "runs/reviews", data="reviews.tsv", epochs=5)

    Where the folder holds this run already it goes on, as `bptt.Run.fit` does. **Raises** ``ValueError`` for a task or a
    setting that does not exist or is wrong, and what the task's data and `bptt.Run.fit` raise.
    """
    known = entry(task)
    kind = known.load_settings()
    assert issubclass(kind, TrainingSettings)
    given = {key: os.fspath(value) if isinstance(value, os.PathLike) else value for key, value in settings.items()}
    made = known.load_task()(settle(kind, options=given), Path(folder))
    made.fit(Path(folder), progress=progress)
    return made.open(Path(folder))


def load(folder: str | os.PathLike[str], which: str | int | None = None) -> Trained:
    """The trained model of a run's folder: its best weights, its ``"last"``, or those of an update's number.

    **Raises** `bptt.train.FolderError` where the folder holds no run of a task.
    """
    from bptt.tasks.task import task_name

    return entry(task_name(Path(folder))).load_task().open(Path(folder), which)
