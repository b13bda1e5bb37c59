"""The native CPU kernels as a kernel: the only importer of the module ``bptt_native``."""

from __future__ import annotations

import math
from typing import Any

import torch  # before bptt_native, which shares the OpenMP runtime that torch brings
from torch import Tensor

from bptt.kernels.contract import Layer, Rows, State, Weights
from bptt.kernels.reference import Reference

try:
    import bptt_native as native
except ImportError as error:
    native, _MISSING = None, f"not installed: pip install ./native ({error})"

_CELLS = {"rnn": 0, "gru": 1, "lstm": 2}
_ACTIVATIONS = {"tanh": 0, "relu": 1, "identity": 2}
_MOST_THREADS = 256
_reference = Reference()


class Native:
    """Serves float32 and float64 on the CPU, every cell; gradients of gradients come from the reference."""

    name = "native"

    def why_not(self, layer: Layer, x: Tensor, rows: Rows) -> str | None:  # noqa: ARG002
        """Why these kernels cannot compute this layer here."""
        if native is None:
            return _MISSING
        if x.device.type != "cpu":
            return f"the native kernels are for the CPU, x is on {x.device}"
        if x.dtype not in (torch.float32, torch.float64):
            return f"the native kernels know float32 and float64, x is {x.dtype}"
        if layer.cell == "rnn" and layer.activation not in _ACTIVATIONS:
            name = (
                layer.activation if isinstance(layer.activation, str) else getattr(layer.activation, "__name__", "a function")
            )
            return f"the native RNN knows {', '.join(_ACTIVATIONS)}, not {name}"
        if torch.is_autocast_enabled("cpu"):
            return "the native kernels compute in the dtype of x, not in autocast's"
        return None

    def run(self, layer: Layer, weights: Weights, x: Tensor, state: State, rows: Rows) -> tuple[Tensor, State]:
        """One layer, one direction; see `bptt.kernels.reference`."""
        h0, c0 = state if layer.cell == "lstm" else (state[0], None)
        if torch.is_grad_enabled():
            y, *final = _Sequence.apply(layer, rows, x, h0, c0, *weights)  # type: ignore[no-untyped-call]
        else:
            y, *final, _, _ = _forward(layer, rows, x, h0, c0, *weights, keep=False)
        return y, tuple(final) if layer.cell == "lstm" else (final[0],)


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        layer: Layer,
        rows: Rows,
        x: Tensor,
        h0: Tensor,
        c0: Tensor | None,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None,
        b_hh: Tensor | None,
        w_hr: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        keep = any(ctx.needs_input_grad)
        y, h, c, gates, cells = _forward(layer, rows, x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, keep)
        if keep:
            ctx.layer, ctx.rows = layer, rows
            ctx.save_for_backward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, y, gates, cells)
            ctx.set_materialize_grads(False)
        return y, h, c

    @staticmethod
    def backward(ctx: Any, *errors: Tensor | None) -> tuple[Tensor | None, ...]:
        saved, wanted = ctx.saved_tensors, ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():  # create_graph: someone may differentiate these gradients
            return (None, None, *_differentiable(ctx.layer, ctx.rows, saved[:8], errors, wanted))
        return (None, None, *_backward(ctx.layer, ctx.rows, saved, errors, wanted))


