"""A training run: everything that is asked of it, checked before anything is written."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bptt.evaluation import evaluate
from bptt.executor import Loss, Reduction
from bptt.observe.every import Every, Observer, asked_of
from bptt.through import Full, Strategy
from bptt.train.checkpoint import Checkpoint
from bptt.train.clip import Clip
from bptt.train.feed import as_source
from bptt.train.folder import RunFolder
from bptt.train.interrupt import Interrupted, Interruption
from bptt.train.layout import FORMAT, RESERVED, Record, package_version
from bptt.train.log import Line, NoScalars, Scalars, TensorBoard
from bptt.train.loop import Loop
from bptt.train.memory import Memory, Store
from bptt.train.moment import Callback
from bptt.train.optimize import Schedule, describe_optimizer, make_optimizer, needs_total
from bptt.train.processes import check_alike, processes
from bptt.train.progress import make_display
from bptt.train.settings import Budget, Logs, Saving, Validation
from bptt.train.shards import sharded


@dataclass(frozen=True)
class Score:
    """A loss over everything: its sum, and the targets it sums over."""

    loss: float
    count: int

    @property
    def mean(self) -> float:
        """Loss per target; NaN where there is none."""
        return self.loss / self.count if self.count else float("nan")


@dataclass(frozen=True)
class Result:
    """What became of a run.

    ``reason`` it stopped: ``"epochs"``, ``"updates"``, ``"seconds"`` or ``"patience"``. ``best``: the least validation loss per
    target (or the greatest value of `Validation.by`), after ``best_update``; ``None`` without validation. ``history``: every
    line of the log. ``steps``: those seen.
    """

    reason: str
    updates: int
    epochs: int
    seconds: float
    best: float | None
    best_update: int | None
    history: list[Line]
    steps: int

    @property
    def last(self) -> Line:
        """The newest line with a training loss."""
        return next((line for line in reversed(self.history) if "loss" in line), {})


class Run:
    """Trains a stateful module, keeps everything in a folder, and goes on from there exactly.

        run = bptt.Run(model, loss, data, through=bptt.Truncated(k1=32, k2=128), clip=1.0, folder="runs/shakespeare")
        run.fit(epochs=10)

    - ``model``, ``loss``, ``through``, ``reduction``: as in `bptt.backprop`; the optimizer steps after each window. ``loss``
      may have no parameters of its own.
    - ``data``: a source (``bptt.data.Stream``), a pair ``(x, target)``, any other sequence, or a list of sequences.
    - ``optimizer``: a name with settings (`make_optimizer`) and ``lr``, a torch optimizer of the model's parameters, or a
      function that makes one from a list of them. ``schedule``: a name with settings (`make_schedule`) or a `Schedule`.
    - ``clip``: the greatest gradient norm, or a `Clip`.
    - ``validation``: data, or a `Validation`, which also holds patience and metrics.
    - ``saving``, ``logs``: see `Saving` and `Logs`. ``callbacks``: called with a `Moment` after each log line, validation and
      epoch; what they return is shown, and random numbers they draw do not change the training.
    - ``seed``: seeds torch, numpy and Python when the run begins. Weights made before are not affected.
    - ``folder``: ``None`` keeps the run in memory. ``config``: anything JSON can hold, kept in the folder; it must be the
      same to go on, but for ``config["session"]``. A folder whose ``config["task"]`` differs is refused as another task's.
    - ``artifacts``: what a model is of no use without, a vocabulary or a scaling: file names with what JSON can hold. They are
      in the folder as soon as there is a checkpoint, and stay as they were first.
    - ``observe``: how often to look at the gradient on its way back, as `bptt.observe.every` or in updates.

    Where torch.distributed has a process group, its processes make this same run together: each is given all the data, keeps
    its own rows of every sequence, and steps with the gradient of all rows; the first one writes, shows and calls callbacks
    and metrics, which must not change the model. All of them call `fit` and `evaluate`.

    **Raises** ``TypeError`` or ``ValueError`` for what cannot be trained, before anything is written.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Any,
        *,
        through: Strategy | None = None,
        optimizer: str | Optimizer | Callable[[list[Tensor]], Optimizer] = "adam",
        lr: float | None = None,
        schedule: str | Schedule | None = None,
        clip: float | Clip | None = None,
        reduction: Reduction = "mean",
        validation: Any = None,
        saving: Saving | None = None,
        logs: Logs | None = None,
        callbacks: Iterable[Callback] = (),
        seed: int | None = None,
        folder: str | os.PathLike[str] | None = None,
        config: Mapping[str, Any] | None = None,
        artifacts: Mapping[str, Any] | None = None,
        observe: Every | int | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        if isinstance(loss, nn.Module) and any(True for _ in loss.parameters()):
            raise ValueError(
                "loss has parameters of its own, which would be neither trained nor saved: make it part of the model"
            )
        if through is not None and not isinstance(through, Strategy):
            raise TypeError(f"through must be a strategy such as bptt.Truncated(k1=20), got {through!r}")
        if reduction not in ("sum", "mean", "rows"):
            raise ValueError(f"reduction must be 'sum', 'mean' or 'rows', got {reduction!r}")
        self.processes = processes()
        self.model, self.loss, self.source = model, loss, as_source(data)
        self.feed = sharded(self.source, self.processes)
        self.through: Strategy = through or Full()
        self.reduction: Reduction = reduction
        self.optimizer = _optimizer(optimizer, model, lr)
        self.clip = clip if isinstance(clip, Clip) else Clip(norm=clip)
        self.validation = validation if validation is None or isinstance(validation, Validation) else Validation(validation)
        if self.validation is not None:
            as_source(self.validation.data, "validation")
        self.schedule = schedule
        self.needs_total = needs_total(schedule)
        self.saving, self.logs = saving or Saving(), logs or Logs()
        self.callbacks = tuple(callbacks)
        self.seed = seed
        self.config = _config(config)
        kept = _artifacts(artifacts)
        self.store: Store = Memory() if folder is None or not self.processes.leads else RunFolder(folder, kept)
        if self.logs.tensorboard and folder is None:
            raise ValueError("Logs(tensorboard=True) needs a folder to write to: Run(..., folder='runs/name')")
        if self.logs.tensorboard:
            TensorBoard.check()
        self.observe = asked_of(observe, model)
        self.folder = None if folder is None else os.fspath(folder)
        self._record: Record | None = None
        self._asked = describe_optimizer(self.optimizer)

    def fit(self, *, epochs: int | None = None, updates: int | None = None, seconds: float | None = None) -> Result:
        """Trains until one of the limits is reached, counted from the beginning of the run, or patience ends.

        Where the folder holds this run already it goes on from its newest checkpoint, to the same bits as if it had never
        stopped; where that has reached the limits it is not trained any further. With validation the model then holds its best
        weights (``Validation(keep_best=False)``: its last).

        Ctrl-C or SIGTERM lets the present window finish and saves the run; a second one stops at once.

        **Raises** `Interrupted`; `Diverged` where the loss or the gradient is no longer finite; `FolderError` where the folder
        cannot serve; `BadCheckpoint`; ``ValueError`` without any limit, and where processes do not make the same run; of
        several processes, `Lost` and `Elsewhere` where another one failed.
        """
        budget = Budget(epochs, updates, seconds)
        if not budget and (self.validation is None or self.validation.patience is None):
            raise ValueError("say how long to train: fit(epochs=…), fit(updates=…) or fit(seconds=…)")
        every = None if self.validation is None else [self.validation.every, self.validation.patience]
        check_alike(self.processes, {**self.record, "limits": str(budget), "saving": str(self.saving), "validates": every})
        leads = self.processes.leads
        display = make_display(self.logs.progress and leads)
        interruption = Interruption(leads)
        try:
            loop = Loop(self, budget, display, interruption)
            with self._held() as newest:
                try:
                    with interruption:
                        reason = self._train(loop, newest, display)
                finally:
                    loop.close()
                if self.validation is not None and self.validation.keep_best and loop.at.best_update is not None:
                    best = loop.at.best_update
                    self.model.load_state_dict(self.processes.first(lambda: self.store.weights(best)))
        except Interrupted as interrupted:
            display.close()
            if leads:
                print(interrupted, file=sys.stderr, flush=True)
            raise
        finally:
            display.close()
        at = loop.at
        return Result(reason, at.update, at.epoch, at.seconds, at.best, at.best_update, loop.telling.log.lines, at.steps)

    def evaluate(self, data: Any) -> Score:
        """The loss of the model as it is over a sequence, or over an epoch of a source, in evaluation mode."""
        loss, count = 0.0, 0
        feed = sharded(as_source(data), self.processes)
        for sequence in feed.epoch(0):
            window = evaluate(self.model, self.loss, sequence)
            if getattr(feed, "own", 1):
                loss, count = loss + float(window.loss), count + window.count
        loss, targets = self.processes.summed([loss, count])
        return Score(loss, round(targets))

    @property
    def record(self) -> Record:
        """What is kept as ``config.json``: all that must be the same to go on exactly."""
        if self._record is None:
            schedule = None if self.schedule is None else str(self.schedule)
            self._record = {
                "format": FORMAT,
                "bptt": package_version(),
                "config": self.config,
                "run": {
                    "through": str(self.through),
                    "optimizer": self._asked,
                    "schedule": schedule,
                    "clip": str(self.clip),
                    "reduction": self.reduction,
                    "loss": repr(self.loss) if isinstance(self.loss, nn.Module) else _name(self.loss),
                    "seed": self.seed,
                },
                "model": {name: _shape(value) for name, value in self.model.state_dict().items()},
                "data": self.source.fingerprint(),
                "validation": None if self.validation is None else as_source(self.validation.data).fingerprint(),
            }
        return self._record

    @property
    def how_to_go_on(self) -> str:
        """A few words for whoever interrupted it."""
        return "call fit again to go on" if self.folder is None else f"start it again with the folder {self.folder} to go on"

    def make_scalars(self, update: int) -> Scalars:
        """What writes the log lines after ``update`` for TensorBoard."""
        folder, wanted = self.store.tensorboard, self.logs.tensorboard
        if folder is None or wanted is False or (wanted is None and not TensorBoard.installed()):
            return NoScalars()
        return TensorBoard(folder, update)

    def make_observer(self, update: int) -> Observer | None:
        """What looks at the training after ``update``, where that was asked for."""
        if self.observe is None or not self.processes.leads:
            return None
        clip = self.clip.norm
        return Observer(self.observe, self.model, self.loss, self.through, clip, lambda: next(self.feed.epoch(0)), update)

    def _train(self, loop: Loop, newest: Any, display: Any) -> str:
        reason = loop.start(newest)
        where = "" if self.folder is None else f" in {self.folder}"
        if reason is not None:
            display.say(f"the run{where} is complete ({reason}, after update {loop.at.update}): ask for more to go on")
            return reason
        if newest is not None:
            display.say(f"going on{where} after update {loop.at.update} (epoch {loop.at.epoch + 1})")
        if not self.model.training:
            self.model.train()
        reason = loop.train()
        if loop.asked_to_stop is not None:
            loop.interrupted(loop.asked_to_stop)
        return reason

    @contextlib.contextmanager
    def _held(self) -> Iterator[Checkpoint | None]:
        """The newest checkpoint, in every process; the first one holds the folder."""
        with contextlib.ExitStack() as stack:
            yield self.processes.first(lambda: stack.enter_context(self.store.held(self.record)))


