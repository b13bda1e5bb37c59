"""Where a run stands, as plain numbers that a checkpoint holds; and the random numbers it will meet."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import nn

from bptt.randomness import Randomness


@dataclass
class Ledger:
    """Counts since the beginning of a run.

    ``sequence`` of ``epoch`` is the one under way, or the next one; ``steps`` and ``targets`` have been seen; ``loss`` and
    ``count`` are sums since the last log line; ``best`` is the least validation loss; ``least`` is the same without the
    validations that only the end of a sitting brings, and ``stale`` counts those since it, for patience.
    """

    update: int = 0
    epoch: int = 0
    sequence: int = 0
    steps: int = 0
    targets: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    count: int = 0
    best: float | None = None
    best_update: int | None = None
    least: float | None = None
    stale: int = 0
    validated: int = 0

    def state_dict(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        for name, value in saved.items():
            setattr(self, name, value)


def devices_of(model: nn.Module) -> tuple[torch.device, ...]:
    """The accelerators that the model lives on."""
    found = {parameter.device for parameter in model.parameters() if parameter.device.type not in ("cpu", "meta")}
    return tuple(sorted(found, key=str))


def random_state(model: nn.Module) -> dict[str, Any]:
    """The present state of every generator that training may draw from: torch's, numpy's and Python's."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the global one is what others draw from
    return {
        "torch": Randomness.now(devices_of(model)).state_dict(),
        "numpy": (str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), *(_plain(item) for item in rest)),
        "python": random.getstate(),
    }


def set_random_state(saved: dict[str, Any]) -> None:
    """Makes what `random_state` gave the present state again."""
    Randomness.from_state_dict(saved["torch"]).put_back()
    name, keys, *rest = saved["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(saved["python"])


@contextmanager
def aside(model: nn.Module) -> Iterator[None]:
    """What is done inside draws random numbers of its own: training goes on as if it had not been done."""
    before = random_state(model)
    training = [module for module in model.modules() if module.training]
    try:
        yield
    finally:
        set_random_state(before)
        model.eval()
        for module in training:
            module.training = True


def seed_all(seed: int) -> None:
    """Seeds torch, numpy and Python alike."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


def seed_of(seed: int, rank: int) -> int:
    """The seed of one of several processes: ``seed`` itself for the first, others for the rest, so that no two draw alike."""
    return seed if rank == 0 else int(np.random.SeedSequence([seed, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _plain(value: Any) -> int | float:
    return float(value) if isinstance(value, float) else int(value)
