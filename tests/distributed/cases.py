"""Runs of fifty updates in double precision, each the same whatever the number of processes that make it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import torch
from torch import Tensor, nn

import bptt
from bptt.data import Batches, Characters as Letters, Piece, Stream
from bptt.data.encode import encoder
from bptt.data.outline import outlined
from bptt.data.pages import Pages
from bptt.data.ragged import Ragged
from bptt.data.text import open_texts
from bptt.data.vocabulary import ids_type
from bptt.train import Logs, Run, Saving, Validation

QUIET = Logs(every=7, progress=False, tensorboard=False)
UPDATES = 50


class Characters(nn.Module):
    """Takes masks and resets itself."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.layers = bptt.nn.LSTM(4, 5, backend="torch")
        self.readout = nn.Linear(5, 7)
        self.never = nn.Linear(2, 2)  # without a gradient in any process
        self.double()

    def forward(self, x: Tensor, state: Any = None, *, mask: Any = None, reset: Any = None) -> tuple[Tensor, Any]:
        y, state = self.layers(self.embed(x), state, mask=mask, reset=reset)
        return self.readout(y), state


class Regressor(nn.Module):
    """Knows of no masks and no resets; its state is a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.readout = nn.GRUCell(2, 5), nn.Linear(5, 1)
        self.double()

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        h = x.new_zeros(x.shape[1], 5) if state is None else state["h"]
        outputs = []
        for step in x:
            h = self.cell(step, h)
            outputs.append(self.readout(h))
        return torch.stack(outputs), {"h": h, "calls": 1}


class Words(Characters):
    """Its embedding is so large that only the rows that were met are summed."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(1 << 15, 4, dtype=torch.float64)
        assert self.embed.weight.nbytes >= 1 << 20


class Dropping(Characters):
    """Draws random numbers in every step."""

    def forward(self, x: Tensor, state: Any = None, **flags: Any) -> tuple[Tensor, Any]:
        y, state = super().forward(x, state, **flags)
        return nn.functional.dropout(y, 0.3, self.training), state


