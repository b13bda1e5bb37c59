"""The native kernels in autograd, by the shortest way: a Python function, whose double backward is the reference's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bptt.kernels.contract import Rows, Weights
from bptt.kernels.native import calls
from bptt.kernels.native.calls import Inputs, Plan
from bptt.kernels.reference import Reference

_reference = Reference()


class Sequence(torch.autograd.Function):
    """y, h and, for the LSTM, c."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, mask: Tensor | None, reset: Tensor | None, *inputs: Tensor) -> tuple[Tensor, ...]:
        keep = True in ctx.needs_input_grad
        y, h, c, gates, cells = calls.forward(plan, inputs, mask, reset, keep)  # type: ignore[arg-type]
        if keep:
            ctx.plan, ctx.mask, ctx.reset = plan, mask, reset
            ctx.save_for_backward(*inputs, y, gates, cells)
            ctx.set_materialize_grads(False)
        return (y, h) if c is None else (y, h, c)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor | None) -> tuple[Tensor | None, ...]:
        saved, wanted = ctx.saved_tensors, ctx.needs_input_grad[3:]
        inputs, tape = saved[:8], saved[8:]
        if not ctx.plan.lstm:
            errors = (*errors, None)
        if torch.is_grad_enabled():  # create_graph: someone may differentiate these gradients
            return (None, None, None, *differentiable(ctx.plan, inputs, ctx.mask, ctx.reset, errors, wanted))
        return (None, None, None, *calls.backward(ctx.plan, inputs, ctx.mask, ctx.reset, tape, errors, wanted))


def differentiable(
    plan: Plan,
    inputs: Inputs,
    mask: Tensor | None,
    reset: Tensor | None,
    errors: tuple[Tensor | None, ...],
    wanted: tuple[bool, ...],
) -> list[Tensor | None]:
    """The gradients with a graph behind them, by the reference."""
    x, h0, c0, *weights = calls.with_state(plan, inputs)
    assert h0 is not None
    stacked = h0.ndim == 3
    with torch.enable_grad():
        given = (h0,) if c0 is None else (h0, c0)
        state = tuple(s[0] for s in given) if stacked else given
        y, final = _reference.run(plan.layer, Weights(*weights), x, state, Rows(mask, reset))  # type: ignore[arg-type]
        made = (y, *(s[None] for s in final)) if stacked else (y, *final)
    pairs = [(part, error) for part, error in zip(made, errors, strict=False) if error is not None]
    asked = [t for t, want in zip(inputs, wanted, strict=True) if want and t is not None]
    found = torch.autograd.grad([p[0] for p in pairs], asked, [p[1] for p in pairs], create_graph=True, allow_unused=True)
    remaining = iter(found)
    return [next(remaining) if want and t is not None else None for t, want in zip(inputs, wanted, strict=True)]
