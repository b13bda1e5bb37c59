"""Transcripts in the order of the recordings: as rows of a file, and as a picture of what was heard when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.data.features import HOP, Floats
from bptt.tasks import pictures
from bptt.tasks.answers import as_file
from bptt.tasks.transcribe.alphabet import BLANK, Alphabet

_SEEN = 0.2  # of probability, from which a symbol has a curve of its own


@dataclass(frozen=True)
class Heard:
    """A recording's transcript, log P of it for each of its characters, its length in seconds, and a note.

    ``frames [T, M]`` and the symbols' log-probabilities ``scores [T', V]`` are kept of the first recording that has any.
    """

    file: str
    text: str
    score: float
    seconds: float
    note: str
    frames: Floats | None = None
    scores: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Transcripts:
    """One `Heard` for each recording, in the order they were given."""

    rows: tuple[Heard, ...]
    alphabet: Alphabet

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Heard]:
        return iter(self.rows)

    def file(self, kind: str) -> bytes:
        """The rows as the contents of a file; see `bptt.tasks.answers.as_file`."""
        columns: dict[str, list[Any]] = {
            "transcript": [row.text for row in self.rows],
            "score": [round(row.score, 4) for row in self.rows],
            "seconds": [round(row.seconds, 3) for row in self.rows],
            "note": [row.note for row in self.rows],
            "file": [row.file for row in self.rows],
        }
        return as_file(columns, kind)

    def draw(self, path: Path) -> None:
        """The first recording that has any sound: its log-mel frames, and below the probability of each symbol over time.

        **Raises** ``ValueError`` where none has, and what `bptt.tasks.pictures.check` raises.
        """
        row = next((row for row in self.rows if row.scores is not None), None)
        if row is None or row.scores is None or row.frames is None:
            raise ValueError("nothing was heard, so there is nothing to draw: give a recording that holds sound")
        chances, seconds = np.exp(row.scores), len(row.frames) * HOP
        when = (np.arange(len(chances)) + 0.5) * seconds / len(chances)
        with pictures.picture(path, panels=2) as (above, below):
            figure: Any = above.figure
            figure.set_size_inches(min(24.0, max(7.0, 2.2 * seconds + 2)), 5.6)
            above.imshow(row.frames.T, origin="lower", aspect="auto", cmap="magma",
                         extent=(0.0, seconds, 0.0, float(row.frames.shape[1])))  # fmt: skip
            above.grid(visible=False)
            above.set_ylabel("mel band")
            above.set_title(f"{row.file}: {row.text}" if row.text else row.file, fontsize=10, loc="left")
            below.fill_between(when, chances[:, BLANK], color=pictures.FAINT, alpha=0.2, linewidth=0)
            colours = (pictures.BLUE, pictures.ORANGE, pictures.GREEN, pictures.PURPLE)
            seen = [symbol for symbol in range(1, chances.shape[1]) if chances[:, symbol].max() >= _SEEN]
            for number, symbol in enumerate(seen):
                below.plot(when, chances[:, symbol], color=colours[number % len(colours)], linewidth=1.4)
            self._name_peaks(below, when, chances)
            below.set_xlim(0.0, seconds)
            below.set_ylim(0.0, 1.12)
            below.set_ylabel("probability (grey: blank)")
            below.set_xlabel("seconds")

    def _name_peaks(self, axes: Any, when: NDArray[np.float64], chances: NDArray[np.float64]) -> None:
        best = chances.argmax(1)
        for i, symbol in enumerate(best):
            if symbol != BLANK and (i == 0 or best[i - 1] != symbol):
                name = self.alphabet.characters[symbol - 1]
                axes.text(when[i], chances[i, symbol] + 0.02, "␣" if name == " " else name, ha="center", color=pictures.INK)
