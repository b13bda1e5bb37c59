"""Optimizers and learning-rate schedules by name, with their settings: ``sgd:momentum=0.9``, ``cosine:warmup=100``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from bptt.nearest import nearest

MakeOptimizer = Callable[[list[Tensor]], Optimizer]
Moment = Literal["update", "epoch", "validation"]

_OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.0, "weight_decay": 0.0, "nesterov": False},
    "adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    "adamw": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01},
    "rmsprop": {"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False, "weight_decay": 0.0},
}
_NOT_MATHEMATICS = {"params", "initial_lr", "foreach", "fused", "capturable", "differentiable"}
_LEARNING_RATES = {"sgd": 0.1, "adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3}
_SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"warmup": 0},
    "cosine": {"warmup": 0, "floor": 0.0, "updates": 0},
    "linear": {"warmup": 0, "floor": 0.0, "updates": 0},
    "decay": {"after": 1, "rate": 0.5},
    "plateau": {"factor": 0.25, "patience": 0, "threshold": 1e-4, "floor": 0.0},
}


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule of your own: ``make(optimizer)`` gives a torch scheduler, stepped after ``every`` such moment.

    A ``ReduceLROnPlateau`` is given the validation loss, so its moment is ``"validation"``.
    """

    make: Callable[[Optimizer], LRScheduler]
    every: Moment = "update"

    def __post_init__(self) -> None:
        if self.every not in ("update", "epoch", "validation"):
            raise ValueError(f"Schedule.every must be 'update', 'epoch' or 'validation', got {self.every!r}")

    def __str__(self) -> str:
        return f"{getattr(self.make, '__qualname__', type(self.make).__name__)} every {self.every}"


def make_optimizer(name: str, parameters: Iterable[Tensor], lr: float | None = None) -> Optimizer:
    """The torch optimizer that ``name`` describes.

    ``sgd[:momentum=,weight_decay=,nesterov]`` (lr 0.1), ``adam[:beta1=,beta2=,eps=,weight_decay=]`` (0.001), ``adamw`` (the
    same; weight_decay 0.01), ``rmsprop[:alpha=,eps=,momentum=,centered,weight_decay=]`` (0.001).

    **Raises** ``ValueError`` for a name or setting that does not exist, or a learning rate that is not positive.
    """
    kind, given = _parsed(name, "optimizer", _OPTIMIZERS)
    if lr is None:
        lr = _LEARNING_RATES[kind]
    if isinstance(lr, bool) or not isinstance(lr, (int, float)) or not (lr > 0 and math.isfinite(lr)):
        raise ValueError(f"lr must be a number above 0, got {lr!r}")
    parameters = list(parameters)
    if kind == "rmsprop":
        return torch.optim.RMSprop(parameters, lr, **given)
    # One pass over memory for each parameter instead of several: 3 to 5 times faster on a CPU.
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    if kind == "sgd":
        return torch.optim.SGD(parameters, lr, **given, fused=fused)
    betas = (given.pop("beta1"), given.pop("beta2"))
    made = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
    return made(parameters, lr, betas, **given, fused=fused)


def describe_optimizer(optimizer: Optimizer) -> str:
    """Its kind and settings on one line: two of one description make the same steps.

    Switches that are off are left out, so that one which a later torch adds does not make it look like another.
    """
    groups = []
    for group in optimizer.param_groups:
        settings = {
            key: value
            for key, value in group.items()
            if key not in _NOT_MATHEMATICS and value is not None and value is not False
        }
        settings["lr"] = group.get("initial_lr", group["lr"])
        groups.append(", ".join(f"{key}={_shown(value)}" for key, value in settings.items()))
    return f"{type(optimizer).__name__}({' | '.join(groups)})"


