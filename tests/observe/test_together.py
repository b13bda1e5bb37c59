"""Gates are computed for many steps in one product: they must be those of the steps one by one."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

import bptt
from bptt.data import Piece
from bptt.observe import units
from bptt.observe.together import together


class Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.other = nn.LSTMCell(3, 4), bptt.nn.GRU(4, 5, num_layers=2, batch_first=True)

    def forward(self, x, state=None):
        inner, outer = (None, None) if state is None else state
        ys = []
        for step in x:
            inner = self.cell(step, inner)
            y, outer = self.other(inner[0][:, None], outer)
            ys.append(y[:, 0])
        return torch.stack(ys), (inner, outer)


@pytest.mark.parametrize(
    "make", [lambda: bptt.nn.LSTM(3, 4, num_layers=2), Cells, lambda: bptt.nn.RNN(3, 4, nonlinearity="relu")]
)
@pytest.mark.parametrize("flags", [False, True])
def test_as_one_by_one(make, flags, monkeypatch):
    torch.manual_seed(0)
    model = make().double()
    mask = torch.rand(40, 3) > 0.3 if flags else None
    sequence = Piece(torch.randn(40, 3, 3, dtype=torch.float64), torch.zeros(40, 3), mask)
    at_once = units(model, sequence)
    monkeypatch.setattr(sys.modules["bptt.observe.units"], "_AT_ONCE", 1)
    alone = units(model, sequence)
    assert at_once.gates
    for a, b in zip(at_once.gates, alone.gates, strict=True):
        assert (a.layer, a.gate) == (b.layer, b.gate)
        np.testing.assert_allclose(a.mean_by_unit, b.mean_by_unit, rtol=1e-12)
        np.testing.assert_allclose(a.time_constant, b.time_constant, rtol=1e-9)
        np.testing.assert_allclose([a.low, a.high, a.dead], [b.low, b.high, b.dead])


def test_only_what_is_alike_is_joined():
    gru = nn.GRU(3, 4)
    x, state = torch.randn(1, 2, 3), torch.randn(1, 2, 4)
    begun = ([("gru", gru, (x,), {})], None)
    long = ([("gru", gru, (torch.randn(5, 2, 3), state), {})], None)
    later = [([("gru", gru, (x + i,), {"hx": state + i})], None) for i in range(3)]
    found = together([begun, long, *later])
    assert [len(calls) for calls, _ in found] == [1, 1, 1]
    assert found[:2] == [begun, long]
    given = found[2][0][0][3]
    assert (given["x"].shape, given["state"].shape) == ((1, 6, 3), (1, 6, 4))
    torch.testing.assert_close(given["state"][:, 2:4], state + 1)
