"""What a run tells its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

Event = Literal["log", "validation", "epoch"]


@dataclass(frozen=True)
class Moment:
    """What a callback is told: the ``event``, the model, where the run stands, and the line just logged.

    ``epoch`` counts from 0.
    """

    event: Event
    model: nn.Module
    update: int
    epoch: int
    line: Mapping[str, Any]


Callback = Callable[[Moment], str | None]
"""What it returns is shown."""
