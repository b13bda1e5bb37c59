"""Whether a network fits into the machine, told before it is made."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from bptt.tasks.config import TrainingSettings, option

_OWN = {"sgd": 0, "rmsprop": 1}  # numbers that an optimizer keeps for each weight; two for the others
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_fits(make: Callable[[], nn.Module], settings: TrainingSettings) -> None:
    """Refuses a network whose weights, gradients and optimizer alone are larger than the machine's memory.

    **Raises** ``ValueError`` naming both. What a window of steps takes comes on top and is not counted.
    """
    there = machine_memory()
    if there is None:
        return
    needed = training_bytes(make, settings.optimizer)
    if needed is None or needed > there:
        size = "more than can be counted" if needed is None else shown(needed)
        raise ValueError(
            f"a network of {option('layers')} {settings.layers} and {option('hidden')} {settings.hidden} takes {size} of "
            f"memory to train (weights, gradients and {settings.optimizer.partition(':')[0]}), and this machine has "
            f"{shown(there)}: make it smaller"
        )


def training_bytes(make: Callable[[], nn.Module], optimizer: str) -> int | None:
    """Bytes of weights, their gradients and what the optimizer keeps; ``None`` where torch cannot count so far."""
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said again when the network is made
            model = make()
    except RuntimeError as error:
        if "overflow" in str(error).lower():
            return None
        raise
    kept = 2 + _OWN.get(optimizer.partition(":")[0].strip().lower(), 2) + ("momentum" in optimizer)
    return sum(p.numel() * p.element_size() for p in model.parameters()) * kept


def machine_memory() -> int | None:
    """Bytes of memory that this process may use; ``None`` where the system does not say."""
    try:
        found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):
        return None
    for path in _LIMITS:  # a container has less than its machine
        limit = Path(path).read_text().strip() if os.access(path, os.R_OK) else "max"
        if limit.isdecimal():
            found.append(int(limit))
    return min(found)


def shown(count: float) -> str:
    """Bytes for people: 1.5 GiB."""
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while count >= 1024 and len(units) > 1:
        count, units = count / 1024, units[1:]
    return f"{count:,.1f} {units[0]}"
