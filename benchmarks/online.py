"""What a step costs forward in time, beside backpropagation through the last 20 steps; and that it does not depend on T.

    python benchmarks/online.py

Median milliseconds a step, with a window a step; the median of the last tenth over that of the first tenth of the steps; and
the numbers that are carried along. Truncated has k1 = 1, so that every one of them could step the optimizer at every step.
"""

from __future__ import annotations

import statistics
import time

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import bptt

MODELS = {
    "GRU, H=16, B=1": (lambda: bptt.nn.GRU(8, 16), 1),
    "GRU, H=16, B=8": (lambda: bptt.nn.GRU(8, 16), 8),
    "LSTM, H=32, B=1": (lambda: bptt.nn.LSTM(8, 32), 1),
    "MinGRU, H=64, B=1": (lambda: bptt.nn.MinGRU(8, 64), 1),
}
STRATEGIES = [bptt.Truncated(1, 20), bptt.RTRL(), bptt.SnAp(1), bptt.UORO(seed=0)]
STEPS = 1000


def measured(model: nn.Module, rows: int, strategy: bptt.Strategy) -> tuple[list[float], int]:
    """Seconds of each step after the first ten, and the numbers carried."""
    hidden = model.hidden_size

    def pieces():
        return ((torch.randn(1, rows, 8), torch.randn(1, rows, hidden)) for _ in range(STEPS + 10))

    run = bptt.backprop(model, bptt.SquaredError(), pieces(), through=strategy)
    for _ in range(10):
        next(run)
    taken = []
    while True:
        start = time.perf_counter()
        if next(run, None) is None:
            return taken, sum(t.numel() for t in run.state_dict().get("influence", {}).values())
        taken.append(time.perf_counter() - start)
        model.zero_grad()


if __name__ == "__main__":
    table = Table("model", "parameters", "through", "ms a step", "last / first tenth", "numbers carried")
    for name, (make, rows) in MODELS.items():
        torch.manual_seed(0)
        model = make()
        for strategy in STRATEGIES:
            taken, carried = measured(model, rows, strategy)
            tenth = len(taken) // 10
            growth = statistics.median(taken[-tenth:]) / statistics.median(taken[:tenth])
            count = sum(p.numel() for p in model.parameters())
            table.add_row(
                name, f"{count:,}", str(strategy), f"{statistics.median(taken) * 1e3:.2f}", f"{growth:.2f}", f"{carried:,}"
            )
    Console().print(f"T={STEPS}, {torch.get_num_threads()} threads, torch {torch.__version__}", table)