def _optimizer(given: Any, model: nn.Module, lr: float | None) -> Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("the model has no parameter that requires a gradient: there is nothing to train")
    if isinstance(given, str):
        return make_optimizer(given, parameters, lr)
    if lr is not None:
        raise ValueError(f"lr={lr} goes with an optimizer's name; this one has its own: {type(given).__name__}(..., lr={lr})")
    made = given if isinstance(given, Optimizer) else given(parameters) if callable(given) else None
    if not isinstance(made, Optimizer):
        raise TypeError(
            f"optimizer must be a name, a torch optimizer, or a function that makes one; got {type(given).__name__}"
        )
    owned = set(map(id, model.parameters()))
    if any(id(parameter) not in owned for group in made.param_groups for parameter in group["params"]):
        raise ValueError(
            "the optimizer holds parameters that are not the model's, which would not be saved: make one of this model"
        )
    return made


def _config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        kept = json.loads(json.dumps(dict(config or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(f"config must hold what JSON can: text, finite numbers, lists and dicts ({error})") from None
    return dict(kept)


def _artifacts(artifacts: Mapping[str, Any] | None) -> dict[str, bytes]:
    made = {}
    for name, value in (artifacts or {}).items():
        if name in RESERVED | {"", ".", ".."} or Path(name).name != name:
            raise ValueError(f"an artifact is a file of the run's folder with a name of its own, got {name!r}")
        try:
            made[name] = json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"artifact {name!r} must hold what JSON can: text, finite numbers, lists, dicts ({error})"
            ) from None
    return made


def _shape(value: Any) -> str:
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))
