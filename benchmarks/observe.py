"""What the instruments cost: a flow in training steps, looks in the time of a training, a wide network's report in seconds.

python benchmarks/observe.py flow      gradient_flow of T = 1000, B = 32, H = 256 beside a training step on the same sequence
python benchmarks/observe.py looks     the share of a training's time that observe=every(N) takes
python benchmarks/observe.py horizon   the horizon of sampled losses beside that of all, on networks trained to remember
python benchmarks/observe.py report    what bptt inspect measures of an LSTM 2x1024, without the start of Python
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import bptt
from bptt.observe import Report, every, gradient_flow, lyapunov, units
from bptt.train.log import read_lines

SYMBOLS = 32


class Model(nn.Module):
    """Symbols to symbols."""

    def __init__(self, layer: bptt.nn.Recurrent) -> None:
        super().__init__()
        self.embed, self.layer = nn.Embedding(SYMBOLS, layer.input_size), layer
        self.readout = nn.Linear(layer.hidden_size, SYMBOLS)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, state = self.layer(self.embed(x), state)
        return self.readout(y), state


def symbols(steps: int, rows: int) -> tuple[Tensor, Tensor]:
    drawn = torch.randint(0, SYMBOLS, (steps + 1, rows), generator=torch.Generator().manual_seed(0))
    return drawn[:-1], drawn[1:]


def seconds(call: Callable[[], object], repeats: int) -> float:
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def flow() -> None:
    sequence, loss = symbols(1000, 32), bptt.CrossEntropy()
    for kind, longest in (("LSTM", None), ("LSTM", 300), ("GRU", None), ("GRU", 300)):
        torch.manual_seed(0)
        model = Model(getattr(bptt.nn, kind)(32, 256))
        if longest is not None:
            bptt.nn.init.chrono_(model.layer, longest)
        optimizer = torch.optim.Adam(model.parameters())

        def step(model: Model = model, optimizer: torch.optim.Optimizer = optimizer) -> None:
            (_,) = bptt.backprop(model, loss, sequence, reduction="mean")
            optimizer.step()
            optimizer.zero_grad()

        step()
        training, taken = seconds(step, 5), seconds(lambda model=model: gradient_flow(model, loss, sequence), 1)
        begun = "as it is made" if longest is None else f"gates open for {longest} steps"
        print(f"{kind}, {begun}: a step {training:.2f} s, the flow {taken:.2f} s, {taken / training:.1f} steps", flush=True)


class Remembers(nn.Module):
    """Trained on a sum of its inputs that fades by 1/e in 20 steps."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.readout = getattr(bptt.nn, kind)(1, 12), nn.Linear(12, 1)
        x, fading = torch.randn(200, 4, 1), torch.exp(-torch.arange(200) / 20)
        target = torch.stack([(x[: t + 1] * fading[: t + 1].flip(0)[:, None, None]).sum(0) for t in range(200)])
        self.sequence = x, target / 5
        optimizer = torch.optim.Adam(self.parameters(), 1e-2)
        for _ in range(100):
            (_,) = bptt.backprop(self, bptt.SquaredError(), self.sequence, reduction="mean")
            optimizer.step()
            optimizer.zero_grad()

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, state = self.layer(x, state)
        return self.readout(y), state


def horizon() -> None:
    for kind in ("LSTM", "GRU", "RNN"):
        model, loss = Remembers(kind), bptt.SquaredError()
        exact = gradient_flow(model, loss, model.sequence, samples=200)
        found = [gradient_flow(model, loss, model.sequence, seed=seed) for seed in range(3)]
        sampled = ", ".join(f"{flow.horizon:.0f} from {len(flow.loss_steps)}" for flow in found)
        print(f"{kind}: {exact.horizon:.0f} lags from all {len(exact.loss_steps)} losses; {sampled}", flush=True)


def looks() -> None:
    torch.manual_seed(0)
    x, target = symbols(64 * 400, 32)
    with tempfile.TemporaryDirectory() as folder:
        run = bptt.Run(
            Model(bptt.nn.LSTM(64, 512)), bptt.CrossEntropy(), (x, target), through=bptt.Truncated(64), lr=1e-3,
            folder=folder, observe=every(20), logs=bptt.train.Logs(progress=False, tensorboard=False),
        )  # fmt: skip
        begun = time.perf_counter()
        run.fit(seconds=90)
        whole = time.perf_counter() - begun
        lines = read_lines(Path(folder) / "observe.jsonl")
    spent = sum(line["cost"] for line in lines)
    print(f"{len(lines)} looks took {spent:.2f} of {whole:.1f} s: {spent / whole:.1%}")


def report() -> None:
    torch.manual_seed(0)
    model, loss, sequence = Model(bptt.nn.LSTM(64, 1024, num_layers=2)), bptt.CrossEntropy(), symbols(128, 8)
    begun = time.perf_counter()
    through = bptt.Truncated(64)
    found = gradient_flow(model, loss, sequence, through=through, samples=6)
    after = time.perf_counter()
    spectra, gates = lyapunov(model, sequence, count=8, steps=32), units(model, sequence, steps=100)
    page = Report("wide", through=through, flow=found, spectra=spectra, units=gates).html()
    whole = time.perf_counter() - begun
    print(f"{whole:.1f} s in all, {after - begun:.1f} s of them the flow; the page has {len(page) / 1e6:.2f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = {"flow": flow, "horizon": horizon, "looks": looks, "report": report}
    parser.add_argument("kind", choices=list(kinds))
    kinds[parser.parse_args().kind]()


if __name__ == "__main__":
    main()
