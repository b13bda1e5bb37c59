"""Where the first number that is not finite arose: the step, the layer, the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bptt.observe.chain import Broken, untouched
from bptt.observe.gates import inside_of, watching
from bptt.observe.parts import Part, carries_error, differentiable
from bptt.state import map_leaves, named_leaves


@dataclass(frozen=True)
class Trouble:
    """The first NaN or infinite number: on the way ``"forward"`` or ``"backward"``, at ``step``, and in ``what``."""

    way: str
    step: int
    what: str

    def __str__(self) -> str:
        return f"{self.what} at step {self.step}, on the way {self.way}"


def in_forward(model: nn.Module, broken: Broken, parts: tuple[Part, ...]) -> Trouble:
    """Looks through one step in the order of computing: weights, input, state before, gates, state after, y, loss."""
    with torch.no_grad():
        return Trouble("forward", broken.step, _first(model, broken, parts))


def _first(model: nn.Module, broken: Broken, parts: tuple[Part, ...]) -> str:
    for name, parameter in model.named_parameters():
        if _bad(parameter):
            return _told(f"the parameter {name}", parameter)
    x, mask = broken.piece.x, broken.piece.mask
    if mask is not None:  # what stands where nothing exists is nobody's trouble
        x = map_leaves(lambda t: t.masked_fill(~mask.reshape(mask.shape + (1,) * (t.ndim - 2)), 0), x)
    for name, leaf in (*named_leaves(x, "x"), *named_leaves(broken.before)):
        if _bad(leaf):
            return _told(f"the input {name}" if name.startswith("x") else name, leaf)
    with watching(model) as calls, untouched(model):
        model(x, broken.before)
    for call in calls:
        for inside in inside_of(*call):
            for where, values in (*inside.gates.items(), *inside.after.items()):
                if _bad(values):
                    return _told(f"the {where} of {inside.name}", values)
    followed = differentiable(broken.after)
    for part in parts:
        values = followed[part.leaf] if part.layer is None else followed[part.leaf][part.layer]
        if _bad(values):
            return _told(part.name, values)
    for name, leaf in named_leaves(broken.y, "y"):
        if _bad(leaf):
            return _told(name, leaf)
    return f"the loss is {float(broken.loss)}"


def _bad(values: Tensor) -> bool:
    return carries_error(values) and not bool(torch.isfinite(values).all())


def _told(what: str, values: Tensor) -> str:
    bad: Any = values[~torch.isfinite(values)].flatten()[0].item()
    count = int((~torch.isfinite(values)).sum())
    return f"{what} is {bad} in {count} of {values.numel()} places"
