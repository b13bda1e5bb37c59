"""What `gradient_flow` says of what it cannot follow, and of numbers that are not finite."""

import math

import pytest
import torch
from torch import nn

import bptt
from bptt.observe import gradient_flow
from tests.contract.models import sequence

LOSS = bptt.SquaredError()


class Cell(nn.Module):
    """A user's cell; ``between`` is what it does with its state, ``out`` with its output."""

    def __init__(self, between=lambda s: s, out=lambda y: y):
        super().__init__()
        self.inside = nn.Linear(3 + 4, 4)
        self.between, self.out = between, out

    def forward(self, x, state=None):
        state = x.new_zeros(x.shape[1], 4) if state is None else state
        outputs = []
        for step in x:
            state = torch.tanh(self.inside(torch.cat([step, self.between(state)], -1)))
            outputs.append(state)
        return self.out(torch.stack(outputs)), state


class Two(nn.Module):
    """Two states, one of which is detached."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.GRUCell(3, 4), nn.GRUCell(4, 4)

    def forward(self, x, state=None):
        h, c = state if state is not None else (x.new_zeros(x.shape[1], 4),) * 2
        outputs = []
        for step in x:
            h = self.a(step, h)
            c = self.b(h, c.detach())
            outputs.append(c)
        return torch.stack(outputs), (h, c)


class Stateless(nn.Module):
    def __init__(self, state=None):
        super().__init__()
        self.out, self.state = nn.Linear(3, 4), state

    def forward(self, x, state=None):
        return self.out(x), self.state


def data(steps=6):
    return sequence("torch.nn.GRU", steps, False)


@pytest.mark.parametrize(
    ("model", "steps", "says"),
    [
        (Stateless(), 6, "Stateless carries no state .* no tensor"),
        (Stateless(torch.zeros(2, dtype=torch.long)), 6, "Stateless carries no state .* only whole numbers"),
        (Cell(between=torch.Tensor.detach), 6, r"Cell cuts its state off: .*\.detach\(\)"),
        (Cell(out=torch.Tensor.detach), 6, "the loss depends on no parameter and no state of Cell"),
        (Cell(), 1, "the sequence has 1 step: to see a lag it takes at least 2"),
        (nn.GRU(3, 4, bidirectional=True), 6, "bidirectional"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_said_in_one_line(model, steps, says):
    x, target, *_ = data(steps)
    if isinstance(model, nn.GRU):
        target = torch.cat([target, target], -1)
    with pytest.raises(ValueError, match=says) as raised:
        gradient_flow(model.double(), LOSS, (x, target))
    assert "\n" not in str(raised.value)


def test_targets_that_are_all_left_out():
    x, target, *_ = data()
    with pytest.raises(ValueError, match="no loss of these 6 steps has a gradient"):
        gradient_flow(nn.GRU(3, 4).double(), LOSS, (x, torch.full_like(target, math.nan)))


def test_wrong_settings_are_named():
    model, given = nn.GRU(3, 4).double(), data()
    with pytest.raises(ValueError, match="steps must be a whole number of at least 2, got 1"):
        gradient_flow(model, LOSS, given, steps=1)
    with pytest.raises(ValueError, match="samples must be a whole number of at least 1, got 0"):
        gradient_flow(model, LOSS, given, samples=0)
    with pytest.raises(TypeError, match=r"through must be a strategy such as bptt.Truncated\(k1=20\)"):
        gradient_flow(model, LOSS, given, through=20)
    with pytest.raises(ValueError, match="reduction='sum'"):
        gradient_flow(model, nn.MSELoss(), given)


def test_a_part_that_is_cut_off_is_named_in_the_advice():
    flow = gradient_flow(Two().double(), LOSS, data())
    assert flow.cut == ("state[1]",)
    assert "No error comes back through state[1]" in flow.advice[0]


def test_an_input_that_is_not_finite_is_shown_where_it_is():
    x, target, *_ = data()
    x = x.clone()
    x[3, 1, 0] = math.nan
    flow = gradient_flow(nn.GRU(3, 4).double(), LOSS, (x, target))
    assert (flow.trouble.way, flow.trouble.step) == ("forward", 3)
    assert flow.trouble.what == "the input x is nan in 1 of 6 places"
    assert flow.steps == 3
    assert "A number is not finite: the input x is nan" in flow.advice[0]


@pytest.mark.parametrize("kind", [nn.LSTM, bptt.nn.LSTM])
def test_a_weight_that_is_not_finite_is_named(kind):
    model = kind(3, 4, num_layers=2).double()
    x, target, *_ = data()
    with torch.no_grad():
        model.weight_ih_l1[5, 0] = math.nan
    with pytest.raises(ValueError, match="the parameter weight_ih_l1 is nan in 1 of 64 places at step 0, on the way forward"):
        gradient_flow(model, LOSS, (x, target))


def test_a_state_that_overflows_is_shown_with_step_layer_and_gate():
    model = bptt.nn.RNN(3, 4, num_layers=2, nonlinearity="relu")
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
        model.weight_hh_l1.fill_(1e9)
    x, target = torch.ones(9, 2, 3), torch.zeros(9, 2, 4)
    y, _ = model(x)
    first = next(t for t in range(9) if not torch.isfinite(y[t]).all())
    flow = gradient_flow(model, lambda y, target: y.sum(), (x, target))
    assert flow.trouble.step == first
    assert flow.trouble.what == "the activation of RNN, layer 1 is inf in 8 of 8 places"
    assert flow.steps == first


def test_an_error_that_overflows_is_shown_where_it_first_does():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.tensor(1e12))

        def forward(self, x, state=None):
            state = x.new_zeros(x.shape[1], 1) if state is None else state
            outputs = []
            for step in x:
                state = torch.sin(self.a * state) + step
                outputs.append(state)
            return torch.stack(outputs), state

    x = torch.zeros(8, 1, 1)
    target = torch.full((8, 1, 1), math.nan)
    target[-1] = 1.0
    flow = gradient_flow(Growing(), LOSS, (x, target))
    # 2 * (1e12)^lag is beyond single precision at lag 4: just before step 4.
    assert (flow.trouble.way, flow.trouble.step) == ("backward", 4)
    assert "the error of state is inf" in str(flow.trouble)
    assert "overflows on its way back" in flow.advice[0]
