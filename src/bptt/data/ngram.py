"""Plain baselines for text: what counting alone reaches, in bits per symbol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
LIMIT = 5_000_000  # tokens that are counted; a million take about a quarter of a second and 50 MiB an order


@dataclass(frozen=True)
class Baselines:
    """Bits per symbol on held-out text: ``uniform`` = log2 V, and ``ngram[n-1]`` of each order n that was tried.

    ``fitted_on`` tokens of training text were counted, ``measured_on`` tokens of held-out text were predicted.
    """

    uniform: float
    ngram: tuple[float, ...]
    fitted_on: int
    measured_on: int

    @property
    def unigram(self) -> float:
        """Bits per symbol when only the frequency of each symbol is known."""
        return self.ngram[0]

    @property
    def order(self) -> int:
        """The order that does best on the held-out text."""
        return int(np.argmin(self.ngram)) + 1

    @property
    def best(self) -> float:
        """Bits per symbol of that order."""
        return min(self.ngram)

    def describe(self) -> str:
        """One line with the two baselines."""
        return f"unigram {self.unigram:.3f}, {self.order}-gram (Kneser-Ney) {self.best:.3f} bits per symbol"


def baselines(train: Any, valid: Any, size: int, max_order: int = 10) -> Baselines:
    """Unigram and smoothed n-grams of rising order, until one does worse than the one before, or ``max_order``.

    ``train [N]`` and ``valid [M]`` hold tokens below ``size``; every token of ``valid`` but the first is predicted from
    those before it in ``valid``, as by a network that starts with an empty state. Of longer texts the last 5 million
    tokens of ``train`` and the first 5 million of ``valid`` are used, as the result says.

    Raises ValueError for fewer than two tokens, a token outside ``0 .. size - 1``, ``max_order`` < 1.
    """
    if isinstance(max_order, bool) or not isinstance(max_order, int) or max_order < 1:
        raise ValueError(f"max_order={max_order!r}: expected a whole number, at least 1")
    seen, held = np.asarray(train[-LIMIT:]), np.asarray(valid[:LIMIT])
    bits: list[float] = []
    for chances in islice(probabilities(seen, held, size), max_order):
        bits.append(float(-np.log2(chances).mean()))
        if len(bits) > 1 and bits[-1] >= bits[-2]:
            break
    return Baselines(float(np.log2(size)), tuple(bits), len(seen), len(held) - 1)


def probabilities(train: ArrayLike, tokens: ArrayLike, size: int) -> Iterator[_Floats]:
    """``P_n`` of every token of ``tokens [M]`` but the first, ``[M - 1]``, for n = 1, 2, ... without end.

    Interpolated modified Kneser-Ney, fitted on ``train [N]``:

        P_n(w | h) = (c(hw) - D(c(hw))) / c(h) + b(h) Q_{n-1}(w | h'),    b(h) = Σ_w D(c(hw)) / c(h)

    with h the n - 1 tokens before w, h' the same without the oldest, D one of three discounts for counts of 1, 2 and
    more. Q is the same formula with, in place of the count of a gram, the number of different tokens that came before
    it; Q_0 = 1 / size. Where h was never seen, or reaches back before the tokens, P_n = Q_{n-1}.

    Chen & Goodman, An empirical study of smoothing techniques for language modeling, 1999.
    """
    ids, asked = _checked(train, size, "train", 1), _checked(tokens, size, "tokens", 2)
    # a gram of order n is numbered by the number of its first n - 1 tokens and its last token
    before, before_asked = np.zeros(len(ids), np.int64), np.zeros(len(asked), np.int64)
    below = np.full(len(asked), 1.0 / size)
    previous: _Level | None = None
    while True:
        level = _Level(ids, asked, before, before_asked, size)
        if previous is not None:
            below = previous.interpolate(level.different_before(previous), below)
        yield level.interpolate(level.counts, below)[1:]
        before, before_asked = _shift(level.numbers), _shift(level.asked)
        previous = level


class _Level:
    """The grams of one order: their number at each place of both texts (-1: none), and their counts."""

    def __init__(self, ids: _Ints, asked: _Ints, before: _Ints, before_asked: _Ints, size: int) -> None:
        there = before >= 0
        keys, numbers, counts = np.unique(before[there] * size + ids[there], return_inverse=True, return_counts=True)
        self.numbers = np.full(len(ids), -1, np.int64)
        self.numbers[there] = numbers
        self.counts = counts.astype(np.int64)
        self._history = keys // size
        self._asked_history = before_asked
        wanted = before_asked * size + asked  # negative, and so never found, after a history that is none
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        self.asked = np.where(keys[at] == wanted, at, -1) if len(keys) else np.full(len(asked), -1)

    def different_before(self, shorter: _Level) -> _Ints:
        """For each gram of the order below, how many different tokens came before it."""
        place = np.empty(len(self.counts), np.int64)
        there = np.flatnonzero(self.numbers >= 0)
        place[self.numbers[there]] = there
        return np.bincount(shorter.numbers[place], minlength=len(shorter.counts))

    def interpolate(self, counts: _Ints, below: _Floats) -> _Floats:
        """The formula at each place asked for, with these counts of the grams and the order below."""
        if not len(counts):
            return below
        taken = discounts(counts)[np.minimum(counts, 3)]
        total, freed = np.bincount(self._history, counts), np.bincount(self._history, taken)
        # a history may begin no gram here: the last one of the text, and those that follow nothing
        known = (self._asked_history >= 0) & (self._asked_history < len(total))
        history = np.where(known, self._asked_history, 0)
        known &= total[history] > 0
        own = np.where(self.asked >= 0, (counts - taken)[self.asked], 0.0)
        made = (own + freed[history] * below) / np.where(known, total[history], 1.0)
        return np.where(known, made, below)


def discounts(counts: _Ints) -> _Floats:
    """D by count (0, 1, 2, 3 and more), from how many grams have the counts 1 to 4."""
    n1, n2, n3, n4 = (int((counts == c).sum()) for c in (1, 2, 3, 4))
    usual = np.array([0.0, 0.5, 0.75, 0.9])  # where the text is too small, or too regular, to tell
    if not (n1 and n2 and n3):
        return usual
    y = n1 / (n1 + 2 * n2)
    told = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    return np.where((told > 0) & (told < [1, 1, 2, 3]), told, usual)


def _shift(numbers: _Ints) -> _Ints:
    return np.concatenate([np.full(1, -1), numbers[:-1]])


def _checked(tokens: ArrayLike, size: int, name: str, least: int) -> _Ints:
    array = np.asarray(tokens)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}; expected whole numbers [N]")
    if len(array) < least:
        raise ValueError(f"{name} holds {len(array)} tokens; a baseline needs at least {least}")
    if array.min() < 0 or array.max() >= size:
        raise ValueError(f"{name} holds tokens {array.min()}..{array.max()}, outside the vocabulary's 0..{size - 1}")
    return array.astype(np.int64)
