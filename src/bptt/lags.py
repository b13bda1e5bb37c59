"""How the gradient gathers over lags: noted window by window, averaged over windows, small whatever the module's size."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bptt.learned import gradient_of, learned
from bptt.through.plan import Weighed

# A gradient with more numbers is sketched with this many: signed sums, whose length is right to 1/√(2·4096), a hundredth.
_SKETCH = 4096
# The mean leans on about this many of the last windows: fewer, and what chance makes of the targets counts as bias.
_MEMORY = 64


class Lags:
    """The gradient that came from the steps up to each lag, and the size of the error there, as means over windows."""

    def __init__(self) -> None:
        self._signs: Tensor | None = None
        self._noted: dict[int, tuple[Tensor, float]] = {}
        self._mean: dict[int, tuple[Tensor, float]] = {}
        self._windows = 0

    def note(self, lag: int, model: nn.Module, error: list[Tensor | None], loss: Any = None) -> None:
        """Notes what stands in ``p.grad`` and the error that has arrived ``lag`` steps before the window's end."""
        if lag == 0:
            self._noted = {}
        size = math.sqrt(sum(float(part.detach().abs().square().sum()) for part in error if part is not None))
        self._noted[lag] = self._sketch(model, loss), size

    def weigh(self) -> Weighed:
        """Takes what was noted since lag 0 into the mean, and says what is missing where the error goes back no further.

        As long as no gradient has been found at all (no window held a target), any of it may be missing.
        """
        base, _ = self._noted.pop(0)
        found = {lag: (gradient - base, size) for lag, (gradient, size) in sorted(self._noted.items())}
        self._windows += 1
        share = max(1 / self._windows, 1 / _MEMORY)
        every = sorted({*found, *self._mean})
        new = {lag: found.get(lag) or _furthest(found, lag) for lag in every}
        old = {lag: self._mean.get(lag) or _furthest(self._mean, lag) for lag in every} if self._mean else new
        self._mean = {
            lag: (torch.lerp(old[lag][0], new[lag][0], share), old[lag][1] + share * (new[lag][1] - old[lag][1]))
            for lag in every
        }
        whole = self._mean[every[-1]][0]
        norm = float(whole.norm())
        missing = [float((whole - self._mean[lag][0]).norm()) / norm if norm else 1.0 for lag in every]
        return Weighed(every, missing, [self._mean[lag][1] for lag in every])

    def _sketch(self, model: nn.Module, loss: Any) -> Tensor:
        flat = gradient_of(learned(model, loss))
        if len(flat) <= _SKETCH:
            return flat
        if self._signs is None:
            generator = torch.Generator().manual_seed(0)
            self._signs = (2 * torch.randint(2, (len(flat),), generator=generator, dtype=torch.int8) - 1).to(flat.device)
        flat = flat * self._signs
        return torch.nn.functional.pad(flat, (0, -len(flat) % _SKETCH)).reshape(-1, _SKETCH).sum(0)

    def moment(self) -> tuple[int, dict[int, tuple[Tensor, float]]]:
        """What `state_dict` needs to tell later what there is now."""
        return self._windows, self._mean

    def state_dict(self, moment: tuple[int, dict[int, tuple[Tensor, float]]]) -> dict[str, Any]:
        windows, mean = moment
        lags = [{"lag": lag, "gradient": gradient.clone(), "error": size} for lag, (gradient, size) in mean.items()]
        return {"windows": windows, "lags": lags}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self._windows = saved["windows"]
        self._mean = {item["lag"]: (item["gradient"], item["error"]) for item in saved["lags"]}


def _furthest(found: dict[int, tuple[Tensor, float]], lag: int) -> tuple[Tensor, float]:
    """What a lag stands for where only shorter ones were noted: they held all that lay further back, and no error beyond."""
    shorter = [known for known in found if known < lag]
    return found[max(shorter)][0] if shorter else torch.zeros_like(next(iter(found.values()))[0]), 0.0
