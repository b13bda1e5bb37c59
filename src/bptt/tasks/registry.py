"""The table of tasks. Its entries are names, imported when asked for, so that a list of tasks costs nothing."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bptt.tasks.config import Settings
    from bptt.tasks.task import Task


@dataclass(frozen=True)
class Entry:
    """One task: what it does in a line, commands that show it, and where its settings and its class live."""

    name: str
    summary: str
    examples: tuple[tuple[str, str], ...]
    settings: str
    task: str

    def load_settings(self) -> type[Settings]:
        """The class of its settings, which imports no torch of its own."""
        found: type[Settings] = _named(self.settings)
        return found

    def load_task(self) -> type[Task]:
        """The class that trains, loads and scores it."""
        found: type[Task] = _named(self.task)
        return found


tasks: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="text",
            summary="Learn to write like a text: predict each next character, byte, word or sub-word.",
            examples=(
                ("bptt train text --data input.txt", "a character model with sensible settings"),
                ("bptt train text --data input.txt --minutes 2 --hidden 256", "smaller, and no longer than two minutes"),
                ("bptt train text --data input.txt --through truncated:k1=32,k2=128", "reach further back than each window"),
                ("bptt train text --out runs/text-input", "go on with a run that was stopped"),
            ),
            settings="bptt.tasks.text.config:TextSettings",
            task="bptt.tasks.text.task:TextTask",
        ),
        Entry(
            name="forecast",
            summary="Learn to continue a table of measurements: predict its next rows, with intervals.",
            examples=(
                ("bptt train forecast --data temperatures.csv", "one step ahead; columns found by themselves"),
                ("bptt train forecast --data load.csv --target load --horizon 24", "the next 24 rows of one column"),
                ("bptt train forecast --data temperatures.csv --test 2y", "the last two years held out as test"),
                ("bptt train forecast --out runs/forecast-load", "go on with a run that was stopped"),
            ),
            settings="bptt.tasks.forecast.config:ForecastSettings",
            task="bptt.tasks.forecast.task:ForecastTask",
        ),
    )
}


def entry(name: str) -> Entry:
    """The task of that name; **raises** ``ValueError`` listing those that exist."""
    if name not in tasks:
        close = difflib.get_close_matches(name, list(tasks), 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"no task is called {name!r}{hint}: one of {', '.join(tasks)}")
    return tasks[name]


def _named(where: str) -> type:
    module, _, name = where.partition(":")
    found: type = getattr(import_module(module), name)
    return found
