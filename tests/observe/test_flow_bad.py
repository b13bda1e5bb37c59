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


def test_what_is_flat_is_said_and_no_share_of_nothing_is_told():
    x, target, *_ = data(12)
    with pytest.raises(ValueError, match=r"derivative is zero everywhere \(round, sign, argmax\)"):
        gradient_flow(Cell(out=torch.sign).double(), LOSS, (x, target))
    flow = gradient_flow(Cell(between=torch.round).double(), LOSS, (x, target), through=bptt.Truncated(1, 2))
    assert "flat (round, sign, argmax)" in flow.advice[0]
    assert not any("nan" in said for said in flow.advice)


class Sometimes(Cell):
    """Its state is a pair with the number of the step, and is detached at every third."""

    def forward(self, x, state=None):
        s, n = state if state is not None else (x.new_zeros(x.shape[1], 4), torch.zeros(x.shape[1], dtype=torch.long))
        outputs = []
        for step in x:
            n = n + 1
            s = torch.tanh(self.inside(torch.cat([step, s.detach() if int(n[0]) % 3 == 2 else s], -1)))
            outputs.append(s)
        return torch.stack(outputs), (s, n)


def test_a_state_that_is_detached_at_some_steps_is_shown_with_these():
    x, target, *_ = data(10)
    flow = gradient_flow(Sometimes().double(), LOSS, (x, target))
    assert flow.cut == ()
    ((part, steps),) = flow.severed.items()
    assert steps == (1, 4, 7)
    assert f"No error comes back through {part} at steps 1, 4, 7: it is detached there." in flow.advice


def test_a_gradient_of_a_weight_that_is_not_finite_is_shown_with_step_and_weight():
    class Root(Cell):
        def __init__(self):
            super().__init__()
            self.g = nn.Parameter(torch.ones(()))

        def forward(self, x, state=None):
            y, state = super().forward(x, state)
            return y + torch.sqrt((x[:, :, :1] - 5).relu() * self.g), state  # its derivative is 0/0 where x is under 5

    x, target, *_ = data()
    x = x.clamp(-1, 1) + 10
    x[3] = 0
    flow = gradient_flow(Root().double(), LOSS, (x, target))
    assert (flow.trouble.way, flow.trouble.step, flow.trouble.what) == ("backward", 3, "the gradient by g is nan")
    assert "A NaN arises on the way back" in flow.advice[0]
    assert "overflows" not in flow.advice[0]


@pytest.mark.parametrize("instrument", [bptt.observe.spectrum, bptt.observe.lyapunov])
def test_growth_of_what_is_cut_or_not_finite_is_refused(instrument):
    x, target, *_ = data(8)
    more = {} if instrument is bptt.observe.spectrum else {"count": 2}
    with pytest.raises(ValueError, match="Cell cuts its state off"):
        instrument(Cell(between=torch.Tensor.detach).double(), (x, target), **more)
    x[4] = math.nan
    with pytest.raises(ValueError, match="a Jacobian of Cell is not finite"):
        instrument(Cell().double(), (x, target), **more)


def test_units_of_numbers_that_are_not_finite_and_of_no_state_are_refused():
    x, target, *_ = data(8)
    with pytest.raises(ValueError, match="Stateless carries no state"):
        bptt.observe.units(Stateless().double(), (x, target))
    x[4] = math.nan
    with pytest.raises(ValueError, match="not finite at step 4"):
        bptt.observe.units(nn.GRU(3, 4).double(), (x, target))


def test_an_overflow_is_not_answered_with_clipping_that_cannot_help():
    model = bptt.nn.RNN(3, 4, nonlinearity="relu")
    with torch.no_grad():
        model.weight_hh_l0.copy_(1e6 * torch.eye(4))
    x = torch.rand(12, 2, 3) + 0.1
    said = " ".join(gradient_flow(model, LOSS, (x, torch.zeros(12, 2, 4))).advice)
    assert "No clipping of the norm helps where it is infinite" in said
    assert "clip_step=1.0" in said
    assert "bptt.nn.init.orthogonal_(model)" in said


def test_one_loss_alone_has_no_error_to_tell():
    x, target, *_ = data(90)
    flow = gradient_flow(nn.GRU(3, 4).double(), LOSS, (x, target), samples=1)
    assert math.isnan(flow.profile.horizon_low)
    assert "(of one loss alone)" in repr(flow)


def test_a_layer_that_dies_under_one_that_lasts_is_named():
    class Stack(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = bptt.nn.LSTM(3, 4), bptt.nn.RNN(4, 4)
            bptt.nn.init.forget_bias_(self.first, 8.0)
            with torch.no_grad():
                self.second.weight_hh_l0.mul_(0.2)

        def forward(self, x, state=None):
            a, b = state if state is not None else (None, None)
            y, a = self.first(x, a)
            y, b = self.second(y, b)
            return y, (a, b)

    x, target, *_ = data(64)
    said = " ".join(gradient_flow(Stack().double(), LOSS, (x, target)).advice)
    assert "In second.h alone it is under 1 % after" in said
    assert "orthogonal_(model.second)" in said


def test_a_state_of_other_rows_is_refused_in_words():
    x, y = torch.randn(6, 4, 3), torch.randn(6, 4, 4)
    with pytest.raises(ValueError, match="step 0: Two does not take the state given"):
        gradient_flow(Two(), LOSS, (x, y), state=(torch.zeros(3, 4), torch.zeros(3, 4)))


class Own(bptt.Strategy):
    """A user's strategy that is no dataclass."""

    def plan(self, upto):
        return bptt.Full().plan(upto)


def test_a_strategy_of_the_users_own_is_told_of(tmp_path):
    flow = gradient_flow(bptt.nn.RNN(3, 4), LOSS, (torch.randn(6, 2, 3), torch.randn(6, 2, 4)), through=Own())
    flow.save_html(tmp_path / "flow.html")
    flow.save(tmp_path / "flow.json")
    assert '"own"' in (tmp_path / "flow.json").read_text()
