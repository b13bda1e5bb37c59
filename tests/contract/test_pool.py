"""Pooling over time: against its definition on each row alone, whole and in pieces, and under every mask."""

import pytest
import torch
from torch import nn

import bptt
from bptt.nn.pool import POOLS, Pool
from tests.tolerances import assert_close

T, B, I, BACKWARD = 9, 4, 6, 2
LENGTHS = torch.tensor([9, 0, 3, 5])
MASK = torch.arange(T)[:, None] < LENGTHS


def pooled(pool, z):
    """The definition, of one row's steps ``z [n, I]``."""
    if not len(z):
        return z.new_zeros(I)
    if pool.how == "max":
        return z.max(0).values
    if pool.how == "mean":
        return z.mean(0)
    if pool.how == "last":
        return torch.cat([z[-1, : I - BACKWARD], z[0, I - BACKWARD :]])
    return (torch.softmax(pool.score(torch.tanh(pool.look(z))), 0) * z).sum(0)


@pytest.fixture(params=POOLS)
def pool(request):
    return Pool(request.param, I, backward=BACKWARD).double()


def test_every_step_is_what_the_definition_says_of_the_steps_up_to_it(pool):
    x = torch.randn(T, B, I, dtype=torch.float64)
    y, _ = pool(x, None, MASK)
    for row in range(B):
        for t in range(T):
            assert_close(y[t, row], pooled(pool, x[: min(t + 1, int(LENGTHS[row])), row]), f"row {row}, step {t}")


def test_what_stands_at_steps_that_do_not_exist_reaches_neither_output_nor_gradient(pool):
    x = torch.randn(T, B, I, dtype=torch.float64)
    made = []
    for filling in (0.0, torch.nan, 1e9):
        filled = x.masked_fill(~MASK[..., None], filling).requires_grad_()
        y, _ = pool(filled, None, MASK)
        y.square().sum().backward()
        assert torch.isfinite(filled.grad).all()
        assert not filled.grad[~MASK].any()
        made.append((y.detach(), filled.grad))
    for y, gradient in made[1:]:
        assert y.equal(made[0][0])
        assert gradient.equal(made[0][1])


@pytest.mark.parametrize("cut", [1, 4, 8])
def test_in_pieces_it_is_the_same_and_so_is_its_gradient(pool, cut):
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    weights = [x, *pool.parameters()]
    whole, end = pool(x, None, MASK)
    first, state = pool(x[:cut], None, MASK[:cut])
    second, last = pool(x[cut:], state, MASK[cut:])
    assert_close(torch.cat([first, second]), whole, "y")
    for a, b in zip(end, last, strict=True):
        assert_close(a, b, "state")
    expected = torch.autograd.grad(whole[-1].square().sum(), weights)
    for a, b in zip(torch.autograd.grad(second[-1].square().sum(), weights), expected, strict=True):
        assert_close(a, b, "gradient")


class Model(nn.Module):
    """A recurrent layer and a pool: what a classifier that reads forwards is."""

    def __init__(self, how):
        super().__init__()
        self.layer, self.pool = bptt.nn.GRU(3, I), Pool(how, I)

    def forward(self, x, state=None, mask=None):
        inner, seen = (None, None) if state is None else state
        y, inner = self.layer(x, inner, mask=mask)
        y, seen = self.pool(y, seen, mask)
        return y, (inner, seen)


@pytest.mark.parametrize("how", POOLS)
@pytest.mark.parametrize("through", ["checkpointed:slots=3", "truncated:k1=4,k2=99"])
def test_the_executor_carries_the_error_through_it(how, through):
    model = Model(how).double()
    x, target = torch.randn(T, B, 3, dtype=torch.float64), torch.randn(T, B, I, dtype=torch.float64)
    target[:-1] = torch.nan
    mask = torch.arange(T)[:, None] >= torch.tensor([0, 1, 2, 7])  # rows that begin later
    wanted = torch.autograd.grad(bptt.SquaredError()(model(x, None, mask)[0], target), list(model.parameters()))
    for _ in bptt.backprop(model, bptt.SquaredError(), (x, target, mask), through=bptt.through.parse(through)):
        pass
    for (name, parameter), expected in zip(model.named_parameters(), wanted, strict=True):
        assert_close(parameter.grad, expected, name)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="how='sum' does not exist: one of 'max', 'mean', 'last', 'attention'"):
        Pool("sum", 3)
    with pytest.raises(ValueError, match="input_size must be a whole number of at least 1, got 0"):
        Pool("max", 0)
    with pytest.raises(ValueError, match="backward=4 features run against time, but there are 3"):
        Pool("last", 3, backward=4)
    with pytest.raises(ValueError, match=r"x has 2 features but Pool\(input_size=3\) expects 3"):
        Pool("max", 3)(torch.zeros(2, 1, 2))
