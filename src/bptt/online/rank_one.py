"""The influence as one random product s̃ θ̃ᵀ a row; see `bptt.UORO`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bptt.layout import Layout
from bptt.online.influence import Influence
from bptt.online.step import Step

# Two exact computations of one product differ by rounding; one with a part missing, by far more than this.
_AGREED = 1e-3


class RankOne(Influence):
    """s̃ ``[R, n]`` and θ̃ ``[R, P]`` for each parameter; both zero at first, as a random start only adds variance."""

    def __init__(self, layout: Layout, names: list[str], seed: int | None) -> None:
        super().__init__(layout, names)
        self._state = torch.zeros(layout.rows, layout.size, dtype=layout.dtype, device=layout.device)
        self._theta: dict[int, Tensor] = {}
        self._twice = True  # as long as the module's backward pass can be differentiated
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
        by_state, by_parameters = step.by_both(vectors)
        direct = {place: g for place, g in enumerate(by_parameters) if g is not None}
        carried = self._carried(step, signs, by_state)
        keep, divide = _balanced(_norm(self._theta, rows, self._state), carried.norm(dim=1))
        write, per = _balanced(_norm(direct, rows, self._state), signs.norm(dim=1))
        self._state = keep[:, None] * carried + write[:, None] * signs
        theta = {place: divide[:, None].to(old) * old for place, old in self._theta.items()}
        for place, g in direct.items():
            new = per[:, None].to(g) * g
            theta[place] = theta[place] + new if place in theta else new
        self._theta = theta

    def _carried(self, step: Step, signs: Tensor, by_state: Tensor | None) -> Tensor:
        """J s̃, held against νᵀJ: a backward pass with no graph of its own may leave parts of J s̃ out without a word."""
        if by_state is None:
            return torch.zeros_like(self._state)
        if self._twice:
            carried = step.forward(self._state)
            rows = range(len(signs))
            expected = (by_state[rows, rows] * self._state).sum(1)
            got = (signs * carried).sum(1)
            allowed = _AGREED * (signs.norm(dim=1) * carried.norm(dim=1) + expected.abs())
            if bool(((got - expected).abs() <= allowed).all()):
                return carried
            self._twice = False
        jacobian = step.jacobian()
        return torch.zeros_like(self._state) if jacobian is None else torch.einsum("rij,rj->ri", jacobian, self._state)

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
