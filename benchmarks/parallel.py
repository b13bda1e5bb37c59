"""When parallel in time is faster, on this machine: the scan against the loop, and Newton's method against step by step.

    python benchmarks/parallel.py

Forward and backward, medians of interleaved rounds. A ratio is time over that of one step after the other: below 1 is faster.
"""

from __future__ import annotations

import torch
from interleave import interleaved
from rich.console import Console
from rich.table import Table
from torch import nn

import bptt
from bptt.nn import linear_scan

SCANS = [(32, 64), (128, 64), (1024, 64), (128, 2048), (1024, 2048), (128, 16384), (1024, 16384)]
CELLS = [("GRU", 256, 1, 4), ("GRU", 1024, 1, 4), ("GRU", 1024, 1, 16), ("GRU", 256, 8, 32), ("RNN", 1024, 1, 4)]


def scans(table: Table) -> None:
    for steps, width in SCANS:
        a, b = torch.rand(steps, 1, width, requires_grad=True), torch.randn(steps, 1, width, requires_grad=True)

        def run(how: str, a: torch.Tensor = a, b: torch.Tensor = b) -> None:
            linear_scan(a, b, torch.zeros_like(b[0]), how).sum().backward()

        calls = {how: lambda how=how, run=run: run(how) for how in ("steps", "scan")}
        timing = interleaved(calls, rounds=7)
        table.add_row("h = a h + b", f"T={steps} B·H={width}", "scan", f"{timing['scan'].ratio:.2f}", "")


def cells(table: Table) -> None:
    for kind, steps, rows, hidden in CELLS:
        torch.manual_seed(0)
        cell = getattr(nn, kind)(4, hidden)
        loop = _Loop(cell)
        x = torch.randn(steps, rows, 4)
        runs = {
            "step by step": loop,
            "fused": cell,
            "Newton": bptt.Newton(cell),
            "Newton, diagonal": bptt.Newton(cell, jacobian="diagonal", iterations=200),
        }
        calls = {name: lambda run=run, x=x: run(x)[0].sum().backward() for name, run in runs.items()}
        timing = interleaved(calls, rounds=5)
        for name in list(runs)[1:]:
            report = getattr(runs[name], "report", None)
            said = "" if report is None else f"{report.iterations} iterations" + ("" if report.converged else ", not converged")
            table.add_row(f"nn.{kind}", f"T={steps} B={rows} H={hidden}", name, f"{timing[name].ratio:.2f}", said)


class _Loop(nn.Module):
    """A layer called once a step, as a cell of one's own would be."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
        outputs = []
        for step in x.split(1):
            y, state = self.layer(step, state)
            outputs.append(y)
        return torch.cat(outputs), state


if __name__ == "__main__":
    table = Table("recurrence", "size", "how", "time / step by step", "")
    scans(table)
    cells(table)
    Console().print(f"{torch.get_num_threads()} threads, torch {torch.__version__}", table)
