"""From the probabilities of symbols over time to a transcript: the likeliest path, or a search through prefixes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bptt.data.grams import Grams
from bptt.tasks.transcribe.alphabet import BLANK

Floats = NDArray[np.float64]
_NONE = -math.inf
_LEAST = math.log(1e-4)  # symbols less likely than this at a step are not looked at there


@dataclass(frozen=True)
class Search:
    """How a transcript is searched for: ``beam`` prefixes side by side, weighed with ``weight`` by an n-gram."""

    beam: int = 1
    grams: Grams | None = None
    weight: float = 0.0

    def __call__(self, scores: Floats) -> list[int]:
        """The symbols that log-probabilities ``[T, V]`` spell."""
        if self.beam == 1:
            return greedy(scores)
        return prefix_beam(scores, self.beam, self.grams if self.weight else None, self.weight)


def greedy(scores: Floats) -> list[int]:
    """The likeliest symbol of every step ``[T, V]``, repeated ones taken once, blanks left out."""
    best = scores.argmax(1)
    changed = np.concatenate([[True], best[1:] != best[:-1]])[: len(best)]
    return [int(symbol) for symbol in best[changed] if symbol != BLANK]


def prefix_beam(scores: Floats, beam: int, grams: Grams | None = None, weight: float = 0.0) -> list[int]:
    """The symbols l that make log P(l) + weight · (log Q(l) + |l| log V) greatest, as far as ``beam`` prefixes can tell.

    P is the probability of all paths that spell l (``scores [T, V]`` are logarithms), Q that of the n-gram, beside that of
    symbols all alike, which takes away its preference for short texts. Graves et al. 2006; Hannun et al. 2014, arXiv 1408.2873.
    """
    bonus = weight * math.log(grams.size) if grams is not None else 0.0
    # of each prefix: log P of the paths that end in a blank, of those that do not, and what the n-gram adds
    kept: dict[tuple[int, ...], tuple[float, float, float]] = {(): (0.0, _NONE, 0.0)}
    for row in scores:
        likely = np.flatnonzero(row > _LEAST)
        found: dict[tuple[int, ...], list[float]] = {}
        chances = [(int(symbol), float(row[symbol])) for symbol in likely]
        for prefix, (blank, other, told) in kept.items():
            both = _add(blank, other)
            here = found.setdefault(prefix, [_NONE, _NONE, told])
            after: Floats | None = None
            for symbol, chance in chances:
                if symbol == BLANK:
                    here[0] = _add(here[0], both + chance)
                    continue
                if prefix and symbol == prefix[-1]:
                    here[1] = _add(here[1], other + chance)
                    begun = blank  # the same again needs a blank between
                else:
                    begun = both
                if begun == _NONE:
                    continue
                longer = (*prefix, symbol)
                there = found.get(longer)
                if there is None:
                    more = 0.0
                    if grams is not None:
                        after = grams.after(prefix) if after is None else after
                        more = weight * float(after[symbol]) + bonus
                    there = found[longer] = [_NONE, _NONE, told + more]
                there[1] = _add(there[1], begun + chance)
        ranked = sorted(found.items(), key=lambda item: _add(item[1][0], item[1][1]) + item[1][2], reverse=True)
        kept = {prefix: (parts[0], parts[1], parts[2]) for prefix, parts in ranked[:beam]}

    ended: list[tuple[float, list[int]]] = []
    for prefix, (blank, other, told) in kept.items():
        end = weight * float(grams.after(prefix)[BLANK]) if grams is not None else 0.0
        ended.append((_add(blank, other) + told + end, list(prefix)))
    return max(ended)[1]


def _add(a: float, b: float) -> float:
    """log(eᵃ + eᵇ)."""
    if a < b:
        a, b = b, a
    return a if b == _NONE else a + math.log1p(math.exp(b - a))
