"""Whether what runs is counted against a budget of memory: large buffers must then be torch's own, which it counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Here(threading.local):
    counted = False


_here = _Here()


def counted() -> bool:
    """Whether a budget is in force in this thread."""
    return _here.counted


@contextmanager
def counting(on: bool = True) -> Iterator[None]:
    """What runs inside is counted, or not."""
    before, _here.counted = _here.counted, on
    try:
        yield
    finally:
        _here.counted = before
