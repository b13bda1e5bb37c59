"""Where an explanation's numbers come from: drawn from a seed, or the user's own layer; refused where they cannot be read."""

from __future__ import annotations

from typing import Any

import numpy as np

from bptt.observe.explain_cells import Array, Cell, Weights, cells

MOST = {"hidden": 4, "inputs": 3, "steps": 12}
"""What is still small enough to read."""


def check_sizes(hidden: int, inputs: int, steps: int) -> None:
    """Refuses what is too large to be read.

    **Raises** ``ValueError`` or ``TypeError``.
    """
    for name, value in (("hidden", hidden), ("inputs", inputs), ("steps", steps)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if not 1 <= value <= MOST[name]:
            raise ValueError(
                f"{name}={value}: this is for networks small enough to read, 1..{MOST[name]} here; "
                "bptt.observe.gradient_flow looks into large ones"
            )


def draw(cell: Cell, hidden: int, inputs: int, seed: int, outputs: int = 1) -> Weights:
    """Weights as torch begins with, U(-1/√H, 1/√H), to two decimals; biases zero, an LSTM's forget gate open by 1."""
    rng = np.random.default_rng([seed, 0])
    bound = hidden**-0.5
    rows = hidden * len(cell.gates)

    def some(*shape: int) -> Array:
        return rng.uniform(-bound, bound, shape).round(2)

    weights = {"W_xh": some(rows, inputs), "W_hh": some(rows, hidden), "b_h": np.zeros(rows)}
    if cell.name == "lstm":
        weights["b_h"][hidden : 2 * hidden] = 1
    if cell.name == "gru":
        weights["b_hn"] = np.zeros(hidden)
    return {**weights, "W_hy": some(outputs, hidden)}


def from_modules(layer: Any, readout: Any) -> tuple[Cell, Weights]:
    """The cell and the weights of a layer or cell of `bptt.nn` or ``torch.nn`` and of the ``torch.nn.Linear`` after it.

    **Raises** ``TypeError`` or ``ValueError`` for what it cannot write out.
    """
    from torch import nn

    kind = type(layer).__name__
    known = {"RNN": None, "GRU": "gru", "LSTM": "lstm"}
    gated = kind.removesuffix("Cell")
    suffix = "" if kind.endswith("Cell") else "_l0"
    if gated not in known or not hasattr(layer, f"weight_hh{suffix}"):
        raise TypeError(
            f"expected the name of a cell, or an RNN, GRU or LSTM, layer or cell, of bptt.nn or torch.nn, got {kind}; "
            "bptt.observe.gradient_flow looks into any module"
        )
    if not isinstance(readout, nn.Linear):
        raise TypeError(f"a layer needs a readout to have a loss: explain(layer, torch.nn.Linear({layer.hidden_size}, 1), x=…)")
    for name, plain in (("num_layers", 1), ("bidirectional", False), ("proj_size", 0), ("clip_step", None)):
        if (value := getattr(layer, name, plain)) not in (plain, None):
            raise ValueError(f"{kind}({name}={value!r}) is more than can be read step by step: leave {name} at {plain!r}")
    if readout.in_features != layer.hidden_size:
        raise ValueError(f"the readout takes {readout.in_features} features, but the layer gives {layer.hidden_size}")
    check_sizes(layer.hidden_size, layer.input_size, 1)
    activation = getattr(layer, "nonlinearity", "tanh")
    names = {"tanh": "rnn", "relu": "relu", "identity": "linear"}
    if known[gated] is None and activation not in names:
        raise ValueError(f"nonlinearity={activation!r} cannot be explained: one of {', '.join(map(repr, names))}")
    cell = cells[known[gated] or names[activation]]
    weights = {"W_xh": _array(getattr(layer, f"weight_ih{suffix}")), "W_hh": _array(getattr(layer, f"weight_hh{suffix}"))}
    b_x, b_h = (
        _array(getattr(layer, f"{name}{suffix}")) if layer.bias else np.zeros(len(weights["W_hh"]))
        for name in ("bias_ih", "bias_hh")
    )
    weights["b_h"] = b_x + b_h
    if cell.name == "gru":
        weights["b_h"][2 * layer.hidden_size :] = b_x[2 * layer.hidden_size :]
        weights["b_hn"] = b_h[2 * layer.hidden_size :]
    weights["W_hy"] = _array(readout.weight)
    return cell, weights if readout.bias is None else {**weights, "b_y": _array(readout.bias)}


def check_sequence(x: Any, target: Any, weights: Weights, batch_first: bool = False) -> tuple[Array, Array]:
    """``x [T, I]`` and ``target [T, O]`` as arrays; of one row also ``[T, 1, …]``, or ``[1, T, …]`` for ``batch_first``.

    **Raises** ``TypeError`` for what holds no numbers, ``ValueError`` where they do not fit the weights or are too long.
    """
    found = []
    for name, value, width in (("x", x, weights["W_xh"].shape[1]), ("target", target, len(weights["W_hy"]))):
        if value is None:
            raise ValueError("x and target go together: give both, or neither to have them drawn")
        try:
            made = _array(value)
        except (TypeError, ValueError):
            raise TypeError(f"{name} must hold numbers, one line of {width} for each step, got {value!r}") from None
        made = made[:, None] if made.ndim == 1 else made
        if made.ndim == 3:
            rows = made.shape[0 if batch_first else 1]
            if rows != 1:
                one = f"{name}[:1]" if batch_first else f"{name}[:, :1]"
                order = "row, step, number (batch_first)" if batch_first else "step, row, number"
                raise ValueError(f"{name} is {list(made.shape)}, {order}: {rows} rows, and one is explained: give {one}")
            made = made[0] if batch_first else made[:, 0]
        if made.ndim != 2 or made.shape[1] != width:
            raise ValueError(f"{name} is {list(made.shape)}, expected [T, {width}]: {width} a step")
        if not np.isfinite(made).all():
            raise ValueError(f"{name} holds a number that is not finite, at step {int(np.argmin(np.isfinite(made).all(1)))}")
        found.append(made)
    if len(found[0]) != len(found[1]):
        raise ValueError(f"x has {len(found[0])} steps and target {len(found[1])}: one target for each step")
    check_sizes(1, 1, len(found[0]))
    return found[0], found[1]


def _array(value: Any) -> Array:
    if hasattr(value, "detach"):
        value = value.detach().cpu().double().numpy()
    return np.array(value, dtype=np.float64)
