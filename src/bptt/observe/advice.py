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
    from bptt.observe.trouble import Trouble

GROWS = 10.0
LOSES = 0.05


def advise(flow: Flow, model: nn.Module, through: Strategy | None) -> tuple[str, ...]:
    """The sentences, the most pressing first."""
    said: list[str] = []
    if flow.trouble is not None:
        said += _broken(flow.trouble, model)
    if flow.cut:
        said.append(f"No error comes back through {', '.join(flow.cut)}: what is kept there is not learnt through time.")
    for part, steps in flow.severed.items():
        listed = ", ".join(map(str, steps[:5])) + (", …" if len(steps) > 5 else "")
        said.append(f"No error comes back through {part} at step{'s' * (len(steps) > 1)} {listed}: it is detached there.")
    said += _reach(flow, model)
    said += _truncation(flow, through)
    said += _implicit(flow)
    return tuple(said)


def _broken(trouble: Trouble, model: nn.Module) -> list[str]:
    if trouble.way == "forward":
        said = f"A number is not finite: {trouble.what}, step {trouble.step}, on the way forward. What is said below is of the "
        grown = [f"If it grew until then: {against_overflow(model)}"] if "inf" in trouble.what else []
        return [said + "steps before it.", *grown]
    if "nan" in trouble.what:
        return [
            f"A NaN arises on the way back: {trouble.what}, step {trouble.step}. There a derivative is infinite or is 0 · ∞: "
            "the square root or the norm of 0, the logarithm of 0, a division by 0. Keep what goes in away from 0, as in "
            "torch.sqrt(v + 1e-8)."
        ]
    return [f"The gradient overflows on its way back: {trouble.what}, step {trouble.step}. {against_overflow(model)}"]


def _reach(flow: Flow, model: nn.Module) -> list[str]:
    profile, horizon = flow.profile, flow.horizon
    if not len(profile.mean) or math.isnan(horizon):
        return []
    if not profile.mean.max() > 0:
        return [
            "No gradient goes back through the state at all: every derivative is exactly zero. The state passes through "
            "something that is flat (round, sign, argmax), or its units are dead or saturated. "
            + against_vanishing(model, flow.steps)
        ]
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
    if horizon > flow.steps / 4:
        for part, own in flow.profile_by_part.items():
            if len(own.mean) and own.mean.max() > 0 and own.horizon <= flow.steps / 8:
                cure = against_vanishing(model, flow.steps, part)
                said.append(f"In {part} alone it is under 1 % after {own.horizon:.0f} steps. {cure}")
    return said


