"""Known problems with known answers: what only a network can solve whose gradient reaches far enough back."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from bptt.data.piece import Piece

IGNORED = -100  # a step without a target, as `bptt.CrossEntropy` leaves it out


@dataclass(frozen=True)
class Problem(ABC):
    """A source of batches made as they are asked for: batch i of epoch n depends on (``seed``, n, i) alone.

    ``length``: the distance that is to be bridged, in steps. ``rows``: B; ``sequences``: batches in an epoch. Train with
    ``loss`` ("squared": `bptt.SquaredError`, "entropy": `bptt.CrossEntropy`); ``chance`` is what the best network without
    memory reaches, in the loss's mean per target. `solved` says for each row whether it was answered rightly.

    **Raises** ``ValueError`` for sizes that are no whole numbers or too small.
    """

    length: int = 100
    rows: int = 32
    sequences: int = 100
    seed: int = 0

    inputs: ClassVar[int]
    """Features of a step of x ``[T, B, inputs]``."""
    outputs: ClassVar[int]
    """What y must hold at each step: classes, or 1 number."""
    loss: ClassVar[Literal["squared", "entropy"]] = "entropy"
    least: ClassVar[int] = 10

    def __post_init__(self) -> None:
        for name, least in (("length", self.least), ("rows", 1), ("sequences", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{type(self).__name__}: {name} must be a whole number of at least {least}, got {value!r}")

    @property
    @abstractmethod
    def chance(self) -> float:
        """The mean loss per target that needs no memory."""

    @property
    def steps(self) -> int | None:
        """Steps of every sequence; ``None`` where they differ."""
        return self.length

    @abstractmethod
    def draw(self, random: Generator) -> Piece:
        """One batch."""

    @abstractmethod
    def solved(self, y: Tensor, piece: Piece) -> Tensor:
        """For each row ``[B]``, whether the outputs ``y [T, B, outputs]`` answer it rightly."""

    def epoch(self, n: int, start: int = 0) -> Iterator[Piece]:
        """The batches of epoch ``n`` from number ``start`` on."""
        return (self.draw(np.random.default_rng([self.seed, n, i])) for i in range(start, self.sequences))

    def fingerprint(self) -> str:
        """All that the batches depend on."""
        return repr(self)


class Adding(Problem):
    """x: a number of U[0, 1] and a mark; the target at the last step is the sum of the two marked numbers.

    One mark lies in the first half, one in the second. Hochreiter & Schmidhuber 1997, as set up by Le, Jaitly & Hinton
    2015, arXiv 1504.00941. Chance: the constant answer 1, mean squared error 1/6. Solved: within 0.1 of the sum.
    """

    inputs, outputs, loss, least = 2, 1, "squared", 2

    @property
    def chance(self) -> float:
        return 1 / 6

    def draw(self, random: Generator) -> Piece:
        values = random.random((self.length, self.rows))
        marks = np.zeros_like(values)
        row, half = np.arange(self.rows), self.length // 2
        marks[random.integers(0, half, self.rows), row] = 1
        marks[random.integers(half, self.length, self.rows), row] = 1
        target = torch.full((self.length, self.rows, 1), math.nan)
        target[-1, :, 0] = _tensor((values * marks).sum(0))
        return Piece(_tensor(np.stack([values, marks], -1)), target)

    def solved(self, y: Tensor, piece: Piece) -> Tensor:
        off: Tensor = y[-1, :, 0] - piece.target[-1, :, 0]
        return off.abs() < 0.1


class Copy(Problem):
    """Ten symbols of eight, ``length`` - 1 blanks, a mark; after it the ten are to be said again, in order.

    T = length + 20. Hochreiter & Schmidhuber 1997; Arjovsky, Shah & Bengio 2016, arXiv 1511.06464. Chance: blanks are
    known and the ten are guessed, 10 ln 8 / T. Solved: all ten right.
    """

    inputs, outputs, least = 10, 9, 1

    @property
    def steps(self) -> int:
        return self.length + 20

    @property
    def chance(self) -> float:
        return 10 * math.log(8) / self.steps

    def draw(self, random: Generator) -> Piece:
        symbols = torch.from_numpy(random.integers(0, 8, (10, self.rows)))
        x = torch.full((self.steps, self.rows), 8)
        x[:10] = symbols
        x[self.length + 9] = 9
        target = torch.full((self.steps, self.rows), 8)
        target[-10:] = symbols
        return Piece(one_hot(x, 10).to(torch.get_default_dtype()), target)

    def solved(self, y: Tensor, piece: Piece) -> Tensor:
        right: Tensor = y[-10:].argmax(-1) == piece.target[-10:]
        return right.all(0)


class TemporalOrder(Problem):
    """Among distractors c, d, e, f stand two symbols of {A, B}; the class, at the last step, is which came in which order.

    The two stand at random in the second and the fifth tenth of the sequence. Hochreiter & Schmidhuber 1997, as set up by
    Pascanu, Mikolov & Bengio 2013. Chance: ln 4. Solved: the right class of the four.
    """

    inputs, outputs = 6, 4

    @property
    def chance(self) -> float:
        return math.log(4)

    def draw(self, random: Generator) -> Piece:
        tenth, row = self.length / 10, np.arange(self.rows)
        x = random.integers(2, 6, (self.length, self.rows))
        first, second = random.integers(0, 2, (2, self.rows))
        x[random.integers(int(tenth), int(2 * tenth), self.rows), row] = first
        x[random.integers(int(4 * tenth), int(5 * tenth), self.rows), row] = second
        target = torch.full((self.length, self.rows), IGNORED)
        target[-1] = torch.from_numpy(2 * first + second)
        return Piece(one_hot(torch.from_numpy(x), 6).to(torch.get_default_dtype()), target)

    def solved(self, y: Tensor, piece: Piece) -> Tensor:
        answer: Tensor = y[-1].argmax(-1) == piece.target[-1]
        return answer


# From each state of the Reber automaton: the two letters that may come, and the states that they lead to.
_REBER: tuple[tuple[tuple[str, int], ...], ...] = (
    (("T", 1), ("P", 2)),
    (("S", 1), ("X", 3)),
    (("T", 2), ("V", 4)),
    (("X", 2), ("S", 5)),
    (("P", 3), ("V", 5)),
)
_END = 5
_LETTERS = "BTPSXVE"
_ENOUGH = 30_000  # pairs of letters, by which their entropy is known to a hundredth


class EmbeddedReber(Problem):
    """Strings B (T|P) B … E (T|P) E of a grammar, letter by letter; the last but one letter repeats the second.

    Between the two stands a string of the Reber grammar, which goes on until there are ``length`` letters in all and then
    ends when it may: rows differ in length and carry a mask. The target is the next letter. Hochreiter & Schmidhuber 1997;
    Smith & Zipser 1989. Chance: the next letter is guessed from the present one, H(next | present) in nats, by some thousand
    strings. Solved: of T and P, the right one has the higher score at the last but one letter; guessing solves half.
    """

    inputs, outputs, least = 7, 7, 9

    @property
    def chance(self) -> float:
        return _unsure_of_the_next(self)

    @property
    def steps(self) -> None:
        return None

    def draw(self, random: Generator) -> Piece:
        strings = [self._string(random) for _ in range(self.rows)]
        steps = max(map(len, strings)) - 1
        letters = torch.zeros(steps + 1, self.rows, dtype=torch.int64)
        mask = torch.zeros(steps, self.rows, dtype=torch.bool)
        for row, string in enumerate(strings):
            letters[: len(string), row] = torch.tensor([_LETTERS.index(letter) for letter in string])
            mask[: len(string) - 1, row] = True
        return Piece(one_hot(letters[:-1], 7).to(torch.get_default_dtype()), letters[1:], mask)

    def solved(self, y: Tensor, piece: Piece) -> Tensor:
        assert piece.mask is not None
        row = torch.arange(y.shape[1])
        place = piece.mask.sum(0) - 2  # the step whose target is the last letter but one
        right = piece.target[place, row]
        scores = y[place, row]
        t, p = (_LETTERS.index(letter) for letter in "TP")
        return torch.where(right == t, scores[:, t] > scores[:, p], scores[:, p] > scores[:, t])

    def _string(self, random: Generator) -> str:
        ends, state, inner = "TP"[random.integers(2)], 0, "B"
        while state < _END:
            letter, after = _REBER[state][random.integers(2)]
            if after == _END and len(inner) + 6 < self.length:
                letter, after = _REBER[state][0]  # too short to end: the other way
            state, inner = after, inner + letter
        return f"B{ends}{inner}E{ends}E"


@cache
def _unsure_of_the_next(problem: EmbeddedReber) -> float:
    """H(next letter | letter) in nats, over the strings of that length."""
    random, pairs = np.random.default_rng(0), Counter[tuple[str, str]]()
    while pairs.total() < _ENOUGH:
        pairs.update(itertools.pairwise(problem._string(random)))
    before = Counter[str]()
    for (letter, _), times in pairs.items():
        before[letter] += times
    return -sum(times * math.log(times / before[letter]) for (letter, _), times in pairs.items()) / pairs.total()


problems: dict[str, type[Problem]] = {"adding": Adding, "copy": Copy, "order": TemporalOrder, "reber": EmbeddedReber}
"""Every problem by name."""


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values).to(torch.get_default_dtype())
