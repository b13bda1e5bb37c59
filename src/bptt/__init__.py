"""Train recurrent networks by backpropagation through time."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bptt import (
        data as data,
        kernels as kernels,
        nn as nn,
        observe as observe,
        tasks as tasks,
        through as through,
        train as train,
    )
    from bptt.data import Piece as Piece
    from bptt.evaluation import evaluate as evaluate
    from bptt.executor import Backprop as Backprop, backprop as backprop
    from bptt.faithful import Fidelity as Fidelity, fidelity as fidelity
    from bptt.loss import CrossEntropy as CrossEntropy, SquaredError as SquaredError
    from bptt.newton import Newton as Newton
    from bptt.observe.check import check as check
    from bptt.tasks.compare import compare as compare
    from bptt.through import (
        RTRL as RTRL,
        UORO as UORO,
        Adaptive as Adaptive,
        Checkpointed as Checkpointed,
        Full as Full,
        Randomized as Randomized,
        SnAp as SnAp,
        Strategy as Strategy,
        Truncated as Truncated,
    )
    from bptt.train import Run as Run, clip_norm as clip_norm, clip_value as clip_value
    from bptt.window import Window as Window

# Where each public name lives. They are fetched when they are first used, so that `bptt --help` need not wait for torch.
_HOMES = {
    "Adaptive": "through",
    "Backprop": "executor",
    "Checkpointed": "through",
    "CrossEntropy": "loss",
    "Fidelity": "faithful",
    "Full": "through",
    "Newton": "newton",
    "Piece": "data",
    "RTRL": "through",
    "Randomized": "through",
    "Run": "train",
    "SnAp": "through",
    "SquaredError": "loss",
    "Strategy": "through",
    "Truncated": "through",
    "UORO": "through",
    "Window": "window",
    "backprop": "executor",
    "check": "observe.check",
    "clip_norm": "train",
    "clip_value": "train",
    "compare": "tasks.compare",
    "evaluate": "evaluation",
    "fidelity": "faithful",
}
_ROOMS = ("data", "kernels", "nn", "observe", "tasks", "through", "train")
__all__ = [*_HOMES, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"bptt.{_HOMES[name]}"), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"bptt.{name}")
    else:
        raise AttributeError(f"module 'bptt' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
