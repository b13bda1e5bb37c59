"""Torch's random state, taken and put back, so that a step that runs again meets the random numbers of its first run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Randomness:
    """The random state of the CPU and of the accelerators given. Random numbers drawn outside torch are not covered."""

    def __init__(self, states: dict[str, Tensor]) -> None:
        self._states = states

    @classmethod
    def now(cls, devices: tuple[torch.device, ...] = ()) -> Randomness:
        """The present random state."""
        return cls({"cpu": torch.get_rng_state(), **{str(device): _module(device).get_rng_state(device) for device in devices}})

    def put_back(self) -> None:
        """Makes it the present one again."""
        for name, state in self._states.items():
            if name == "cpu":
                torch.set_rng_state(state)
            else:
                _module(torch.device(name)).set_rng_state(state, torch.device(name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Randomness) and all(torch.equal(s, other._states[name]) for name, s in self._states.items())

    __hash__ = None  # type: ignore[assignment]

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self._states)

    @classmethod
    def from_state_dict(cls, saved: dict[str, Tensor]) -> Randomness:
        return cls(saved)


def _module(device: torch.device) -> Any:
    return getattr(torch, device.type)
