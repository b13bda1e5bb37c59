"""What the report's page is given of spectra, gates and states: a few numbers, and charts as series of points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bptt.observe.profile import Array, lasting
from bptt.observe.report_data import finite, indices
from bptt.observe.spectrum import Spectrum
from bptt.observe.units import Gate, Units


def spectra_of(found: Spectrum | Array) -> dict[str, Any]:
    """A `Spectrum`, or for states too large for one the greatest Lyapunov exponents alone."""
    exponents = found.lyapunov if isinstance(found, Spectrum) else found
    key = [[_shown(exponents[0]), _verdict(float(exponents[0]))]]
    charts = []
    if isinstance(found, Spectrum):
        one, most = found.singular.mean(0), float(found.radius.mean())
        looked = f"mean of {len(found.looked_at)} steps"
        key = [
            [_shown(most), f"spectral radius of one step, {looked}"],
            [_shown(one[0]), f"greatest singular value, {looked}"],
            *key,
            [_shown(found.log_det), "nats a step: how fast a volume of states shrinks (mean log|det J|)"],
        ]
        charts = [_steps(found), _products(found)]
    note = "" if charts else (
        "Of a state of so many numbers the greatest Lyapunov exponents alone are measured: whole Jacobians, and with them "
        "singular values and the spectral radius, would take minutes. bptt.observe.spectrum(model, sequence) takes them."
    )  # fmt: skip
    return {"key": key, "note": note, "charts": [*charts, _exponents(exponents)]}


def units_of(found: Units) -> dict[str, Any]:
    """Gates by layer, the time constants of those that keep the state, and the states' norms over time."""
    layers = dict.fromkeys(gate.layer for gate in found.gates)
    return {
        "layers": [{"name": name, "gates": [_gate(gate) for gate in found.gates if gate.layer == name]} for name in layers],
        "times": [
            {"name": gate.layer, "points": _points(range(1, len(gate.time_constant) + 1), np.sort(gate.time_constant)[::-1])}
            for gate in found.gates
            if len(gate.time_constant)
        ],
        "states": [
            {"name": name, "points": _points(range(found.steps), norm)}
            for name, norm in zip(found.parts, found.state_norm, strict=True)
        ],
    }


def _gate(gate: Gate) -> dict[str, Any]:
    remarks = []
    if len(gate.time_constant):
        times = np.sort(gate.time_constant)
        remarks.append(f"keeps the state for {np.median(times):.3g} steps (median; longest {times[-1]:.3g})")
    if gate.dead:
        remarks.append(f"{gate.dead} of {len(gate.mean_by_unit)} units are dead")
    return {
        "name": gate.gate,
        **{key: finite(getattr(gate, key)) for key in ("mean", "low", "high")},
        "remark": "; ".join(remarks),
    }


def _steps(found: Spectrum) -> dict[str, Any]:
    values = found.singular
    named = (("mean", values.mean(0)), ("greatest", values.max(0)), ("least", values.min(0)))
    return {
        "title": "Singular values of one step",
        "how": "In order of size, over the steps that were looked at. Many near 1: errors in those directions pass unchanged. "
        "All far below 1: one step already forgets.",
        "x": "number, in order of size",
        "y": "singular value",
        "log": True,
        "levels": [{"y": 1, "label": "1: neither shrinks nor grows"}],
        "series": [{"name": name, "points": _points(range(1, len(row) + 1), row)} for name, row in named],
    }


def _products(found: Spectrum) -> dict[str, Any]:
    steps = found.product_steps
    with np.errstate(over="ignore"):
        greatest, radius = np.exp(found.product_singular[:, 0]), np.exp(found.product_radius)
        middle = np.exp(found.product_singular[:, found.size // 2])
    named = (("greatest singular value", greatest), ("the one in the middle", middle), ("spectral radius", radius))
    return {
        "title": "Products over many steps",
        "how": "What so many steps together do to an error: the greatest singular value is the most that is left of it. "
        "Below 0.01 at m steps, what lies m steps back is learnt hardly at all.",
        "x": "steps multiplied",
        "y": "of the product",
        "log": True,
        "logX": True,
        "levels": [{"y": 1, "label": "1: neither shrinks nor grows"}],
        "series": [{"name": name, "points": _points(steps.tolist(), row)} for name, row in named],
    }


def _exponents(exponents: Array) -> dict[str, Any]:
    return {
        "title": "Lyapunov exponents",
        "how": "The growth of a small disturbance, in nats a step, direction by direction. What shrinks by λ < 0 is down "
        "to 1/e in −1/λ steps.",
        "x": "number, in order of size",
        "y": "nats a step",
        "log": False,
        "levels": [{"y": 0, "label": "0: neither dies nor grows"}],
        "series": [{"name": "exponent", "points": _points(range(1, len(exponents) + 1), exponents)}],
    }


def _verdict(greatest: float) -> str:
    if greatest > 0.001:
        return "nats a step, the greatest Lyapunov exponent: errors grow in the long run"
    if greatest < -0.001:
        return f"nats a step, the greatest Lyapunov exponent: errors fall to 1/e in {lasting(greatest):.3g} steps"
    return "nats a step, the greatest Lyapunov exponent: errors neither die nor grow"


def _points(x: Sequence[int], y: Array) -> list[list[Any]]:
    keep = indices(len(y))
    return [[x[at], finite(float(y[at]))] for at in keep]


def _shown(value: float) -> str:
    return f"{float(value):.3g}".replace("-", "−")
