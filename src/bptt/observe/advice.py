"""What a measured gradient means, and what to do about it, in plain sentences with the cure as one would write it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from bptt.nn import Recurrent
from bptt.through import Full, Strategy, Truncated

if TYPE_CHECKING:
    from bptt.observe.flow import Flow

GROWS = 10.0
LOSES = 0.05


def advise(flow: Flow, model: nn.Module, through: Strategy | None) -> tuple[str, ...]:
    """The sentences, the most pressing first."""
    said: list[str] = []
    if flow.trouble is not None:
        said.append(
            f"A number is not finite: {flow.trouble.what}, step {flow.trouble.step}, on the way {flow.trouble.way}. "
            "What is said below is of the steps before it."
            if flow.trouble.way == "forward"
            else f"The gradient overflows on its way back: {flow.trouble.what} just before step {flow.trouble.step}. "
            + against_growth(model)
        )
    if flow.cut:
        said.append(f"No error comes back through {', '.join(flow.cut)}: what is kept there is not learnt through time.")
    said += _reach(flow, model)
    said += _truncation(flow, through)
    said += _implicit(flow)
    return tuple(said)


def _reach(flow: Flow, model: nn.Module) -> list[str]:
    profile, horizon = flow.profile, flow.horizon
    if not len(profile.mean) or math.isnan(horizon):
        return []
    if not profile.mean.max() > 0:
        return [f"No gradient goes back through the state at all. {against_vanishing(model, flow.steps)}"]
    said = []
    if profile.growth > GROWS:
        at = int(profile.lags[profile.mean.argmax()])
        said.append(f"The gradient grows {profile.growth:.3g}-fold on its way back, up to lag {at}. {against_growth(model)}")
    if math.isinf(horizon):
        said.append(
            f"The gradient does not fall under 1 % within these {flow.steps} steps: how far it reaches needs a longer stretch "
            f"(steps={2 * flow.steps} and a sequence as long)."
        )
    elif horizon <= flow.steps / 4:
        said.append(
            f"The gradient is under 1 % after {horizon:.0f} steps: what must be learnt over more steps than that is learnt "
            f"slowly or not at all. {against_vanishing(model, flow.steps)}"
        )
    else:
        said.append(f"The gradient is under 1 % after {horizon:.0f} steps.")
    return said


def _truncation(flow: Flow, through: Strategy | None) -> list[str]:
    horizon = flow.horizon
    if isinstance(through, Truncated):
        lost, k2 = float(flow.share_lost(through)), through.k2 or through.k1
        if lost > LOSES:
            wanted = min(horizon, flow.steps) + through.k1
            return [
                f"bptt.Truncated(k1={through.k1}, k2={k2}) loses {lost:.0%} of the gradient of these {flow.steps} steps; "
                f"bptt.Truncated(k1={through.k1}, k2={wanted:.0f}) would lose "
                f"{float(flow.share_lost(Truncated(through.k1, max(through.k1, int(wanted))))):.1%}."
            ]
        if math.isfinite(horizon) and k2 > 3 * (horizon + through.k1):
            enough = int(horizon) + through.k1
            return [
                f"k2={k2} reaches beyond the gradient, which is under 1 % after {horizon:.0f} steps: "
                f"bptt.Truncated(k1={through.k1}, k2={enough}) loses "
                f"{float(flow.share_lost(Truncated(through.k1, enough))):.1%} and is cheaper."
            ]
        return [f"{_written(through)} loses {lost:.1%} of the gradient of these {flow.steps} steps."]
    if math.isfinite(horizon) and horizon < flow.steps / 2 and (through is None or isinstance(through, Full)):
        k1 = max(1, int(horizon) // 2)
        kept = Truncated(k1=k1, k2=int(horizon) + k1)
        return [f"{_written(kept)} would lose {float(flow.share_lost(kept)):.1%} of it, with memory that does not grow with T."]
    return []


def _implicit(flow: Flow) -> list[str]:
    acting = [weight for weight in flow.weights if weight.implicit > 0]
    if acting and all(weight.implicit < 0.01 * weight.explicit for weight in acting):
        return [
            "In every weight the implicit part is under 1 % of the explicit one: each step is trained as if it stood alone."
        ]
    return []


def against_vanishing(model: nn.Module, steps: int) -> str:
    """The cure for a gradient that dies, for the layers this model has."""
    name, layer = _layer(model)
    if layer is None:
        return "Let the state pass with a factor near 1: s = a * s + ..., with a close to 1 or a gate that opens."
    kind = type(layer).__name__
    if kind in ("LSTM", "GRU"):
        return f"Open the {'forget' if kind == 'LSTM' else 'update'} gates: bptt.nn.init.chrono_({name}, longest={steps})."
    if getattr(layer, "nonlinearity", "tanh") == "relu":
        return f"Begin with the identity: bptt.nn.init.identity_({name}), or take bptt.nn.LSTM in its place."
    return f"Take bptt.nn.LSTM or bptt.nn.GRU in its place, or begin with bptt.nn.init.orthogonal_({name})."


def against_growth(model: nn.Module) -> str:
    """The cure for a gradient that blows up, for the layers this model has."""
    name, layer = _layer(model)
    cure = "Clip it: bptt.clip_norm(model, 1.0), or bptt.Run(..., clip=1.0)."
    if layer is None:
        return cure
    kind = type(layer).__name__
    more = f"bptt.nn.{kind}(..., clip_step=1.0) limits the error at every step"
    radius = _radius(layer)
    if radius is not None and radius > 1 and kind == "RNN":
        more += f"; {name}.weight_hh_l0 has spectral radius {radius:.3g}, and bptt.nn.init.orthogonal_({name}) brings it to 1"
    return f"{cure} {more}."


def _written(through: Truncated) -> str:
    return f"bptt.Truncated(k1={through.k1}, k2={through.k2})"


def _layer(model: nn.Module) -> tuple[str, nn.Module | None]:
    """The first recurrent layer and how one would write it."""
    for name, part in model.named_modules():
        if isinstance(part, (Recurrent, nn.RNNBase)):
            return f"model.{name}" if name else "model", part
    return "", None


def _radius(layer: nn.Module) -> float | None:
    weight = getattr(layer, "weight_hh_l0", None)
    if weight is None or weight.shape[0] != weight.shape[1] or not bool(torch.isfinite(weight).all()):
        return None
    return float(torch.linalg.eigvals(weight.detach().double()).abs().max())
