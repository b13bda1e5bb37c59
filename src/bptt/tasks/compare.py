"""Strategies side by side: what each one costs, and what it learns."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from bptt.data import Piece, Source
from bptt.data.reader import reader
from bptt.executor import Loss, Reduction, backprop
from bptt.faithful import Fidelity, fidelity
from bptt.learned import learned, without_gradients
from bptt.memory import Counting
from bptt.state import leaves
from bptt.tasks.report import Report, Table, cell
from bptt.tasks.side_by_side import bias, draw
from bptt.through import Strategy, parse
from bptt.through.size import shown
from bptt.train import Logs, Moment, Run, Validation
from bptt.train.feed import as_source
from bptt.train.settings import Budget


@dataclass(frozen=True)
class Trial:
    """One strategy: its training, and its cost and gradient at the same weights as all others.

    ``curve``: (update, seconds, training loss per target). ``scored``: (update, seconds, score). ``peak``: the most bytes
    allocated during one sequence (with a budget, as `Backprop.plan` tells). ``failed``: why it could not be tried, in its own
    words; ``unmeasured``: why its cost and gradient could not be told.
    """

    through: str
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    scored: list[tuple[int, float, float]] = field(default_factory=list)
    validation: float | None = None
    updates: int = 0
    steps: int = 0
    seconds: float = 0.0
    step_seconds: float | None = None
    peak: int | None = None
    gradient: Fidelity | None = None
    failed: str | None = None
    unmeasured: str | None = None


@dataclass(frozen=True)
class Comparison:
    """What `compare` found: a `Trial` for each strategy, in the order given."""

    trials: list[Trial]
    unit: str = ""
    score: str = ""

    def report(self) -> Report:
        """A table, and what failed in words; ``figures`` hold everything.

        Bias and standard deviation are those of the gradient g by the norm of `Full`'s gradient G, as in `bptt.fidelity`; where
        the passes were too few to tell a bias from chance, ``below`` says what it may be.
        """
        scored = [self.score] if self.score else []
        columns = [
            "through",
            "loss",
            "validation",
            *scored,
            "updates",
            "steps",
            "seconds",
            "µs/step",
            "peak",
            "bias/‖G‖",
            "σ/‖G‖",
        ]
        rows = [_row(trial, bool(scored)) for trial in self.trials if trial.failed is None]
        remarks = [f"{trial.through}: {trial.failed}" for trial in self.trials if trial.failed is not None]
        remarks += [f"{trial.through}: not measured: {trial.unmeasured}" for trial in self.trials if trial.unmeasured]
        figures = {"unit": self.unit, "trials": [asdict(trial) for trial in self.trials]}
        return Report([Table("How gradients travelled", columns, rows)], remarks, figures)

    def save_picture(self, path: str | Path, chance: float | None = None) -> None:
        """Draws the loss against updates and time, the score, peak memory, and the gradient's bias and scatter.

        ``chance`` is drawn as a line.

        **Raises** as `bptt.tasks.pictures.check`.
        """
        draw(self.trials, Path(path), unit=self.unit, score=self.score, chance=chance)


def compare(
    model: nn.Module,
    loss: Loss,
    data: Any,
    through: Iterable[Strategy | str],
    *,
    epochs: int | None = None,
    updates: int | None = None,
    seconds: float | None = None,
    optimizer: str = "adam",
    lr: float | None = None,
    schedule: str | None = None,
    clip: float | None = 1.0,
    reduction: Reduction = "mean",
    validation: Any = None,
    score: Callable[[nn.Module], float] | None = None,
    score_name: str = "score",
    steps: int = 1000,
    draws: int = 16,
    seed: int = 0,
    every: int = 10,
    progress: bool = False,
) -> Comparison:
    """Trains a copy of ``model`` and ``loss`` with each strategy, from the same weights, on the same data in the same order.

        bptt.compare(model, loss, data, [bptt.Full(), bptt.Truncated(20), "randomized:horizon=50"], updates=500).report()

    Settings are those of `bptt.Run`; each strategy gets the same budget of ``epochs``, ``updates`` or ``seconds``. Cost (time
    a step and peak memory) and gradient (against `Full`; see `bptt.fidelity`) are measured on the first
    ``steps`` steps of the first sequence, at the weights where the first strategy ended. ``score(model)`` is taken every tenth
    part of the log.

    A strategy that cannot serve the model is reported as failed, and the others go on. Not a benchmark: one run each, on
    whatever else the machine does.

    **Raises** ``ValueError`` where no strategy or no budget is given, or no strategy can serve; and for a loss that reads
    the parameters of ``model`` and cannot be copied along with it, as a function that closes over it.
    """
    strategies = [parse(one) if isinstance(one, str) else one for one in through]
    if not strategies:
        raise ValueError("name at least one strategy to compare, such as bptt.Full()")
    if not Budget(epochs, updates, seconds):
        raise ValueError("say how long each is to train: epochs=…, updates=… or seconds=…")
    source = as_source(data)
    trials, at = list[Trial](), None
    piece = _first_steps(source, steps)
    _warm_up(model, loss, piece)
    for strategy in strategies:
        twin, its_loss = copy.deepcopy((model, loss))  # together, as a loss may hold the model or its readout
        scored: list[tuple[int, float, float]] = []
        try:
            run = Run(
                twin, its_loss, source, through=strategy, optimizer=optimizer, lr=lr, schedule=schedule, clip=clip,
                reduction=reduction, validation=None if validation is None else Validation(validation, keep_best=False),
                logs=Logs(every, progress, tensorboard=False), seed=seed,
                callbacks=[] if score is None else [_scorer(score, scored, every * 10)],
            )  # fmt: skip
            result = run.fit(epochs=epochs, updates=updates, seconds=seconds)
        except (ValueError, RuntimeError, MemoryError) as error:
            trials.append(Trial(str(strategy), failed=str(error) or type(error).__name__))
            continue
        lines = [line for line in result.history if line.get("loss") is not None]
        if score is not None and (not scored or scored[-1][0] != result.updates):
            scored.append((result.updates, result.seconds, score(twin.eval())))
        curve = [(line["update"], line["seconds"], line["loss"]) for line in lines]
        trials.append(Trial(str(strategy), curve, scored, result.best, result.updates, result.steps, result.seconds))
        at = at or (twin, its_loss)
    if at is None:
        raise ValueError("; ".join(f"{trial.through}: {trial.failed}" for trial in trials))
    for index, strategy in enumerate(strategies):
        if trials[index].failed is None:
            try:
                trials[index] = _measured(trials[index], strategy, *at, piece, draws)
            except (ValueError, RuntimeError, MemoryError) as error:
                trials[index] = replace(trials[index], unmeasured=str(error) or type(error).__name__)
    return Comparison(trials, getattr(loss, "unit", ""), score_name if score is not None else "")


def _first_steps(source: Source, steps: int) -> Piece:
    sequence = reader(next(iter(source.epoch(0))))
    return sequence.read(0, sequence.upto(steps))


def _warm_up(model: nn.Module, loss: Loss, piece: Piece) -> None:
    """One pass of a copy: what torch loads at its first call is nobody's time. Shows whether the loss goes along."""
    mine = learned(model)
    with without_gradients(mine):
        for _ in backprop(*copy.deepcopy((model, loss)), piece):
            pass
        if any(p.grad is not None for p in mine):
            raise ValueError(
                "loss reads parameters of the model given, and each strategy trains a copy: make the loss an object that holds "
                "the model, such as an nn.Module, which is copied along with it; a function is not"
            )


