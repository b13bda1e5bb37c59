"""What happened in a run, as JSON lines and, where wished, for TensorBoard."""

from __future__ import annotations

import importlib.util
import json
import math
import os
from pathlib import Path
from typing import Any, Protocol

Line = dict[str, Any]


class Log:
    """Lines of a run, in memory and, with a ``path``, in a file of one JSON object a line.

    A number that is not finite is written as null, which JSON has in its place. ``kept``: the lines that a checkpoint goes
    on from, as for `read_lines`.
    """

    def __init__(self, path: Path | None = None, kept: int | None = None) -> None:
        self._path = path
        self.lines: list[Line] = [] if path is None else read_lines(path, kept)
        self._file = None if path is None else path.open("a", encoding="utf-8")

    def write(self, line: Line) -> None:
        line = {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in line.items()}
        self.lines.append(line)
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def saved(self) -> int:
        """How many lines there are, all of them on the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())
        return len(self.lines)

    def rewind(self, lines: int) -> None:
        """Forgets the lines after the first ``lines``, which a run that goes on will write again."""
        self.lines = self.lines[:lines]
        if self._file is not None and self._path is not None:
            content = self._path.read_bytes()
            end = 0
            for _ in self.lines:
                end = content.index(b"\n", end) + 1
            self._file.truncate(end)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def read_lines(path: Path, kept: int | None = None) -> list[Line]:
    """The whole lines of a log file, none where there is no file; a last line that a kill has cut is left out.

    ``kept``: from a broken line beyond the first so many on nothing is read, since it will be written again.

    **Raises** ``ValueError`` naming a line that is no JSON object.
    """
    if not path.exists():
        return []
    lines: list[Line] = []
    for number, text in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        line = _line(text)
        if line is None and kept is not None and number > kept:
            break
        if line is None:
            raise ValueError(f"{path}, line {number}: not a JSON object: {text[:60]!r}; write {{}} in its place to go on")
        lines.append(line)
    return lines


def _line(text: bytes) -> Line | None:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return None


class Scalars(Protocol):
    """Takes the numbers of log lines."""

    def write(self, line: Line) -> None: ...

    def close(self) -> None: ...


class NoScalars:
    """Takes numbers and does nothing with them."""

    def write(self, line: Line) -> None:
        pass

    def close(self) -> None:
        pass


class TensorBoard:
    """Log lines as TensorBoard scalars; points after update ``purge_after`` of an earlier part of the run are hidden."""

    def __init__(self, folder: Path, purge_after: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=purge_after + 1 if purge_after else None)

    @staticmethod
    def installed() -> bool:
        return importlib.util.find_spec("tensorboard") is not None

    @staticmethod
    def check() -> None:
        """Refuses to do without the package.

        **Raises** ``ModuleNotFoundError``.
        """
        if not TensorBoard.installed():
            raise ModuleNotFoundError('tensorboard is needed for Logs(tensorboard=True): pip install "bptt[logs]"')

    def write(self, line: Line) -> None:
        group = "validation" if "validation" in line else "observe" if "horizon" in line else "train"
        for key, value in line.items():
            if key not in ("update", "seconds") and isinstance(value, (int, float)):
                name = "loss" if key == "validation" else key
                self._writer.add_scalar(f"{group}/{name}", value, line["update"])

    def close(self) -> None:
        self._writer.close()
