"""Recordings given to a network: what it says of every step, in their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import ctc_loss

from bptt.call import evaluating
from bptt.data.features import HOP, Floats
from bptt.tasks.transcribe.alphabet import BLANK
from bptt.tasks.transcribe.fitted import padded

_ROOM = 30_000  # steps side by side where nothing is learned
_QUIET = 5  # frames whose mean loudness tells where to cut
_BACK = 0.4  # of the length, within which the quietest place is looked for

Scores = NDArray[np.float64]


def log_probabilities(model: nn.Module, features: Sequence[Floats]) -> list[Scores]:
    """log softmax of the scores ``[T, V]`` of every recording ``[T, F]``, in evaluation mode; nothing where T = 0."""
    order = sorted((i for i in range(len(features)) if len(features[i])), key=lambda i: len(features[i]))
    made: dict[int, Scores] = {}
    with evaluating(model), torch.no_grad():
        while order:
            batch = [order.pop()]
            while order and (len(batch) + 1) * len(features[batch[0]]) <= _ROOM:
                batch.append(order.pop())
            x, exists = padded([features[i] for i in batch])
            y, _ = model((x, exists))
            found = torch.log_softmax(y.double(), -1).numpy()
            for column, i in enumerate(batch):
                made[i] = np.ascontiguousarray(found[: len(features[i]), column])
    width = next(iter(made.values())).shape[1] if made else 1
    return [made.get(i, np.zeros((0, width))) for i in range(len(features))]


def log_probability(scores: Scores, symbols: Sequence[int]) -> float:
    """log P of a transcript by scores ``[T, V]``, over all paths that spell it."""
    if not len(scores):
        return 0.0
    wanted, steps = torch.tensor(symbols, dtype=torch.int64), torch.tensor([len(scores)])
    loss = ctc_loss(torch.from_numpy(scores)[:, None], wanted[None], steps, torch.tensor([len(symbols)]), BLANK, "sum")
    return -float(loss)


def parts(frames: Floats, longest: float) -> list[Floats]:
    """Frames ``[T, M]`` in parts of at most ``longest`` seconds, cut where it is quietest."""
    limit = max(1, round(longest / HOP))
    made = []
    while len(frames) > limit:
        first = int(limit * (1 - _BACK))
        loud = np.convolve(frames[first:limit].mean(1), np.ones(_QUIET) / _QUIET, mode="same")
        cut = first + int(loud.argmin()) if limit - first > _QUIET else limit
        made.append(frames[: max(1, cut)])
        frames = frames[max(1, cut) :]
    return [*made, frames]
