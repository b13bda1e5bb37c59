"""Texts written for texts read, in their order: as rows of a file, and as a picture of where was looked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.tasks import pictures
from bptt.tasks.answers import as_file


@dataclass(frozen=True)
class Answer:
    """What was written for a text: log P a token, a note, and the tokens of both with the weights ``[T, S]`` between them."""

    source: str
    text: str
    score: float
    note: str
    read: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    weights: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Answers:
    """One `Answer` for each text, in the order they were given; ``heading`` is the column that they stand in."""

    heading: str
    rows: tuple[Answer, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.rows)

    def file(self, kind: str) -> bytes:
        """The rows as the contents of a file; see `bptt.tasks.answers.as_file`."""
        columns: dict[str, list[Any]] = {
            self.heading: [row.text for row in self.rows],
            "score": [round(row.score, 4) for row in self.rows],
            "note": [row.note for row in self.rows],
            "text": [row.source for row in self.rows],
        }
        return as_file(columns, kind)

    def draw(self, path: Path) -> None:
        """Where in the first text was looked while each token was written: a picture.

        **Raises** ``ValueError`` where nothing was written, and what `bptt.tasks.pictures.check` raises.
        """
        row = next((row for row in self.rows if row.weights is not None), None)
        if row is None or row.weights is None:
            raise ValueError("nothing was written, so there is nothing to draw: give a text that is not empty")
        with pictures.picture(path) as panels:
            axes = panels[0]
            figure: Any = axes.figure
            figure.set_size_inches(1.8 + 0.34 * len(row.read), 1.2 + 0.3 * len(row.written))
            axes.imshow(row.weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            axes.grid(visible=False)
            for side in axes.spines.values():
                side.set_visible(False)
            axes.xaxis.tick_top()
            axes.set_xticks(range(len(row.read)), row.read, rotation=60, ha="left")
            axes.set_yticks(range(len(row.written)), row.written)
            axes.tick_params(length=0)
