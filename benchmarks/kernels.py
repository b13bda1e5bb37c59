"""How fast the native kernels are beside torch's layers: forward and backward, taking turns in one process.

    python benchmarks/kernels.py [--threads 2] [--rounds 9] [--shapes 100,32,64,128 ...] [--cells RNN GRU LSTM]

Times are medians; the ratio is the median of the rounds' own ratios (torch over native: more is faster). The peak is that of
multiply-adds in registers, measured within the same rounds; on a busy machine believe the ratio, and only its order of size.
"""

from __future__ import annotations

import argparse
import statistics

import bptt_native
import torch
from interleave import interleaved
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import bptt

SHAPES = [
    (100, 1, 32, 64),
    (200, 16, 32, 64),
    (1000, 8, 64, 128),
    (100, 32, 64, 128),
    (35, 20, 650, 650),
    (100, 64, 256, 512),
    (100, 128, 512, 1024),
]
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def operations(cell: str, steps: int, rows: int, inputs: int, hidden: int) -> float:
    """Floating-point operations of the products, forward and twice that backward."""
    return 6.0 * steps * rows * GATES[cell] * hidden * (inputs + hidden)


def measure(cell: str, shape: tuple[int, int, int, int], dtype: torch.dtype, threads: int, rounds: int) -> list[str]:
    steps, rows, inputs, hidden = shape
    theirs = getattr(nn, cell)(inputs, hidden, dtype=dtype)
    ours = getattr(bptt.nn, cell)(inputs, hidden, dtype=dtype, backend="native")
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(steps, rows, inputs, dtype=dtype, requires_grad=True)

    def step(layer: nn.Module) -> Tensor:
        for leaf in (x, *layer.parameters()):
            leaf.grad = None
        y, _ = layer(x)
        y.sum().backward()
        return y

    peaks: list[float] = []
    candidates = {
        "native": lambda: step(ours),
        "torch": lambda: step(theirs),
        "peak": lambda: peaks.append(bptt_native.peak(threads, 0.002)),
    }
    timing = interleaved(candidates, rounds)
    mine, other = timing["native"], timing["torch"]
    rate, peak = operations(cell, *shape) / mine.seconds, statistics.median(peaks)
    if dtype == torch.float64:
        peak /= 2
    return [
        cell,
        ", ".join(map(str, shape)),
        f"{other.seconds * 1e3:.2f}",
        f"{mine.seconds * 1e3:.2f}",
        f"{other.ratio:.2f}",
        f"{other.low:.2f}–{other.high:.2f}",
        f"{rate / 1e9:.0f}",
        f"{100 * rate / peak:.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--shapes", nargs="+", default=[",".join(map(str, shape)) for shape in SHAPES], metavar="T,B,I,H")
    parser.add_argument("--cells", nargs="+", default=list(GATES), choices=list(GATES))
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    title = f"{bptt_native.isa()}, {chosen.threads} threads, {chosen.dtype}, torch {torch.__version__}, forward + backward"
    table = Table(title=title)
    for name in ("", "T, B, I, H", "torch ms", "native ms", "ratio", "middle half", "GFLOP/s", "% of peak"):
        table.add_column(name, justify="left" if name in ("", "T, B, I, H") else "right")
    for shape in chosen.shapes:
        for cell in chosen.cells:
            table.add_row(
                *measure(cell, tuple(map(int, shape.split(","))), getattr(torch, chosen.dtype), chosen.threads, chosen.rounds)
            )
    Console().print(table)


if __name__ == "__main__":
    main()
