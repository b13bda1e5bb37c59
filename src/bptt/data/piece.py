"""The unit that data hands to training: a stretch of a sequence, time first."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor


class Piece(NamedTuple):
    """A stretch of a sequence of ``T`` steps for ``B`` rows at once.

    ``x`` is a tensor ``[T, B, ...]`` or a nested structure of such tensors; ``target`` is ``[T, B, ...]``.
    ``mask`` ``[T, B]`` bool: False means that this step does not exist for this row: it is not counted in the
    loss, and the row's state is held. ``reset`` ``[T, B]`` bool: True means that this row's state starts afresh
    (zeros) before this step. ``None`` stands for "all True" in ``mask`` and for "all False" in ``reset``.

    Not for a target that is missing while its input exists: a mask would hold the state too. Give such targets
    as NaN, and use a loss that leaves them out of its sum and of its ``count``.
    """

    x: Any
    target: Any
    mask: Tensor | None = None
    reset: Tensor | None = None
