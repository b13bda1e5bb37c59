"""The networks that the claims are measured on, how they are trained, and many trainings at once."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

import bptt

A = TypeVar("A")

KINDS = ("RNN", "RNN, orthogonal", "ReLU, identity", "LSTM", "LSTM, chrono", "GRU", "GRU, chrono")


class Network(nn.Module):
    """A recurrent layer and a linear readout of each step."""

    def __init__(self, layer: bptt.nn.Recurrent, outputs: int) -> None:
        super().__init__()
        self.layer, self.readout = layer, nn.Linear(layer.hidden_size, outputs)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, state = self.layer(x, state)
        return self.readout(y), state


def network(kind: str, inputs: int, hidden: int, outputs: int, seed: int = 0, longest: int = 100) -> Network:
    """One of `KINDS` with the weights of its seed; ``longest``: steps that chrono initialisation opens the gates for."""
    torch.manual_seed(seed)
    cell, _, beginning = kind.partition(", ")
    layer: bptt.nn.Recurrent
    if cell == "ReLU":
        layer = bptt.nn.RNN(inputs, hidden, nonlinearity="relu")
    else:
        layer = {"RNN": bptt.nn.RNN, "LSTM": bptt.nn.LSTM, "GRU": bptt.nn.GRU}[cell](inputs, hidden)
    if beginning == "orthogonal":
        bptt.nn.init.orthogonal_(layer)
    elif beginning == "identity":
        bptt.nn.init.identity_(layer)
    elif beginning == "chrono":
        bptt.nn.init.chrono_(layer, longest)
    return Network(layer, outputs)


def train(
    model: nn.Module,
    problem: bptt.data.Problem,
    *,
    updates: int,
    lr: float,
    clip: float | None = 1.0,
    optimizer: str = "adam",
    every: int = 20,
    enough: float | None = None,
    change: Callable[[bptt.Piece], bptt.Piece] = lambda piece: piece,
) -> dict[str, Any]:
    """By the whole gradient of each batch's mean loss; the mean loss of every ``every`` updates, and the greatest norm.

    Ends before ``updates`` once that loss is under ``enough``, or when a number is no longer finite (``broke``).
    """
    loss = bptt.SquaredError() if problem.loss == "squared" else bptt.CrossEntropy()
    steps = bptt.train.make_optimizer(optimizer, list(model.parameters()), lr)
    curve: list[tuple[int, float]] = []
    total, greatest = 0.0, 0.0
    for update, piece in enumerate(_batches(problem, updates), 1):
        (window,) = bptt.backprop(model, loss, change(piece), reduction="mean", check_finite=False)
        norm = float(bptt.clip_norm(model, math.inf if clip is None else clip))
        mean = float(window.loss) / window.count
        if not (math.isfinite(norm) and math.isfinite(mean)):
            return {"curve": curve, "greatest": greatest, "broke": update}
        greatest, total = max(greatest, norm), total + mean
        steps.step()
        steps.zero_grad()
        if update % every == 0:
            curve.append((update, total / every))
            total = 0.0
            if enough is not None and curve[-1][1] < enough:
                break
    return {"curve": curve, "greatest": greatest, "broke": None}


def _batches(problem: bptt.data.Problem, count: int) -> Iterable[bptt.Piece]:
    epochs = (problem.epoch(n) for n in range(math.ceil(count / problem.sequences)))
    return (piece for _, piece in zip(range(count), (piece for epoch in epochs for piece in epoch), strict=False))


def unseen(model: nn.Module, problem: bptt.data.Problem, batches: int = 10) -> tuple[Tensor, Tensor]:
    """Answers and targets at the last step ``[rows]`` of batches that no training reaches."""
    given, wanted = [], []
    with torch.no_grad():
        for _, piece in zip(range(batches), problem.epoch(1_000_000), strict=False):
            given.append(model(piece.x)[0][-1, :, 0])
            wanted.append(piece.target[-1, :, 0])
    return torch.cat(given), torch.cat(wanted)


def spread(trial: Callable[[A], Any], cases: Sequence[A], jobs: int) -> list[Any]:
    """``trial`` of each case, ``jobs`` at a time in processes of one thread; what each gives does not depend on that."""
    if jobs == 1:
        _one_thread()
        return [trial(case) for case in cases]
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=fresh, initializer=_one_thread) as pool:
        return list(pool.map(trial, cases))


def _one_thread() -> None:
    torch.set_num_threads(1)
