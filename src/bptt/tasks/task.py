"""What every task is: settings become data, a model and a run; a run's folder becomes a trained model again."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sized
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from bptt.call import Caller
from bptt.data import Source
from bptt.tasks.config import TrainingSettings, build, names_a_file, option
from bptt.tasks.memory import check_fits
from bptt.tasks.registry import entry
from bptt.tasks.report import Report
from bptt.through import parse
from bptt.train import FolderError, Logs, Moment, Result, Run, Validation, load_weights, read_config
from bptt.train.disk import write_atomic
from bptt.train.feed import windows_of

S = TypeVar("S", bound=TrainingSettings)
R = TypeVar("R")
M = TypeVar("M", bound=nn.Module)
P = TypeVar("P", bound=Sized)

Which = str | int | None
"""``"best"``, ``"last"``, the number of a checkpoint, or ``None``: the best if there is one, else the last."""


class NothingHeldOut(ValueError):
    """A run was trained on all there was, and nothing is left to measure it on."""

    @classmethod
    def unless(cls, parts: Mapping[str, P], part: str | None, give: str) -> tuple[str, P]:
        """The ``part`` asked for, or else the test part if there is one, else the validation part.

        **Raises** itself where that is empty, saying what to ``give`` instead.
        """
        name = part or ("test" if len(parts["test"]) else "valid")
        if not len(parts[name]):
            lacking = f"no part {part!r}" if part else "nothing to measure it on"
            raise cls(f"this run held out {lacking}: {give}")
        return name, parts[name]


class Trained(ABC):
    """A trained model with all it needs to be used, as its run's folder holds it."""

    @abstractmethod
    def evaluate(self, data: str | None = None, **how: Any) -> Report:
        """How good it is, beside plain baselines: on what was held out, or on a file of the user's own.

        **Raises** `NothingHeldOut` where the run held out nothing and no file is given.
        """


class Task(ABC):
    """One task about to be trained: made from settings, it reads the data and makes the model, and writes nothing.

    Where ``folder`` holds a run already, what was fitted then (a vocabulary, a scaling) is taken from there.
    """

    name: ClassVar[str]
    artifact: ClassVar[str]
    """The file of the run's folder that keeps what was fitted to the data, as JSON."""

    judged_by: ClassVar[str | None] = None
    """The metric whose greatest value on the validation part makes the best weights; the least loss, unless named."""

    settings: TrainingSettings
    model: nn.Module
    loss: nn.Module
    source: Source
    validation: Any
    test: str | None = None
    """What tells the test part from another, where it is a file of its own or else not part of what is learned from."""

    @abstractmethod
    def __init__(self, settings: TrainingSettings, folder: Path | None = None) -> None: ...

    @abstractmethod
    def describe(self) -> list[tuple[str, str]]:
        """Data, model and strategy in a few lines, each with a heading."""

    @abstractmethod
    def fitted(self) -> dict[str, Any]:
        """What was fitted to the data, as JSON."""

    def beside(self) -> dict[str, Any]:
        """What else the run's folder keeps, by the names of its files, as JSON."""
        return {}

    @classmethod
    @abstractmethod
    def open(cls, folder: Path, which: Which = None) -> Trained:
        """The trained model of a run's folder."""

    @abstractmethod
    def pictures(self, folder: Path, report: Report) -> list[Path]:
        """Draws what there is to see into the folder; the paths. Nothing where matplotlib is not installed."""

    @abstractmethod
    def next_commands(self, folder: Path) -> list[str]:
        """What a user may want to do now."""

    def metrics(self, model: nn.Module) -> Mapping[str, float]:  # noqa: ARG002
        """What is measured on the validation part beside the loss, by name."""
        return {}

    def longer(self, folder: Path) -> str:
        """The command that trains the run in ``folder`` for twice as long in all."""
        given = self.settings
        more = f"--epochs {2 * given.epochs}" + (f" --minutes {2 * given.minutes:g}" if given.minutes else "")
        return f"bptt train {self.name} --out {folder} {more}"

    def updates(self) -> int:
        """The updates that all epochs make, where every sequence has its known length."""
        each = windows_of(self.source, parse(self.settings.through))
        assert each is not None
        return each * self.settings.epochs

    def fit(self, folder: Path, *, callbacks: Iterable[Callable[[Moment], str | None]] = (), progress: bool = True) -> Result:
        """Trains as the settings say, in ``folder``; goes on where a run is there. See `bptt.Run.fit` for what it raises."""
        given = self.settings
        unused = [key for key in ("patience", "validate_every") if getattr(given, key) is not None]
        if self.validation is None and unused:
            raise ValueError(
                f"{option(unused[0])} needs something to validate on, but nothing is held out for it: give --valid"
            )
        if given.observe and Caller(self.model).whole is not None:
            cure = "--no-bidirectional" if getattr(given, "bidirectional", False) else "--observe 0"
            raise ValueError(
                f"--observe {given.observe} looks at what passes from step to step, but this network reads from both its ends: "
                f"add {cure}"
            )
        run = Run(
            self.model,
            self.loss,
            self.source,
            through=parse(given.through),
            optimizer=given.optimizer,
            lr=given.lr,
            schedule=given.schedule,
            clip=given.clip or None,
            reduction=given.reduction,
            validation=None
            if self.validation is None
            else Validation(
                self.validation,
                every=given.validate_every,
                patience=given.patience,
                metrics=self.metrics,
                by=self.judged_by,
            ),
            logs=Logs(progress=progress, tensorboard=None),
            callbacks=callbacks,
            seed=given.seed,
            folder=folder,
            config=config_of(self.name, given, self.test),
            artifacts={self.artifact: self.fitted(), **self.beside()},
            observe=given.observe or None,
        )
        result = run.fit(epochs=given.epochs, seconds=given.minutes * 60 if given.minutes else None)
        if run.processes.leads and not (folder / self.artifact).exists():  # of a complete run, which saves nothing more
            write_atomic(folder / self.artifact, json.dumps(self.fitted(), ensure_ascii=False).encode() + b"\n")
        return result


