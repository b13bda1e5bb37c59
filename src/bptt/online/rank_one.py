"""The influence as one random product s̃ θ̃ᵀ a row; see `bptt.UORO`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bptt.online.influence import Influence
from bptt.online.layout import Layout
from bptt.online.step import Step


class RankOne(Influence):
    """s̃ ``[R, n]`` and θ̃ ``[R, P]`` for each parameter; both zero at first, as a random start only adds variance."""

    def __init__(self, layout: Layout, names: list[str], seed: int | None) -> None:
        super().__init__(layout, names)
        self._state = torch.zeros(layout.rows, layout.size, dtype=layout.dtype, device=layout.device)
        self._theta: dict[int, Tensor] = {}
        self._generator = torch.Generator()
        self._generator.manual_seed(int(torch.randint(2**62, ())) if seed is None else seed)

    def gradient(self, error: Tensor) -> dict[int, Tensor]:
        share = (error * self._state).sum(1)
        return {place: share.to(theta.dtype) @ theta for place, theta in self._theta.items()}

    def advance(self, step: Step) -> None:
        rows, size = self.layout.rows, self.layout.size
        signs = self.signs(rows, size).to(self._state)
        vectors = torch.zeros(rows, rows, size, dtype=self._state.dtype, device=self._state.device)
        vectors[range(rows), range(rows)] = signs
        direct = {place: g for place, g in enumerate(step.by_parameters(vectors)) if g is not None}
        carried = step.forward(self._state) if self._theta else None
        if carried is None:
            carried = torch.zeros_like(self._state)
        keep, divide = _balanced(_norm(self._theta, rows, self._state), carried.norm(dim=1))
        write, per = _balanced(_norm(direct, rows, self._state), signs.norm(dim=1))
        self._state = keep[:, None] * carried + write[:, None] * signs
        theta = {place: divide[:, None].to(old) * old for place, old in self._theta.items()}
        for place, g in direct.items():
            new = per[:, None].to(g) * g
            theta[place] = theta[place] + new if place in theta else new
        self._theta = theta

    def signs(self, rows: int, size: int) -> Tensor:
        """ν ``[R, n]``: every element +1 or -1."""
        return torch.randint(2, (rows, size), generator=self._generator) * 2 - 1

    def tensors(self) -> dict[str, Tensor]:
        thetas = {self.names[place]: theta for place, theta in self._theta.items()}
        return {"(state)": self._state, "(generator)": self._generator.get_state(), **thetas}

    def restore(self, saved: dict[str, Any]) -> None:
        self._state = saved["(state)"].clone()
        self._generator.set_state(saved["(generator)"])
        self._theta = {place: saved[name].clone() for place, name in enumerate(self.names) if name in saved}


def _norm(parts: dict[int, Tensor], rows: int, like: Tensor) -> Tensor:
    """The length of each row's vector over all parameters, ``[R]``."""
    total = torch.zeros(rows, dtype=like.dtype, device=like.device)
    for part in parts.values():
        total = total + part.square().sum(1).to(total)
    return total.sqrt()


def _balanced(theta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """ρ = √(theta/state) and 1/ρ; both 0 where the product is nothing, so that neither half adds to the noise."""
    both = (theta > 0) & (state > 0)
    rho = torch.where(both, theta / torch.where(both, state, 1), 1).sqrt()
    return torch.where(both, rho, 0), torch.where(both, 1 / rho, 0)
