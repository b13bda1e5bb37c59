"""What the executor keeps: tapes until they are reversed, states until they are dropped, the present while steps run again."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bptt.call import Caller
from bptt.randomness import Randomness
from bptt.state import State


@dataclass
class Tape:
    """A taped run; ``before`` is the state before it as leaves whose ``grad`` is the error there, where a run will take it."""

    start: int
    before: State
    after: State
    loss: Tensor | None


@dataclass
class Kept:
    """A state kept, the random state before the run that began there, and whether that run drew random numbers."""

    state: State
    random: Randomness
    drew: bool = False


@dataclass(frozen=True)
class Place:
    """Where the last window ended."""

    windows: int
    position: int
    present: State
    kept: dict[int, Kept]


class Aside:
    """The present random numbers and buffers, while steps run again."""

    def __init__(self, call: Caller) -> None:
        self._random, self._buffers = call.randomness(), call.other_buffers()
        self._buffers.__enter__()

    def put_back(self) -> None:
        self._random.put_back()
        self._buffers.__exit__(None, None, None)
