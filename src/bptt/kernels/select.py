"""The table of kernels, and the choice among them."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from bptt.kernels.contract import Layer, Rows, State, Weights
from bptt.kernels.fused import Torch
from bptt.kernels.native import Native
from bptt.kernels.reference import Reference


class Kernel(Protocol):
    """What executes a layer over a stretch of time. It never changes the mathematics."""

    name: str

    def why_not(self, layer: Layer, x: Tensor, rows: Rows) -> str | None:
        """Why this kernel cannot serve such a layer on such input; ``None`` where it can."""

    def run(self, layer: Layer, weights: Weights, x: Tensor, state: State, rows: Rows) -> tuple[Tensor, State]:
        """The outputs ``[T, B, H]`` and the final state."""


table: dict[str, Kernel] = {kernel.name: kernel for kernel in (Native(), Torch(), Reference())}
"""Every kernel by name, the fastest first: the order in which ``backend="auto"`` asks them."""


def check_name(backend: str) -> None:
    """**Raises** ``ValueError`` for a backend that does not exist."""
    if backend != "auto" and backend not in table:
        raise ValueError(f"backend={backend!r} does not exist: one of 'auto', {', '.join(map(repr, table))}")


def choose(backend: str, layer: Layer, x: Tensor, rows: Rows) -> Kernel:
    """The kernel asked for by name, or, for ``"auto"``, the first of the table that serves.

    **Raises** ``ValueError`` where the one asked for cannot serve, saying why.
    """
    if backend == "auto":
        for kernel in table.values():
            if kernel.why_not(layer, x, rows) is None:
                return kernel
    check_name(backend)
    reason = table[backend].why_not(layer, x, rows)
    if reason is not None:
        raise ValueError(f"backend={backend!r} cannot serve this layer: {reason}; backend='auto' takes one that can")
    return table[backend]


def explain(layer: Layer, x: Tensor, rows: Rows) -> dict[str, str | None]:
    """For every kernel, ``None`` where it serves, else why not."""
    return {name: kernel.why_not(layer, x, rows) for name, kernel in table.items()}