def _measured(trial: Trial, through: Strategy, model: nn.Module, loss: Loss, piece: Piece, draws: int) -> Trial:
    twin, loss = copy.deepcopy((model, loss))
    run = backprop(twin, loss, piece, through=through)
    planned = run.plan  # a budget is measured by probes, which count themselves
    counting = Counting() if planned.outline is None or planned.outline.budget is None else None
    try:
        for _ in run:
            pass
    finally:
        predicted = planned.outline.predicted if planned.outline is not None else None
        peak = planned.measured or predicted if counting is None else counting.stop()
    begun = time.perf_counter()
    for _ in backprop(twin, loss, piece, through=through):
        pass
    a_step = (time.perf_counter() - begun) / len(leaves(piece.x)[0])
    found = fidelity(twin.eval(), loss, piece, through=through, passes=draws if hasattr(through, "seed") else 1)
    return replace(trial, step_seconds=a_step, peak=peak, gradient=found)


def _scorer(
    score: Callable[[nn.Module], float], scored: list[tuple[int, float, float]], every: int
) -> Callable[[Moment], None]:
    def callback(moment: Moment) -> None:
        if moment.event == "log" and moment.update % every == 0:
            model = moment.model.eval()
            scored.append((moment.update, moment.line["seconds"], score(model)))
            model.train()

    return callback


def _row(trial: Trial, scored: bool) -> list[str]:
    gradient, nan = trial.gradient, float("nan")
    loss = trial.curve[-1][2] if trial.curve else nan
    score = [cell(trial.scored[-1][2] if trial.scored else nan, ".3f")] if scored else []
    return [
        trial.through,
        cell(loss, ".4f"),
        cell(nan if trial.validation is None else trial.validation, ".4f"),
        *score,
        f"{trial.updates:,}",
        f"{trial.steps:,}",
        f"{trial.seconds:.1f}",
        cell(nan if trial.step_seconds is None else trial.step_seconds * 1e6, ".0f"),
        "–" if trial.peak is None else shown(trial.peak),
        "–" if gradient is None else bias(gradient),
        "–" if gradient is None else f"{gradient.variance**0.5:.2g}",
    ]
