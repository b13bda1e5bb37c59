"""The loss of a transcript whose place in time nobody told: connectionist temporal classification."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss

from bptt.tasks.transcribe.alphabet import BLANK

ABSENT = -1  # in a target: a step that does not exist


class CTC(nn.Module):
    """E = -Σ_rows log Σ_π Π_t softmax(y_t)[π_t], in nats, over all paths π that spell the row's transcript.

    A path spells what is left of it when repeated symbols are taken once and blanks then left out. ``y [T, B, V]``; ``target
    [T, B]`` has a row's S symbols at its first S steps, the blank 0 at its others, and ``ABSENT`` beyond its end. Graves et al.
    2006. Not for transcripts of more symbols than steps, whose loss is infinite.

    **Raises** ``ValueError`` for shapes that do not fit, and a target in another order.
    """

    unit = "nats"

    def forward(self, y: Tensor, target: Tensor) -> Tensor:
        if y.shape[:2] != target.shape:
            raise ValueError(
                f"y is {list(y.shape)} and target {list(target.shape)}: y has one dimension more, the scores of every symbol"
            )
        place = torch.where(target > BLANK, 0, torch.where(target == BLANK, 1, 2))
        if bool((place[1:] < place[:-1]).any()):
            raise ValueError(f"a target has its symbols first, then {BLANK} for each step left, then {ABSENT} beyond its end")
        steps, symbols = (target != ABSENT).sum(0), (target > BLANK).sum(0)
        wanted = target.t()[target.t() > BLANK]
        return ctc_loss(torch.log_softmax(y, -1), wanted, steps, symbols, blank=BLANK, reduction="sum")

    def count(self, target: Tensor) -> int:
        return int((target > BLANK).sum())


def steps_needed(symbols: list[int]) -> int:
    """The fewest steps that can spell these symbols: one each, and a blank between two that are the same."""
    return len(symbols) + sum(a == b for a, b in itertools.pairwise(symbols))
