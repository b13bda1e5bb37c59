"""The native kernels in autograd, by the shortest way: a Python function, whose double backward is the reference's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bptt.kernels.contract import Layer, Rows, Weights
from bptt.kernels.errors_only import asked
from bptt.kernels.native import calls
from bptt.kernels.native.calls import Inputs, Plan
from bptt.kernels.reference import Reference

_reference = Reference()


Made = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]
"""y, h, c and the two parts of the tape."""


class Sequence(torch.autograd.Function):
    """y, h and, for the LSTM, c: ``made`` from ``inputs`` before, so that what cannot be made never comes here."""

    @staticmethod
    def forward(
        ctx: Any, layer: Layer, mask: Tensor | None, reset: Tensor | None, made: Made, *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        y, h, c, gates, cells = made
        ctx.called = layer, mask, reset
        ctx.save_for_backward(*inputs, y, gates, cells)
        ctx.set_materialize_grads(False)
        return (y, h) if c is None else (y, h, c)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor | None) -> tuple[Tensor | None, ...]:
        layer, mask, reset = ctx.called
        plan, saved = calls.plan_of(layer), ctx.saved_tensors
        inputs, tape = saved[:8], saved[8:]
        wanted = asked(ctx, inputs, 5)
        if not plan.lstm:
            errors = (*errors, None)
        if torch.is_grad_enabled() or any(map(_many, errors)):
            # Someone may differentiate these gradients (create_graph), or the kernels know one error where there are many.
            return (*_NONE, *differentiable(plan, inputs, mask, reset, errors, wanted))
        return (*_NONE, *calls.backward(plan, inputs, mask, reset, tape, errors, wanted))


# For tensors known to be plain: without the Python that torch puts before it, which looks for what transforms have left behind.
apply_to_plain: Any = super(torch.autograd.Function, Sequence).apply

_NONE = (None,) * 4
_legacy, _batched = torch._C._functorch.is_legacy_batchedtensor, torch._C._functorch.is_batchedtensor


def _many(error: Tensor | None) -> bool:
    """Whether this is a whole batch of errors that go back side by side (is_grads_batched, vmap): one, seen from here."""
    return error is not None and (_legacy(error) or _batched(error))


def differentiable(
    plan: Plan,
    inputs: Inputs,
    mask: Tensor | None,
    reset: Tensor | None,
    errors: tuple[Tensor | None, ...],
    wanted: tuple[bool, ...],
) -> list[Tensor | None]:
    """The gradients by the reference, with a graph behind them where gradients are enabled."""
    x, h0, c0, *weights = calls.with_state(plan, inputs)
    assert h0 is not None
    stacked = h0.ndim == 3
    graph = torch.is_grad_enabled()
    with torch.enable_grad():
        given = (h0,) if c0 is None else (h0, c0)
        state = tuple(s[0] for s in given) if stacked else given
        y, final = _reference.run(plan.layer, Weights(*weights), x, state, Rows(mask, reset))  # type: ignore[arg-type]
        made = (y, *(s[None] for s in final)) if stacked else (y, *final)
    pairs = [(part, error) for part, error in zip(made, errors, strict=False) if error is not None]
    asked = [t for t, want in zip(inputs, wanted, strict=True) if want and t is not None]
    found = torch.autograd.grad([p[0] for p in pairs], asked, [p[1] for p in pairs], create_graph=graph, allow_unused=True)
    remaining = iter(found)
    return [next(remaining) if want and t is not None else None for t, want in zip(inputs, wanted, strict=True)]
