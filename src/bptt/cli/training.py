"""What ``bptt train`` does, whatever the task: settle the settings, train, tell what came of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from bptt.cli.launch import leads
from bptt.cli.say import console, show
from bptt.cli.threads import use_threads
from bptt.data.files import is_there
from bptt.tasks.config import TrainingSettings, build, gather, names_a_file, option, spelled
from bptt.tasks.registry import Entry
from bptt.tasks.report import Report
from bptt.tasks.task import NothingHeldOut, Task, Trained, settings_in, settings_of
from bptt.train import Diverged, Interrupted, Result, read_config
from bptt.train.layout import FolderInUse
from bptt.train.moment import Callback
from bptt.train.processes import processes
from bptt.train.progress import clock


def begin_or_go_on(task: Entry, out: Path | None, config: Path | None, sets: list[str], chosen: Mapping[str, Any]) -> Trained:
    """Trains in a new folder, or goes on in ``out`` where a run is there; gives the trained model."""
    kind = task.load_settings()
    assert issubclass(kind, TrainingSettings)
    given = gather(kind, file=config, sets=sets, options=chosen)
    settings: TrainingSettings
    together = processes()
    if out is not None and together.first(lambda: _holds_something(out)):
        settings = _stored(task, out, given)
    else:
        if out is not None and "data" not in given:
            raise ValueError(f"there is no run in {out} to go on with, and a new one needs --data")
        settings = build(kind, given)
    if out is not None:
        return train(task.load_task(), settings, out)
    while True:
        folder = together.first(lambda: free_folder(task.name, str(chosen.get("data") or getattr(settings, "data", ""))))
        try:
            return train(task.load_task(), settings, folder)
        except FolderInUse:  # another run was started at the same moment, and took that name first
            if folder.exists() and together.size == 1:
                continue
            raise


def train(
    kind: type[Task],
    settings: TrainingSettings,
    folder: Path,
    callbacks: Callable[[Task], Sequence[Callback]] = lambda task: (),  # noqa: ARG005
) -> Trained:
    """Trains to the end, shows the report, and gives the trained model; ``callbacks(task)`` are called on the way.

    Of several processes, only the first one comes back; the others end when the training does.
    """
    use_threads(settings.threads)
    out = console()
    task = kind(settings, folder)
    for key, text in task.describe():
        out.print(f"[bold]{key:<9}[/bold] {text}", soft_wrap=True)
    out.print(f"[bold]{'folder':<9}[/bold] {folder}\n", soft_wrap=True)
    try:
        result = task.fit(folder, callbacks=callbacks(task))
    except Interrupted:
        if leads():
            print(f"bptt train {kind.name} --out {folder}", file=sys.stderr)
        raise
    except Diverged:
        if leads() and (folder / "config.json").exists():
            slower = spelled(task.settings, start=folder, lr=f"{settings.lr / 4:g}")
            print(f"to begin another run with its best weights, more slowly:\nbptt train {kind.name} {slower}", file=sys.stderr)
        raise
    if not leads():
        raise typer.Exit
    out.print(f"\n{_told(result, getattr(task.loss, 'unit', ''), kind.judged_by)}\n", markup=False, soft_wrap=True)
    trained = kind.open(folder)
    try:
        report = trained.evaluate()
    except NothingHeldOut as nothing:
        report = Report(remarks=[f"Not measured: {nothing}."])
    show(out, report)
    for path in task.pictures(folder, report):
        out.print(f"[bold]{'picture':<9}[/bold] {path}", soft_wrap=True)
    out.print(f"[bold]{'run':<9}[/bold] {folder}\n\nTo go on:", soft_wrap=True)
    for command in task.next_commands(folder):
        out.print(f"  {command}", markup=False, soft_wrap=True)
    return trained


def _told(result: Result, unit: str, judged_by: str | None) -> str:
    why = {
        "epochs": "",
        "patience": ", as validation no longer improved",
        "seconds": ", as --minutes asked (more of them go on, and --minutes 0 sets no limit)",
    }
    best = (
        ""
        if result.best is None
        else f"; best validation {f'{judged_by} {result.best:.4f}' if judged_by else f'{result.best:.4f} {unit}'.rstrip()} "
        f"after update {result.best_update}"
    )
    return (
        f"trained {result.updates:,} updates in {clock(result.seconds)}, {result.epochs} whole epochs"
        f"{why.get(result.reason, '')}{best}"
    )


def free_folder(task: str, data: str) -> Path:
    """``runs/text-input``, or the first of ``runs/text-input-2``, … that does not exist."""
    stem = re.sub(r"[^\w.-]+", "-", Path(data).name.split(".")[0]).strip("-.") or "run"
    base = Path("runs") / f"{task}-{stem}"
    number = 1
    folder = base
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def _holds_something(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _in(task: Entry, folder: Path) -> tuple[dict[str, Any], TrainingSettings]:
    """The settings kept in the folder, as they stand there and as they are read."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; --out expects a folder for the run")
    name, stored = settings_of(read_config(folder), folder)
    if name != task.name:
        raise ValueError(f"{folder} holds a run of task {name!r}: bptt train {name} --out {folder}, or another --out")
    kind = task.load_settings()
    assert issubclass(kind, TrainingSettings)
    return stored, settings_in(folder, name, kind)


def _stored(task: Entry, folder: Path, given: Mapping[str, tuple[Any, str]]) -> TrainingSettings:
    """The settings kept in the folder, with what may change as given now; refuses what may not."""
    stored, before = processes().first(lambda: _in(task, folder))
    kind = type(before)
    kept = {key: (value, f"in {folder}") for key, value in stored.items()}
    settings = build(kind, kept | dict(given))
    moved = kind.files - TrainingSettings.files  # what the first weights were is no file that may lie elsewhere
    differing = [
        key
        for key in given
        if key not in kind.movable and getattr(settings, key) != getattr(before, key)
        if not (names_a_file(getattr(settings, key)) and names_a_file(getattr(before, key)) and key in moved)
    ]
    if differing:
        told = ", ".join(f"{option(key)} {getattr(settings, key)} (there: {getattr(before, key)})" for key in differing)
        raise ValueError(f"{folder} holds a run with other settings: {told}; leave them out to go on, or give another --out")
    for key in moved - given.keys():
        if names_a_file(path := getattr(settings, key)) and not is_there(path):
            raise FileNotFoundError(
                f"the file of this run, {path}, is no longer there: say where it is now, bptt train {task.name} --out {folder} "
                f"{option(key)} FILE"
            )
    return settings