def _truncation(flow: Flow, through: Strategy | None) -> list[str]:
    horizon = flow.horizon
    if isinstance(through, Truncated):
        lost, k2 = float(flow.share_lost(through)), through.k2 or through.k1
        if math.isnan(lost):
            return []
        if lost > LOSES:
            said = f"{_written(through)} loses {lost:.0%} of the gradient of these {flow.steps} steps"
            if math.isinf(horizon):
                return [f"{said}, and it reaches beyond them: look at more before you choose k2 (steps={2 * flow.steps})."]
            wider = Truncated(through.k1, max(through.k1, int(horizon) + through.k1))
            return [f"{said}; {_written(wider)} would lose {_share(flow, wider)}."]
        if math.isfinite(horizon) and k2 > 3 * (horizon + through.k1):
            enough = int(horizon) + through.k1
            return [
                f"k2={k2} reaches beyond the gradient, which is under 1 % after {horizon:.0f} steps: "
                f"bptt.Truncated(k1={through.k1}, k2={enough}) leaves out "
                f"{_share(flow, Truncated(through.k1, enough))} and is cheaper."
            ]
        return [f"{_written(through)} leaves out {_share(flow, through)} of the gradient of these {flow.steps} steps."]
    if flow.profile.mean.max(initial=0) > 0 and horizon < flow.steps / 2 and (through is None or isinstance(through, Full)):
        k1 = max(1, int(horizon) // 2)
        kept = Truncated(k1=k1, k2=int(horizon) + k1)
        if math.isnan(float(flow.share_lost(kept))):  # no weight that is trained acts through the state
            return []
        return [f"{_written(kept)} would leave out {_share(flow, kept)} of it, with memory that does not grow with T."]
    return []


def _implicit(flow: Flow) -> list[str]:
    acting = [weight for weight in flow.weights if weight.implicit > 0]
    if acting and all(weight.implicit < 0.01 * weight.explicit for weight in acting):
        return [
            "In every weight the implicit part is under 1 % of the explicit one: each step is trained as if it stood alone."
        ]
    return []


def against_vanishing(model: nn.Module, steps: int, part: str = "") -> str:
    """The cure for a gradient that dies, for the layer of this model that ``part`` of the state belongs to, or its first."""
    name, layer = _layer(model, part)
    if layer is None:
        return "Let the state pass with a factor near 1: s = a * s + ..., with a close to 1 or a gate that opens."
    kind = type(layer).__name__
    if kind in ("LSTM", "GRU"):
        bias = "" if getattr(layer, "bias", True) else "give it biases (bias=True), and "
        return (
            f"Begin with {'forget' if kind == 'LSTM' else 'update'} gates that are open: "
            f"{bias}bptt.nn.init.chrono_({name}, longest={steps})."
        )
    if getattr(layer, "nonlinearity", "tanh") == "relu":
        return f"Begin with the identity: bptt.nn.init.identity_({name}), or take bptt.nn.LSTM in its place."
    return f"Take bptt.nn.LSTM or bptt.nn.GRU in its place, or begin with bptt.nn.init.orthogonal_({name})."


def against_growth(model: nn.Module, clip: float | None = None) -> str:
    """The cure for a gradient that blows up, for the layers this model has; ``clip``: the norm it is clipped to already."""
    cure = f"It is clipped to {clip:g}. " if clip else "Clip it: bptt.clip_norm(model, 1.0), or bptt.Run(..., clip=1.0). "
    return (cure + _at_every_step(model)).rstrip()


def against_overflow(model: nn.Module) -> str:
    """The cure for numbers that are infinite already, of which no norm can be clipped."""
    cure = _at_every_step(model) or "Make what a step multiplies the state with smaller."
    return f"No clipping of the norm helps where it is infinite. {cure}"


def _at_every_step(model: nn.Module) -> str:
    name, layer = _layer(model)
    if layer is None:
        return ""
    kind = type(layer).__name__
    more = f"bptt.nn.{kind}(..., clip_step=1.0) limits the error at every step"
    radius = _radius(layer)
    if radius is not None and radius > 1 and kind == "RNN":
        more += f"; {name}.weight_hh_l0 has spectral radius {radius:.3g}, and bptt.nn.init.orthogonal_({name}) brings it to 1"
    return f"{more}."


def rounded(value: float) -> str:
    """Two digits that count, without a power of ten where that can be helped."""
    return f"{float(f'{value:.2g}'):g}"


def _share(flow: Flow, through: Truncated) -> str:
    """What it loses, in words where it is too little to be told."""
    found = flow.share_lost(through)
    lost, error = float(found), found.error
    if lost == 0 and flow.exact:
        return "nothing"
    if lost < 0.0005:
        return "less than 0.05 %"
    return f"{lost:.1%}" if flow.exact or math.isnan(error) else f"{100 * lost:.1f} ± {100 * error:.1f} %"


def _written(through: Truncated) -> str:
    return f"bptt.Truncated(k1={through.k1}, k2={through.k2})"


def _layer(model: nn.Module, part: str = "") -> tuple[str, nn.Module | None]:
    """The recurrent layer that a part of the state is called after, else the first, and how one would write it."""
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, (Recurrent, nn.RNNBase))]
    of_part = [(name, layer) for name, layer in layers if name and part.startswith(f"{name}.")]
    for name, layer in (of_part or layers)[:1]:
        return f"model.{name}" if name else "model", layer
    return "", None


def _radius(layer: nn.Module) -> float | None:
    weight = getattr(layer, "weight_hh_l0", None)
    if weight is None or weight.shape[0] != weight.shape[1] or not bool(torch.isfinite(weight).all()):
        return None
    return float(torch.linalg.eigvals(weight.detach().double()).abs().max())
