"""What cannot be right is refused, by name: losses that are no sums, values that are no numbers, graphs that leak."""

import math

import pytest
import torch
from torch import nn

import bptt
from tests.contract import oracle

LOSS = bptt.SquaredError()
X, Y = torch.randn(12, 3, 3), torch.randn(12, 3, 4)


def run(loss, data=(X, Y), model=None, **options):
    return list(bptt.backprop(model or nn.GRU(3, 4), loss, data, **options))


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (lambda y, t: (y - t).square().mean(), "steps"),
        (lambda y, t: (y - t).square().mean(1).sum(), "rows"),
        (lambda y, t: (y - t).square().mean(0).sum(), "steps"),
        (lambda y, t: (y - t).norm(), "steps"),
        (lambda y, t: (y - t).square().sum() + 100, "steps"),
    ],
)
@pytest.mark.parametrize("through", [bptt.Full(), bptt.Truncated(3), bptt.Checkpointed(slots=2)], ids=str)
def test_a_loss_that_does_not_double_is_no_sum(loss, what, through):
    with pytest.raises(ValueError, match=f"for twice the {what}, expected .*: a loss must be the sum over steps and rows"):
        run(loss, through=through)


def test_a_mean_over_what_exists_is_no_sum_either():
    mask = torch.ones(12, 3, dtype=torch.bool)
    mask[6:, 1] = False
    with pytest.raises(ValueError, match="for twice the steps"):
        run(lambda y, t: (y - t).square().mean(), (X, Y, mask))


@pytest.mark.parametrize(
    "loss",
    [
        lambda y, t: (y - t).square().sum(),
        lambda y, t: (y - t).abs().sum() * 0,
        nn.MSELoss(reduction="sum"),
        lambda y, t: (y[t[..., 0] > 0]).sum(),
        lambda y, t: nn.functional.dropout(y - t, 0.5).square().sum(),
        lambda y, t: (y.reshape(-1, 3, 4) - t).square().sum(),
    ],
)
def test_sums_pass(loss):
    assert len(run(loss, through=bptt.Truncated(4))) == 3


@pytest.mark.parametrize("late", [math.nan, 0.0])
def test_a_loss_that_told_nothing_is_looked_at_again(late):
    """No target in the first windows, or all as it should be there: a mean is 0 or no number, whatever it is doubled to."""

    def mean(y, target):
        return (y * 0 + target).abs().nanmean() if bool((~target.isnan()).any()) else (y * 0).sum()

    target = torch.full((12, 3, 4), late)
    target[-1] = 1.0
    with pytest.raises(ValueError, match=r"steps 9\.\.12: .* for twice the steps"):
        run(mean, (X, target), through=bptt.Truncated(3))


def test_looking_at_the_loss_draws_no_random_numbers():
    torch.manual_seed(0)
    run(lambda y, t: nn.functional.dropout(y, 0.5).sum() + 0 * t.sum())
    once = torch.get_rng_state()
    torch.manual_seed(0)
    model = nn.GRU(3, 4)
    nn.functional.dropout(model(X)[0], 0.5)
    assert torch.equal(torch.get_rng_state(), once)


def spoiled(part, at):
    x, y = X.clone(), Y.clone()
    (x if part == "x" else y)[at, 1] = math.inf
    return x, y


THROUGH = [
    bptt.Full(),
    bptt.Truncated(2),
    bptt.Truncated(2, 6),
    bptt.Checkpointed(slots=2, segment=2),
    bptt.Checkpointed(slots=12, segment=1),
    bptt.Randomized(4, block=2, seed=0),
    bptt.Adaptive(0.1, k1=2, most=4),
]


@pytest.mark.parametrize("through", THROUGH, ids=str)
@pytest.mark.parametrize(("part", "name"), [("x", "x"), ("target", "target")])
def test_the_first_step_that_is_not_finite_is_named(through, part, name):
    with pytest.raises(ValueError, match=rf"step 7: {name} is not finite"):
        run(LOSS, spoiled(part, 7), through=through)


