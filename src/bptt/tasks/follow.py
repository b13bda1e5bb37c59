"""Following data as they come: one row in, one answer out, the state carried from row to row."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Literal


class Follower(ABC):
    """A trained model that is given one step at a time; its answers are those of the whole sequence at once."""

    reads: Literal["table", "steps", "lines"] = "table"
    """What a row is: one of a table, by the names of its columns; any JSON value, or nothing; a line of text as it stands."""

    @abstractmethod
    def step(self, row: Any) -> dict[str, Any] | None:
        """The answer after one more row; ``None`` after one that is not to be answered, as where something new begins.

        **Raises** ``ValueError`` for a row that does not fit, after which the state is as it was before.
        """


def answers(follower: Follower, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """An answer for each line that is a row: JSON, CSV under a line of names, or text.

    **Raises** ``ValueError`` naming the line of what is none, and of what does not fit.
    """
    names: list[str] | None = None
    table = follower.reads == "table"
    for number, line in enumerate(lines, 1):
        text = line.strip()
        try:
            if not text and table:
                continue
            if follower.reads == "lines":
                row: Any = line.removesuffix("\n").removesuffix("\r")
            elif table and text[0] not in "{[":
                (cells,) = csv.reader([text])
                if names is None:
                    names = cells
                    continue
                if len(cells) != len(names):
                    raise ValueError(f"{len(cells)} cells under {len(names)} names")
                row = dict(zip(names, cells, strict=True))
            else:
                row = json.loads(text) if text else None
        except ValueError as error:
            raise ValueError(f"line {number}: {error}; expected {_wanted(follower)}") from None
        try:
            answer = follower.step(row)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if answer is not None:
            yield answer


def _wanted(follower: Follower) -> str:
    if follower.reads == "table":
        return 'a row as JSON, as in {"unit": "7", "cycle": 12, …}, or as CSV after a line of names'
    return "a step as JSON, as in [60, 64], or an empty line where something new begins"
