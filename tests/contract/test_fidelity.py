"""`bptt.fidelity` where parameters are complex, gradients sparse, or the loss learns too."""

import pytest
import torch
from torch import nn

import bptt
from tests.contract.models import HIDDEN, INPUT, Turning, sequence

LOSS = bptt.SquaredError()


def passed(model, loss, data, through):
    """The gradients of all that learns as one real vector, made here by torch alone."""
    learning = [*model.parameters(), *(loss.parameters() if isinstance(loss, nn.Module) else ())]
    for p in learning:
        p.grad = None
    list(bptt.backprop(model, loss, data, through=through))
    parts = [p.grad.to_dense() for p in learning]
    for p in learning:
        p.grad = None
    return torch.cat([(torch.view_as_real(part) if part.is_complex() else part).flatten().double() for part in parts])


def bias_of(model, loss, data, through):
    exact = passed(model, loss, data, bptt.Full())
    return float((passed(model, loss, data, through) - exact).norm() / exact.norm())


class Symbols(nn.Module):
    """An embedding whose gradients are sparse."""

    def __init__(self, sparse=True):
        super().__init__()
        self.embed, self.layer = nn.Embedding(10, INPUT, sparse=sparse), bptt.nn.GRU(INPUT, HIDDEN)

    def forward(self, x, state=None):
        return self.layer(self.embed(x), state)


class Judging(nn.Module):
    """A loss with weights of its own."""

    def __init__(self):
        super().__init__()
        self.weigh = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, y, target):
        return (self.weigh(y) - target).square().sum()


def symbols(steps):
    return torch.randint(0, 10, (steps, 2)), torch.randn(steps, 2, HIDDEN).double()


def test_complex_parameters_count_as_two_real_ones():
    model, data = Turning(), sequence("", 12, False)
    found = bptt.fidelity(model, LOSS, data, through=bptt.Truncated(2), passes=1)
    assert found.bias == pytest.approx(bias_of(model, LOSS, data, bptt.Truncated(2)), rel=1e-9)
    assert found.bias > 0.01


def test_sparse_gradients():
    model, data = Symbols().double(), symbols(12)
    found = bptt.fidelity(model, LOSS, data, through=bptt.Truncated(2), passes=1)
    assert found.bias == pytest.approx(bias_of(model, LOSS, data, bptt.Truncated(2)), rel=1e-9)
    assert found.bias > 0.01


@pytest.mark.parametrize("stood", [False, True], ids=["none stood", "some stood"])
def test_a_loss_that_learns_is_counted_and_its_gradients_are_put_back(stood):
    model, loss, data = nn.GRU(INPUT, HIDDEN).double(), Judging().double(), sequence("", 12, False)
    expected = bias_of(model, loss, data, bptt.Truncated(2))
    before = torch.ones_like(loss.weigh.weight) if stood else None
    loss.weigh.weight.grad = before
    found = bptt.fidelity(model, loss, data, through=bptt.Truncated(2), passes=3)
    assert loss.weigh.weight.grad is before
    assert before is None or bool((before == 1).all())
    assert all(p.grad is None for p in [*model.parameters(), loss.weigh.bias])
    assert found.bias == pytest.approx(expected, rel=1e-9)
    assert found.bias > 0.01


def test_what_does_not_learn_keeps_its_gradient():
    model, data = nn.GRU(INPUT, HIDDEN).double(), sequence("", 5, False)
    fixed = model.bias_hh_l0.requires_grad_(False)
    fixed.grad = kept = torch.ones_like(fixed)
    assert bptt.fidelity(model, LOSS, data, through=bptt.Full(), passes=1).bias == 0
    assert fixed.grad is kept


def reached(model, data):
    run = bptt.backprop(model, LOSS, data, through=bptt.Adaptive(0.1, k1=2, most=32, every=2))
    list(run)
    return run.plan.reach


class Pairs(nn.Module):
    """The same network with its complex weights given as pairs of real ones."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner.requires_grad_(False)
        self.pairs = nn.ParameterDict(
            {name: torch.view_as_real(p).clone() for name, p in inner.named_parameters() if p.is_complex()}
        )
        inner.readout.requires_grad_()

    def forward(self, x, state=None):
        weights = {name: torch.view_as_complex(pair) for name, pair in self.pairs.items()}
        return torch.func.functional_call(self.inner, weights, (x, state))


def test_adaptive_finds_the_same_for_complex_parameters_and_for_pairs():
    model, data = Turning(), sequence("", 400, False)
    one, other = reached(model, data), reached(Pairs(model), data)
    assert one.k2 == other.k2
    assert one.bias == pytest.approx(other.bias, rel=1e-9)


def test_adaptive_finds_the_same_for_sparse_gradients():
    sparse, dense, data = Symbols().double(), Symbols(sparse=False).double(), symbols(200)
    dense.load_state_dict(sparse.state_dict())
    one, other = reached(sparse, data), reached(dense, data)
    assert one.k2 == other.k2
    assert one.bias == pytest.approx(other.bias, rel=1e-9)
