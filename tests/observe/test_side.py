"""Sums over steps in one product: the same as step by step, and left alone where steps cannot stand side by side."""

import pytest
import torch
from torch import nn

import bptt
from bptt.observe.chain import Chain
from tests.contract.models import MODELS, sequence
from tests.observe.test_flow_bad import Sometimes

LOSS = bptt.SquaredError()


def chain(model, steps=9):
    x, target, *_ = sequence("torch.nn.GRU", steps, False)
    return Chain(model.double(), LOSS, (x, target), None, steps)


@pytest.mark.parametrize("name", ["torch.nn.LSTM", "torch.nn.GRU", "task model", "named tuple", "projection"])
def test_it_gives_what_step_by_step_gives(name):
    x, target, *_ = sequence(name, 9, False)
    made = Chain(MODELS[name]().double(), LOSS, (x, target), None, 9)
    assert made._side is not None
    own, explicit = made.explicit()
    errors = [[torch.randn_like(leaf) for leaf in link.after] for link in made.links]
    implicit = made.implicit(errors)
    made.alone()
    plain_own, plain = made.explicit()
    for a, b in zip((*explicit, *implicit), (*plain, *made.implicit(errors)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    for step, plain_step in zip(own, plain_own, strict=True):
        for a, b in zip(step, plain_step, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


class Mixed(nn.Module):
    """A row sees the mean of all."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x, state=None):
        outputs = []
        for step in x:
            state = self.cell(step + x.mean(), state)
            outputs.append(state)
        return torch.stack(outputs), state


class Detaches(Mixed):
    """Cuts where only a test of the gradient sees it: rows past the batch that it is trained with."""

    def forward(self, x, state=None):
        outputs = []
        for step in x:
            if state is not None and x.shape[1] > 4:
                state = state.detach()
            state = self.cell(step, state)
            outputs.append(state)
        return torch.stack(outputs), state


@pytest.mark.parametrize("make", [Mixed, Detaches, Sometimes, lambda: nn.GRU(3, 4, num_layers=2, dropout=0.5)])
def test_it_is_left_alone_where_steps_cannot_stand_side_by_side(make):
    assert chain(make())._side is None
