"""What a run shows while it works: a live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

_BETWEEN_LINES = 15.0  # seconds
_BETWEEN_DRAWINGS = 0.2


@dataclass(frozen=True)
class Status:
    """Where a run stands: ``done`` of 1 (``None``: not known), ``left`` in seconds, ``loss`` per target."""

    update: int
    epoch: int
    done: float | None
    loss: float
    grad_norm: float
    lr: float
    per_second: float
    best: float | None
    elapsed: float
    left: float | None
    unit: str = ""

    def __str__(self) -> str:
        parts = [
            f"loss {self.loss:.4f}" + (f" {self.unit}" if self.unit else ""),
            f"{_short(self.per_second)} targets/s",
            f"|g| {self.grad_norm:.3g}",
            f"lr {self.lr:.3g}",
        ]
        if self.best is not None:
            parts.append(f"best {self.best:.4f}")
        parts.append(clock(self.elapsed) + (f" < {clock(self.left)}" if self.left is not None else ""))
        return "  ".join(parts)


class Display(Protocol):
    """Shows how a run gets on."""

    def due(self) -> bool:
        """Whether a new status would be shown by now."""
        ...

    def show(self, status: Status) -> None: ...

    def say(self, text: str) -> None:
        """Prints a line or more above the live one."""
        ...

    def close(self) -> None: ...


class Silent:
    """Shows nothing."""

    def due(self) -> bool:
        return False

    def show(self, status: Status) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class Plain:
    """A line on stderr every quarter of a minute: for logs and pipes."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._last >= _BETWEEN_LINES

    def show(self, status: Status) -> None:
        self._last = time.monotonic()
        done = "" if status.done is None else f" ({status.done:.0%})"
        self.say(f"epoch {status.epoch + 1}  update {status.update}{done}  {status}")

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class Bar:
    """A live line with a bar, which moves to and fro while the end is not known."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}  {task.fields[update]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.description}"),
            console=console,
            refresh_per_second=4,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, epoch="", update="")
        self._last = 0.0
        self._progress.start()

    def due(self) -> bool:
        return time.monotonic() - self._last >= _BETWEEN_DRAWINGS

    def show(self, status: Status) -> None:
        self._last = time.monotonic()
        known = status.done is not None
        self._progress.update(
            self._task,
            total=1.0 if known else None,
            completed=status.done or 0.0,
            description=escape(str(status)),
            epoch=status.epoch + 1,
            update=f"{status.update}" + (f" ({status.done:.0%})" if known else ""),
        )

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, emoji=False, highlight=False)

    def close(self) -> None:
        self._progress.stop()


def make_display(progress: bool) -> Display:
    """The display that fits where stderr goes."""
    if not progress:
        return Silent()
    console = Console(stderr=True)
    return Bar(console) if console.is_terminal else Plain()


def clock(seconds: float) -> str:
    """1:02:03, or 2:03 below an hour."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(number: float) -> str:
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.1f}{unit}"
    return f"{number:.0f}"
