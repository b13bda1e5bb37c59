"""The native kernels as operators of torch, namespace ``bptt``: what torch.compile, torch.export and tensor modes see.

An operator has no missing results: what a cell does not have (c, parts of the tape, a gradient not asked for) is an empty
tensor. Eager code takes `bptt.kernels.native.function` instead, which costs less.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bptt.kernels.contract import Layer, Rows, State
from bptt.kernels.native import calls
from bptt.kernels.native.calls import Inputs
from bptt.kernels.native.function import differentiable

_INPUTS = (
    "Tensor x, Tensor h0, Tensor? c0, Tensor w_ih, Tensor w_hh, Tensor? b_ih, Tensor? b_hh, Tensor? w_hr, "
    "Tensor? mask, Tensor? reset, "
)
_LAYER = "str cell, str activation, bool reverse, float? clip_step"
_library: Any = torch.library.Library("bptt", "DEF")  # type: ignore[no-untyped-call]
_library.define(f"sequence({_INPUTS}{_LAYER}, int[]? tape) -> (Tensor y, Tensor h, Tensor c, Tensor gates, Tensor cells)")
_library.define(
    f"sequence_backward({_INPUTS}Tensor y, Tensor gates, Tensor cells, Tensor? dy, Tensor? dh, Tensor? dc, "
    f"{_LAYER}, bool[] wanted) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def _layer(inputs: tuple[Any, ...], cell: str, activation: str, reverse: bool, clip_step: float | None) -> Layer:
    if calls.MISSING is not None:
        raise RuntimeError(f"the native kernels are {calls.MISSING}")
    x, w_hh, w_hr = inputs[0], inputs[4], inputs[7]
    if w_hh.ndim != 2 or x.ndim != 3 or cell not in calls.CELLS or activation not in calls.ACTIVATIONS:
        raise ValueError(
            f"x is {list(x.shape)}, expected [T, B, I]; w_hh is {list(w_hh.shape)}, expected [G·H, H]; cell is {cell!r}, of "
            f"{', '.join(calls.CELLS)}; activation is {activation!r}, of {', '.join(calls.ACTIVATIONS)}"
        )
    hidden = w_hh.shape[0] // calls.GATES[cell]
    return Layer(cell, x.shape[2], hidden, 0 if w_hr is None else w_hr.shape[0], activation, clip_step, reverse)  # type: ignore[arg-type]


def _sequence(*given: Any) -> tuple[Tensor, ...]:
    inputs, mask, reset, layer, tape = given[:8], given[8], given[9], given[10:14], given[14]
    plan = calls.plan_of(_layer(inputs, *layer))
    if tape is not None and list(tape) != calls.tape_of_a_row(inputs[0].dtype is torch.float64, plan.layer):
        raise ValueError(f"tape is {list(tape)}, expected what bptt.kernels.native.calls.tape_of_a_row says here, or None")
    made = calls.forward(plan, inputs, mask, reset, tape is not None)
    return tuple(given[0].new_empty(0) if part is None else part for part in made)


def _sequence_backward(*given: Any) -> tuple[Tensor, ...]:
    inputs, mask, reset, tape, errors, layer, wanted = (
        given[:8], given[8], given[9], given[10:13], given[13:16], given[16:20], given[20],
    )  # fmt: skip
    plan = calls.plan_of(_layer(inputs, *layer))
    found = calls.backward(plan, inputs, mask, reset, tape, errors, tuple(wanted))
    return tuple(given[0].new_empty(0) if part is None else part for part in found)


def _fake_sequence(*given: Any) -> tuple[Tensor, ...]:
    x, h0, c0, w_hh = given[0], given[1], given[2], given[4]
    steps, batch = x.shape[:2]
    sizes = given[14] or (0, 0)
    return (
        x.new_empty(steps, batch, w_hh.shape[1]),
        h0.new_empty(h0.shape),
        x.new_empty(0) if c0 is None else c0.new_empty(c0.shape),
        *(x.new_empty(steps * batch * size if size else 0) for size in sizes),
    )


def _fake_sequence_backward(*given: Any) -> tuple[Tensor, ...]:
    wanted = given[20]
    return tuple(
        given[0].new_empty(part.shape if want and part is not None else 0) for part, want in zip(given[:8], wanted, strict=True)
    )


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    y, _, _, gates, cells = output
    ctx.layer, ctx.kept = inputs[10:14], inputs[14] is not None
    ctx.save_for_backward(*inputs[:10], y, gates, cells)
    ctx.set_materialize_grads(False)


def _autograd(ctx: Any, dy: Tensor | None, dh: Tensor | None, dc: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    *given, y, gates, cells = ctx.saved_tensors
    inputs, mask, reset = tuple(given[:8]), given[8], given[9]
    wanted = tuple(ctx.needs_input_grad[:8])
    if not ctx.kept:
        raise RuntimeError("bptt::sequence was called with tape=None: then it has no gradients")
    if inputs[2] is None:
        dc = None
    if torch.is_grad_enabled():  # create_graph: someone may differentiate these gradients
        plan = calls.plan_of(_layer(inputs, *ctx.layer))
        found = differentiable(plan, inputs, mask, reset, (dy, dh, dc), wanted)
        return (*found, *[None] * 7)
    made = torch.ops.bptt.sequence_backward(*inputs, mask, reset, y, gates, cells, dy, dh, dc, *ctx.layer, list(wanted))
    found = [g if want and t is not None else None for g, t, want in zip(made, inputs, wanted, strict=True)]
    return (*found, *[None] * 7)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _tape(double: bool, cell: str, inputs: int, hidden: int) -> list[int]:
    return calls.tape_of_a_row(double, Layer(cell, inputs, hidden))  # type: ignore[arg-type]


def sequence(layer: Layer, inputs: Inputs, rows: Rows) -> tuple[Tensor, State]:
    """y and the final state, with autograd behind them."""
    if inputs[1] is None:
        x, shape = inputs[0], (1, inputs[0].shape[1])
        h0 = x.new_zeros(*shape, layer.proj_size or layer.hidden_size)
        inputs = (x, h0, x.new_zeros(*shape, layer.hidden_size) if layer.cell == "lstm" else None, *inputs[3:])
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    tape = _tape(inputs[0].dtype is torch.float64, layer.cell, layer.input_size, layer.hidden_size) if keep else None
    clip = None if layer.clip_step is None else float(layer.clip_step)
    activation = layer.activation if layer.cell == "rnn" else "tanh"
    y, h, c, _, _ = torch.ops.bptt.sequence(*inputs, *rows, layer.cell, activation, layer.reverse, clip, tape)
    return y, (h, c) if layer.cell == "lstm" else (h,)


_library.impl("sequence", _sequence, "CPU")
_library.impl("sequence_backward", _sequence_backward, "CPU")
torch.library.register_fake("bptt::sequence", _fake_sequence, lib=_library)
torch.library.register_fake("bptt::sequence_backward", _fake_sequence_backward, lib=_library)
torch.library.register_autograd("bptt::sequence", _autograd, setup_context=_keep_for_backward, lib=_library)
