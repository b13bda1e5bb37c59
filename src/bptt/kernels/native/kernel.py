"""What the native kernels serve, and by which way they are called."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bptt.kernels.contract import Layer, Rows, State, Weights
from bptt.kernels.native import calls, operators
from bptt.kernels.native.function import Sequence, apply_to_plain
from bptt.kernels.transforms import transformed

# Addresses of these are no secret to anyone; what else looks on (compilers, modes, subclasses) sees operators.
_PLAIN = (Tensor, nn.Parameter)
_compiling, _modes = torch.compiler.is_compiling, torch._C._len_torch_dispatch_stack
_trace, _autocast, _grad = torch._C._get_tracing_state, torch.is_autocast_enabled, torch.is_grad_enabled


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
        inputs = (x, h0, c0, *weights)
        keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
        made = calls.forward(calls.plan_of(layer), inputs, rows.mask, rows.reset, keep)
        y, *final = Sequence.apply(layer, rows.mask, rows.reset, made, *inputs) if keep else made[:3]  # type: ignore[no-untyped-call]
        return y, tuple(part for part in final if part is not None)

    def quick(self, layer: Layer, x: Any, state: Any, weights: tuple[Any, ...]) -> tuple[Tensor, Any] | None:
        """y and the final state as torch's layers give it, of one layer without flags; ``None`` where `run` is to be asked.

        The C++ side checks all that has a size, so that a small layer spends its time elsewhere than in Python.
        """
        if (
            calls.MISSING is not None
            or _compiling()
            or layer.activation not in calls.ACTIVATIONS
            or _autocast("cpu")
            or _modes() > 0
            or transformed() is not None
            or _trace() is not None
        ):
            return None
        plan = calls.plan_of(layer)
        given = (state, None) if state is None or not plan.lstm else state
        if plan.direct is None or type(x) not in _PLAIN or type(given) is not tuple or len(given) != 2:
            return None
        for part in given:
            if part is not None and (type(part) not in _PLAIN or part.ndim != 3):
                return None
        inputs = (x, *given, *weights)
        # The first weight says it nearly always.
        keep = _grad() and (weights[0].requires_grad or any(t is not None and t.requires_grad for t in inputs))
        made = plan.direct.forward(inputs, None, None, keep, calls.threads())
        if made is None:
            return None
        y, h, *c = apply_to_plain(layer, None, None, made, *inputs) if keep else made[:3]
        return y, (h, *c) if plan.lstm else h
