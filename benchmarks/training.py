"""Whole training steps side by side, and where their time goes: what `words.py` and `forecaster.py` share."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from interleave import interleaved
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

# What the profiler names its events, and what they are for.
_PARTS = [
    ("readout and loss in one", ("ReadoutCrossEntropy",)),
    ("products", ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")),
    ("recurrent layers", ("mkldnn_rnn_layer", "Sequence", "thnn_fused", "_thnn_fused")),
    ("softmax and loss", ("log_softmax", "softmax", "nll_loss", "amax", "scatter_add", "gather", "mse_loss")),
    ("optimizer", ("sgd", "adam", "Optimizer.", "_foreach", "addcmul", "addcdiv", "lerp")),
    ("gradient norm", ("linalg_vector_norm", "clamp")),
    ("embedding", ("embedding", "index_select")),
    ("filling, copying, adding", ("fill_", "zero_", "copy_", "add_", "aten::add", "mul_", "aten::mul", "sum", "cat", "stack")),
]


def compare(title: str, steps: dict[str, Callable[[], object]], tokens: int, unit: str, rounds: int) -> None:
    """Prints units a second and the ratio to the first, then the profile of each."""
    for step in steps.values():  # a machine that was idle takes a while to reach its speed
        start = time.perf_counter()
        while time.perf_counter() - start < 1.0:
            step()
    timing = interleaved(steps, rounds, 0.1)
    console = Console(width=120)
    table = Table(title=f"{title}; {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in ("", "ms a step", f"{unit} a second", "times as fast", "middle half"):
        table.add_column(name, justify="right" if name else "left")
    for name, taken in timing.items():
        table.add_row(
            name,
            f"{taken.seconds * 1e3:.2f}",
            f"{tokens / taken.seconds:,.0f}",
            f"{1 / taken.ratio:.2f}",
            f"{1 / taken.high:.2f}–{1 / taken.low:.2f}",
        )
    console.print(table)
    for name, step in steps.items():
        console.print(_profiled(name, step))


def _profiled(name: str, step: Callable[[], object], repeats: int = 10) -> Table:
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(repeats):
            step()
    parts: dict[str, float] = {}
    for event in found.key_averages():
        part = next((part for part, keys in _PARTS if any(key in event.key for key in keys)), "everything else")
        parts[part] = parts.get(part, 0.0) + event.self_cpu_time_total / repeats / 1e3
    whole = sum(parts.values())
    table = Table(title=f"{name}, a step under the profiler: {whole:.1f} ms")
    for column in ("", "ms", "%"):
        table.add_column(column, justify="right" if column else "left")
    for part, taken in sorted(parts.items(), key=lambda each: -each[1]):
        table.add_row(part, f"{taken:.2f}", f"{100 * taken / whole:.0f}")
    return table
