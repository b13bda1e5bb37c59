"""How near a strategy's gradient comes to the full one: its bias and its variance, by repeated passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bptt.call import Caller
from bptt.executor import Loss, backprop
from bptt.learned import gradient_of, learned, without_gradients
from bptt.state import State
from bptt.through import Full, Strategy
from bptt.through.base import whole


@dataclass(frozen=True)
class Fidelity:
    """With G the full gradient of a sequence and g the strategy's, summed over its windows under fixed weights:

    ``bias`` = ‖E g - G‖/‖G‖ and ``variance`` = E‖g - E g‖²/‖G‖², E being the mean over ``passes``. ``doubt`` is what the bias
    of an unbiased strategy comes out as on average, √(variance/passes): believe no bias that is not well above it.
    """

    bias: float
    variance: float
    doubt: float
    passes: int


def fidelity(
    model: nn.Module, loss: Loss, sequence: Any, *, through: Strategy, state: State = None, passes: int = 16
) -> Fidelity:
    """Bias and variance of a strategy's gradient against `Full` on one sequence; changes neither weights nor gradients.

    Over all parameters that learn, those of a loss that has some included; a complex one counts as two real ones.
    ``passes`` with random numbers of their own for a strategy that draws them; one pass tells all of any other. Dropout in
    the model is drawn alike in all of them. Cost: ``passes`` of the strategy, one of `Full`. Not for iterators, which can be
    read only once, nor for sequences on which `Full` does not fit.

    **Raises** ``TypeError`` or ``ValueError`` as `bptt.backprop` does, ``TypeError`` for an iterator, ``ValueError`` where
    passes is no whole number of at least 1.
    """
    whole("passes", passes)
    if isinstance(sequence, Iterator):
        raise TypeError(
            f"sequence is a {type(sequence).__name__}, which can be read only once, and it is gone through {passes + 1} times: "
            "give (x, target), or an object with __iter__"
        )
    call = Caller(model)
    random = call.randomness()
    learning = learned(model, loss)

    def passed(through: Strategy) -> Tensor:
        with without_gradients(learning):
            for _ in backprop(model, loss, sequence, through=through, state=state):
                pass
            return gradient_of(learning)

    try:
        with call.other_buffers():
            exact = passed(Full())
            mean, square = torch.zeros_like(exact), 0.0
            for index in range(passes):
                random.put_back()
                found = passed(_drawing(through, index))
                away = found - mean
                mean += away / (index + 1)
                square += float(away @ (found - mean))
    finally:
        random.put_back()
    scale = float(exact.square().sum()) or 1.0
    variance = square / max(passes - 1, 1) / scale
    bias = float((mean - exact).norm()) / scale**0.5
    return Fidelity(bias, variance, (variance / passes) ** 0.5, passes)


def _drawing(through: Strategy, index: int) -> Strategy:
    """The strategy with other random numbers in every pass."""
    if not hasattr(through, "seed"):
        return through
    first = getattr(through, "seed", None) or 0
    return dataclasses.replace(through, seed=first + index)  # type: ignore[type-var]
