"""A run without a folder: its checkpoints live as long as it does."""
# ruff: noqa: ARG002 - Memory has no use for some of what a folder is told

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from bptt.train.checkpoint import Checkpoint
from bptt.train.pack import Json, pack, unpack
from bptt.train.parts import Begun

Record = dict[str, Any]


class Store(Protocol):
    """Where a run keeps its checkpoints: a `RunFolder`, or `Memory`."""

    @property
    def log(self) -> Path | None: ...

    @property
    def tensorboard(self) -> Path | None: ...

    def held(self, record: Record) -> contextlib.AbstractContextManager[Checkpoint | None]: ...

    def begin(self, update: int) -> Path | None: ...

    def save(
        self, checkpoint: Checkpoint, record: Record, best: float | None, keep: int, begun: Begun | None = None
    ) -> None: ...

    def write_record(self, record: Record) -> None: ...

    def name_best(self, update: int | None, value: float | None) -> None: ...

    def weights(self, update: int) -> dict[str, Tensor]: ...

    def where(self, update: int) -> str: ...


class Memory:
    """Keeps the newest checkpoint and the best one."""

    log = None
    tensorboard = None

    def __init__(self) -> None:
        self._newest: tuple[Checkpoint, dict[str, Tensor], Json] | None = None
        self._weights: dict[int, dict[str, Tensor]] = {}

    @contextlib.contextmanager
    def held(self, record: Record) -> Iterator[Checkpoint | None]:
        if self._newest is None:
            yield None
            return
        checkpoint, tensors, skeleton = self._newest
        train = unpack({name: tensor.clone() for name, tensor in tensors.items()}, skeleton)
        yield Checkpoint(checkpoint.update, checkpoint.weights, train, checkpoint.best)

    def begin(self, update: int) -> None:
        return None

    def save(self, checkpoint: Checkpoint, record: Record, best: float | None, keep: int, begun: Begun | None = None) -> None:
        tensors, skeleton = pack(checkpoint.train)
        self._newest = (Checkpoint(checkpoint.update, checkpoint.weights, None, checkpoint.best), tensors, skeleton)
        self._weights[checkpoint.update] = checkpoint.weights
        self._weights = {
            update: self._weights[update] for update in self._weights if update in (checkpoint.update, checkpoint.best)
        }

    def write_record(self, record: Record) -> None:
        pass

    def name_best(self, update: int | None, value: float | None) -> None:
        pass

    def weights(self, update: int) -> dict[str, Tensor]:
        return self._weights[update]

    def where(self, update: int) -> str:
        return "the one in memory"
