"""The recurrent layers of every task model, by the names of the settings."""

from __future__ import annotations

from typing import Any

from bptt import nn as layers


def recurrent(
    cell: str,
    input_size: int,
    hidden: int,
    depth: int,
    *,
    dropout: float = 0.0,
    bidirectional: bool = False,
    clip_step: float | None = None,
    backend: str = "auto",
    variational: bool = False,
    weight_drop: float = 0.0,
) -> layers.Recurrent:
    """``depth`` layers of ``"lstm"``, ``"gru"`` or ``"rnn"``; an LSTM begins with open forget gates, a plain RNN orthogonal.

    **Raises** ``ValueError`` for another cell.
    """
    made = _begun(cell, input_size, hidden, depth, {
        "dropout": dropout if depth > 1 else 0.0,
        "variational": variational,
        "bidirectional": bidirectional,
        "clip_step": clip_step,
        "backend": backend,
    })  # fmt: skip
    return layers.weight_drop(made, weight_drop) if weight_drop else made


def _begun(cell: str, input_size: int, hidden: int, depth: int, how: dict[str, Any]) -> layers.Recurrent:
    if cell == "lstm":
        lstm = layers.LSTM(input_size, hidden, depth, **how)
        layers.init.forget_bias_(lstm, 1.0)
        return lstm
    if cell == "gru":
        return layers.GRU(input_size, hidden, depth, **how)
    if cell == "rnn":
        rnn = layers.RNN(input_size, hidden, depth, **how)
        layers.init.orthogonal_(rnn)
        return rnn
    raise ValueError(f"cell={cell!r} does not exist: one of 'lstm', 'gru', 'rnn'")
