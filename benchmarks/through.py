"""What the strategies cost: exact gradients of long sequences in little memory, and the cost of a step as sequences grow.

    python benchmarks/through.py long [--steps 1000000] [--memory 256MiB]   one LSTM, H = 64, B = 1, a loss at every step
    python benchmarks/through.py part [--part 0.05]                         T = 1000 with a part of Full's memory
    python benchmarks/through.py flat [--longest 1000000] [--plot FILE]     time a step from 1,000 steps on; in parts by
        --only full truncated --keep FILE.json, which joins what it finds to what the file holds; --only with no name draws

Each process measures itself, on one thread unless --threads says so. Times are processor time, which a machine's other guests
change least, unless the clock is named. Growth is of the peak resident memory (Linux), beyond what a short pass left behind.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import bptt
from bptt.tasks.pictures import BLUE, GREEN, INK, ORANGE, PURPLE, picture
from bptt.through.size import as_bytes, shown

_TABLE = 4096
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#c2497d", INK)


# Where Full fits: a tape of 25 MiB, which stays in a large third cache, and one which does not, as those of large budgets.
FITS = (20_000, 200_000)


class Lazy:
    """A sequence of any length that exists only where it is sliced."""

    def __init__(self, steps: int, rows: int, inputs: int, outputs: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self._steps = steps
        self._x = torch.randn(_TABLE, rows, inputs, generator=generator)
        self._target = torch.randn(_TABLE, rows, outputs, generator=generator)

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, steps: slice) -> tuple[Tensor, Tensor]:
        at = torch.arange(steps.start, steps.stop) % _TABLE
        return self._x[at], self._target[at]


class Model(nn.Module):
    """A layer and a readout."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layer, self.readout = bptt.nn.LSTM(inputs, hidden), nn.Linear(hidden, outputs)

    def forward(self, x: Tensor, state: Any, mask: Tensor | None = None, reset: Tensor | None = None) -> tuple[Tensor, Any]:
        y, state = self.layer(x, state, mask=mask, reset=reset)
        return self.readout(y), state


def peak() -> int:
    """The most memory that this process has held, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM in /proc/self/status")


def growth(run: Callable[[], object]) -> int:
    """By how much the peak grows while ``run`` runs."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    run()
    return peak() - before


class Took(NamedTuple):
    """Seconds of a processor and by the clock, and the pass itself."""

    busy: float
    clock: float
    run: bptt.Backprop


def one_pass(model: nn.Module, sequence: Any, through: bptt.Strategy) -> Took:
    model.zero_grad(set_to_none=True)
    run = bptt.backprop(model, bptt.SquaredError(), sequence, through=through)
    busy, clock = time.process_time(), time.perf_counter()
    for _ in run:
        pass
    return Took(time.process_time() - busy, time.perf_counter() - clock, run)


