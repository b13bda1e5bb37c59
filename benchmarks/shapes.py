"""The sizes that are timed, and what they cost."""

from __future__ import annotations

import math
import random

Shape = tuple[int, int, int, int]
"""T, B, I, H."""

GRID: list[Shape] = [
    (100, 1, 32, 64),
    (200, 16, 32, 64),
    (1000, 8, 64, 128),
    (100, 32, 64, 128),
    (35, 20, 650, 650),
    (100, 64, 256, 512),
    (100, 128, 512, 1024),
]
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_MOST = 2e11  # operations forward and backward of a random shape: torch takes some seconds


def operations(cell: str, shape: Shape, backward: bool = True) -> float:
    """Floating-point operations of the products, forward and twice that backward."""
    steps, rows, inputs, hidden = shape
    return (6.0 if backward else 2.0) * steps * rows * GATES[cell] * hidden * (inputs + hidden)


def sample(count: int, seed: int = 0) -> list[Shape]:
    """Shapes drawn evenly on a logarithmic scale: T 1-2000, B 1-256, I and H 1-1024; too costly ones are drawn again."""
    draw = random.Random(seed)

    def size(most: int) -> int:
        return round(math.exp(draw.uniform(0, math.log(most))))

    found: list[Shape] = []
    while len(found) < count:
        shape = (size(2000), size(256), size(1024), size(1024))
        if operations("LSTM", shape) <= _MOST:
            found.append(shape)
    return found
