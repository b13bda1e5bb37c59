"""Counting what torch allocates while something runs, and what a state takes that is kept."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bptt import outside
from bptt.randomness import Randomness
from bptt.state import State, leaves

_profiler: Any = torch.autograd  # it hands on the profiler's functions, which its stubs do not name
# What a tensor takes beside its numbers: torch's and Python's own records of it, and malloc's rounding.
_RECORD = 700
# What an operation's place in autograd's graph takes beside the numbers it saved: 960 to 1110 bytes of malloc's, measured on
# four modules that loop over their steps, and some that malloc cannot use between them.
_NODE = 1050
_LITTLE = 4 * 2**20
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, as in malloc.h
_STATM = Path("/proc/self/statm")
# So many events are recorded at most: each takes the profiler about half a KiB.
EVENTS = 6000


class Counting:
    """The most that torch has allocated at any moment since it was made, beyond what there was; `stop` tells.

    On the CPU every allocation of this thread is recorded, by torch's own profiler; on a GPU its allocator counts. What
    kernels keep from call to call is let go of first, and counts too.

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
        self._before = self._on_devices()
        self._graph, self._outside = 0, outside.begin()
        self._live = self._most = self.events = self.waiting = 0
        _record()

    def taped(self, roots: list[Tensor]) -> None:
        """Counts the graph that leads to ``roots``, which now stands; ``waiting`` then says what is there."""
        self._graph += graph_bytes(roots)
        self._take_up()
        self.waiting = self._live + outside.most() - self._outside + self._graph + self._on_devices() - self._before
        _record()

    def stop(self) -> int:
        """Ends counting; the most, in bytes. ``events`` then says how many the profiler recorded."""
        self._take_up()
        self._hold = None
        beside = outside.most() - self._outside
        return self._most + beside + self._graph + sum(map(torch.cuda.max_memory_allocated, self._devices)) - self._before

    def _take_up(self) -> None:
        for thread in _profiler._disable_profiler_legacy():
            self.events += len(thread)
            for event in thread:
                if event.kind() == "memory_alloc":
                    self._live += event.cpu_memory_usage()
                    self._most = max(self._most, self._live)

    def _on_devices(self) -> int:
        return sum(map(torch.cuda.memory_allocated, self._devices))


def _record() -> None:
    kind, experimental = _profiler.ProfilerState.CPU, torch._C._profiler._ExperimentalConfig()
    _profiler._enable_profiler_legacy(_profiler.ProfilerConfig(kind, False, True, False, False, False, experimental))


class Heap:
    """The most that malloc had given out (glibc; else 0) beyond what there was, where a graph stood: cheap, and coarse.

    For modules of so many operations that `Counting` would take more than it counts.
    """

    def __init__(self, hold: Any = None) -> None:
        outside.begin()
        self._hold, self._before, self._most = hold, given_out(), 0

    def taped(self, roots: list[Tensor]) -> None:  # noqa: ARG002 - their graph is malloc's too
        """Takes a look, now that a graph stands."""
        self._most = max(self._most, given_out() - self._before)

    def stop(self) -> int:
        """The most, in bytes."""
        self._hold = None
        return self._most


def graph_bytes(roots: list[Tensor]) -> int:
    """What the graph takes that leads to ``roots``, beside the tensors it saved: much where a module loops over its steps."""
    return _NODE * len(operations(roots))


def operations(roots: list[Tensor]) -> set[Any]:
    """The operations of the graph that leads to ``roots``."""
    todo = [root.grad_fn for root in roots if root.grad_fn is not None]
    seen = set[Any](todo)
    while todo:
        for node, _ in todo.pop().next_functions:
            if node is not None and node not in seen:
                seen.add(node)
                todo.append(node)
    return seen


def can_count() -> bool:
    """Whether nobody else is profiling."""
    return not _profiler._profiler_enabled()


class _Mallinfo(ctypes.Structure):
    """glibc's struct mallinfo2: ten sizes."""

    _fields_ = (
        *((f"_{index}", ctypes.c_size_t) for index in range(4)),
        ("mapped", ctypes.c_size_t),
        ("_5", ctypes.c_size_t),
        ("_6", ctypes.c_size_t),
        ("used", ctypes.c_size_t),
        ("_8", ctypes.c_size_t),
        ("_9", ctypes.c_size_t),
    )


def given_out() -> int:
    """The bytes that malloc has given out and not had back, where it tells (glibc); else 0."""
    told = getattr(_libc(), "mallinfo2", None)
    if told is None:
        return 0
    told.restype = _Mallinfo
    found = told()
    return int(found.used + found.mapped)


def give_back() -> None:
    """Hands memory that is free back to the system, where malloc can be told to (glibc): what probes left has no use."""
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def large_apart(on: bool) -> None:
    """Whether malloc (glibc) gives each tensor from 1 MiB on pages of its own, which the system has back as soon as it goes.

    Else malloc keeps up to 64 MiB of what is free and scatters what comes over it: a process grows to half as much again as is
    in use. Off means the bounds that malloc reaches by itself where large tensors come and go.
    """
    set_option = getattr(_libc(), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, 2**20 if on else 2**25)
        set_option(_TRIM_THRESHOLD, 2**23 if on else 2**26)


@functools.cache
def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except OSError:
        return None


class Room:
    """Keeps the process within a budget: malloc does not hand back all that is free, and what it holds counts as well.

    What is handed back has to be fetched again, page by page, which costs up to a third of a segment's time. So before the
    first tape of a form it is done only where more than a tenth of the budget, or 4 MiB, might come on top of what was
    predicted; later tapes use again what that one has left behind, and it is done where the process did come beyond.
    """

    def __init__(self, budget: int, predicted: int, segment: int, tapes: int) -> None:
        outside.begin()
        give_back()
        self._spare, self._segment, self._before = budget - predicted + max(budget // 10, _LITTLE), segment, resident()
        self._limit, self._top = self._before + budget + max(budget // 20, _LITTLE), 0
        self._form: tuple[int, int] | None = None
        self._counted = self._lent = 0
        self.tapes = tapes

    def before(self, steps: int, parts: int, kept: int) -> bool:
        """Before a tape is made, by so many calls: whether it is to be counted, as the first whole one or one in more parts.

        What kernels kept for a tape of another form goes; of the same form it is used again. ``kept``: the bytes of states.
        """
        if parts > 1 or (steps, parts) != self._form or (self._lent and outside.most() > 1.1 * self._lent):
            outside.begin()
            self._form, self._top = (steps, parts), 0
        held = resident()
        if max(held, self._top) > self._limit if self._top else held - self._before - kept - outside.most() > self._spare:
            give_back()
        if steps < self._segment or parts <= self._counted:
            return False
        self._counted = parts
        return True

    def reversing(self) -> None:
        """Now that a tape and its loss are made, before the way back."""
        self._top = resident()

    def counted(self) -> None:
        """Now that what was to be counted has been: kernels need to keep no more than they did for that."""
        self._lent = outside.most()


def resident() -> int:
    """The memory that this process holds, in bytes; 0 where the system does not tell."""
    try:
        with _STATM.open("rb", buffering=0) as told:
            return int(told.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def kept_bytes(state: State, random: Randomness | None) -> int:
    """What a state takes that is kept, with the random state beside it where that is its own."""
    tensors: list[Tensor] = leaves(state) + ([] if random is None else list(random.state_dict().values()))
    return _RECORD * (1 + len(tensors)) + sum(tensor.nbytes for tensor in tensors)
