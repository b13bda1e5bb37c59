"""A sequence of sets as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bptt.data.rolls import Label
from bptt.tasks.follow import Follower
from bptt.tasks.sequence.model import SequenceModel


class Foretell(Follower):
    """What comes after each step of a sequence; ``None`` begins another one."""

    reads = "steps"

    def __init__(self, model: SequenceModel, labels: Sequence[Label]) -> None:
        self._model, self._labels = model, tuple(labels)
        self._column = {label: index for index, label in enumerate(labels)}
        self._state: Any = None

    def step(self, row: Any) -> dict[str, Any] | None:
        if row is None:
            self._state = None
            return None
        if not isinstance(row, list) or any(isinstance(each, (bool, list, dict)) or each is None for each in row):
            raise ValueError(f"got {str(row)[:60]}, expected the labels of one step, as in [60, 64]")
        if unknown := [label for label in row if label not in self._column]:
            raise ValueError(f"the label {unknown[0]!r} is none of the {len(self._labels)} that were learned from")
        x = torch.zeros(1, 1, len(self._labels))
        x[0, 0, [self._column[label] for label in row]] = 1
        with torch.no_grad():
            y, self._state = self._model(x, self._state)
        likely = torch.sigmoid(y[0, 0]).tolist()
        ranked = sorted(zip(self._labels, likely, strict=True), key=lambda each: -each[1])
        return {
            "next": [label for label, share in ranked if share > 0.5],
            "probabilities": [[label, round(share, 6)] for label, share in ranked],
        }
