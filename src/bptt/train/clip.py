"""Limiting gradients before a step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Owner = nn.Module | Iterable[Tensor] | Tensor


def grad_norm(of: Owner, norm_type: float = 2.0) -> Tensor:
    """The norm of all gradients taken as one vector, ‖g‖; 0 where there are none.

    ``of``: a module, parameters, or one parameter; those without a gradient are left out. The gradients stay as they are.
    """
    _positive("norm_type", norm_type)
    return nn.utils.get_total_norm(_gradients(of), norm_type)


@torch.no_grad()
def clip_norm(of: Owner, max_norm: float, norm_type: float = 2.0) -> Tensor:
    """Scales all gradients together so that their norm is at most ``max_norm``, and returns the norm before.

        g ← g · c / ‖g‖   where ‖g‖ ≥ c

    ``of``: a module, parameters, or one parameter; those without a gradient are left out. Where the norm is infinite or
    NaN nothing is changed: test what is returned before you step. Pascanu, Mikolov & Bengio 2013, "On the difficulty of
    training recurrent neural networks". Not for the error passed back at every time step: that is ``clip_step`` of the layers.

    **Raises** ``ValueError`` where ``max_norm`` or ``norm_type`` is not positive.
    """
    _positive("max_norm", max_norm)
    _positive("norm_type", norm_type)
    gradients = _gradients(of)
    before = nn.utils.get_total_norm(gradients, norm_type)
    norm = float(before)
    if math.isfinite(norm) and norm >= max_norm:
        scale = max_norm / norm
        for gradient in gradients:
            gradient.mul_(scale)
    return before


@torch.no_grad()
def clip_value(of: Owner, limit: float) -> None:
    """Limits every element of every gradient to ``-limit..limit``.

    This changes the direction of the gradient, which `clip_norm` does not.

    **Raises** ``ValueError`` where ``limit`` is not positive.
    """
    _positive("limit", limit)
    for gradient in _gradients(of):
        gradient.clamp_(-limit, limit)


@dataclass(frozen=True)
class Clip:
    """How `bptt.Run` limits gradients: their global ``norm``, then each ``value``; ``Clip()`` limits nothing.

    **Raises** ``ValueError`` where a limit is not positive.
    """

    norm: float | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        for name in ("norm", "value"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))

    def __str__(self) -> str:
        limits = [f"{name}={getattr(self, name)!r}" for name in ("norm", "value") if getattr(self, name) is not None]
        return ",".join(limits) or "none"

    def __call__(self, of: Owner) -> float:
        """Limits the gradients and returns their norm before; they stay as they are where it is not finite."""
        norm = float(grad_norm(of) if self.norm is None else clip_norm(of, self.norm))
        if self.value is not None and math.isfinite(norm):
            clip_value(of, self.value)
        return norm


def _gradients(of: Owner) -> list[Tensor]:
    owned = of.parameters() if isinstance(of, nn.Module) else [of] if isinstance(of, Tensor) else of
    return [_values(parameter) for parameter in owned if parameter.grad is not None]


def _values(parameter: Tensor) -> Tensor:
    gradient = parameter.grad
    assert gradient is not None
    if not gradient.is_sparse:
        return gradient.detach()
    parameter.grad = gradient.coalesce()  # an element that stands twice would count as two
    return parameter.grad.detach().values()


def _positive(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"{name} must be a number above 0, got {value!r}")