def _forward(
    layer: Layer,
    rows: Rows,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    w_hr: Tensor | None,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    _check(layer, x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr)
    steps, batch, _ = x.shape
    x = _neighbours(x)
    tensors = tuple(None if t is None else t.contiguous() for t in (h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr))
    lstm = layer.cell == "lstm"
    y = x.new_empty(steps, batch, layer.proj_size or layer.hidden_size)
    h = x.new_empty(batch, y.shape[2])
    c = x.new_empty(batch, layer.hidden_size) if lstm else None
    gates = cells = None
    if keep and layer.cell != "rnn":
        sizes = native.tape(x.dtype == torch.float64, _CELLS[layer.cell], *x.shape, layer.hidden_size)
        gates = x.new_empty(sizes[0])
        cells = x.new_empty(sizes[1]) if lstm else None
    call, held = _call(layer, rows, x)
    native.forward(*call, tuple(map(_address, (x, *tensors, y, h, c, gates, cells))))
    del held
    return y, h, c, gates, cells


def _backward(
    layer: Layer,
    rows: Rows,
    saved: tuple[Tensor, ...],
    errors: tuple[Tensor | None, ...],
    wanted: tuple[bool, ...],
) -> list[Tensor | None]:
    x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, y, gates, cells = saved
    x = _neighbours(x)
    given = tuple(None if t is None else t.contiguous() for t in (h0, c0, w_ih, w_hh, w_hr))
    errors = tuple(None if e is None else e.contiguous() for e in errors)
    found = [
        torch.empty_like(t, memory_format=torch.contiguous_format) if want and t is not None else None
        for t, want in zip((x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr), wanted, strict=True)
    ]
    call, held = _call(layer, rows, x)
    native.backward(*call, tuple(map(_address, (x, *given, y, gates, cells, *errors, *found))))
    del held
    return found


def _differentiable(
    layer: Layer,
    rows: Rows,
    inputs: tuple[Tensor | None, ...],
    errors: tuple[Tensor | None, ...],
    wanted: tuple[bool, ...],
) -> list[Tensor | None]:
    """The gradients with a graph behind them, by the reference."""
    x, h0, c0, *weights = inputs
    assert x is not None
    assert h0 is not None
    with torch.enable_grad():
        state = (h0,) if c0 is None else (h0, c0)
        y, final = _reference.run(layer, Weights(*weights), x, state, rows)  # type: ignore[arg-type]
    pairs = [(made, error) for made, error in zip((y, *final), errors, strict=False) if error is not None]
    asked = [t for t, want in zip(inputs, wanted, strict=True) if want and t is not None]
    made = torch.autograd.grad([p[0] for p in pairs], asked, [p[1] for p in pairs], create_graph=True, allow_unused=True)
    remaining = iter(made)
    return [next(remaining) if want and t is not None else None for t, want in zip(inputs, wanted, strict=True)]


def _call(layer: Layer, rows: Rows, x: Tensor) -> tuple[tuple[Any, ...], list[Tensor]]:
    """The call's leading arguments, and what must live as long as the call."""
    steps, batch, inputs = x.shape
    held = [flags.contiguous() if flags is not None else None for flags in rows]
    arguments = (
        x.dtype == torch.float64,
        _CELLS[layer.cell],
        _ACTIVATIONS[layer.activation] if layer.cell == "rnn" else 0,  # type: ignore[index]
        layer.reverse,
        steps,
        batch,
        inputs,
        layer.hidden_size,
        layer.proj_size,
        math.inf if layer.clip_step is None else float(layer.clip_step),
        min(torch.get_num_threads(), _MOST_THREADS),
        _address(held[0]),
        _address(held[1]),
        x.stride(0),
        x.stride(1),
    )
    return arguments, held  # type: ignore[return-value]


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _neighbours(x: Tensor) -> Tensor:
    """x with its features side by side; steps and rows may lie anywhere."""
    return x if x.stride(2) == 1 or x.shape[2] == 1 else x.contiguous()


def _check(
    layer: Layer,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    w_hr: Tensor | None,
) -> None:
    """No memory is touched before every size, dtype and device is what the layer says."""
    if x.ndim != 3 or x.shape[0] == 0:
        raise ValueError(f"x is {list(x.shape)}, expected [T, B, I] with at least one step")
    rows, hidden = x.shape[1], layer.hidden_size
    out = layer.proj_size or hidden
    stacked = {"rnn": 1, "gru": 3, "lstm": 4}[layer.cell] * hidden
    expected = (
        ("x", x, (x.shape[0], rows, layer.input_size)),
        ("h", h0, (rows, out)),
        ("c", c0, (rows, hidden)),
        ("weight_ih", w_ih, (stacked, layer.input_size)),
        ("weight_hh", w_hh, (stacked, out)),
        ("bias_ih", b_ih, (stacked,)),
        ("bias_hh", b_hh, (stacked,)),
        ("weight_hr", w_hr, (layer.proj_size, hidden)),
    )
    dtype, device = x.dtype, x.device
    for name, tensor, shape in expected:
        if tensor is None:
            continue
        if tensor.shape != shape:
            raise ValueError(f"{name} is {list(tensor.shape)}, expected {list(shape)}")
        if tensor.dtype != dtype or tensor.device != device:
            raise ValueError(f"{name} is {tensor.dtype} on {tensor.device} but x is {dtype} on {device}")
    if (c0 is None) != (layer.cell != "lstm"):
        raise ValueError("the state is (h, c) for an LSTM, else (h,)")
    if (w_hr is None) != (layer.proj_size == 0):
        raise ValueError(f"weight_hr belongs to a projection, and proj_size={layer.proj_size}")
