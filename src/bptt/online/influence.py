"""The influence of the parameters on the state, carried forward: what every form of it does, and the dense one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from bptt.layout import Layout
from bptt.online.step import Step


class Influence(ABC):
    """M = ds/dW, exactly or nearly, for states ``[R, n]`` and parameters given as a list."""

    def __init__(self, layout: Layout, names: list[str]) -> None:
        self.layout, self.names = layout, names

    @abstractmethod
    def gradient(self, error: Tensor) -> dict[int, Tensor]:
        """Σ_r error_r M_r for an error ``[R, n]``: by the parameter's place in the list, ``[P]``."""

    @abstractmethod
    def advance(self, step: Step) -> None:
        """M ← J_t M + I_t."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What `restore` needs, by name."""

    @abstractmethod
    def restore(self, saved: dict[str, Any]) -> None:
        """Takes up what `tensors` gave."""


class Dense(Influence):
    """Every entry: M ``[R, n, P]`` for each parameter that reaches the state; made when it first does."""

    def __init__(self, layout: Layout, names: list[str]) -> None:
        super().__init__(layout, names)
        self._m: dict[int, Tensor] = {}

    def gradient(self, error: Tensor) -> dict[int, Tensor]:
        row = error.reshape(1, -1)
        return {place: (row @ m.flatten(0, 1))[0] for place, m in self._m.items()}

    def advance(self, step: Step) -> None:
        rows, size = self.layout.rows, self.layout.size
        for row in range(rows):
            # One row's vectors at a time: beside M there is never more than one row of it.
            vectors = step.after.new_zeros(size, rows, size)
            vectors[:, row] = torch.eye(size, dtype=vectors.dtype, device=vectors.device)
            by_state, by_parameters = step.by_both(vectors)
            for place, direct in enumerate(by_parameters):
                if direct is not None and place not in self._m:
                    self._m[place] = direct.new_zeros(rows, *direct.shape)
                m = self._m.get(place)
                if m is None:
                    continue
                m[row] = _carried(by_state, row, m[row], direct)

    def tensors(self) -> dict[str, Tensor]:
        return {self.names[place]: m for place, m in self._m.items()}

    def restore(self, saved: dict[str, Any]) -> None:
        self._m = {place: saved[name].clone() for place, name in enumerate(self.names) if name in saved}


def _carried(by_state: Tensor | None, row: int, m: Tensor, direct: Tensor | None) -> Tensor:
    """J M + I of one row."""
    if by_state is None:
        return torch.zeros_like(m) if direct is None else direct
    jacobian = by_state[:, row].to(m.dtype)
    return jacobian @ m if direct is None else torch.addmm(direct, jacobian, m)
