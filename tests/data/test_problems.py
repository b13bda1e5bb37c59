"""Problems with known answers: what they ask, what chance gives, and when they count as solved."""

import re
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch.nn.functional import one_hot

import bptt
from bptt.data.problems import IGNORED, Problem, problems
from bptt.data.source import Source

ALL = pytest.mark.parametrize("name", list(problems))


def first(problem: Problem) -> bptt.Piece:
    return next(problem.epoch(0))


@ALL
def test_batches_depend_on_their_place_alone(name: str) -> None:
    problem = problems[name](rows=5, sequences=4, seed=3)
    assert isinstance(problem, Source)
    batches = [*problem.epoch(2)]
    assert len(batches) == 4
    later = next(problem.epoch(2, start=3))
    for again, there in zip(later, batches[3], strict=True):
        assert (again is there is None) or torch.equal(torch.nan_to_num(again), torch.nan_to_num(there))
    assert not torch.equal(batches[0].x[: len(later.x)], later.x[: len(batches[0].x)])
    assert not torch.equal(first(replace(problem, seed=4)).x[:20], first(problem).x[:20])
    assert problem.fingerprint() != replace(problem, length=77).fingerprint()


@ALL
def test_shapes(name: str) -> None:
    problem = problems[name](length=31, rows=3)
    piece = first(problem)
    assert piece.x.shape[1:] == (3, problem.inputs)
    assert piece.x.dtype == torch.float32
    assert problem.steps in (None, len(piece.x))
    assert piece.target.shape[:2] == piece.x.shape[:2]


def test_the_sum_of_what_was_marked() -> None:
    problem = problems["adding"](length=40, rows=200)
    x, target, *_ = first(problem)
    assert torch.equal(x[:20, :, 1].sum(0), torch.ones(200))
    assert torch.equal(x[20:, :, 1].sum(0), torch.ones(200))
    torch.testing.assert_close((x[..., 0] * x[..., 1]).sum(0), target[-1, :, 0])
    assert target[:-1].isnan().all()
    loss, one = bptt.SquaredError(), torch.ones(40, 200, 1)
    found = [float(loss(one, piece.target)) / loss.count(piece.target) for piece in islice(problem.epoch(0), 50)]
    assert sum(found) / 50 == pytest.approx(problem.chance, rel=0.02)  # 10,000 draws


def test_ten_symbols_come_again() -> None:
    problem = problems["copy"](length=30, rows=4)
    x, target, *_ = first(problem)
    symbols = x.argmax(-1)
    assert torch.equal(symbols[:10], target[-10:])
    assert (symbols[10:39] == 8).all()
    assert (symbols[39] == 9).all()
    assert (symbols[40:] == 8).all()
    guess = torch.full((50, 4, 9), -30.0)
    guess[:40, :, 8] = 30
    guess[40:, :, :8] = 0
    loss = bptt.CrossEntropy()
    assert float(loss(guess, target)) / loss.count(target) == pytest.approx(problem.chance)
    assert replace(problem, length=100).chance == pytest.approx(0.1733, abs=5e-5)


def test_the_class_is_the_order() -> None:
    x, target, *_ = first(problems["order"](length=50, rows=300))
    symbols = x.argmax(-1)
    assert ((symbols < 2).sum(0) == 2).all()
    assert (symbols[5:10] < 2).any(0).all()
    assert (symbols[20:25] < 2).any(0).all()
    seen = [[int(s) for s in column if s < 2] for column in symbols.T]
    assert [2 * a + b for a, b in seen] == target[-1].tolist()
    assert (target[:-1] == IGNORED).all()
    assert set(target[-1].tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("length", [9, 30, 100])
def test_strings_are_of_the_grammar(length: int) -> None:
    piece = first(problems["reber"](length=length, rows=40))
    assert piece.mask is not None
    for row in range(40):
        steps = int(piece.mask[:, row].sum())
        letters = [*piece.x[:steps, row].argmax(-1).tolist(), int(piece.target[steps - 1, row])]
        string = "".join("BTPSXVE"[i] for i in letters)
        assert re.fullmatch(r"B(T|P).*\1E", string), string
        assert accepted(string[2:-2]), string
        assert len(string) >= length


@pytest.mark.parametrize("length", [9, 40])
def test_chance_is_the_loss_of_guessing_from_the_present_letter(length: int) -> None:
    problem = problems["reber"](length=length, rows=100)
    pieces = list(islice(problem.epoch(0), 20))
    pairs = torch.zeros(7, 7)
    for x, target, mask, _ in pieces:
        pairs.index_put_((x.argmax(-1)[mask], target[mask]), torch.tensor(1.0), accumulate=True)
    guess = (pairs / pairs.sum(1, keepdim=True).clamp(min=1)).clamp(min=1e-9).log()
    loss = bptt.CrossEntropy()
    found = [(float(loss(guess[x.argmax(-1)][mask], target[mask])), int(mask.sum())) for x, target, mask, _ in pieces]
    assert sum(e for e, _ in found) / sum(n for _, n in found) == pytest.approx(problem.chance, rel=0.02)


def accepted(string: str) -> bool:
    """The automaton as Hochreiter & Schmidhuber 1997 draw it, states numbered as in their figure."""
    moves = {(0, "T"): 1, (0, "P"): 5, (1, "S"): 1, (1, "X"): 2, (2, "S"): 3, (2, "X"): 5}
    moves |= {(4, "V"): 3, (4, "P"): 2, (5, "V"): 4, (5, "T"): 5}
    state = 0
    for letter in string[1:-1]:
        if (state, letter) not in moves:
            return False
        state = moves[state, letter]
    return string[0] == "B" and string[-1] == "E" and state == 3


@ALL
def test_right_answers_count_as_solved_and_wrong_ones_do_not(name: str) -> None:
    problem = problems[name](length=20, rows=64)
    piece = first(problem)
    target = piece.target
    if problem.loss == "squared":
        right = target.nan_to_num()
        wrong = right + 0.2
    else:
        right = one_hot(target.clamp(min=0), problem.outputs).float()
        other = 3 - target.clamp(1, 2) if name == "reber" else (target.clamp(min=0) + 1) % 4  # T is 1 and P is 2
        wrong = one_hot(other, problem.outputs).float()
    assert problem.solved(right, piece).all()
    assert not problem.solved(wrong, piece).any()


@ALL
def test_sizes_are_checked(name: str) -> None:
    kind = problems[name]
    for field, value in (("length", kind.least - 1), ("length", 20.0), ("rows", 0), ("sequences", True), ("seed", -1)):
        with pytest.raises(ValueError, match=f"{kind.__name__}: {field} must be a whole number of at least"):
            kind(**{field: value})
