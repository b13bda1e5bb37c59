"""The measured bias against the true one, where the truth can be computed."""

from functools import partial

import pytest
import torch

import bptt
from bptt.through.adaptive import beyond_all
from bptt.through.plan import Weighed
from tests.contract import oracle

LOSS = bptt.SquaredError()


def gradient(model, data, through, loss=LOSS):
    model.zero_grad()
    run = bptt.backprop(model, loss, data, through=through)
    list(run)
    return oracle.gradient(model), run


def fading(rate, steps=960):
    """A network whose state fades by ``rate`` a step, and a target that depends on a long past."""
    torch.manual_seed(0)
    model = bptt.nn.RNN(2, 3, nonlinearity="relu").double()
    with torch.no_grad():
        model.weight_hh_l0.copy_(rate * torch.eye(3))
        model.weight_ih_l0.abs_()
        model.bias_ih_l0.fill_(0.1)
        model.bias_hh_l0.zero_()
    x = torch.rand(steps, 2, 2).double()
    return model, (x, model(x)[0].detach() * 1.5 + 0.1)


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("bias", [0.3, 0.1, 0.01])
@pytest.mark.parametrize("every", [1, 4])
def test_the_bias_expected_is_right_within_a_factor_of_two(rate, bias, every):
    model, data = fading(rate)
    _, run = gradient(model, data, bptt.Adaptive(bias, k1=4, most=64, every=every))
    told = run.plan.reach
    exact, _ = gradient(model, data, bptt.Full())
    cut, _ = gradient(model, data, bptt.Truncated(4, told.k2))
    truth = float((cut - exact).norm() / exact.norm())
    assert told.bias <= bias or told.k2 == 64
    assert truth / 2 <= told.bias <= truth * 2 or max(truth, told.bias) < 1e-4


def remembering(kind, memory, target, steps=800):
    """A network with weights as torch draws them, or such that it remembers for longer, and noise or a like one's outputs."""
    torch.manual_seed(0)
    model, teacher = (getattr(bptt.nn, kind)(2, 6).double() for _ in range(2))
    for net in (model, teacher) if memory == "long" else ():
        with torch.no_grad():
            if kind == "RNN":
                net.weight_hh_l0.copy_(0.97 * torch.linalg.qr(torch.randn(6, 6).double())[0])
                net.weight_ih_l0.mul_(0.5)
            else:
                net.bias_ih_l0[6:12] += 3  # the GRU's z, the LSTM's forget gate
    x = torch.randn(steps, 2, 2).double()
    return model, (x, teacher(x)[0].detach() if target == "teacher" else torch.randn(steps, 2, 6).double())


@pytest.mark.parametrize("target", ["teacher", "noise"])
@pytest.mark.parametrize("memory", ["short", "long"])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_it_is_right_for_networks_that_are_used(kind, memory, target):
    model, data = remembering(kind, memory, target)
    exact, _ = gradient(model, data, bptt.Full())
    for bias in (0.3, 0.05):
        _, run = gradient(model, data, bptt.Adaptive(bias, k1=4, most=64, every=2))
        told = run.plan.reach
        cut, _ = gradient(model, data, bptt.Truncated(4, told.k2))
        truth = float((cut - exact).norm() / exact.norm())
        assert told.bias <= bias or told.k2 == 64
        assert truth / 2 <= told.bias <= truth * 2, (told, truth)


def test_chance_in_the_targets_is_not_taken_for_bias():
    """Symbols without any order: the gradient of every single window is mostly chance, of which much is gone in the mean."""
    for seed in range(12):
        torch.manual_seed(seed)
        model = torch.nn.ModuleList([torch.nn.Embedding(10, 8), bptt.nn.GRU(8, 8), torch.nn.Linear(8, 10)]).double()
        data = torch.randint(10, (400, 1)), torch.randint(10, (400, 1))
        model.forward = partial(_symbols, model)
        exact, _ = gradient(model, data, bptt.Full(), bptt.CrossEntropy())
        _, run = gradient(model, data, bptt.Adaptive(0.1, k1=2, most=64, every=2), bptt.CrossEntropy())
        told = run.plan.reach
        cut, _ = gradient(model, data, bptt.Truncated(2, told.k2), bptt.CrossEntropy())
        truth = float((cut - exact).norm() / exact.norm())
        assert truth / 2 <= told.bias <= truth * 2, (seed, told, truth)


def _symbols(parts, x, state=None):
    embedding, layers, readout = parts
    h, state = layers(embedding(x), state)
    return readout(h), state


def test_what_fades_slowly_is_followed_further():
    reach = {}
    for rate in (0.5, 0.8, 0.95):
        _, run = gradient(*fading(rate), bptt.Adaptive(0.1, k1=4, most=64))
        reach[rate] = run.plan.reach.k2
    assert reach[0.5] < reach[0.8] < reach[0.95]
    assert f"windows reach back {reach[0.95]} steps" in run.plan.summary()


def test_windows_without_a_target_shorten_nothing():
    model, (x, target) = fading(0.8, steps=400)
    target[: len(target) - 1] = float("nan")
    run = bptt.backprop(model, LOSS, (x, target), through=bptt.Adaptive(0.1, k1=4, most=64, every=3))
    reached = [run.plan.reach for window in run if not window.count]
    assert {reach.k2 for reach in reached if reach is not None} == {64}


def test_what_lies_beyond_is_told_by_the_later_lags_alone():
    """The first lags may fall steeply: a slope over all of them would see too little beyond (the trap)."""
    error = [1.0, 0.1, 0.05, 0.05 * 0.9**8, 0.05 * 0.9**24]
    lags = [1, 4, 8, 16, 32]
    kept = 0.9**16
    assert beyond_all(Weighed(lags, [0.5, 0.4, 0.3, 0.2, 0.0], error)) == pytest.approx(0.2 * kept / (1 - kept))
    assert beyond_all(Weighed(lags, [0.5, 0.4, 0.3, 0.2, 0.0], [*error[:-1], 0.0])) == 0
    assert beyond_all(Weighed(lags, [0.5, 0.4, 0.3, 0.2, 0.0], [1.0] * 5)) == float("inf")


def test_a_large_module_is_sketched_and_told_alike(monkeypatch):
    model, data = fading(0.8)
    _, exact = gradient(model, data, bptt.Adaptive(0.1, k1=4, most=64))
    monkeypatch.setattr("bptt.lags._SKETCH", 16)
    _, sketched = gradient(model, data, bptt.Adaptive(0.1, k1=4, most=64))
    assert sketched.plan.reach.k2 / 2 <= exact.plan.reach.k2 <= sketched.plan.reach.k2 * 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bias": 0}, "bias must be above 0, got 0"),
        ({"bias": float("inf")}, "bias must be above 0, got inf"),
        ({"bias": "small"}, "bias must be a number, got 'small'"),
        ({"k1": 64, "most": 32}, "most must be at least k1, got most=32 and k1=64"),
        ({"every": 0}, "every must be a whole number of at least 1"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        bptt.Adaptive(**settings)
