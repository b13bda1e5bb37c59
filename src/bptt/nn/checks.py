"""What every layer refuses, in the same words."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import torch
from torch import Tensor


class Sized(Protocol):
    """What a layer says of the input it expects."""

    input_size: int
    batch_first: bool


def check_sizes(least: int = 1, **sizes: Any) -> None:
    """Refuses what is no whole number of at least ``least``, by its name."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {size!r}")


def check_dropout(dropout: Any, num_layers: int, stacklevel: int) -> None:
    """Refuses what is no probability; warns, stacklevel calls up, where nothing is between layers to drop."""
    if not is_number(dropout) or not 0 <= dropout <= 1:
        raise ValueError(f"dropout is a probability between 0 and 1, got {dropout!r}")
    if dropout and num_layers == 1:
        warnings.warn(f"dropout={dropout} acts between layers, and num_layers=1 has none between", stacklevel=stacklevel + 1)


def check_input(layer: Sized, x: Tensor, mask: Any, reset: Any, weight: Tensor) -> None:
    """Refuses x, mask and reset that do not fit the layer and each other, naming both sizes."""
    if x.ndim != 3 and x.ndim != 2:
        shape = "[B, T, I]" if layer.batch_first else "[T, B, I]"
        raise ValueError(f"x is {list(x.shape)}, expected {shape}, or [T, I] for one sequence")
    if mask is not None:
        _check_flags("mask", mask, x)
    if reset is not None:
        _check_flags("reset", reset, x)
    if x.shape[-1] != layer.input_size:
        name = type(layer).__name__
        raise ValueError(f"x has {x.shape[-1]} features but {name}(input_size={layer.input_size}) expects {layer.input_size}")
    if x.shape[x.ndim == 3 and layer.batch_first] == 0:
        raise ValueError(f"x has no steps: {list(x.shape)} has T = 0")
    if x.dtype != weight.dtype and not autocast(x):
        raise ValueError(
            f"x is {x.dtype} but the weights are {weight.dtype}: use x.to({weight.dtype}), or convert the layer, "
            f"layer.to({x.dtype})"
        )


def is_number(value: object) -> bool:
    """Whether a setting is a real number; a bool is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def autocast(x: Tensor) -> bool:
    """Whether torch chooses dtypes by itself here, so that x, state and weights may differ."""
    return torch.is_autocast_enabled(x.device.type)


def _check_flags(name: str, flags: Any, x: Tensor) -> None:
    if not isinstance(flags, Tensor) or flags.dtype != torch.bool:
        got = flags.dtype if isinstance(flags, Tensor) else type(flags).__name__
        raise TypeError(f"{name} must be a bool tensor, got {got}")
    if flags.shape != x.shape[:-1]:
        raise ValueError(f"{name} is {list(flags.shape)}, expected {list(x.shape[:-1])}, as x without its last dimension")
