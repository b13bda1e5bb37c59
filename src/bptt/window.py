"""What the executor hands back after each backward pass."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bptt.data.piece import Piece
from bptt.state import State, leaves


@dataclass(frozen=True)
class Window:
    """What has been done since the last window: steps ``start <= t < stop``; their gradient now stands in ``p.grad``.

    ``loss`` is the sum over steps and rows (no history), ``count`` the targets it sums over, ``state`` the carried state
    at ``stop`` (no history). ``not_finite`` names the first step whose loss is infinite or no number, where there is one.
    """

    loss: Tensor
    count: int
    start: int
    stop: int
    state: State
    not_finite: str | None = None

    @property
    def steps(self) -> int:
        return self.stop - self.start

    @property
    def mean(self) -> float:
        """Loss per target; NaN where nothing counted."""
        return float(self.loss) / self.count if self.count else float("nan")


class Sums:
    """The losses of the window under way, the targets they sum over, and the number of rows."""

    def __init__(self) -> None:
        self.loss: Tensor | None = None
        self.count = 0
        self.rows = 1

    def add(self, loss: Tensor | None, count: int, piece: Piece) -> None:
        """``loss`` is ``None`` where the targets of a piece are counted before its loss is made."""
        if loss is not None:
            loss = loss.detach()
            self.loss = loss if self.loss is None else self.loss + loss
        self.count += count
        self.rows = leaves(piece.x)[0].shape[1]
