"""How well a model foretells each next set of labels, beside what counting alone reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bptt.data import Batches
from bptt.data.rolls import Roll
from bptt.tasks.interval import interval
from bptt.tasks.report import Report, Table, cell
from bptt.tasks.sequence.model import surprise
from bptt.tasks.sequence.parts import pairs

BATCH = 64  # sequences read side by side
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """What counting learns: how often each label is there at all, after itself, and after its absence: each ``[L]``."""

    share: Floats
    after: Floats
    anew: Floats

    @classmethod
    def fit(cls, rolls: Sequence[Roll]) -> Counts:
        """From sequences, as if each label had been seen there and not there half a time more (Krichevsky-Trofimov)."""
        now = np.concatenate([roll[:-1] for roll in rolls]).astype(np.float64)
        then = np.concatenate([roll[1:] for roll in rolls]).astype(np.float64)

        def share(those: Floats) -> Floats:
            found: Floats = ((those * then).sum(0) + 0.5) / (those.sum(0) + 1)
            return found

        return cls(share(np.ones_like(now)), share(now), share(1 - now))

    def to_json(self) -> dict[str, Any]:
        """The counts as plain values."""
        return {name: each.tolist() for name, each in vars(self).items()}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Counts:
        """What ``to_json`` described."""
        return cls(*(np.array(saved[name], dtype=np.float64) for name in ("share", "after", "anew")))


def score(model: nn.Module, rolls: Sequence[Roll], name: str, known: Counts) -> Report:
    """Negative log-likelihood a step, in nats, and the share of labels said rightly, beside the plain ones.

    The interval is of 95 %, from drawing whole sequences again and again. Accuracy is TP / (TP + FP + FN) of what is likelier
    than not (Bay, Ehmann & Downie 2009).
    """
    share, after, anew = (torch.from_numpy(each).float() for each in (known.share, known.after, known.anew))
    rows: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
        "this model": lambda x, mask: model(x, mask=mask)[0],
        "each label after itself": lambda x, mask: torch.logit(torch.where(x > 0, after, anew)),  # noqa: ARG005
        "each label alike at all steps": lambda x, mask: torch.logit(share).expand_as(x),  # noqa: ARG005
    }
    measured = {label: _measure(rolls, says) for label, says in rows.items()}
    steps = np.array([len(roll) - 1 for roll in rolls])
    figures: dict[str, Any] = {"part": name, "count": int(steps.sum()), "sequences": len(rolls), "scores": {}}
    shown = []
    for label, (nats, right, said) in measured.items():
        mean, (low, high) = nats.sum() / steps.sum(), interval(nats, steps)
        accuracy = right / said if said else float("nan")
        figures["scores"][label] = {"nats": mean, "interval": [low, high], "accuracy": accuracy}
        shown.append([label, cell(mean, ".3f"), f"{cell(low, '.2f')}–{cell(high, '.2f')}", cell(100 * accuracy, ".1f")])
    figures["nats"] = figures["scores"]["this model"]["nats"]
    remarks = []
    best = min(list(rows)[1:], key=lambda label: float(figures["scores"][label]["nats"]))
    if figures["nats"] > figures["scores"][best]["nats"]:
        remarks.append(f"The model is worse than {best}: train longer, or another with a lower --lr.")
    title = f"On {name}, {len(rolls):,} sequences, {steps.sum():,} steps"
    return Report([Table(title, ["", "NLL nats/step", "95 % interval", "accuracy %"], shown, strong=0)], remarks, figures)


def _measure(rolls: Sequence[Roll], says: Callable[[Tensor, Tensor | None], Tensor]) -> tuple[Floats, int, int]:
    """The nats of each sequence ``[N]``, the labels rightly said, and those said or there."""
    nats, right, said = [], 0, 0
    with torch.no_grad():
        for piece in Batches(pairs(rolls), BATCH, shuffle=False).epoch(0):
            exists = torch.ones(piece.x.shape[:2], dtype=torch.bool) if piece.mask is None else piece.mask
            y = says(piece.x, piece.mask)
            nats.append(surprise(y, piece.target).masked_fill(~exists, 0).double().sum(0).numpy())
            guess, there = (y > 0) & exists[:, :, None], piece.target > 0
            right += int((guess & there).sum())
            said += int((guess | there).sum())
    return np.concatenate(nats), right, said
