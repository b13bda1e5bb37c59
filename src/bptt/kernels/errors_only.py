"""Backward passes that want errors alone: a kernel's autograd function cannot see that, and would make the rest too."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor


class _Asked(threading.local):
    errors_only = False


_asked = _Asked()


@contextmanager
def errors_only() -> Iterator[None]:
    """Inside, in this thread, nobody wants the gradient of a weight: kernels leave it ``None``, which saves half a pass."""
    before, _asked.errors_only = _asked.errors_only, True
    try:
        yield
    finally:
        _asked.errors_only = before


def asked(ctx: Any, inputs: Sequence[Tensor | None], weights: int) -> tuple[bool, ...]:
    """Which gradients of ``inputs``, the last of an autograd function's arguments, a backward pass through ``ctx`` is to make.

    Of the last ``weights`` of them, which are weights, none where errors alone are wanted, unless an error passes through it
    as it was computed itself.
    """
    wanted: tuple[bool, ...] = ctx.needs_input_grad[-len(inputs) :]
    if not _asked.errors_only:
        return wanted
    nodes = iter(ctx.next_functions[-sum(each is not None for each in inputs) :])
    computed = [each is not None and not _is_leaf(next(nodes)[0]) for each in inputs]
    first = len(inputs) - weights
    return tuple(want and (i < first or computed[i]) for i, want in enumerate(wanted))


def _is_leaf(node: Any) -> bool:
    return node is None or node.name() == "torch::autograd::AccumulateGrad"
