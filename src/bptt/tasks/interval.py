"""Within what a figure would lie with other sequences of the same kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_DRAWS = 2000


def interval(sums: ArrayLike, counts: ArrayLike, of: Callable[[Floats], Floats] = lambda mean: mean) -> tuple[float, float]:
    """The 95 % interval of ``of`` Σ sums / Σ counts, by drawing whole sequences ``[N]`` again and again (bootstrap)."""
    total, number = np.asarray(sums), np.asarray(counts)
    drawn = np.random.Generator(np.random.PCG64(0)).integers(len(total), size=(_DRAWS, len(total)))
    low, high = np.quantile(of(total[drawn].sum(1) / number[drawn].sum(1)), [0.025, 0.975])
    return float(low), float(high)