class Counting(Characters):
    """Buffers that differ from process to process, each so large that it would be a part of its own."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("first", "second", "third"):
            self.register_buffer(name, torch.zeros(300))

    def forward(self, x: Tensor, state: Any = None, **flags: Any) -> tuple[Tensor, Any]:
        for buffer in self.buffers():
            buffer.fill_(1 + torch.distributed.get_rank())
        return super().forward(x, state, **flags)


class Shuffled:
    """Five batches an epoch, the last one of a single row."""

    sequences, steps = 5, None

    def epoch(self, n: int, start: int = 0) -> Iterator[Piece]:
        for i in np.random.default_rng(n).permutation(5)[start:].tolist():
            yield numbers(5 + i, 1 if i == 4 else 3, seed=i)

    def fingerprint(self) -> str:
        return "five batches"


class Streamed:
    """Pieces of uneven length, read once."""

    def __iter__(self) -> Iterator[Piece]:
        for i in range(5):
            yield numbers(2 + i, 5, seed=i)


def numbers(steps: int, rows: int, seed: int) -> Piece:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(steps, rows, 2, generator=g, dtype=torch.float64)
    reset = torch.rand(steps, rows, generator=g) < 0.2
    mask = torch.rand(steps, rows, generator=g) < 0.8
    return Piece(x, x.sum(-1, keepdim=True).cumsum(0), mask, reset)


def tokens(rows: int) -> Stream:
    g = np.random.default_rng(1)
    return Stream(g.integers(0, 7, 59), rows, resets=np.flatnonzero(g.random(59) < 0.05))


def files(rows: int) -> Stream:
    """The same as `tokens`, each a character of files in an object store, read page by page."""
    plain = tokens(rows)
    written = "".join("abcdefg"[token] for token in plain.tokens).encode()
    for number, (a, b) in enumerate(pairwise([0, 1, 20, 33, len(written)])):
        fsspec.filesystem("memory").pipe(f"/cases/{number}.txt", written[a:b])
    texts, known = open_texts("memory://cases/*.txt"), Letters("abcdefg")
    pages = Pages(texts, outlined(texts, "character", page=4), encoder(known, "cases", "utf-8"), ids_type(known.size))
    return Stream(pages, rows, resets=plain.resets)


def ragged(rows: int) -> Batches:
    g = np.random.default_rng(2)
    lengths = g.integers(1, 9, 11)
    x = [g.normal(size=(n, 2)) for n in lengths]
    return Batches(Ragged(x, [each.sum(1, keepdims=True) for each in x], dtype=torch.float64), rows, seed=3)


def text(through: bptt.Strategy, rows: int = 4, **more: Any) -> dict[str, Any]:
    return {"model": Characters, "loss": bptt.CrossEntropy(), "data": tokens(rows), "through": through} | more


def values(data: Any, through: bptt.Strategy, **more: Any) -> dict[str, Any]:
    return {"model": Regressor, "loss": bptt.SquaredError(), "data": data, "through": through, **more}


CASES: dict[str, dict[str, Any]] = {
    "full": text(bptt.Full()),
    "truncated, equal": text(bptt.Truncated(6), clip=0.3),
    "truncated, k2 longer": text(bptt.Truncated(k1=3, k2=8), rows=5, saving=Saving(seconds=None, part=1000)),
    "text in files": text(bptt.Truncated(k1=3, k2=8), rows=5, data=files(5)),
    "truncated, k2 shorter": text(bptt.Truncated(k1=8, k2=5), rows=3, reduction="rows"),
    "checkpointed": text(bptt.Checkpointed(slots=3, segment=5), rows=5, reduction="sum", lr=0.002),
    "randomized": text(bptt.Randomized(horizon=6, block=2, seed=4), rows=4),
    "truncated within memory": text(bptt.Truncated(k1=8, k2=16, memory="64MiB")),
    "adam, validated": text(
        bptt.Truncated(9),
        rows=5,
        optimizer="adamw",
        schedule="plateau:patience=0",
        validation=Validation(tokens(3), every=5, keep_best=False),
    ),
    "more processes than rows": text(bptt.Truncated(k1=5, k2=7), rows=1),
    "large table": text(bptt.Truncated(5), rows=5, model=Words, clip=0.5),
    "masks from outside": values(numbers(40, 5, 9), bptt.Truncated(k1=4, k2=9)),
    "ragged batches": values(ragged(5), bptt.Full(), reduction="rows", clip=1.0),
    "batches of few rows": values(Shuffled(), bptt.Truncated(4), optimizer="sgd:momentum=0.9,nesterov"),
    "streamed": values(Streamed(), bptt.Truncated(k1=3, k2=5), reduction="mean"),
    "forward in time": values(numbers(20, 4, 5)._replace(mask=None, reset=None), bptt.RTRL()),
}
FEWER = {
    "text in files": 20,
    "truncated within memory": 15,
    "adam, validated": 25,
    "masks from outside": 25,
    "ragged batches": 25,
    "streamed": 25,
    "forward in time": 5,
    "more processes than rows": 20,
    "large table": 10,
    "batches of few rows": 25,
}
"""Cases of which fewer updates are enough."""
RESUMED = [
    "truncated, k2 longer",
    "text in files",
    "truncated within memory",
    "masks from outside",
    "ragged batches",
    "streamed",
]
"""Cases that are left and gone on with by other numbers of processes, in mid-sequence too."""
STOPS = (4, 9, 13, 17)
"""After so many updates one process leaves them to four, these to two, and these to one again, which ends them."""


def make(case: str, folder: Path | None = None, **more: Any) -> Run:
    settings = {"optimizer": "sgd:momentum=0.5", "lr": 0.05, "saving": Saving(seconds=None), "logs": QUIET, "seed": 5}
    settings |= CASES[case] | more
    torch.manual_seed(1)
    model = settings.pop("model")()
    return Run(model, settings.pop("loss"), settings.pop("data"), folder=folder, **settings)


def outcome(run: Run, updates: int) -> dict[str, Tensor]:
    """The weights after the run, and every loss on the way."""
    made = run.fit(updates=updates)
    losses = [line.get("loss", line.get("validation")) for line in made.history]
    return {**run.model.state_dict(), "losses": torch.tensor(losses, dtype=torch.float64)}


def updates(case: str) -> int:
    return FEWER.get(case, UPDATES)