def config_of(name: str, settings: TrainingSettings, test: str | None = None) -> dict[str, Any]:
    """The settings as the run's folder keeps them; those that may change when it goes on stand apart.

    So do the names of files: what they hold must be the same, and fingerprints tell.
    """
    every = settings.model_dump()
    apart = settings.movable | {key for key in settings.files if names_a_file(every[key])}
    session = {key: every.pop(key) for key in sorted(apart)}
    return {"task": name, "settings": every, "session": session} | ({} if test is None else {"test": test})


def settings_of(record: Mapping[str, Any], folder: Path) -> tuple[str, dict[str, Any]]:
    """The task's name and the settings from a run's record.

    **Raises** `FolderError` for a run that no task made, and for a record that is damaged.
    """
    config = record.get("config")
    if isinstance(config, dict) and "task" not in config:
        raise FolderError(f"{folder} holds a run made in Python, not by a task: load it with bptt.train.load_weights")
    try:
        assert config is not None
        return entry(config["task"]).name, {**config["settings"], **config["session"]}
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise damaged(folder / "config.json", error) from None


def settings_in(folder: Path, name: str, kind: type[S]) -> S:
    """The settings of the run of task ``name`` in ``folder``.

    **Raises** `FolderError` for a run of another task, and for a record that is damaged.
    """
    found, settings = settings_of(read_config(folder), folder)
    if found != name:
        raise FolderError(f"{folder} holds a run of task {found!r}, not {name!r}: bptt evaluate {folder} measures it")
    try:
        return build(kind, {key: (value, "there") for key, value in settings.items()})
    except ValueError as error:
        raise damaged(folder / "config.json", error) from None


def task_name(folder: Path) -> str:
    """The name of the task whose run is in ``folder``; **raises** as `bptt.train.read_config`."""
    return settings_of(read_config(folder), folder)[0]


def restored(folder: Path, artifact: str, make: Callable[[dict[str, Any]], R]) -> R:
    """What was fitted to the data when the run in ``folder`` began, made again from its JSON.

    **Raises** `FolderError` where it is missing or damaged.
    """
    path = folder / artifact
    try:
        return make(dict(json.loads(path.read_bytes())))
    except FileNotFoundError:
        raise FolderError(f"{folder} is half-written: it has no {artifact}; go on with its training to make it whole") from None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise damaged(
            path, error, f"remove it and go on with the training (bptt train … --out {folder}) to make it anew"
        ) from None


def damaged(
    path: Path, error: Exception, advice: str = "restore it from a copy, or train again in another folder"
) -> FolderError:
    """The error of a file of a run's folder that cannot be understood."""
    what = (
        f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split()) or "its form is not that of a run"
    )
    return FolderError(f"{path} is damaged, or of another version of bptt ({what}): {advice}")


def load(model: nn.Module, folder: Path, which: Which, here_by: str = "by its config.json") -> None:
    """Gives ``model`` the weights of the run, in evaluation mode.

    **Raises** `FolderError` where they do not fit, and what `bptt.train.load_weights` raises.
    """
    weights = load_weights(folder, which)
    own = model.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        there, here = (list(state[name].shape) if name in state else "absent" for state in (weights, own))
        if there != here:
            raise FolderError(f"{folder}: the weight {name} is {there} in the checkpoint and {here} {here_by}")
    model.load_state_dict(weights)
    model.eval()


def parameters(model: nn.Module) -> int:
    """The number of trained values in ``model``; tied ones count once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def built(make: Callable[[], M], settings: TrainingSettings, folder: Path | None) -> M:
    """The model that ``make`` makes: with the weights of ``settings.start`` where a run begins there, else of the seed.

    **Raises** ``ValueError`` where training it would take more memory than the machine has, or the weights do not fit.
    """
    check_fits(make, settings)
    torch.manual_seed(settings.seed)
    model = make()
    start = begins_from(settings, folder)
    if start is not None:
        load(model, start, None, "by the settings of the new run")
        model.train()
    return model


def following(settings: S, start: Path, first: Mapping[str, Any]) -> S:
    """The settings with ``first``, which the weights of the run ``start`` go with, in the place of what was not given.

    **Raises** ``ValueError`` where another value was given.
    """
    given = {key: getattr(settings, key) for key in first if key in settings.model_fields_set}
    differing = [key for key, value in given.items() if value is not None and value != first[key]]
    if differing:
        told = ", ".join(f"{option(key)} {given[key]} (there: {first[key]})" for key in differing)
        raise ValueError(
            f"--start {start}: its weights go with other settings than those given: {told}; leave them out to take over those "
            "of that run, or leave out --start"
        )
    return settings.model_copy(update=dict(first))


def begins_from(settings: TrainingSettings, folder: Path | None) -> Path | None:
    """The run that this one takes its first weights from; ``None`` where there is none, or where it is under way."""
    if settings.start is None or (folder is not None and (folder / "config.json").exists()):
        return None
    return Path(settings.start)
