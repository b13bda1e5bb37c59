"""How far a strategy's gradient is from the exact one: its bias, and how much it scatters."""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bptt.data.reader import reader
from bptt.executor import Loss, backprop
from bptt.through import Full, Strategy


@dataclass(frozen=True)
class GradientError:
    """Relative to the length of the exact gradient G: ``bias`` ‖E g - G‖/‖G‖, and ``deviation`` √(E‖g - E g‖²)/‖G‖.

    Means are over ``draws``, so the bias of a random strategy is known to about ``uncertainty`` only: an unbiased one
    shows a bias of that size. ``cosine`` is that of the angle between E g and G.
    """

    bias: float
    deviation: float
    cosine: float
    draws: int

    @property
    def uncertainty(self) -> float:
        """The part of ``bias`` that chance alone explains."""
        return self.deviation / math.sqrt(self.draws)


def gradient_error(
    model: nn.Module,
    loss: Loss,
    sequence: Any,
    through: Strategy,
    *,
    exact: Tensor | None = None,
    steps: int | None = None,
    draws: int = 16,
) -> GradientError:
    """Compares the gradient by ``through`` with the exact one, over a sequence with fixed weights.

    The windows' gradients are added up; the model is a copy in evaluation mode, so that dropout does not enter. ``steps``:
    no more than the first so many steps are used. ``exact``: what `whole_gradient` gave for ``Full()`` on the same, if it
    is there already. A strategy that gives the same gradient twice is deterministic and drawn no further.

    Cost: one pass of ``Full()``, and one of ``through`` a draw.

    **Raises** ``ValueError`` where the exact gradient is zero, and what `bptt.backprop` raises.
    """
    if exact is None:
        exact = whole_gradient(model, loss, sequence, Full(), steps=steps)
    length = float(exact.norm())
    if length == 0:
        raise ValueError("the exact gradient is zero: there is nothing to compare with")
    found: list[Tensor] = []
    for draw in range(max(draws, 1)):
        found.append(whole_gradient(model, loss, sequence, _seeded(through, draw), steps=steps))
        if draw == 1 and torch.equal(found[0], found[1]):
            found = found[:1]
            break
    mean = torch.stack(found).mean(0)
    scatter = sum(float((g - mean).square().sum()) for g in found) / max(len(found) - 1, 1)
    cosine = float(mean @ exact) / (length * float(mean.norm()) or math.nan)
    return GradientError(float((mean - exact).norm()) / length, math.sqrt(scatter) / length, cosine, len(found))


def whole_gradient(model: nn.Module, loss: Loss, sequence: Any, through: Strategy, *, steps: int | None = None) -> Tensor:
    """The gradient ``[P]`` in float64 of the loss summed over a sequence, by ``through``, with fixed weights."""
    twin = copy.deepcopy(model).eval()
    parameters = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.grad = None
    if steps is not None:
        source = reader(sequence)
        sequence = source.read(0, source.upto(steps))
    with torch.random.fork_rng(devices=[]):
        for _ in backprop(twin, loss, sequence, through=through):
            pass
    return torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten().double() for p in parameters])


def _seeded(through: Strategy, draw: int) -> Strategy:
    """A random strategy as another draw of itself; others as they are."""
    fields = {field.name for field in dataclasses.fields(through)}  # type: ignore[arg-type]
    return dataclasses.replace(through, seed=draw) if "seed" in fields else through  # type: ignore[type-var]
