"""What is done, openly, with values that are missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

POLICIES = ("error", "forward", "interpolate", "mask", "zero")


def fill(values: NDArray[np.float64], policy: str) -> tuple[NDArray[np.float64], int]:
    """Values ``[T, C]`` without NaN after the rows where every column has begun, and how many rows come before that.

    "forward" repeats the last value, "interpolate" draws a line to the next one (after the last value it repeats);
    "mask" leaves NaN where it is; "zero" puts 0 there.
    """
    if policy in ("mask", "zero"):
        return (values if policy == "mask" else np.nan_to_num(values)), 0
    there = np.isfinite(values)
    begin = int(there.argmax(axis=0).max(initial=0))
    filled = values.copy()
    rows = np.arange(len(values))
    for column in range(values.shape[1]):
        known = rows[there[:, column]]
        if len(known) == len(values):
            continue
        if policy == "forward":
            last = np.maximum.accumulate(np.where(there[:, column], rows, known[0]))
            filled[:, column] = values[last, column]
        else:
            filled[:, column] = np.interp(rows, known, values[known, column])
    return filled[begin:], begin


def first_missing(values: NDArray[np.float64], columns: Sequence[str], lines: NDArray[np.int64]) -> str | None:
    """One line on the missing cells of ``[T, C]`` in the file's rows ``lines [T]``, with the first of each column, if any."""
    gone = np.isnan(values)
    if not gone.any():
        return None
    parts = [
        f"column {name!r} lacks {n} of {len(values)} values (first in row {lines[int(gone[:, c].argmax())]})"
        for c, name in enumerate(columns)
        if (n := int(gone[:, c].sum()))
    ]
    return "; ".join(parts)