def long(chosen: argparse.Namespace) -> None:
    torch.manual_seed(0)
    model = Model(16, 64, 8)
    budget = as_bytes("memory", chosen.memory)
    full, within = bptt.Full(), bptt.Checkpointed(memory=budget)
    for through in (full, bptt.Checkpointed(slots=2)):
        one_pass(model, Lazy(100, 1, 16, 8), through)
    took: list[Took] = []
    grew = growth(lambda: took.append(one_pass(model, Lazy(chosen.steps, 1, 16, 8), within)))
    print(took[0].run.plan.summary())
    print(f"process grew by {shown(grew)}, {grew / budget:.2f} of the budget")
    for fits in FITS:
        whole = [one_pass(model, Lazy(fits, 1, 16, 8), full) for _ in range(max(3, 220_000 // fits))]
        for name, seconds, reference in (
            ("processor", took[0].busy, statistics.median(each.busy for each in whole)),
            ("by the clock", took[0].clock, statistics.median(each.clock for each in whole)),
        ):
            step, by_full = seconds / chosen.steps * 1e6, reference / fits * 1e6
            print(f"a step, {name}: {step:.2f} µs; by Full at {fits:,} steps {by_full:.2f} µs; ratio {step / by_full:.2f}")


def taken(model: nn.Module, sequence: Lazy) -> int:
    """The bytes that `Full` takes."""
    whole = bptt.Checkpointed(memory="100GiB")
    one_pass(model, sequence, whole)
    return one_pass(model, sequence, whole).run.plan.measured or 0


def part(chosen: argparse.Namespace) -> None:
    torch.manual_seed(0)
    table = Table(title=f"T = 1000 with {chosen.part:.0%} of the memory that Full takes and that grows with T")
    for name in ("B, H", "Full's memory", "of it fixed", "budget", "predicted", "measured", "forward steps", "time / Full"):
        table.add_column(name, justify="right")
    for rows, hidden in ((8, 128), (32, 128), (32, 256)):
        model, sequence = Model(32, hidden, 32), Lazy(1000, rows, 32, 32)
        needed, half = (taken(model, Lazy(steps, rows, 32, 32)) for steps in (1000, 500))
        fixed = 2 * half - needed  # gradients and scratch memory, which do not grow with T
        budget = int(chosen.part * (needed - fixed)) + fixed
        within = bptt.Checkpointed(memory=budget)
        for through in (bptt.Full(), within):
            one_pass(model, sequence, through)
        pairs = [(one_pass(model, sequence, within), one_pass(model, sequence, bptt.Full())) for _ in range(chosen.rounds)]
        ratio = statistics.median(a.busy / b.busy for a, b in pairs)
        plan = pairs[-1][0].run.plan
        outline = plan.outline
        assert outline is not None
        cells = (shown(needed), shown(fixed), shown(budget), shown(outline.predicted or 0), shown(plan.measured or 0))
        table.add_row(f"{rows}, {hidden}", *cells, f"{outline.forward:,}", f"{ratio:.2f}")
    Console(width=120).print(table)


STRATEGIES = [
    bptt.Full(),
    bptt.Checkpointed(memory="64MiB"),
    bptt.Truncated(50),
    bptt.Truncated(50, 200),
    bptt.Truncated(5000, 20000, memory="16MiB"),
    bptt.Randomized(200, block=50, seed=0),
    bptt.Adaptive(0.1, k1=50, most=400),
    bptt.RTRL(50),
    bptt.SnAp(1, 50),
    bptt.UORO(50, seed=0),
]
FORWARD = 10**4  # steps after which it is plain what those do that go forward in time: a step of theirs takes milliseconds


def flat(chosen: argparse.Namespace) -> None:
    torch.manual_seed(0)
    lengths = [10**3, 10**4, 10**5, 10**6]
    lengths = [steps for steps in lengths if steps <= chosen.longest]
    table = Table(title="processor µs a step, LSTM H = 32, B = 1")
    table.add_column("")
    for steps in lengths:
        table.add_column(f"T = {steps:,}", justify="right")
    keep = Path(chosen.keep) if chosen.keep else None
    found: dict[str, list[float]] = json.loads(keep.read_text()) if keep and keep.exists() else {}
    model = Model(8, 32, 8)
    for through in STRATEGIES:
        forward = isinstance(through, (bptt.RTRL, bptt.SnAp, bptt.UORO))
        if chosen.only is None or str(through).partition(":")[0] in chosen.only:
            one_pass(model, Lazy(1000, 1, 8, 8), through)
            found[str(through)] = [
                min(one_pass(model, Lazy(steps, 1, 8, 8), through).busy for _ in range(1 if forward else repeats(steps)))
                / steps
                * 1e6
                for steps in lengths
                if steps <= FORWARD or not forward
            ]
            if keep:
                keep.write_text(json.dumps(found, indent=1) + "\n")
        if str(through) in found:
            table.add_row(str(through), *(f"{value:.2f}" for value in found[str(through)]))
    Console(width=120).print(table)
    if chosen.plot:
        draw(lengths, found, chosen.plot)


def repeats(steps: int) -> int:
    return max(1, min(5, 10**5 // steps))


def draw(lengths: list[int], found: dict[str, list[float]], path: str) -> None:
    with picture(Path(path)) as [axes]:
        for number, (name, values) in enumerate(found.items()):
            colour, line = COLOURS[number % len(COLOURS)], ("-", (0, (4, 2)))[number // len(COLOURS)]
            axes.plot(lengths[: len(values)], values, marker="o", markersize=4, color=colour, linestyle=line, label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("steps T")
        axes.set_ylabel("processor µs a step")
        axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, handlelength=3.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    one = kinds.add_parser("long")
    one.add_argument("--steps", type=int, default=1_000_000)
    one.add_argument("--memory", default="256MiB")
    two = kinds.add_parser("part")
    two.add_argument("--part", type=float, default=0.05)
    two.add_argument("--rounds", type=int, default=5)
    three = kinds.add_parser("flat")
    three.add_argument("--longest", type=int, default=1_000_000)
    three.add_argument("--plot")
    three.add_argument("--only", nargs="*", help="strategies, by name; all unless given")
    three.add_argument("--keep", help="a file of what has been measured, to join parts")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    {"long": long, "part": part, "flat": flat}[chosen.kind](chosen)


if __name__ == "__main__":
    main()
