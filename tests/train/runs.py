"""Small runs of many kinds, and what must be the same about two of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import bptt
from bptt.data import Piece, Stream
from bptt.train import Logs, Moment, Run, Saving, Schedule, Validation, read_log
from bptt.train.checkpoint import checkpoints, load_checkpoint

QUIET = Logs(every=3, progress=False, tensorboard=False)


class Characters(nn.Module):
    """An embedding, two LSTM layers with dropout between them, a readout tied to nothing, and a buffer that counts calls."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.lstm = nn.LSTM(6, 8, num_layers=2, dropout=0.3)
        self.dropout = nn.Dropout(0.2)
        self.readout = nn.Linear(8, 11)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if self.training:
            self.calls += 1
        y, state = self.lstm(self.embed(x), state)
        return self.readout(self.dropout(y)), state


class Regressor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 6)
        self.readout = nn.Linear(6, 1)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, state = self.gru(x, state)
        return self.readout(torch.nn.functional.dropout(y, 0.1, self.training)), state


class Shuffled:
    """Five batches an epoch, in an order that depends on the epoch's number alone."""

    sequences = 5
    steps = 7

    def epoch(self, n: int, start: int = 0) -> Iterator[Piece]:
        for i in np.random.default_rng(n).permutation(5)[start:].tolist():
            yield pair(7, seed=i)

    def fingerprint(self) -> str:
        return "five batches"


class Endless:
    """Pieces of uneven length."""

    def __iter__(self) -> Iterator[Piece]:
        for i in range(6):
            yield pair(3 + i % 4, seed=i)


def pair(steps: int, seed: int) -> Piece:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(steps, 3, 2, generator=g)
    return Piece(x, x.sum(-1, keepdim=True).cumsum(0))


def text(folder: Path | None, **more: Any) -> Run:
    """One long stream with a ragged tail, windows that overlap, cosine, validation in mid-epoch."""
    tokens = np.random.default_rng(0).integers(0, 11, 92)
    settings: dict[str, Any] = {
        "through": bptt.Truncated(k1=4, k2=10),
        "lr": 0.01,
        "schedule": "cosine:warmup=3,floor=0.1",
        "clip": 1.0,
        "validation": Validation(Stream(tokens[:20], 1), every=4),
    }
    return make(Characters, bptt.CrossEntropy(), Stream(tokens, 3), folder, settings, more)


def batches(folder: Path | None, **more: Any) -> Run:
    """Many short sequences, whole; momentum; a rate that falls by epochs; patience."""
    settings: dict[str, Any] = {
        "optimizer": "sgd:momentum=0.9,nesterov",
        "lr": 0.05,
        "schedule": "decay:after=1,rate=0.7",
        "clip": bptt.train.Clip(norm=5.0, value=0.5),
        "validation": Validation(pair(9, 77), patience=3),
        "reduction": "rows",
    }
    return make(Regressor, bptt.SquaredError(), Shuffled(), folder, settings, more)


def plateau(folder: Path | None, **more: Any) -> Run:
    """Windows that reach less far back than they are long; a rate that falls when validation stands still; early stopping."""
    settings: dict[str, Any] = {
        "through": bptt.Truncated(k1=5, k2=3),
        "optimizer": "rmsprop",
        "lr": 0.05,
        "schedule": "plateau:factor=0.5,patience=0",
        "validation": Validation(pair(9, 77), every=2, patience=4),
    }
    return make(Regressor, bptt.SquaredError(), [pair(12, 1), pair(20, 2)], folder, settings, more)


def streamed(folder: Path | None, **more: Any) -> Run:
    """Pieces whose end is not known before; a torch optimizer and scheduler of the user's own."""

    def cyclic(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 5)

    settings: dict[str, Any] = {
        "through": bptt.Truncated(k1=4, k2=6),
        "optimizer": lambda parameters: torch.optim.AdamW(parameters, 0.02, amsgrad=True),
        "schedule": Schedule(cyclic),
        "reduction": "sum",
    }
    return make(Regressor, bptt.SquaredError(), Endless(), folder, settings, more)


def make(model: type[nn.Module], loss: Any, data: Any, folder: Path | None, settings: Any, more: Any) -> Run:
    made = model()
    if isinstance(more.get("optimizer"), type):
        more["optimizer"] = more["optimizer"](made.parameters())
    given = {"logs": QUIET, "saving": Saving(seconds=None), "seed": 5, **settings, **more}
    return Run(made, loss, data, folder=folder, **given)


def fresh(build: Callable[..., Run], folder: Path | None, **more: Any) -> Run:
    """A run as a new process would make it: the same first weights, another place in the random numbers."""
    torch.manual_seed(1)
    run = build(folder, **more)
    torch.manual_seed(int.from_bytes(os.urandom(4), "little"))
    return run


def stop_after(update: int, number: int = signal.SIGINT) -> Callable[[Moment], None]:
    """A callback that sends this process a real signal after an update."""

    def callback(moment: Moment) -> None:
        if moment.event == "log" and moment.update == update:
            os.kill(os.getpid(), number)

    return callback


class Killed(Exception):
    """Stands for a kill: nothing is saved after it."""


def die_after(update: int) -> Callable[[Moment], None]:
    def callback(moment: Moment) -> None:
        if moment.update == update:
            raise Killed

    return callback


def outcome(folder: Path) -> Any:
    """All that must not depend on where a run was stopped: weights, optimizer, schedule, random states, log lines."""
    update = checkpoints(folder / "checkpoints")[-1]
    checkpoint = load_checkpoint(folder / "checkpoints", update)
    train = {**checkpoint.train, "ledger": {**checkpoint.train["ledger"], "seconds": 0}}
    timeless = [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in read_log(folder)]
    return {"update": update, "best": checkpoint.best, "weights": checkpoint.weights, "train": train, "log": timeless}


def assert_same(a: Any, b: Any, path: str = "") -> None:
    assert type(a) is type(b), path
    if isinstance(a, Tensor):
        assert a.dtype == b.dtype, path
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, pair_ in enumerate(zip(a, b, strict=True)):
            assert_same(*pair_, f"{path}.{i}")
    else:
        assert a == b or (a != a and b != b), path