def test_a_value_that_the_model_makes_is_named_where_it_appears():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor(1e12))

        def forward(self, x, state):
            h, made = torch.ones(x.shape[1], 4) if state is None else state, []
            for _ in x:
                h = h * self.w
                made.append(h)
            return torch.stack(made), h

    for through in THROUGH:
        with pytest.raises(ValueError, match=r"step (1|3): (y|the loss) is not finite"):
            run(LOSS, model=Growing(), through=through)


def test_a_missing_target_and_a_step_that_does_not_exist_are_no_fault():
    y, mask, x = Y.clone(), torch.ones(12, 3, dtype=torch.bool), X.clone()
    y[3] = math.nan
    mask[5:, 2] = False
    x[5:, 2] = math.nan
    run(LOSS, (x, y, mask), model=bptt.nn.GRU(3, 4, backend="reference"), through=bptt.Truncated(4))


def test_one_may_look_oneself():
    windows = run(LOSS, spoiled("x", 7), through=bptt.Truncated(5), check_finite=False)
    assert [window.not_finite for window in windows] == [None, "step 7: x is not finite", "step 10: y is not finite"]


class Leaking(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.before = nn.GRU(3, 4), None

    def forward(self, x, state):
        y, state = self.layer(x, state)
        if self.before is not None:
            y = y + self.before.tanh()
        self.before = y[-1].tanh()
        return y, state


def test_a_tensor_that_leaks_its_graph_into_the_next_window_is_named():
    with pytest.raises(ValueError, match=r"model\.before carries history that an earlier window has used up"):
        run(LOSS, model=Leaking(), through=bptt.Truncated(4))


@pytest.mark.parametrize("through", [bptt.RTRL(), bptt.SnAp(1), bptt.UORO(seed=0), bptt.RTRL(3)], ids=str)
def test_a_tensor_that_leaks_its_graph_into_the_next_step_is_named(through):
    with pytest.raises(ValueError, match=r"graph of step 1 reaches into the step before: model\.before carries history"):
        run(LOSS, model=Leaking(), through=through)


@pytest.mark.parametrize(
    "through", [bptt.Full(), bptt.Checkpointed(slots=4), bptt.Truncated(100), bptt.RTRL(200), bptt.UORO(200, seed=0)], ids=str
)
def test_an_error_that_explodes_is_told(through):
    with pytest.raises(ValueError, match="is not finite, though every loss is: the error explodes on its way back"):
        run(LOSS, (torch.randn(200, 3, 3), torch.randn(200, 3, 4)), model=Exploding(), through=through)


class Exploding(nn.Module):
    """No value grows, and the error threefold a step."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(3.0))

    def forward(self, x, state):
        h, made = x.new_ones(x.shape[1], 4) if state is None else state, []
        for _ in x:
            h = self.w * h
            h = h - 2 / 3 * h.detach()
            made.append(h)
        return torch.stack(made), h


def test_a_graph_in_the_target_is_named():
    model = nn.Linear(4, 4)
    with pytest.raises(ValueError, match="target carries history"):
        run(LOSS, (X, model(Y).tanh()), through=bptt.Truncated(4))


def test_weights_that_are_not_finite_are_named():
    model = nn.GRU(3, 4)
    with torch.no_grad():
        model.weight_hh_l0[0, 0] = math.nan
    with pytest.raises(ValueError, match="step 0: the weights are not finite, weight_hh_l0 is the first"):
        run(LOSS, model=model)


def test_gradients_are_as_without_a_probe_or_a_look_at_the_loss():
    model = nn.GRU(3, 4)
    run(LOSS, model=model)
    expected = oracle.gradient(model)
    model.zero_grad()
    run(lambda y, t: (y - t).square().sum(), model=model, through=bptt.Checkpointed("1MiB"))
    assert torch.allclose(oracle.gradient(model), expected, rtol=1e-6)


def test_torchs_cross_entropy_is_told_which_one_serves():
    data = torch.randn(5, 2, 3), torch.zeros(5, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"y is \[5, 2, 4\] with the classes last.*use bptt\.CrossEntropy\(\)"):
        next(bptt.backprop(bptt.nn.GRU(3, 4), nn.CrossEntropyLoss(reduction="sum"), data))


class Growing(torch.nn.Module):
    """Its state doubles at every step, and its output does not show it."""

    def __init__(self):
        super().__init__()
        self.readout = torch.nn.Linear(3, 3)

    def forward(self, x, state):
        growth, floor = (x.new_ones(x.shape[1], 2), x.new_full((x.shape[1], 1), -math.inf)) if state is None else state
        for _ in x:
            growth = growth * 1e10
        return self.readout(x), (growth, floor)


@pytest.mark.parametrize("through", [bptt.Full(), bptt.Truncated(4), bptt.Checkpointed(slots=3), bptt.UORO(1)], ids=str)
def test_a_state_that_overflows_unseen_is_named(through):
    x, target = torch.randn(12, 2, 3), torch.randn(12, 2, 3)
    sequence = (x[:3], target[:3])
    list(bptt.backprop(Growing(), LOSS, sequence, through=through))  # what was infinite from the beginning may be
    with pytest.raises(ValueError, match=r"step 3: state\[0\] is not finite, though every loss is"):
        list(bptt.backprop(Growing(), LOSS, (x, target), through=through))
    list(bptt.backprop(Growing(), LOSS, (x, target), through=through, check_finite=False))


def test_of_a_stream_the_window_is_named_in_which_a_state_overflows():
    with pytest.raises(ValueError, match=r"steps 2\.\.4: state\[0\] is not finite, though every loss is"):
        list(bptt.backprop(Growing(), LOSS, iter([(X, X)]), through=bptt.Truncated(2)))


class Maximum(torch.nn.Module):
    """Keeps the greatest input so far, from -inf on; its first unit stays there. Counts its calls."""

    def __init__(self):
        super().__init__()
        self.readout, self.calls = nn.Linear(3, 3), 0

    def forward(self, x, state):
        self.calls += 1
        state = x.new_full((x.shape[1], 3), -math.inf) if state is None else state
        for now in x:
            state = torch.cat([state[:, :1], torch.maximum(state, now)[:, 1:]], 1)
        return self.readout(nn.functional.dropout(x, 0.5, self.training)), state


def test_a_state_that_was_infinite_before_is_no_news():
    model = Maximum()
    x, target = torch.randn(12, 2, 3), torch.randn(12, 2, 3)
    passed = []
    for check in (False, True):
        torch.manual_seed(0)
        list(bptt.backprop(model, LOSS, (x, target), through=bptt.Truncated(2), check_finite=check))
        passed.append((torch.rand(3), oracle.gradient(model)))
        model.zero_grad()
    assert torch.equal(passed[0][0], passed[1][0])  # looking draws nothing
    assert torch.equal(passed[0][1], passed[1][1])
    model.calls = 0
    list(bptt.backprop(model, LOSS, (x, target), through=bptt.Truncated(2)))
    assert model.calls <= 6 + 2 + 1  # the windows, and the steps of the first one, whose beginning is not known


def test_a_target_that_is_no_number_is_named_where_that_does_not_mean_missing():
    target = Y.clone()
    target[7, 1] = math.nan
    with pytest.raises(ValueError, match="step 7: target is not finite"):
        run(nn.MSELoss(reduction="sum"), (X, target), through=bptt.Truncated(2))


class Steep(nn.Module):
    """A loss with a weight of its own, whose gradient alone is infinite."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, y, target):
        return (y - target).square().sum() + torch.sqrt(self.weight) * y.numel()


def test_a_gradient_of_the_loss_itself_that_is_not_finite_is_told():
    with pytest.raises(ValueError, match=r"the gradient of steps 0\.\.\d+ is not finite"):
        list(bptt.backprop(bptt.nn.GRU(3, 3), Steep(), (X, X), through=bptt.Full()))
