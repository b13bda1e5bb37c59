"""`bptt.check` passes what is right, and finds each kind of mistake with its place."""

import re

import pytest
import torch
from torch import nn

import bptt
from bptt import kernels
from tests.contract.models import MODELS, sequence

LOSS = bptt.SquaredError()


def data(steps=6, name="torch.nn.GRU"):
    return sequence(name, steps, False)


class Right(nn.Module):
    """A user's own cell, made right."""

    def __init__(self):
        super().__init__()
        self.w_in, self.w_own = nn.Linear(3, 4), nn.Linear(4, 4, bias=False)

    def forward(self, x, state=None):
        state = x.new_zeros(x.shape[1], 4) if state is None else state
        outputs = []
        for k, step in enumerate(x):
            state = self.step(k, step, state)
            outputs.append(state)
        return torch.stack(outputs), state

    def step(self, k, x, state):
        return torch.tanh(self.w_in(x) + self.w_own(state))


class Detached(Right):
    def step(self, k, x, state):
        return torch.tanh(self.w_in(x) + self.w_own(state.detach()))


class NoGradient(Right):
    def step(self, k, x, state):
        return torch.tanh(self.w_in(x) + state @ self.w_own.weight.data.T)


class Ignored(Right):
    def forward(self, x, state=None):
        return super().forward(x, None)


class Hidden(Right):
    """Keeps its state inside, too."""

    kept = None

    def forward(self, x, state=None):
        if state is None:
            self.kept = x.new_zeros(x.shape[1], 4)
        outputs = []
        for step in x:
            self.kept = torch.tanh(self.w_in(step) + self.w_own(self.kept))
            outputs.append(self.kept)
        return torch.stack(outputs), torch.zeros_like(self.kept) + 0 * self.kept


class FromCallToCall(Right):
    calls = 0

    def step(self, k, x, state):
        self.calls += 1
        return torch.tanh(self.w_in(x) + self.w_own(state)) + 0.01 * self.calls


class Random(Right):
    def step(self, k, x, state):
        return nn.functional.dropout(torch.tanh(self.w_in(x) + self.w_own(state)), 0.5, training=True)


class Mixed(Right):
    def step(self, k, x, state):
        state = torch.tanh(self.w_in(x) + self.w_own(state))
        return state - state.mean(0)


class HalfTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        y = torch.tanh(a)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (1 - y)  # (1 - y²) it should be


class WrongBackward(Right):
    def step(self, k, x, state):
        return HalfTanh.apply(self.w_in(x) + self.w_own(state))


class WrongAtOne(nn.Module):
    """Its backward is wrong only where it runs more than one step: at the second of them."""

    def __init__(self):
        super().__init__()
        self.right, self.wrong = Right(), WrongBackward()
        self.wrong.w_in, self.wrong.w_own = self.right.w_in, self.right.w_own

    def forward(self, x, state=None):
        state = x.new_zeros(x.shape[1], 4) if state is None else state
        outputs = []
        for k, step in enumerate(x):
            state = (self.wrong if k == 1 else self.right).step(k, step, state)
            outputs.append(state)
        return torch.stack(outputs), state


class IgnoresMask(Right):
    def forward(self, x, state=None, mask=None):
        return super().forward(x, state)


class IgnoresReset(Right):
    def forward(self, x, state=None, reset=None):
        return super().forward(x, state)


class NoPair(Right):
    def forward(self, x, state=None):
        return super().forward(x, state)[0]


@pytest.mark.parametrize("name", MODELS)
def test_what_is_right_passes(name):
    model = MODELS[name]()
    assert bptt.check(model, LOSS, data(name=name), through=bptt.Truncated(2, 3))


def test_a_right_cell_of_a_users_own_and_what_is_said_of_it():
    model = Right()
    x, target, *_ = data()
    random, weights = torch.get_rng_state(), [p.clone() for p in model.parameters()]
    result = bptt.check(model, LOSS, (x.float(), target.float()), through=bptt.Full())
    assert result.ok
    assert "Right: nothing wrong" in repr(result)
    assert "the gradient by the parameters, to" in repr(result)
    assert max(each.worst for each in result.compared) < 1e-5
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(p, w) and p.grad is None for p, w in zip(model.parameters(), weights, strict=True))


@pytest.mark.parametrize(
    ("model", "what", "where", "says"),
    [
        (Detached, "the state is cut off", "state", r"\.detach\(\)"),
        (NoGradient, "the gradient is wrong", "w_own.weight, steps 1, 2, 3, 4, 5", "autograd gives no gradient"),
        (Ignored, "the state does not carry all", "from step 1", "the state given is not used"),
        (Hidden, "two runs differ", "evaluation mode", "outside the state it returns"),
        (FromCallToCall, "two runs differ", "evaluation mode", "keeps something from call to call"),
        (Random, "two runs differ", "evaluation mode", "self.training"),
        (Mixed, "rows are not independent", "row 0", "other rows"),
        (WrongBackward, "the gradient is wrong", "w_in.weight, steps 0, 1, 2, 3, 4, 5", "autograd says .* finite differences"),
        (WrongAtOne, "the gradient is wrong", "right.w_in.weight, no single step", "only where several steps run in one call"),
        (IgnoresMask, "mask is not seen to", "", "keep their state"),
        (IgnoresReset, "reset is not seen to", "", "begins afresh"),
        (NoPair, "the call", "", "expected the pair"),
    ],
)  # fmt: skip
def test_each_mistake_is_found_with_its_place(model, what, where, says):
    result = bptt.check(model(), LOSS, data())
    assert not result
    finding = next(f for f in result.findings if f.what == what)
    assert where in finding.where
    assert re.search(says, finding.detail)
    assert "\n" not in str(finding)
    assert f"WRONG  {what}" in repr(result)


