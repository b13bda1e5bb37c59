"""One step of each kind of cell, forward and backward, written out in NumPy so that every number of it can be shown.

The equations are those of `bptt.kernels.reference`; biases stand once: b_h is torch's b_ih + b_hh, but in the GRU's
candidate b_hn stands inside the reset product. σ' = σ(1 - σ), tanh' = 1 - tanh².
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = dict[str, Array]
Trace = dict[str, Array]
"""What a step computed on its way to the state, by the names of the equations."""


@dataclass(frozen=True)
class Cell:
    """A cell: the blocks of rows in its weights, the parts of its state, its step and the way back through it.

    ``forward(w, x, s)`` gives the new state and the trace; ``backward(w, x, s, trace, δ)`` takes the error δ = dE/ds_t and
    gives Jᵀδ = dE/ds_{t-1} and what the step adds to the gradient of every weight.
    """

    name: str
    gates: tuple[str, ...]
    parts: tuple[str, ...]
    equations: tuple[str, ...]
    forward: Callable[[Weights, Array, Array], tuple[Array, Trace]]
    backward: Callable[[Weights, Array, Array, Trace, Array], tuple[Array, Weights]]


def _sigmoid(a: Array) -> Array:
    return 0.5 * (1 + np.tanh(a / 2))


def _given(x: Array, h: Array, da: Array, du: Array | None = None) -> Weights:
    """What errors at the sums a = W_xh x + b_h and u = W_hh h add to the gradient of each weight."""
    du = da if du is None else du
    return {"W_xh": np.outer(da, x), "W_hh": np.outer(du, h), "b_h": da}


def _plain(name: str, shown: str, f: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Cell:
    def forward(w: Weights, x: Array, s: Array) -> tuple[Array, Trace]:
        a = w["W_xh"] @ x + w["W_hh"] @ s + w["b_h"]
        return f(a), {"a": a}

    def backward(w: Weights, x: Array, s: Array, trace: Trace, error: Array) -> tuple[Array, Weights]:
        da = error * slope(trace["a"])
        return w["W_hh"].T @ da, _given(x, s, da)

    return Cell(name, ("",), ("h",), (f"h_t = {shown.format('W_xh x_t + W_hh h_{t-1} + b_h')}",), forward, backward)


def _lstm_forward(w: Weights, x: Array, s: Array) -> tuple[Array, Trace]:
    h, c = np.split(s, 2)
    a = np.split(w["W_xh"] @ x + w["W_hh"] @ h + w["b_h"], 4)
    i, f, g, o = _sigmoid(a[0]), _sigmoid(a[1]), np.tanh(a[2]), _sigmoid(a[3])
    c = f * c + i * g
    return np.concatenate([o * np.tanh(c), c]), {"i": i, "f": f, "g": g, "o": o, "tanh c": np.tanh(c)}


def _lstm_backward(w: Weights, x: Array, s: Array, trace: Trace, error: Array) -> tuple[Array, Weights]:
    (h, c), (dh, dc) = np.split(s, 2), np.split(error, 2)
    i, f, g, o, squashed = trace["i"], trace["f"], trace["g"], trace["o"], trace["tanh c"]
    dc = dc + dh * o * (1 - squashed**2)
    da = np.concatenate([dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), dh * squashed * o * (1 - o)])
    return np.concatenate([w["W_hh"].T @ da, dc * f]), _given(x, h, da)


def _gru_forward(w: Weights, x: Array, s: Array) -> tuple[Array, Trace]:
    a_r, a_z, a_n = np.split(w["W_xh"] @ x + w["b_h"], 3)
    u_r, u_z, u_n = np.split(w["W_hh"] @ s, 3)
    r, z, u = _sigmoid(a_r + u_r), _sigmoid(a_z + u_z), u_n + w["b_hn"]
    n = np.tanh(a_n + r * u)
    return n + z * (s - n), {"r": r, "z": z, "n": n, "u_n": u}


def _gru_backward(w: Weights, x: Array, s: Array, trace: Trace, error: Array) -> tuple[Array, Weights]:
    r, z, n, u = trace["r"], trace["z"], trace["n"], trace["u_n"]
    dn = error * (1 - z) * (1 - n**2)
    dr, dz = dn * u * r * (1 - r), error * (s - n) * z * (1 - z)
    du = np.concatenate([dr, dz, dn * r])
    grads = _given(x, s, np.concatenate([dr, dz, dn]), du)
    return error * z + w["W_hh"].T @ du, {**grads, "b_hn": dn * r}


cells: dict[str, Cell] = {
    cell.name: cell
    for cell in (
        _plain("rnn", "tanh({})", np.tanh, lambda a: 1 - np.tanh(a) ** 2),
        _plain("relu", "max(0, {})", lambda a: np.maximum(a, 0), lambda a: (a > 0).astype(float)),
        _plain("linear", "{}", lambda a: a, np.ones_like),
        Cell(
            "gru",
            ("r", "z", "n"),
            ("h",),
            (
                "r, z = σ(W_xh x_t + W_hh h_{t-1} + b_h), rows r and z",
                "n   = tanh(W_xh x_t + b_h + r ⊙ (W_hh h_{t-1} + b_hn)), rows n",
                "h_t = n + z ⊙ (h_{t-1} - n)",
            ),
            _gru_forward,
            _gru_backward,
        ),
        Cell(
            "lstm",
            ("i", "f", "g", "o"),
            ("h", "c"),
            (
                "i, f, o = σ(W_xh x_t + W_hh h_{t-1} + b_h), rows i, f and o;  g = tanh(…)",
                "c_t = f ⊙ c_{t-1} + i ⊙ g",
                "h_t = o ⊙ tanh(c_t)",
            ),
            _lstm_forward,
            _lstm_backward,
        ),
    )
}
"""The cells that can be explained, by name."""