def make_schedule(
    schedule: str | Schedule | None,
    optimizer: Optimizer,
    updates: int | None,
    spent: Callable[[], float] | None = None,
) -> tuple[LRScheduler, Moment] | None:
    """The torch scheduler that ``schedule`` describes, and the moment at which it is stepped.

    With u updates made of U and w of warm-up (in which the rate grows from lr/w to lr), and p = (u-w)/(U-w):
    ``constant[:warmup=]``; ``cosine[:warmup=,floor=,updates=]``: lr·(floor + (1-floor)·(1+cos πp)/2); ``linear`` (the same
    settings): lr·(floor + (1-floor)·(1-p)); ``decay[:after=,rate=]``: lr, and after so many epochs lr·rate, lr·rate², … ;
    ``plateau[:factor=,patience=,threshold=,floor=]``: lr times ``factor`` after more than ``patience`` validations without
    improvement.

    ``updates``: how many updates the run will make; ``cosine`` and ``linear`` need it, from here or as a setting. ``spent()``:
    the share that is used of a limit in time, 0 to 1: p is then the greater of the two, so that a run which time ends has come
    down too. Give ``updates`` as a setting where the rates must not depend on the speed of the machine.

    **Raises** ``ValueError`` where they get neither.
    """
    if schedule is None:
        return None
    if isinstance(schedule, Schedule):
        made = schedule.make(optimizer)
        return made, "validation" if isinstance(made, ReduceLROnPlateau) else schedule.every
    kind, given = _parsed(schedule, "schedule", _SCHEDULES)
    if kind == "plateau":
        factor, patience, threshold, floor = (given[key] for key in ("factor", "patience", "threshold", "floor"))
        return ReduceLROnPlateau(optimizer, "min", factor, patience, threshold, min_lr=floor), "validation"
    if kind == "decay":
        after, rate = given["after"], given["rate"]
        return LambdaLR(optimizer, lambda epoch: rate ** max(epoch + 1 - after, 0)), "epoch"
    warmup = given["warmup"]
    if kind == "constant":
        return LambdaLR(optimizer, lambda update: min(1.0, (update + 1) / max(warmup, 1))), "update"
    total = given["updates"] or updates
    if given["updates"]:
        spent = None
    if total is None and spent is None:
        raise ValueError(
            f"schedule {kind!r} needs the number of updates, which is not known before: fit(updates=…), or give it as a "
            f"setting, {kind}:updates=10000"
        )
    if total is not None and warmup >= total:
        raise ValueError(f"schedule {schedule!r}: a warm-up of {warmup} updates does not fit into {total} updates")
    return LambdaLR(optimizer, _falling(kind, warmup, given["floor"], total, spent)), "update"


def needs_total(schedule: str | Schedule | None) -> bool:
    """Whether the schedule's course depends on how many updates the run is to make.

    **Raises** ``ValueError`` for a name or setting that does not exist.
    """
    if not isinstance(schedule, str):
        return False
    kind, given = _parsed(schedule, "schedule", _SCHEDULES)
    return kind in ("cosine", "linear") and not given["updates"]


def _falling(
    kind: str, warmup: int, floor: float, total: int | None, spent: Callable[[], float] | None
) -> Callable[[int], float]:
    def rate(update: int) -> float:
        if update < warmup:
            return (update + 1) / warmup
        updates = 0.0 if total is None else (update - warmup) / (total - warmup)
        done = min(1.0, max(updates, 0.0 if spent is None else spent()))
        left = (1 + math.cos(math.pi * done)) / 2 if kind == "cosine" else 1 - done
        return floor + (1 - floor) * left

    return rate


def _parsed(text: str, what: str, table: dict[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The name and all its settings, those not given at their defaults."""
    name, _, inside = text.strip().partition(":")
    name = name.strip().lower()
    if name not in table:
        raise ValueError(f"no {what} is called {name!r}{nearest(name, table)}: one of {', '.join(table)}")
    settings = dict(table[name])
    for item in filter(None, (part.strip() for part in inside.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if key == "lr" and what == "optimizer":
            raise ValueError(f"{text!r}: the learning rate is an argument of its own, lr={value or '…'}")
        if key not in settings:
            raise ValueError(f"{what} {name} has no setting {key!r}{nearest(key, settings)}: it takes {', '.join(settings)}")
        settings[key] = _value(f"{what} {name}: {key}", value if equals else "true", settings[key])
    return name, settings


def _value(where: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise ValueError(f"{where} must be true or false, got {text!r}")
    try:
        value = int(text) if isinstance(default, int) else float(text)
    except ValueError:
        raise ValueError(f"{where} must be a {'whole ' if isinstance(default, int) else ''}number, got {text!r}") from None
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{where} must not be negative, got {text!r}")
    return value


def _shown(value: Any) -> str:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    return repr(float(value) if isinstance(value, int) and not isinstance(value, bool) else value)
