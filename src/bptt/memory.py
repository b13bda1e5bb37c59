"""Counting what torch allocates while something runs, and what a state takes that is kept."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bptt.randomness import Randomness
from bptt.state import State, leaves

_profiler: Any = torch.autograd  # it hands on the profiler's functions, which its stubs do not name
# What a tensor takes beside its numbers: torch's and Python's own records of it, and malloc's rounding.
_RECORD = 700


class Counting:
    """The most that torch has allocated at any moment since it was made, beyond what there was; `stop` tells.

    On the CPU every allocation of this thread is recorded, by torch's own profiler; on a GPU its allocator counts.

    ``hold``: what was there before and will be let go of meanwhile; it lives on until `stop`, so that only what is new counts.

    **Raises** ``RuntimeError`` where a profiler is running already, or torch has none.
    """

    def __init__(self, devices: tuple[torch.device, ...] = (), hold: Any = None) -> None:
        self._hold = hold
        self._devices = tuple(device for device in devices if device.type == "cuda")
        if not can_count():
            raise RuntimeError(
                "a budget of memory is kept by measuring what a step takes, which torch's profiler does, and it is in use: "
                "give Checkpointed(slots=...) instead of memory=..., or profile without it"
            )
        for device in self._devices:
            torch.cuda.reset_peak_memory_stats(device)
        self._before = sum(torch.cuda.memory_allocated(device) for device in self._devices)
        kind, experimental = _profiler.ProfilerState.CPU, torch._C._profiler._ExperimentalConfig()
        config = _profiler.ProfilerConfig(kind, False, True, False, False, False, experimental)
        _profiler._enable_profiler_legacy(config)

    def stop(self) -> int:
        """Ends counting; the most, in bytes."""
        live = most = 0
        for thread in _profiler._disable_profiler_legacy():
            for event in thread:
                if event.kind() == "memory_alloc":
                    live += event.cpu_memory_usage()
                    most = max(most, live)
        self._hold = None
        return most + sum(torch.cuda.max_memory_allocated(device) for device in self._devices) - self._before


def can_count() -> bool:
    """Whether nobody else is profiling."""
    return not _profiler._profiler_enabled()


def give_back() -> None:
    """Hands memory that is free back to the system, where malloc can be told to (glibc): what probes left has no use."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Room:
    """Keeps the process within a budget: malloc does not hand back all that is free, and what it holds counts as well."""

    def __init__(self, budget: int, predicted: int) -> None:
        self._spare = budget - predicted
        self._before = resident()

    def check(self, kept: int) -> None:
        """Before a tape is made: hands free memory back if the process would else outgrow the budget."""
        if resident() - self._before - kept > self._spare:
            give_back()


def resident() -> int:
    """The memory that this process holds, in bytes; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def kept_bytes(state: State, random: Randomness | None) -> int:
    """What a state takes that is kept, with the random state beside it where that is its own."""
    tensors: list[Tensor] = leaves(state) + ([] if random is None else list(random.state_dict().values()))
    return _RECORD * (1 + len(tensors)) + sum(tensor.nbytes for tensor in tensors)
