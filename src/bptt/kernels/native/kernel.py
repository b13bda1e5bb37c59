"""What the native kernels serve, and by which way they are called."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from bptt.kernels.contract import Layer, Rows, State, Weights
from bptt.kernels.native import calls, operators
from bptt.kernels.native.function import Sequence

_PLAIN = (Tensor, nn.Parameter)


class Native:
    """Serves float32 and float64 on the CPU, every cell; gradients of gradients come from the reference."""

    name = "native"
    stacked_states = True

    def why_not(self, layer: Layer, x: Tensor, rows: Rows) -> str | None:  # noqa: ARG002
        """Why these kernels cannot compute this layer here."""
        if calls.MISSING is not None:
            return calls.MISSING
        if not x.is_cpu:
            return f"the native kernels are for the CPU, x is on {x.device}"
        if x.dtype is not torch.float32 and x.dtype is not torch.float64:
            return f"the native kernels know float32 and float64, x is {x.dtype}"
        if layer.cell == "rnn" and layer.activation not in calls.ACTIVATIONS:
            name = (
                layer.activation if isinstance(layer.activation, str) else getattr(layer.activation, "__name__", "a function")
            )
            return f"the native RNN knows {', '.join(calls.ACTIVATIONS)}, not {name}"
        if torch.is_autocast_enabled("cpu"):
            return "the native kernels compute in the dtype of x, not in autocast's"
        return None if torch.compiler.is_compiling() else _transformed()

    def run(self, layer: Layer, weights: Weights, x: Tensor, state: State, rows: Rows) -> tuple[Tensor, State]:
        """One layer, one direction; see `bptt.kernels.reference`. The state may be ``[1, B, H]`` too, and stays so."""
        h0, c0 = state if layer.cell == "lstm" else (state[0], None)
        if _watched(x):
            return operators.sequence(layer, (x, h0, c0, *weights), rows)
        plan = calls.plan_of(layer)
        if torch.is_grad_enabled():
            y, *final = Sequence.apply(plan, *rows, x, h0, c0, *weights)  # type: ignore[no-untyped-call]
            return y, tuple(final)
        y, h, c, _, _ = calls.forward(plan, (x, h0, c0, *weights), *rows, keep=False)
        return y, (h,) if c is None else (h, c)


def _watched(x: Tensor) -> bool:
    """Whether something other than plain tensors looks on, which addresses would escape: compilers, modes, subclasses."""
    return torch.compiler.is_compiling() or type(x) not in _PLAIN or torch._C._len_torch_dispatch_stack() > 0


def _transformed() -> str | None:
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "the native kernels take no part in torch.func's transforms (grad, vmap, jvp)"
    if forward_ad._current_level >= 0:
        return "the native kernels know no forward-mode differentiation"
    if torch._C._get_tracing_state() is not None:
        return "torch.jit.trace cannot record the native kernels; torch.export can"
    return None
