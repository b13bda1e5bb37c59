"""The reference: every layer, one step after the other in plain PyTorch. Slow, complete, and the meaning of all other kernels.

With a_t = W_ih x_t + b_ih, split among the gates, and likewise u_t = W_hh h_{t-1} + b_hh:

- RNN:  h_t = f(a_t + u_t)
- GRU:  r = σ(a_r + u_r);  z = σ(a_z + u_z);  n = tanh(a_n + r ⊙ u_n);  h_t = n + z ⊙ (h_{t-1} - n)
- LSTM: i, f, o = σ(a + u);  g = tanh(a_g + u_g);  c_t = f ⊙ c_{t-1} + i ⊙ g;  h_t = o ⊙ tanh(c_t), or W_hr of that
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from bptt.kernels.contract import Layer, Rows, State, Weights

activations: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "identity": lambda x: x,
    "sigmoid": torch.sigmoid,
    "softplus": torch.nn.functional.softplus,
    "elu": torch.nn.functional.elu,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "sin": torch.sin,
}


class Reference:
    """Serves every layer on every device; autograd makes its backward pass, and the passes behind that one."""

    name = "reference"

    def why_not(self, layer: Layer, x: Tensor, rows: Rows) -> str | None:  # noqa: ARG002
        """Always ``None``: it serves."""
        return None

    def run(self, layer: Layer, weights: Weights, x: Tensor, state: State, rows: Rows) -> tuple[Tensor, State]:
        """``y [T, B, H]`` and the final state, from ``x [T, B, I]`` and the initial one."""
        mask, reset = rows.mask, rows.reset
        if layer.reverse and reset is not None:
            # A border before step t lies, seen from the end, before step t-1.
            reset = torch.cat([reset[1:], torch.zeros_like(reset[:1])])
        if mask is not None:
            # What stands at steps that do not exist (NaN, say) must not reach the gradient as 0 * NaN.
            x = x.masked_fill(~mask[:, :, None], 0)
        step = _steps[layer.cell]
        projected = linear(x, weights.w_ih, weights.b_ih)
        outputs: list[Tensor] = [x.new_empty(0)] * len(x)
        for t in reversed(range(len(x))) if layer.reverse else range(len(x)):
            if reset is not None:
                state = tuple(s.masked_fill(reset[t, :, None], 0) for s in state)
            before = state
            if layer.clip_step is not None:
                before = tuple(_ClipError.apply(s, layer.clip_step) for s in state)  # type: ignore[no-untyped-call]
            after = step(layer, weights, projected[t], before)
            y = after[0]
            if mask is not None:
                present = mask[t, :, None]
                after = tuple(torch.where(present, new, old) for new, old in zip(after, state, strict=True))
                y = torch.where(present, y, torch.zeros_like(y))
            outputs[t] = y
            state = after
        return torch.stack(outputs), state


def _rnn(layer: Layer, weights: Weights, a: Tensor, state: State) -> State:
    activation = activations[layer.activation] if isinstance(layer.activation, str) else layer.activation
    return (activation(a + linear(state[0], weights.w_hh, weights.b_hh)),)


def _gru(layer: Layer, weights: Weights, a: Tensor, state: State) -> State:  # noqa: ARG001
    (h,) = state
    a_r, a_z, a_n = a.chunk(3, -1)
    u_r, u_z, u_n = linear(h, weights.w_hh, weights.b_hh).chunk(3, -1)
    r, z = torch.sigmoid(a_r + u_r), torch.sigmoid(a_z + u_z)
    n = torch.tanh(a_n + r * u_n)
    return (n + z * (h - n),)


def _lstm(layer: Layer, weights: Weights, a: Tensor, state: State) -> State:  # noqa: ARG001
    h, c = state
    i, f, g, o = (a + linear(h, weights.w_hh, weights.b_hh)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h if weights.w_hr is None else linear(h, weights.w_hr), c)


_steps: dict[str, Callable[[Layer, Weights, Tensor, State], State]] = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}


class _ClipError(torch.autograd.Function):
    """The identity, whose backward pass limits every element of the error (Graves 2013, arXiv 1308.0850, section 2.1)."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, limit: float) -> Tensor:
        ctx.limit = limit
        return s.view_as(s)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> tuple[Tensor, None]:
        return errors[0].clamp(-ctx.limit, ctx.limit), None
