"""What the native kernels serve, and by which way they are called."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bptt.kernels.contract import Layer, Rows, State, Weights
from bptt.kernels.native import calls, operators
from bptt.kernels.native.function import Sequence
from bptt.kernels.transforms import transformed

# Addresses of these are no secret to anyone; what else looks on (compilers, modes, subclasses) sees operators.
_PLAIN = (Tensor, nn.Parameter)
_compiling, _modes = torch.compiler.is_compiling, torch._C._len_torch_dispatch_stack
_trace = torch._C._get_tracing_state


class Native:
    """Serves float32 and float64 on the CPU, every cell; gradients of gradients come from the reference."""

    name = "native"

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
        if _compiling():
            return None
        if (under_way := transformed()) is not None:
            return f"the native kernels take no part in {under_way}"
        return None if _trace() is None else "torch.jit.trace cannot record the native kernels; torch.export can"

    def run(self, layer: Layer, weights: Weights, x: Tensor, state: State | None, rows: Rows) -> tuple[Tensor, State]:
        """One layer, one direction; see `bptt.kernels.reference`.

        The state may also be ``[1, B, H]``, as torch's layers stack it, or ``None``: zero. The final state is then stacked.
        """
        h0, c0 = (None, None) if state is None else state if layer.cell == "lstm" else (state[0], None)
        if _compiling() or type(x) not in _PLAIN or _modes() > 0:
            return operators.sequence(layer, (x, h0, c0, *weights), rows)
        plan, mask, reset = calls.plan_of(layer), rows.mask, rows.reset
        if torch.is_grad_enabled():
            y, *final = Sequence.apply(plan, mask, reset, x, h0, c0, *weights)  # type: ignore[no-untyped-call]
            return y, tuple(final)
        y, h, c, _, _ = calls.forward(plan, (x, h0, c0, *weights), mask, reset, False)
        return y, (h,) if c is None else (h, c)
