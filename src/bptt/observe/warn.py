"""What is wrong with a training's gradient, its cause, and the cure as one would write it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from bptt.observe.advice import GROWS, LOSES, against_growth, against_vanishing, rounded
from bptt.observe.flow import Flow
from bptt.observe.units import Units
from bptt.through import Strategy, Truncated

_CLIPPED = 0.9
_SATURATED = 0.5
_DEAD = 8  # a gradient that is gone within this part of what was looked at


@dataclass(frozen=True)
class Seen:
    """What a look saw; ``growth``: the greatest Lyapunov exponent, ``clipped``: the share of updates, of typical ``norm``."""

    flow: Flow
    units: Units
    growth: float
    clipped: float
    norm: float
    clip: float | None


@dataclass(frozen=True)
class Warned:
    """One warning; its ``kind`` is that of the same warning at the next look."""

    kind: str
    text: str


def warnings_of(seen: Seen, model: nn.Module, through: Strategy) -> list[Warned]:
    """The warnings, the most pressing first."""
    flow = seen.flow
    found: list[Warned] = []
    if flow.trouble is not None:
        found.append(Warned("trouble", f"a number is not finite: {flow.trouble}"))
    found += _dies(seen, model) or _blows_up(seen, model)
    if isinstance(through, Truncated):
        found += _too_short(flow, through)
    if seen.clipped >= _CLIPPED:
        found.append(
            Warned(
                "clipping",
                f"clipping is active in {seen.clipped:.0%} of the updates: the length of a step is set by clip={seen.clip:g}, "
                f"not by the gradient, whose norm is about {seen.norm:.3g}. Try clip={rounded(2 * seen.norm)}, or a lower lr",
            )
        )
    return found


def _dies(seen: Seen, model: nn.Module) -> list[Warned]:
    flow = seen.flow
    if not flow.horizon <= max(2, flow.steps / _DEAD):
        return []
    what = f"the gradient dies: it is under 1 % after {flow.horizon:.0f} steps"
    cause, cure = of_units(seen.units) or (_shrinking(seen), "")
    return [Warned("dies", f"{what}, as {cause}. {cure or against_vanishing(model, flow.steps)}")]


def of_units(units: Units) -> tuple[str, str] | None:
    """Why a gradient dies in the units, and the cure: a gate that is shut (the layer has a cure), units dead or saturated."""
    for gate in units.gates:
        if len(gate.time_constant) and gate.low > _SATURATED:
            return f"the {gate.gate} of {gate.layer} is shut (under 0.1 in {gate.low:.0%} of the cases)", ""
    for gate in units.gates:
        if gate.dead > len(gate.mean_by_unit) / 2:
            return (
                f"{gate.dead} of {len(gate.mean_by_unit)} units of {gate.layer} are dead (always 0)",
                "Units that are dead stay so: begin again, with a lower learning rate, biases above 0, or tanh",
            )
        if gate.gate in ("activation", "candidate") and gate.low + gate.high > _SATURATED:
            return (
                f"the {gate.gate} of {gate.layer} is saturated (beyond ±0.9 in {gate.low + gate.high:.0%} of the cases)",
                "Scale what goes in to a mean of 0 and a variance of 1, or begin again with smaller weights",
            )
    return None


def _shrinking(seen: Seen) -> str:
    shrinks = math.exp(seen.growth) if math.isfinite(seen.growth) else seen.flow.profile.decay
    if shrinks >= 1:
        return f"the loss's error falls by {seen.flow.profile.decay:.3g} a step in the mean"
    return f"every step shrinks the error to {shrinks:.3g} of itself, even along the direction that keeps it best"


def _blows_up(seen: Seen, model: nn.Module) -> list[Warned]:
    flow = seen.flow
    if not (flow.profile.growth > GROWS or (seen.growth > 0.01 and flow.profile.decay > 1)):
        return []
    rate = math.exp(seen.growth) if math.isfinite(seen.growth) else flow.profile.decay
    how = f" (it grows {rate:.3g}-fold a step)" if math.isfinite(rate) else ""
    cause = f"the product of the step Jacobians has a spectral radius above 1{how}"
    if rate <= 1:
        cause = f"the step Jacobians stretch it at first (in the long run a step takes it to {rate:.3g} of itself)"
    return [
        Warned(
            "blows up",
            f"the gradient blows up: {flow.profile.growth:.3g}-fold on its way back over {flow.steps} steps, as {cause}. "
            + against_growth(model, seen.clip),
        )
    ]


def _too_short(flow: Flow, through: Truncated) -> list[Warned]:
    k1, k2 = through.k1, through.k2 or through.k1
    lost = float(flow.share_lost(through))
    if not lost > LOSES:
        return []
    if k2 < flow.horizon:
        reach = f"k2={k2} is shorter than the measured horizon, " + (
            f"more than {flow.steps} lags" if math.isinf(flow.horizon) else f"{flow.horizon:.0f} lags"
        )
    else:
        reach = (
            f"k2={k2} leaves the losses at the beginning of a window {max(0, k2 - k1)} lags, of a horizon of {flow.horizon:.0f}"
        )
    if math.isinf(flow.horizon):
        cure = f"Use a k2 of more than {flow.steps}; how many are enough is seen by every(..., steps={2 * flow.steps})"
    else:
        cure = f"Use bptt.Truncated(k1={k1}, k2={int(flow.horizon) + k1})"
    text = f"{reach}, and loses {lost:.0%} of the gradient. {cure}"
    return [Warned("truncation", text)]
