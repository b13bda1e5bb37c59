"""What cannot be right, found at the first window: a loss that is not a sum, values that are no numbers, graphs that leak."""

from __future__ import annotations

import contextlib
import math
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from bptt.data.piece import Piece
from bptt.learned import learned
from bptt.loss import CrossEntropy, SquaredError, existing, summed
from bptt.randomness import Randomness
from bptt.state import State, leaves, map_leaves, named_leaves

# A sum of rounded numbers may stray; a mean is off by half.
_STRAY = 0.01
_FEW = 4
_sums: weakref.WeakSet[Any] = weakref.WeakSet()


class NotFinite(ValueError):
    """A value is infinite or no number; the message names the first step where it appeared."""


def check_is_sum(loss: Any, y: Any, piece: Piece, where: str) -> bool:
    """Refuses a loss that does not double with its steps, or with its rows; looks at the last few steps.

    Whether they told: a loss that is 0 there (no target, perhaps) has to be looked at again.

    **Raises** ``ValueError``.
    """
    if isinstance(loss, (CrossEntropy, SquaredError)) or _seen(loss):
        return True
    last = Piece(*(map_leaves(lambda t: t[-_FEW:], part) for part in piece))
    random = Randomness.now()
    with torch.no_grad():
        y, target = existing(map_leaves(lambda t: t[-_FEW:].detach(), y), last, where)
        # Where some steps do not exist for some rows, rows and steps are one dimension.
        flat = last.mask is not None or any(leaf.ndim < 2 for leaf in (*leaves(y), *leaves(target)))
        once = _value(loss, y, target)
        if once is not None and (once == 0 or not math.isfinite(once)):
            random.put_back()
            return False
        for dim, what in ((0, "steps"), *(() if flat else ((1, "rows"),))):
            twice = [map_leaves(lambda t, dim=dim: torch.cat([t, t], dim), each) for each in (y, target)]  # type: ignore[misc]
            made = _value(loss, *twice)
            if once is None or made is None or random != Randomness.now():
                continue
            if abs(made - 2 * once) > _STRAY * max(abs(2 * once), abs(made)):
                raise ValueError(
                    f"{where}: loss(y, target) is {once:.6g}, and {made:.6g} for twice the {what}, expected {2 * once:.6g}: a "
                    "loss must be the sum over steps and rows, as with reduction='sum'; means are made from window.loss and "
                    "window.count"
                )
    random.put_back()
    with contextlib.suppress(TypeError):
        _sums.add(loss)
    return True


def _value(loss: Any, y: Any, target: Any) -> float | None:
    """The loss as a number; ``None`` for a loss that serves no other number of steps and rows than it was made for."""
    try:
        return float(loss(y, target))
    except (RuntimeError, ValueError, TypeError, IndexError):
        return None


def _seen(loss: Any) -> bool:
    try:
        return loss in _sums
    except TypeError:
        return False


def first_not_finite(loss: Any, y: Any, piece: Piece, start: int, where: str) -> str:
    """Which value is the first that is no finite number, and at which step, in a piece that begins with step ``start``."""
    for t in range(len(leaves(piece.x)[0])):
        one = Piece(*(map_leaves(lambda s, t=t: s[t : t + 1], part) for part in piece))  # type: ignore[misc]
        now = map_leaves(lambda s, t=t: s[t : t + 1], y)  # type: ignore[misc]
        given = [(name, leaf if one.mask is None else leaf[one.mask]) for name, leaf in named_leaves(one.x, "x")]
        reached, target = existing(now, one, where)
        made = [*given, *named_leaves(reached, "y")]
        bad = next((name for name, leaf in made if not all_finite(leaf)), None)
        if bad is None and not all_finite(summed(loss, now, one, where)):
            # NaN is no target to `SquaredError`, and a fault to any other loss.
            odd = torch.isinf if isinstance(loss, SquaredError) else lambda leaf: ~torch.isfinite(leaf)
            spoilt = any(leaf.is_floating_point() and bool(odd(leaf).any()) for leaf in leaves(target))
            bad = "target" if spoilt else "the loss"
        if bad is not None:
            return f"step {start + t}: {bad} is not finite"
    return f"{where}: the loss is not finite, though that of every step is: its sum is too large for {leaves(y)[0].dtype}"


def gradients(model: nn.Module, loss: Any) -> list[Tensor]:
    """Every gradient that stands, of the model and of what the loss learns."""
    return [p.grad for p in learned(model, loss) if p.grad is not None]


def finite(tensors: list[Tensor]) -> bool:
    """Whether every number of them is finite; all are looked at in one go."""
    dense = [t.coalesce().values() if t.is_sparse else t for t in tensors if t.is_floating_point() or t.is_complex()]
    return not dense or all(math.isfinite(norm.item()) for norm in torch._foreach_norm(dense, math.inf))


def overflown(before: State, after: State) -> str | None:
    """The first tensor of the state that is NaN, or infinite and was not before (``None``: it may have been)."""
    old = dict(named_leaves(before))
    for name, leaf in named_leaves(after):
        if not all_finite(leaf) and (bool(leaf.isnan().any()) or (name in old and all_finite(old[name]))):
            return name
    return None


def exploded(what: str) -> str:
    """What to say of an error that overflows though every loss is finite."""
    return (
        f"{what} is not finite, though every loss is: the error explodes on its way back through time; begin with smaller "
        "recurrent weights, reach back less far (bptt.Truncated), or limit it at every step (clip_step= of bptt.nn's layers)"
    )


def all_finite(leaf: Tensor) -> bool:
    """Whether every number is finite; true of whole numbers."""
    if not (leaf.is_floating_point() or leaf.is_complex()) or not leaf.numel():
        return True
    return math.isfinite(
        leaf.detach().abs().item() if leaf.ndim == 0 else torch.linalg.vector_norm(leaf.detach(), math.inf).item()
    )


def leaking(model: nn.Module, piece: Piece) -> str:
    """The name of a tensor that carries history from one window into the next."""
    for name, leaf in (*named_leaves(piece.x, "x"), *named_leaves(piece.target, "target")):
        if leaf.grad_fn is not None:
            return name
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            for label, leaf in named_leaves(value, f"model.{path}.{name}" if path else f"model.{name}"):
                if leaf.grad_fn is not None:
                    return label
    return "x, target, or a tensor kept inside the model"
