"""A run whose loss or gradient is no longer finite: where, and what to do about it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bptt.train.ledger import Ledger
from bptt.train.telling import Telling
from bptt.window import Window

if TYPE_CHECKING:
    from bptt.train.run import Run


class Diverged(ValueError):
    """The loss or its gradient is no longer a finite number; the weights are those before the bad update."""


def in_training(
    run: Run, at: Ledger, telling: Telling, window: Window, loss: float, norm: float, saved: int, seen: str
) -> Diverged:
    """What is said of a window; ``saved``: the update of the newest checkpoint, below 0 where there is none.

    ``seen``: what a look at the gradient found, or nothing.
    """
    where = "" if window.not_finite is None else f" ({window.not_finite})"
    what = f"the loss is {loss}{where}" if not math.isfinite(loss) else f"the gradient norm is {norm} (the loss {loss:.4g})"
    return Diverged(
        f"{what} at update {at.update + 1} (epoch {at.epoch + 1}, steps {window.start}..{window.stop} of sequence "
        f"{at.sequence}); gradient norm {norm:.3g}, one update before {telling.norm:.3g}; last finite loss per target "
        f"{telling.loss:.4g}. The weights are those before this update. {_advice(run, telling, saved, 'the data')}"
        + (f". Seen in it: {seen}" if seen else "")
    )


def in_validation(run: Run, at: Ledger, telling: Telling, score: float, saved: int) -> Diverged:
    """What is said of a validation loss."""
    return Diverged(
        f"the validation loss is {score} after update {at.update} (gradient norm {telling.norm:.3g}): "
        + _advice(run, telling, saved, "the validation data")
    )


def _advice(run: Run, telling: Telling, saved: int, data: str) -> str:
    kept = "" if saved < 0 else f"The last good checkpoint is {run.store.where(saved)}. "
    # A folder goes on with its own settings alone, to the same end: it cannot be where other ones are tried.
    again = "Try" if run.store.log is None else "Begin another run, in another folder, with"
    # A norm that is infinite cannot be clipped: where it is, the error is to be limited on its way.
    clip = "clip_step=1.0 on the layers" if run.clip.norm is not None else "clip=1.0"
    return f"{kept}{again} a lower learning rate than {telling.lr:g}, or {clip}, and look for NaN or huge values in {data}"
