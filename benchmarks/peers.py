"""What is timed beside the native kernels: the same layer in torch, compiled by torch, and as JAX's scan."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from unittest.mock import patch

import torch
from shapes import Shape
from torch import Tensor, nn

import bptt

Call = Callable[[], object]
_CACHE = "TORCHINDUCTOR_CACHE_DIR"


def torch_step(layer: nn.Module, x: Tensor, backward: bool, **flags: Tensor) -> Call:
    """Forward, or forward and backward to x and every parameter, of the sum of all outputs."""

    def forward() -> Tensor:
        with torch.no_grad():
            return layer(x, **flags)[0]

    def both() -> None:
        for leaf in (x, *layer.parameters()):
            leaf.grad = None
        layer(x, **flags)[0].sum().backward()

    return both if backward else forward


def layers(cell: str, shape: Shape, dtype: torch.dtype) -> tuple[nn.Module, nn.Module, Tensor]:
    """The native layer, torch's with the same weights, and an input."""
    steps, rows, inputs, hidden = shape
    theirs = getattr(nn, cell)(inputs, hidden, dtype=dtype)
    ours = getattr(bptt.nn, cell)(inputs, hidden, dtype=dtype, backend="native")
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs, torch.randn(steps, rows, inputs, dtype=dtype, requires_grad=True)


def compiled_step(
    cell: str, shape: Shape, layer: nn.Module, x: Tensor, backward: bool, steps: int, seconds: float
) -> Call | str:
    """torch.compile of torch's own layer, its time loop unrolled; or in words why not.

    A process of its own tries first, into a cache of its own: a compilation that is given up leaves no compiler at work, no
    half-made graphs and no half-written files beside what is timed.
    """
    if len(x) > steps:
        return f"it unrolls the loop, and T is above {steps} (--compile-steps)"
    if not hasattr(os, "killpg"):
        return "no way here to stop a compilation"
    trial = [cell, ",".join(map(str, shape)), str(x.dtype).removeprefix("torch."), "both" if backward else "forward"]
    command = [sys.executable, __file__, *trial, str(torch.get_num_threads())]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        own = {**os.environ, _CACHE: folder, "TMPDIR": folder}
        with subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=own
        ) as process:
            try:
                said = process.communicate(timeout=seconds)[0]
            except subprocess.TimeoutExpired:
                return f"takes more than {seconds:.0f} s to compile"
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            return said.strip() or f"the compiler ended with {process.returncode}"
        with patch.dict(os.environ, {_CACHE: folder}):
            try:
                return _compiled(layer, x, backward)
            except Exception as error:  # compilers fail in many ways
                return type(error).__name__


def _compiled(layer: nn.Module, x: Tensor, backward: bool) -> Call:
    torch.compiler.reset()
    call = torch_step(torch.compile(layer), x, backward)
    with torch._dynamo.config.patch(allow_rnn=True), torch._inductor.config.patch(compile_threads=1):
        call()
        call()
    return call


def jax_step(cell: str, layer: nn.Module, x: Tensor, backward: bool) -> Call | str:
    """The layer as `jax.lax.scan`, the input's product before the loop, jitted; or in words why not."""
    if importlib.util.find_spec("jax") is None:
        return 'not installed: pip install "bptt[bench]"'
    import jax

    if x.dtype == torch.float64:
        jax.config.update("jax_enable_x64", True)
    weights = [jax.numpy.asarray(p.detach().numpy()) for p in layer.parameters()]
    given = jax.numpy.asarray(x.detach().numpy())

    def outputs(x: Any, weights: list[Any]) -> Any:
        w_ih, w_hh, b_ih, b_hh = weights
        zero = jax.numpy.zeros((x.shape[1], w_hh.shape[1]), x.dtype)
        step = _JAX_CELLS[cell](jax, w_hh, b_hh)
        return jax.lax.scan(step, (zero, zero) if cell == "LSTM" else zero, x @ w_ih.T + b_ih)[1]

    if backward:
        gradient = jax.jit(jax.grad(lambda x, weights: outputs(x, weights).sum(), (0, 1)))
        return lambda: jax.block_until_ready(gradient(given, weights))
    forward = jax.jit(outputs)
    return lambda: jax.block_until_ready(forward(given, weights))


def _rnn(jax: Any, w: Any, b: Any) -> Callable[[Any, Any], Any]:
    def step(h: Any, a: Any) -> Any:
        h = jax.numpy.tanh(a + h @ w.T + b)
        return h, h

    return step


def _gru(jax: Any, w: Any, b: Any) -> Callable[[Any, Any], Any]:
    def step(h: Any, a: Any) -> Any:
        a_r, a_z, a_n = jax.numpy.split(a, 3, -1)
        u_r, u_z, u_n = jax.numpy.split(h @ w.T + b, 3, -1)
        r, z = jax.nn.sigmoid(a_r + u_r), jax.nn.sigmoid(a_z + u_z)
        n = jax.numpy.tanh(a_n + r * u_n)
        h = n + z * (h - n)
        return h, h

    return step


def _lstm(jax: Any, w: Any, b: Any) -> Callable[[Any, Any], Any]:
    def step(state: Any, a: Any) -> Any:
        h, c = state
        i, f, g, o = jax.numpy.split(a + h @ w.T + b, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jax.numpy.tanh(g)
        h = jax.nn.sigmoid(o) * jax.numpy.tanh(c)
        return (h, c), h

    return step


_JAX_CELLS = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}


def _try(cell: str, sizes: str, dtype: str, each: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    _, theirs, x = layers(cell, tuple(map(int, sizes.split(","))), getattr(torch, dtype))
    try:
        _compiled(theirs, x, each == "both")
    except Exception as error:  # as above
        print(type(error).__name__)
        raise SystemExit(1) from error


if __name__ == "__main__":
    _try(*sys.argv[1:])
