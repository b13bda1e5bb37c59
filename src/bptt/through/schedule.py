"""Optimal checkpointing in closed form: how many forward steps a reversal takes, and where its states are kept.

A *slot* holds one state; the state that the reversal starts from takes one. Griewank & Walther 2000, "Algorithm 799:
Revolve" (the closed form); Gruslys et al. 2016, arXiv 1606.03401 (the same for recurrent networks, there called hidden state
memorisation).
"""

from __future__ import annotations

import math


def forward_steps(length: int, slots: int) -> int:
    """C(t, m): forward steps executed to reverse t steps with m slots, those that keep their tape counted.

    C(t, m) = min over 1 ≤ y < t of y + C(t-y, m-1) + C(y, m), with C(1, m) = 1. In closed form r·t - binom(m+r, m+1) + t,
    with r the least for which binom(m+r, m) ≥ t.
    """
    if slots == 1:
        return length * (length + 1) // 2
    repeats, reach = 0, 1
    while reach < length:
        repeats += 1
        reach = reach * (slots + repeats) // repeats  # binom(m+r, m)
    return repeats * length - math.comb(slots + repeats, slots + 1) + length


def executed(steps: int, segment: int, slots: int, once: int = 1) -> int:
    """Forward steps executed to reverse ``steps`` in segments of ``segment``, the last ``once`` of which run only once.

    The very last may be shorter than the others.
    """
    segments = -(-steps // segment)
    return segment * (forward_steps(segments - once + 1, slots) - 1) + steps - segment * (segments - once)


def advance(length: int, slots: int) -> int:
    """How far to run before the next state is kept, so that reversing ``length`` > 1 steps takes `forward_steps`.

    The cost is convex in the distance, so its minimum is found by bisection.
    """
    if slots == 1:
        return length - 1
    if slots >= length - 1:
        return 1  # a state for each

    def cost(y: int) -> int:
        return y + forward_steps(length - y, slots - 1) + forward_steps(y, slots)

    low, high = 1, length - 1
    while low < high:
        middle = (low + high) // 2
        if cost(middle) <= cost(middle + 1):
            high = middle
        else:
            low = middle + 1
    return low
