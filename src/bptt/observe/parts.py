"""The parts of a state: each leaf, each layer of a stacked one, under the name that a user would know it by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from bptt.nn import Recurrent
from bptt.state import State, batch_dim, leaves, named_leaves

LAYERS = (Recurrent, nn.RNNBase)
"""Layers whose states and gates are known by name."""


@dataclass(frozen=True)
class Part:
    """One part: which of the state's differentiable leaves, which slice of its first dimension (``None``: all of it)."""

    name: str
    leaf: int
    layer: int | None


def differentiable(state: State) -> list[Tensor]:
    """The leaves that an error can travel through, in a fixed order."""
    return [leaf for leaf in leaves(state) if carries_error(leaf)]


def carries_error(leaf: Tensor) -> bool:
    """Whether it is made of numbers that can be differentiated."""
    return leaf.is_floating_point() or leaf.is_complex()


def parts_of(state: State, rows: int, known: dict[int, str]) -> tuple[Part, ...]:
    """The parts of a state of ``rows`` rows; ``known`` names leaves by ``id``, as `named_by_layers` found them.

    A leaf ``[L, B, H]`` is split into its L layers. Where L = B, the first dimension is taken for the layers, as torch does.
    """
    parts: list[Part] = []
    given: dict[str, int] = {}
    index = 0
    for name, leaf in named_leaves(state):
        if not carries_error(leaf):
            continue
        label = known.get(id(leaf), name)
        given[label] = given.get(label, 0) + 1
        if given[label] > 1:  # of a layer that is called twice a step
            label = f"{label} ({given[label]})"
        layers = leaf.shape[0] if leaf.ndim >= 3 and rows_dim(name, leaf, rows) == 1 else None
        if layers is None or layers == 1:
            parts.append(Part(label, index, None))
        else:
            parts += [Part(f"{label}, layer {layer}", index, layer) for layer in range(layers)]
        index += 1
    return tuple(parts)


def rows_dim(name: str, leaf: Tensor, rows: int) -> int | None:
    """Which dimension counts the rows; of several that may, the second of a leaf ``[L, B, H]``."""
    try:
        return batch_dim(name, leaf, rows)
    except ValueError:
        if leaf.ndim >= 3 and leaf.shape[1] == rows:
            return 1
        raise


@contextmanager
def named_by_layers(model: nn.Module) -> Iterator[dict[int, str]]:
    """While it runs, learns which state tensors come from which layer: ``id`` of the tensor to ``"h"`` or ``"lstm.h"``."""
    layers = [(name, part) for name, part in model.named_modules() if isinstance(part, LAYERS)]
    found: dict[int, str] = {}
    held: list[Tensor] = []  # an id is good for as long as its tensor lives

    def hook(name: str) -> Any:
        def saw(_module: nn.Module, _inputs: Any, output: Any) -> None:
            for symbol, leaf in zip("hc", leaves(output[1]), strict=False):
                found[id(leaf)] = symbol if len(layers) == 1 else f"{name}.{symbol}"
                held.append(leaf)

        return saw

    handles = [part.register_forward_hook(hook(name)) for name, part in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
