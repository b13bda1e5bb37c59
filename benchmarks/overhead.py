"""What a call of a small layer costs beside an empty autograd.Function and beside torch's layer: T steps of one row.

    python benchmarks/overhead.py [--threads 1]

"empty" takes the layer's own tensors, saves them, and returns results and gradients that were made before: what
torch.autograd.Function costs when it does nothing. "same" also makes the layer's results, tape and gradients, as uninitialised
memory, and saves what the layer saves: below it no layer written as such a Function can go. "compute" is the kernels' own
work, called with the same sizes; "overhead" is "native" without it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from interleave import interleaved
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import bptt
from bptt.kernels.native import calls


class Empty(torch.autograd.Function):
    results: tuple[Tensor, ...]
    gradients: tuple[Tensor | None, ...]

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        return Empty.results

    @staticmethod
    def backward(ctx: Any, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors
        return Empty.gradients


class Same(torch.autograd.Function):
    like: tuple[Tensor, ...]  # the layer's results, then its tape

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        made = [torch.empty_like(t) for t in Same.like]
        results = 3 if len(made) == 5 else 2
        ctx.save_for_backward(*tensors, made[0], *made[results:])
        ctx.set_materialize_grads(False)
        return tuple(made[:results])

    @staticmethod
    def backward(ctx: Any, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad
        saved = ctx.saved_tensors[: len(wanted)]
        return tuple([torch.empty_like(t) if want else None for t, want in zip(saved, wanted, strict=True)])


def candidates(cell: str, steps: int, backward: bool) -> dict[str, Callable[[], object]]:
    ours, theirs = getattr(bptt.nn, cell)(8, 16, backend="native"), getattr(nn, cell)(8, 16)
    x, zero = torch.randn(steps, 1, 8), torch.zeros(1, 1, 16)
    weights = list(ours.parameters())
    gradients = (None, None, *(torch.zeros_like(w) for w in weights))
    plan = calls.plan_of(ours._layers[0])
    inputs = (x, None, None, *weights, None)
    y, h, c, *tape = calls.forward(plan, inputs, None, None, True)
    Same.like = tuple(t for t in (y, h, c, *tape) if t is not None)
    errors, wanted = (torch.ones_like(y), None, None), (False,) * 3 + (True,) * 4 + (False,)

    def empty() -> None:
        Empty.results, Empty.gradients = (torch.empty(steps, 1, 16), torch.empty(1, 1, 16)), gradients
        made = Empty.apply(x, zero, *weights)[0]
        if backward:
            made.sum().backward()

    def same() -> None:
        made = Same.apply(*inputs)[0]
        if backward:
            made.sum().backward()

    def layer(module: nn.Module) -> None:
        made = module(x)[0]
        if backward:
            made.sum().backward()

    def compute() -> None:
        calls.forward(plan, inputs, None, None, True)
        if backward:
            calls.backward(plan, inputs, None, None, (y, *tape), errors, wanted)

    return {
        "empty": empty,
        "same": same,
        "native": lambda: layer(ours),
        "torch": lambda: layer(theirs),
        "compute": compute,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    table = Table(title=f"B=1, I=8, H=16; {chosen.threads} threads, torch {torch.__version__}; µs")
    times, ratios = (
        ("empty", "same", "native", "torch", "compute"),
        ("native / empty", "overhead / empty", "native / same", "torch / native"),
    )
    for name in ("", "T", "pass", *times, *ratios):
        table.add_column(name, justify="left" if name in ("", "pass") else "right")
    for cell in ("RNN", "GRU", "LSTM"):
        for steps in (1, 20):
            for backward in (False, True):
                found = interleaved(candidates(cell, steps, backward), chosen.rounds)
                micro = {name: each.seconds * 1e6 for name, each in found.items()}
                table.add_row(
                    cell,
                    str(steps),
                    "both" if backward else "forward",
                    *(f"{micro[name]:.0f}" for name in times),
                    f"{found['native'].ratio:.2f}",
                    f"{(micro['native'] - micro['compute']) / micro['empty']:.2f}",
                    f"{micro['native'] / micro['same']:.2f}",
                    f"{micro['torch'] / micro['native']:.2f}",
                )
    Console(width=128).print(table)


if __name__ == "__main__":
    main()
