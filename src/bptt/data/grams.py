"""An n-gram that is asked what follows, one history at a time: for searches that go on from many beginnings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bptt.data.ngram import discounts

Floats = NDArray[np.float64]
History = tuple[int, ...]


class Grams:
    """log P(w | the ``order`` - 1 symbols before), of sequences of symbols 1 … ``size`` - 1, each ended by a 0.

    Interpolated modified Kneser-Ney, as `bptt.data.ngram.probabilities` has it for a text whose symbols are all known
    beforehand. Chen & Goodman 1999.

    **Raises** ``ValueError`` for sequences that hold nothing, or symbols beyond ``size``.
    """

    def __init__(self, sequences: Iterable[Sequence[int]], size: int, order: int) -> None:
        text = [0]
        for each in sequences:
            text += [*each, 0]
        if len(text) < 2 or min(text) < 0 or max(text) >= size:
            raise ValueError(
                f"expected sequences of symbols 1 to {size - 1}, got {len(text) - 1} of {min(text)} to {max(text)}"
            )
        self.size, self.order = size, order
        self._levels: list[dict[History, tuple[list[int], Floats, float]]] = []
        for n in range(1, order + 1):
            if n == order:
                counts = Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1))
            else:  # of how many symbols a shorter gram was seen to follow
                longer = {tuple(text[i : i + n + 1]) for i in range(len(text) - n)}
                counts = Counter(gram[1:] for gram in longer)
            self._levels.append(_level(counts))
        self._known: dict[History, Floats] = {}

    def after(self, history: Sequence[int]) -> Floats:
        """log P of every symbol ``[size]`` after a sequence's beginning ``history``; of the end at 0."""
        told = (0, *history)[-(self.order - 1) :] if self.order > 1 else ()
        if told not in self._known:
            self._known[told] = np.log(self._probabilities(told))
        return self._known[told]

    def _probabilities(self, history: History) -> Floats:
        made = np.full(self.size, 1.0 / self.size)
        for n, level in enumerate(self._levels):
            if n > len(history):
                break
            found = level.get(history[len(history) - n :])
            if found is not None:
                symbols, kept, freed = found
                made = freed * made
                made[symbols] += kept
        return made


def _level(counts: Counter[History]) -> dict[History, tuple[list[int], Floats, float]]:
    """For each history: the symbols seen after it, what is left of their shares by the discount, and what that frees."""
    taken = discounts(np.array(list(counts.values()), dtype=np.int64))
    by_history: dict[History, list[tuple[int, int]]] = defaultdict(list)
    for gram, count in counts.items():
        by_history[gram[:-1]].append((gram[-1], count))
    made = {}
    for history, found in by_history.items():
        seen = np.array([count for _, count in found], dtype=np.float64)
        lost = taken[np.minimum(seen.astype(np.int64), 3)]
        made[history] = [symbol for symbol, _ in found], (seen - lost) / seen.sum(), float(lost.sum() / seen.sum())
    return made
