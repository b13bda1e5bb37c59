"""Backward passes that want errors alone: a kernel's autograd function cannot see that, and would make the rest too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


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


def asked(wanted: tuple[bool, ...], weights: int) -> tuple[bool, ...]:
    """Of the gradients ``wanted``, the last ``weights`` being of weights, those that are asked for."""
    return (*wanted[:-weights], *[False] * weights) if _asked.errors_only else wanted
