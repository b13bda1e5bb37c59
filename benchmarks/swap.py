"""What it costs to write bptt.nn where torch.nn stood, and bptt.backprop where a hand-written loop stood.

    python benchmarks/swap.py                   # the kernels that bptt.nn takes by itself
    python benchmarks/swap.py --backend torch   # torch's own, as torch.nn has them

Time of bptt over time of torch, forward and backward, medians of interleaved rounds: 1.00 costs nothing, less is faster.
"""

from __future__ import annotations

import argparse

import torch
from interleave import interleaved
from rich.console import Console
from rich.table import Table
from torch import nn

import bptt

SHAPES = [(1, 1, 8, 16, 1), (20, 1, 8, 16, 1), (100, 32, 64, 128, 1), (35, 20, 200, 200, 2)]
WINDOWS = [(10, 1, 16), (20, 4, 64), (35, 20, 128)]


def layers(table: Table, backend: str) -> None:
    for kind in ("RNN", "GRU", "LSTM"):
        for steps, rows, inputs, hidden, depth in SHAPES:
            theirs = getattr(nn, kind)(inputs, hidden, depth)
            ours = getattr(bptt.nn, kind)(inputs, hidden, depth, backend=backend)
            x = torch.randn(steps, rows, inputs)

            def step(layer: nn.Module, x: torch.Tensor = x) -> None:
                layer(x)[0].sum().backward()

            timing = interleaved({"torch": lambda theirs=theirs: step(theirs), "bptt": lambda ours=ours: step(ours)})
            row(table, f"nn.{kind}", f"T={steps} B={rows} I={inputs} H={hidden} layers={depth}", timing)


def loops(table: Table) -> None:
    loss = bptt.SquaredError()
    for k, rows, hidden in WINDOWS:
        model = nn.GRU(8, hidden)
        x, target = torch.randn(20 * k, rows, 8), torch.randn(20 * k, rows, hidden)

        def by_hand(model: nn.Module = model, x: torch.Tensor = x, target: torch.Tensor = target, k: int = k) -> None:
            state = None
            for a in range(0, len(x), k):
                y, state = model(x[a : a + k], state)
                loss(y, target[a : a + k]).backward()
                state = state.detach()
                model.zero_grad()

        def by_bptt(model: nn.Module = model, x: torch.Tensor = x, target: torch.Tensor = target, k: int = k) -> None:
            for _ in bptt.backprop(model, loss, (x, target), through=bptt.Truncated(k)):
                model.zero_grad()

        row(
            table,
            "backprop",
            f"20 windows of k={k}, B={rows}, GRU H={hidden}",
            interleaved({"torch": by_hand, "bptt": by_bptt}),
        )


def row(table: Table, what: str, shape: str, timing: dict) -> None:
    ours, theirs = timing["bptt"], timing["torch"]
    table.add_row(
        what,
        shape,
        f"{theirs.seconds * 1e6:,.0f}",
        f"{ours.seconds * 1e6:,.0f}",
        f"{ours.ratio:.2f}",
        f"{ours.low:.2f}–{ours.high:.2f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backend", default="auto")
    backend = parser.parse_args().backend
    table = Table(title=f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, backend {backend}")
    for name in ("", "shape", "torch µs", "bptt µs", "bptt / torch", "middle half"):
        table.add_column(name, justify="left" if name in ("", "shape") else "right")
    layers(table, backend)
    loops(table)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
