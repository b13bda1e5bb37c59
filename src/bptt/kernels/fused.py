"""torch's own fused layers (oneDNN, cuDNN, MPS) as a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bptt import state as states
from bptt.kernels.contract import Layer, Rows, State, Weights
from bptt.kernels.transforms import transformed


class Torch:
    """Serves what torch's operators compute; ragged rows and resets by stretches of time over which the rows stay the same."""

    name = "torch"

    def why_not(self, layer: Layer, x: Tensor, rows: Rows) -> str | None:  # noqa: ARG002
        """Why torch's operators cannot compute this layer."""
        if layer.clip_step is not None:
            return "torch's layers cannot limit the error at every step (clip_step)"
        if layer.cell == "rnn" and layer.activation not in ("tanh", "relu"):
            return f"torch's RNN knows tanh and relu, not {_name(layer.activation)}"
        if not torch.compiler.is_compiling() and (under_way := transformed()) is not None:
            return f"torch's layers do not know all of {under_way}"
        return None

    def run(self, layer: Layer, weights: Weights, x: Tensor, state: State, rows: Rows) -> tuple[Tensor, State]:
        """One layer, one direction; see `bptt.kernels.reference`."""
        mask, reset = rows.mask, rows.reset
        if layer.reverse:
            x = x.flip(0)
            mask = None if mask is None else mask.flip(0)
            reset = None if reset is None else torch.cat([torch.zeros_like(reset[:1]), reset[1:].flip(0)])
        y, state = self._forward(layer, weights, x, state, mask, reset)
        return (y.flip(0) if layer.reverse else y), state

    def _forward(
        self, layer: Layer, weights: Weights, x: Tensor, state: State, mask: Tensor | None, reset: Tensor | None
    ) -> tuple[Tensor, State]:
        flat = [w for w in weights if w is not None]
        if mask is None and reset is None:
            return _call([layer], flat, x, state)
        if mask is not None:
            x = x.masked_fill(~mask[:, :, None], 0)
        outputs = []
        for stretch in states.stretches(len(x), mask, reset):
            if stretch.fresh is not None:
                state = tuple(s.masked_fill(stretch.fresh[:, None], 0) for s in state)
            y, after = _call([layer], flat, x[stretch.start : stretch.stop], state)
            if stretch.present is not None:
                present = stretch.present[:, None]
                y = y.masked_fill(~present, 0)
                after = tuple(torch.where(present, new, old) for new, old in zip(after, state, strict=True))
            outputs.append(y)
            state = after
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs), state

    def run_stack(
        self, layers: Sequence[Layer], weights: list[Tensor], x: Tensor, state: State, dropout: float, training: bool
    ) -> tuple[Tensor, State]:
        """All layers and directions in one call, as ``torch.nn`` makes it: the same bits, dropout's among them.

        ``layers`` in torch's order, forward before reverse; ``state`` stacked, ``[layers, B, H]``.
        """
        return _call(layers, weights, x, state, dropout, training)


def _call(
    layers: Sequence[Layer],
    flat: list[Tensor],
    x: Tensor,
    state: State,
    dropout: float = 0.0,
    training: bool | None = None,
) -> tuple[Tensor, State]:
    first = layers[0]
    stacked = training is not None
    if not stacked:
        state, training = tuple(s[None] for s in state), torch.is_grad_enabled()
    bidirectional = any(layer.reverse for layer in layers) and stacked
    biased = len(flat) > (3 if first.proj_size else 2) * len(layers)
    depth = len(layers) // (2 if bidirectional else 1)
    operator: Any = _OPERATORS[first.activation if first.cell == "rnn" else first.cell]
    initial = list(state) if first.cell == "lstm" else state[0]
    y, *final = operator(x, initial, flat, biased, depth, dropout, training, bidirectional, False)
    return y, tuple(final) if stacked else tuple(s[0] for s in final)


_OPERATORS: dict[Any, Any] = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu, "gru": torch.gru, "lstm": torch.lstm}


def _name(activation: object) -> str:
    return activation if isinstance(activation, str) else getattr(activation, "__name__", repr(activation))
