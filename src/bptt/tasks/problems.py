"""The known problems as something to train on: a network that reads them, and how much of a problem it solves."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bptt import nn as layers
from bptt.data import Problem
from bptt.data.problems import problems
from bptt.loss import CrossEntropy, SquaredError
from bptt.tasks.config import Settings, setting
from bptt.tasks.layers import recurrent

UNSEEN = 1_000_000  # the epoch whose batches no training reaches


class ProblemSettings(Settings):
    """What `bptt compare --task adding` and the like can be told by ``--set``."""

    files: ClassVar[frozenset[str]] = frozenset()

    length: int = setting(100, "Steps to bridge.", "Problem", ge=1)
    rows: int = setting(32, "Sequences side by side in a batch.", "Problem", ge=1)
    cell: Literal["lstm", "gru", "rnn", "irnn"] = setting(
        "lstm", "Recurrent cell; irnn: ReLU, begun as the identity.", "Network"
    )
    init: Literal["plain", "chrono"] = setting("plain", "chrono: gates begin open for as long as the gap (not rnn).", "Network")
    hidden: int = setting(64, "Units in the recurrent layer.", "Network", ge=1)
    optimizer: str = setting("adam", "sgd, adam, adamw or rmsprop.", "Training")
    lr: float = setting(2e-3, "Learning rate.", "Training", gt=0)
    schedule: str = setting("constant", "constant, cosine, linear, decay.", "Training")
    clip: float = setting(1.0, "Limit on the norm of the gradient; 0 clips nothing.", "Training", ge=0)
    seed: int = setting(0, "Seed of weights and problems.", "Training", ge=0, lt=2**63)
    backend: str = setting("auto", "Kernel that executes the layer.", "Training")


class ProblemModel(nn.Module):
    """One recurrent layer and a linear readout; x ``[T, B, I]``, y ``[T, B, O]``."""

    def __init__(self, problem: Problem, cell: str, hidden: int, backend: str = "auto") -> None:
        super().__init__()
        if cell == "irnn":
            self.layer: layers.Recurrent = layers.RNN(problem.inputs, hidden, nonlinearity="relu", backend=backend)
            layers.init.identity_(self.layer)
        else:
            self.layer = recurrent(cell, problem.inputs, hidden, 1, backend=backend)
        self.readout = nn.Linear(hidden, problem.outputs)

    def forward(
        self, x: Tensor, state: Any = None, mask: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        y, state = self.layer(x, state, mask=mask, reset=reset)
        return self.readout(y), state


def problem_of(name: str, settings: ProblemSettings) -> tuple[Problem, ProblemModel, nn.Module]:
    """The problem, a network for it with the weights of its seed, and its loss."""
    problem = problems[name](length=settings.length, rows=settings.rows, seed=settings.seed)
    torch.manual_seed(settings.seed)
    loss = SquaredError() if problem.loss == "squared" else CrossEntropy()
    model = ProblemModel(problem, settings.cell, settings.hidden, settings.backend)
    if settings.init == "chrono":
        layers.init.chrono_(model.layer, max(settings.length, 3))
    return problem, model, loss


def solved(model: nn.Module, problem: Problem, batches: int = 10) -> float:
    """The share, 0 to 1, of rows of unseen batches that ``model`` answers rightly."""
    right = rows = 0
    with torch.no_grad():
        for _, piece in zip(range(batches), problem.epoch(UNSEEN), strict=False):
            flags = {} if piece.mask is None else {"mask": piece.mask}
            y, _ = model(piece.x, None, **flags)
            answers = problem.solved(y, piece)
            right, rows = right + int(answers.sum()), rows + len(answers)
    return right / rows
