"""Calls of the C++ module ``bptt_native``, whose only importer this is: everything is checked before an address is taken.

Each call first asks the module's direct way, which serves dense tensors that fit and costs least; what it refuses goes the
long way here, which copies what is not dense and names what does not fit.
"""

from __future__ import annotations

import atexit
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch  # before bptt_native, which shares the OpenMP runtime that torch brings
from torch import Tensor

from bptt.kernels.contract import Layer
from bptt.outside import Keeper, register

MISSING: str | None = None
try:
    import bptt_native as native
except ImportError as error:
    native, MISSING = None, f"not installed: pip install ./native ({error})"
_DIRECT = native is not None and native.attach(Tensor, torch.nn.Parameter)

CELLS = {"rnn": 0, "gru": 1, "lstm": 2}
ACTIVATIONS = {"tanh": 0, "relu": 1, "identity": 2}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
_MOST_THREADS = 256

Inputs = tuple[Tensor, Tensor | None, Tensor | None, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]
"""x, h0, c0, the weights. The state is ``[B, ...]``, or ``[1, B, ...]`` as torch's layers stack it; no h0: zero, stacked."""
NAMES = ("x", "h", "c", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


@dataclass(frozen=True)
class Plan:
    """What every call of one layer has in common."""

    layer: Layer
    cell: int
    activation: int
    out: int
    lstm: bool
    shapes: tuple[tuple[int, ...] | None, ...]  # of the weights, in their order
    clip_step: float
    direct: Any  # one call that checks, makes the results and computes; None where this torch does not offer its means


@lru_cache(maxsize=1024)
def plan_of(layer: Layer) -> Plan:
    """The plan of a layer that the native kernels serve."""
    hidden, out = layer.hidden_size, layer.proj_size or layer.hidden_size
    stacked = GATES[layer.cell] * hidden
    cell, activation = CELLS[layer.cell], ACTIVATIONS[layer.activation] if layer.cell == "rnn" else 0  # type: ignore[index]
    clip_step = math.inf if layer.clip_step is None else float(layer.clip_step)
    sizes = (layer.input_size, hidden, layer.proj_size)
    return Plan(
        layer,
        cell,
        activation,
        out,
        layer.cell == "lstm",
        (
            (stacked, layer.input_size),
            (stacked, out),
            (stacked,),
            (stacked,),
            (layer.proj_size, hidden) if layer.proj_size else None,
        ),
        clip_step,
        native.Direct(cell, activation, layer.reverse, *sizes, clip_step) if _DIRECT else None,
    )


atexit.register(plan_of.cache_clear)  # objects of the C++ module are to be gone before it


def tape_of_a_row(double: bool, layer: Layer) -> list[int]:
    """Elements of the two parts of the tape for one step of one row, on the instruction set in use."""
    return list(native.tape(double, CELLS[layer.cell], 1, 1, layer.input_size, layer.hidden_size))


def module() -> Any:
    """The C++ module; ``None`` where it is `MISSING`."""
    return native


def threads() -> int:
    """The threads that a call may take: torch's."""
    return min(torch.get_num_threads(), _MOST_THREADS)


def _begin() -> int:
    native.release_idle()
    native.release_scratch()
    return int(native.loan_bytes(begin=True)[0] + native.scratch_bytes()[0])


def _most() -> int:
    return int(native.loan_bytes()[1] + native.scratch_bytes()[0])


if hasattr(native, "loan_bytes"):  # older builds cannot tell
    register(Keeper(_begin, _most))


def with_state(plan: Plan, inputs: Inputs) -> Inputs:
    """The inputs with zeros for a state that is not given."""
    x, h0, c0, *weights = inputs
    if h0 is not None or x.ndim != 3:
        return inputs
    h0 = x.new_zeros(1, x.shape[1], plan.out)
    return (x, h0, x.new_zeros(1, x.shape[1], plan.layer.hidden_size) if plan.lstm else c0, *weights)  # type: ignore[return-value]


def forward(
    plan: Plan, inputs: Inputs, mask: Tensor | None, reset: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """y, h, c and, with ``keep``, the two parts of the tape.

    **Raises** ``ValueError`` or ``TypeError`` for what does not fit, ``MemoryError`` where there is not enough memory.
    """
    if plan.direct is not None and (made := plan.direct.forward(inputs, mask, reset, keep, threads())) is not None:
        return made  # type: ignore[no-any-return]
    inputs = with_state(plan, inputs)
    check(plan, inputs, mask, reset)
    x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr = inputs
    x, mask, reset = _features_side_by_side(x), dense(mask), dense(reset)
    h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr = map(dense, (h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr))
    steps, batch, features = x.shape
    layer = plan.layer
    hidden = layer.hidden_size
    double = x.dtype is torch.float64
    c = gates = cells = None
    try:
        y = x.new_empty(steps, batch, plan.out)
        h = torch.empty_like(h0)
        if plan.lstm:
            c = torch.empty_like(c0)
        if keep and plan.cell:
            sizes = native.tape(double, plan.cell, steps, batch, features, hidden)
            gates = x.new_empty(sizes[0])
            cells = x.new_empty(sizes[1]) if plan.lstm else None
    except RuntimeError as error:
        raise MemoryError(f"no memory for T={steps}, B={batch}, H={hidden}: {error}") from error
    native.forward(
        double,
        plan.cell,
        plan.activation,
        layer.reverse,
        steps,
        batch,
        features,
        hidden,
        layer.proj_size,
        plan.clip_step,
        threads(),
        0 if mask is None else mask.data_ptr(),
        0 if reset is None else reset.data_ptr(),
        *x.stride()[:2],
        (
            x.data_ptr(),
            h0.data_ptr(),
            0 if c0 is None else c0.data_ptr(),
            w_ih.data_ptr(),
            w_hh.data_ptr(),
            0 if b_ih is None else b_ih.data_ptr(),
            0 if b_hh is None else b_hh.data_ptr(),
            0 if w_hr is None else w_hr.data_ptr(),
            y.data_ptr(),
            h.data_ptr(),
            0 if c is None else c.data_ptr(),
            0 if gates is None else gates.data_ptr(),
            0 if cells is None else cells.data_ptr(),
        ),
    )
    return y, h, c, gates, cells


def backward(
    plan: Plan,
    inputs: Inputs,
    mask: Tensor | None,
    reset: Tensor | None,
    tape: tuple[Tensor, Tensor | None, Tensor | None],
    errors: tuple[Tensor | None, ...],
    wanted: tuple[bool, ...],
) -> Sequence[Tensor | None]:
    """The gradients of ``inputs`` where ``wanted``, from y and the tape, and the errors of y, h and c.

    **Raises** as `forward` does.
    """
    if plan.direct is not None:
        made = plan.direct.backward(inputs, mask, reset, tape, errors, wanted, threads())
        if made is not None:
            return made  # type: ignore[no-any-return]
    inputs = with_state(plan, inputs)
    check(plan, inputs, mask, reset)  # again: .data of a saved tensor may have been given another shape since
    x, h0, c0, w_ih, w_hh, _, _, w_hr = inputs
    y, gates, cells = tape
    steps, batch, features = x.shape
    if y.shape != (steps, batch, plan.out) or y.dtype is not x.dtype:
        raise ValueError(f"the output of the layer was changed before its backward pass: it is now {list(y.shape)}")
    layer = plan.layer
    try:
        found = [
            torch.empty_like(t, memory_format=torch.contiguous_format) if want and t is not None else None
            for t, want in zip(inputs, wanted, strict=True)
        ]
    except RuntimeError as error:
        raise MemoryError(f"no memory for gradients, T={steps}, B={batch}, H={layer.hidden_size}: {error}") from error
    x, mask, reset = _features_side_by_side(x), dense(mask), dense(reset)
    held = [dense(t) for t in (h0, c0, w_ih, w_hh, w_hr, y, gates, cells, *errors)]
    native.backward(
        x.dtype is torch.float64,
        plan.cell,
        plan.activation,
        layer.reverse,
        steps,
        batch,
        features,
        layer.hidden_size,
        layer.proj_size,
        plan.clip_step,
        threads(),
        0 if mask is None else mask.data_ptr(),
        0 if reset is None else reset.data_ptr(),
        *x.stride()[:2],
        (x.data_ptr(), *[0 if t is None else t.data_ptr() for t in held], *[0 if t is None else t.data_ptr() for t in found]),
    )
    return found


def check(plan: Plan, inputs: Inputs, mask: Tensor | None, reset: Tensor | None) -> None:
    """**Raises** ``ValueError`` or ``TypeError`` unless every size, dtype and device is what the layer says."""
    x, h0, c0, *weights = inputs
    assert h0 is not None  # with_state
    layer = plan.layer
    if x.ndim != 3 or x.shape[0] == 0:
        raise ValueError(f"x is {list(x.shape)}, expected [T, B, I] with at least one step")
    steps, batch, features = x.shape
    dtype = x.dtype
    if features != layer.input_size or not x.is_cpu or dtype not in (torch.float32, torch.float64):
        _refuse("x", x, (steps, batch, layer.input_size), x)
    lead = (1,) if h0.ndim == 3 else ()
    if h0.shape != (*lead, batch, plan.out) or h0.dtype is not dtype or not h0.is_cpu:
        _refuse("h", h0, (*lead, batch, plan.out), x)
    if (c0 is None) is plan.lstm:
        raise ValueError("the state is (h, c) for an LSTM, else (h,)")
    if c0 is not None and (c0.shape != (*lead, batch, layer.hidden_size) or c0.dtype is not dtype or not c0.is_cpu):
        _refuse("c", c0, (*lead, batch, layer.hidden_size), x)
    for index, (weight, shape) in enumerate(zip(weights, plan.shapes, strict=True)):
        if weight is None:
            if index < 2 or (index == 4 and shape):
                raise ValueError(f"{NAMES[3 + index]} is missing")
        elif weight.shape != shape or weight.dtype is not dtype or not weight.is_cpu:
            _refuse(NAMES[3 + index], weight, shape, x)
    for name, flags in (("mask", mask), ("reset", reset)):
        if flags is not None:
            if flags.dtype is not torch.bool:
                raise TypeError(f"{name} is {flags.dtype}, expected torch.bool")
            if flags.shape != (steps, batch) or not flags.is_cpu:
                raise ValueError(f"{name} is {list(flags.shape)} on {flags.device}, expected {[steps, batch]} on cpu")


def _refuse(name: str, tensor: Tensor, shape: tuple[int, ...] | None, x: Tensor) -> None:
    if shape is None:
        raise ValueError(f"{name} belongs to a projection, and proj_size=0")
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} is {list(tensor.shape)}, expected {list(shape)}")
    if tensor.dtype != x.dtype or tensor.device != x.device:
        raise ValueError(f"{name} is {tensor.dtype} on {tensor.device} but x is {x.dtype} on {x.device}")
    raise ValueError(f"{name} is {tensor.dtype} on {tensor.device}: the native kernels know float32 and float64 on the CPU")


def dense(tensor: Any) -> Any:
    """Row-major without gaps, and no negation that is still to be done; ``None`` stays."""
    if tensor is None or (tensor.is_contiguous() and not tensor.is_neg()):
        return tensor
    return tensor.resolve_neg().contiguous()


def _features_side_by_side(x: Tensor) -> Tensor:
    """x, whose steps and rows may lie anywhere."""
    if (x.is_contiguous() or x.stride(2) == 1 or x.shape[2] == 1) and not x.is_neg():
        return x
    return x.resolve_neg().contiguous()