def test_losses_that_are_no_sums():
    for loss, over in (
        (lambda y, target: ((y - target) ** 2).mean(), "steps"),
        (lambda y, target: ((y - target) ** 2).sum() / y.shape[1], "rows"),
    ):
        result = bptt.check(Right(), loss, data())
        finding = next(f for f in result.findings if f.what == f"the loss is no sum over {over}")
        assert "reduction='sum'" in finding.detail


def test_a_strategy_that_does_something_else_than_it_says(monkeypatch):
    from bptt.through import truncated

    assert bptt.check(Right(), LOSS, data(), through=bptt.Truncated(2, 4))
    original = truncated.Truncated.plan

    def short(self, upto):
        return original(bptt.Truncated(self.k1, self.k1), upto)

    monkeypatch.setattr(truncated.Truncated, "plan", short)
    result = bptt.check(Right(), LOSS, data(), through=bptt.Truncated(2, 4))
    assert [f.where for f in result.findings] == ["truncated:k1=2,k2=4, window 1", "truncated:k1=2,k2=4, window 2"]
    assert "most in w_" in result.findings[0].detail


def test_a_backend_is_compared_with_the_reference(monkeypatch):
    model = bptt.nn.LSTM(3, 4, num_layers=2)
    assert bptt.check(model, LOSS, data(), backend="torch")

    class Off(type(kernels.table["reference"])):
        name = "off"

        def run(self, layer, weights, x, state, rows):
            y, after = super().run(layer, weights, x, state, rows)
            return y, after if not weights.w_ih.requires_grad else (after[0], after[1] * 1.001)

    monkeypatch.setitem(kernels.table, "off", Off())
    result = bptt.check(model, LOSS, data(), backend="off")
    assert [f.where for f in result.findings] == ["off, final state", "off, float32, final state"]
    assert "no layer of bptt.nn" in bptt.check(Right(), LOSS, data(), backend="torch").notes[-1]
    with pytest.raises(ValueError, match="backend='none' does not exist"):
        bptt.check(model, LOSS, data(), backend="none")


def test_a_kernel_that_is_wrong_in_single_precision_alone_is_found(monkeypatch):
    class Coarse(type(kernels.table["reference"])):
        name = "coarse"

        def run(self, layer, weights, x, state, rows):
            y, after = super().run(layer, weights, x, state, rows)
            return (y * 1.1 if x.dtype == torch.float32 else y), after

    monkeypatch.setitem(kernels.table, "coarse", Coarse())
    model = bptt.nn.GRU(3, 4)
    found = bptt.check(model, LOSS, data(), backend="coarse").findings
    assert "coarse, float32, output" in [f.where for f in found]
    model.backend = "coarse"
    assert any(f.what == "it differs from its own in double precision" for f in bptt.check(model, LOSS, data()).findings)
    assert not bptt.check(model.double(), LOSS, data()).findings


def test_what_has_no_state_or_no_gradient_or_cannot_run_is_one_finding():
    class Stateless(nn.Linear):
        def forward(self, x, state=None):
            return super().forward(x), None

    result = bptt.check(Stateless(3, 4), LOSS, data())
    assert [f.what for f in result.findings] == ["no state"]

    class Flat(Right):
        def step(self, k, x, state):
            return torch.sign(super().step(k, x, state))

    assert "no gradient" in [f.what for f in bptt.check(Flat(), LOSS, data()).findings]

    class Fails(Right):
        def step(self, k, x, state):
            raise RuntimeError("two\nlines")

    (only,) = bptt.check(Fails(), LOSS, data()).findings
    assert str(only) == "the call: two lines"


def test_what_cannot_be_checked_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="bidirectional layer"):
        bptt.check(bptt.nn.LSTM(3, 2, bidirectional=True), LOSS, data())
    with pytest.raises(ValueError, match="clip_step=1 of LSTM bends the gradient on purpose"):
        bptt.check(bptt.nn.LSTM(3, 4, clip_step=1.0), LOSS, data())


def test_a_cell_that_runs_in_single_precision_alone_is_checked_so():
    class Single(Right):
        def step(self, k, x, state):
            return torch.tanh(self.w_in(x) + nn.functional.linear(state.float(), self.w_own.weight))

    x, target, *_ = data()
    result = bptt.check(Single(), LOSS, (x.float(), target.float()))
    assert result, result
    assert "single precision" in result.notes[0]


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module"):
        bptt.check(3, LOSS, data())
    with pytest.raises(TypeError, match=r"through must be a strategy"):
        bptt.check(Right(), LOSS, data(), through=3)
    with pytest.raises(ValueError, match="takes at least 2"):
        bptt.check(Right(), LOSS, data(1))
    with pytest.raises(ValueError, match="reduction='sum'"):
        bptt.check(Right(), nn.MSELoss(), data())
