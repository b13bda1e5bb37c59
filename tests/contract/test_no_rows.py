"""A batch without rows is refused in words, whatever the strategy."""

import pytest
import torch
from torch import nn

import bptt
from tests.contract.registry import ALIKE

LOSS = bptt.SquaredError()
WORDS = r"x is \[5, 0, 3\], expected \[T, B, \.\.\.\] with at least one row"


def data(rows):
    return torch.randn(5, rows, 3), torch.randn(5, rows, 4)


@pytest.mark.parametrize("through", ALIKE, ids=str)
def test_by_every_strategy_before_anything_runs(through):
    model = nn.GRU(3, 4)
    with pytest.raises(ValueError, match=f"sequence: {WORDS}"):
        bptt.backprop(model, LOSS, data(0), through=through)
    assert all(p.grad is None for p in model.parameters())


def test_in_pieces_and_in_evaluation():
    masked = bptt.Piece(*data(0), mask=torch.ones(5, 0, dtype=torch.bool))
    with pytest.raises(ValueError, match=f"piece 0: {WORDS}"):
        list(bptt.backprop(nn.GRU(3, 4), LOSS, iter([masked])))
    with pytest.raises(ValueError, match=WORDS):
        bptt.evaluate(nn.GRU(3, 4), LOSS, data(0))


def test_a_piece_without_steps_is_none():
    [window] = bptt.backprop(nn.GRU(3, 4), LOSS, iter([tuple(part[:0] for part in data(2)), data(2)]))
    assert (window.start, window.stop) == (0, 5)
