"""``bptt demo``: a network learns to write like Python's own manual, which is on every machine."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bptt.cli.say import examples

if TYPE_CHECKING:
    from bptt.tasks.task import Task
    from bptt.tasks.text.config import TextSettings
    from bptt.train import Moment

EXAMPLES = examples(
    ("bptt demo", "train, write, and compare, in some three minutes"),
    ("bptt demo --fresh", "begin anew"),
    ("bptt generate runs/demo --prompt 'The with statement'", "afterwards, let it write"),
)
FOLDER = Path("runs/demo")
PROMPT = "The "
LENGTH, WIDTH = 240, 100
HOW: dict[str, Any] = {"temperature": 0.7, "seed": 1}
MOMENTS = (0.01, 0.05, 0.15, 0.4, 0.75)  # of the training, when it writes a sample: the early ones differ most


def demo(
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove runs/demo first and begin anew.")] = False,
    minutes: Annotated[float, typer.Option(min=0.01, help="Stop training after so many minutes.")] = 4.0,
) -> None:
    """Train a small character model on Python's own manual, and let it write as it learns."""
    from filelock import FileLock, Timeout

    from bptt.cli.training import train
    from bptt.tasks.text.task import TextTask, TrainedText
    from bptt.train.layout import LOCK, FolderInUse

    text = FOLDER.with_name("python-manual.txt")
    if fresh and FOLDER.exists():
        if not (FOLDER / "config.json").exists():
            raise ValueError(f"{FOLDER} is no run of bptt: remove it yourself")
        try:
            with FileLock(FOLDER / LOCK, timeout=0):
                shutil.rmtree(FOLDER)
        except Timeout:
            raise FolderInUse(f"{FOLDER} is in use by another process: wait for it, or stop it") from None
    manual = _manual()
    text.parent.mkdir(parents=True, exist_ok=True)
    if not text.exists() or text.read_text(encoding="utf-8") != manual:
        text.write_text(manual, encoding="utf-8", newline="\n")
    settings = _settings(text, minutes)
    trained = train(TextTask, settings, FOLDER, callbacks=lambda task: [_writer(task)])
    assert isinstance(trained, TrainedText)
    print(f"  bptt demo --fresh\n\nWhat it writes now:\n\n{PROMPT}{''.join(trained.generate(PROMPT, LENGTH, **HOW))}")


def _settings(text: Path, minutes: float) -> TextSettings:
    from bptt.tasks.config import settle
    from bptt.tasks.text.config import TextSettings

    return settle(
        TextSettings,
        options={
            "data": str(text),
            "unit": "character",
            "cell": "lstm",
            "hidden": 256,
            "dropout": 0.1,
            "rows": 16,
            "through": "truncated:k1=64",
            "lr": 0.004,
            "epochs": 13,
            "minutes": minutes,
            "validate_every": 300,
        },
    )


def _manual() -> str:
    """The topics of Python's help, each paragraph once: many topics repeat another's, which would give the answer away."""
    from pydoc_data.topics import topics

    seen = set()
    kept = []
    for paragraph in (p for name in sorted(topics) for p in topics[name].split("\n\n")):
        words = " ".join(paragraph.split())
        if words not in seen:
            seen.add(words)
            kept.append(paragraph)
    return "\n\n".join(kept)


def _writer(task: Task) -> Callable[[Moment], str | None]:
    """Writes a sample at some moments of the training."""
    from bptt.tasks.text.sample import generate
    from bptt.tasks.text.task import TextTask

    assert isinstance(task, TextTask)
    total = task.updates()
    waiting = [moment * total for moment in MOMENTS]

    def write(moment: Moment) -> str | None:
        if not waiting or moment.update < waiting[0]:
            return None
        while waiting and moment.update >= waiting[0]:
            waiting.pop(0)
        text = "".join(generate(moment.model, task.vocabulary, PROMPT, LENGTH, **HOW))
        lines = [part for line in (PROMPT + text).splitlines() for part in textwrap.wrap(line, WIDTH) or [""]]
        shown = "\n".join(f"  │ {line}" for line in lines)
        return f"\nafter {moment.update} of {total} updates it writes:\n{shown}\n"

    return write
