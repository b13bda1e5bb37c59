"""Random truncation is right on average: every pattern of cuts is enumerated."""

import dataclasses
import itertools
import math

import pytest
import torch

import bptt
from bptt.through.plan import Draw, HandBack, steps_of
from tests.contract import oracle
from tests.contract.models import ALL, sequence

LOSS = bptt.SquaredError()


@dataclasses.dataclass(frozen=True)
class Dictated(bptt.Strategy):
    """`Randomized` with its cuts dictated; collects the chance of the pattern."""

    inner: bptt.Randomized
    cuts: tuple[bool, ...]
    chances: list

    def plan(self, upto):
        plan, dictated, blocks = self.inner.plan(upto), iter(self.cuts), 0
        action = next(plan)
        while True:
            drawn = None
            if isinstance(action, Draw):
                blocks += 1
                cut, chance = next(dictated), self.inner.chance(blocks)
                self.chances.append(chance if cut else 1 - chance)
                drawn, blocks = (0.0, 0) if cut else (1.0, blocks)
            else:
                yield action
            try:
                action = plan.send(drawn)
            except StopIteration:
                return


def total(model, data, through):
    model.zero_grad()
    list(bptt.backprop(model, LOSS, data, through=through))
    return oracle.gradient(model)


@pytest.mark.parametrize("name", ["torch.nn.LSTM", "dict"])
@pytest.mark.parametrize(
    "through",
    [bptt.Randomized(2, block=1), bptt.Randomized(3, block=1, alpha=6), bptt.Randomized(5, block=2, alpha=math.inf)],
    ids=str,
)
def test_the_mean_over_all_patterns_of_cuts_is_the_full_gradient(name, through):
    model, data = ALL[name]().double(), sequence(name, 6, name == "dict")
    exact = total(model, data, bptt.Full())
    decisions = -(-6 // through.block) - 1
    mean, certain = torch.zeros_like(exact), 0.0
    for cuts in itertools.product((False, True), repeat=decisions):
        chances: list[float] = []
        found = total(model, data, Dictated(through, cuts, chances))
        mean += math.prod(chances) * found
        certain += math.prod(chances)
    assert certain == pytest.approx(1, abs=1e-14)
    assert float((mean - exact).norm() / exact.norm()) < 1e-12


@pytest.mark.parametrize(("horizon", "block", "alpha"), [(10, 1, 4.0), (100, 10, 3.0), (24, 6, 6.0), (20, 5, math.inf)])
def test_windows_have_the_horizon_for_their_mean_length(horizon, block, alpha):
    through, going_on, mean = bptt.Randomized(horizon, block, alpha), 1.0, 0.0
    for blocks in range(1, 200_000):
        mean += going_on * block
        going_on *= 1 - through.chance(blocks)
    assert mean == pytest.approx(horizon, rel=2e-3)


def test_cuts_differ_from_pass_to_pass_unless_they_are_seeded():
    def stops(through):
        model, data = bptt.nn.GRU(3, 4), (torch.zeros(300, 1, 3), torch.zeros(300, 1, 4))
        return [window.stop for window in bptt.backprop(model, LOSS, data, through=through)]

    free, seeded = bptt.Randomized(10), bptt.Randomized(10, seed=3)
    assert stops(free) != stops(free)
    assert stops(seeded) == stops(seeded)
    torch.manual_seed(4)
    once = stops(free)
    torch.manual_seed(4)
    assert stops(free) == once


def test_a_seeded_training_cuts_each_sequence_elsewhere():
    model = bptt.nn.GRU(3, 4)

    class Source:
        sequences, steps = 3, 60

        def epoch(self, n, start=0):
            return iter([(torch.randn(60, 1, 3), torch.randn(60, 1, 4)) for _ in range(3)][start:])

        def fingerprint(self):
            return ""

    through = bptt.Randomized(6, block=1, seed=5)
    passes = [
        [w.stop for w in bptt.backprop(model, LOSS, next(Source().epoch(0)), through=through.of_sequence(n))] for n in range(3)
    ]
    assert passes[0] != passes[1] != passes[2] != passes[0]
    assert through.of_sequence(0) == through
    assert bptt.Truncated(3).of_sequence(9) == bptt.Truncated(3)
    run = bptt.Run(model, LOSS, Source(), through=through, logs=bptt.train.Logs(1, False), seed=0)
    lines = run.fit(epochs=1).history
    assert [line["steps"] for line in lines if "loss" in line] == [
        60 * n + stop for n, each in enumerate(passes) for stop in each
    ]


def test_nothing_is_cut_where_nobody_draws():
    assert [a.stop for a in bptt.Randomized(4, block=2).plan(steps_of(9)) if isinstance(a, HandBack)] == [9]


def test_bias_and_variance_are_measured():
    model, data = bptt.nn.LSTM(3, 4).double(), sequence("", 30, False)
    model(data.x)[0].sum().backward()
    before = oracle.gradient(model)
    unbiased = bptt.fidelity(model, LOSS, data, through=bptt.Randomized(6, block=2, seed=0), passes=60)
    biased = bptt.fidelity(model, LOSS, data, through=bptt.Truncated(1, 1), passes=2)
    exact = bptt.fidelity(model, LOSS, data, through=bptt.Checkpointed(slots=3), passes=2)
    assert torch.equal(oracle.gradient(model), before)
    assert unbiased.variance > 0
    assert unbiased.bias < 4 * unbiased.doubt
    assert biased.variance == 0
    assert biased.bias > 0.05
    assert exact.bias < 1e-12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon": 1}, "horizon must be a whole number of at least 2, got 1"),
        ({"horizon": 8, "block": 8}, "horizon must exceed the block"),
        ({"horizon": 8, "alpha": 2}, "alpha must be above 2"),
        ({"horizon": 8, "alpha": "steep"}, "alpha must be a number, got 'steep'"),
        ({"horizon": 8, "seed": -1}, "seed must be a whole number of at least 0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        bptt.Randomized(**settings)


def test_what_can_be_read_only_once_has_no_fidelity():
    model = bptt.nn.GRU(3, 4)
    with pytest.raises(TypeError, match="which can be read only once, and it is gone through 2 times"):
        bptt.fidelity(model, LOSS, iter([(torch.randn(9, 2, 3), torch.randn(9, 2, 4))]), through=bptt.Full(), passes=1)
