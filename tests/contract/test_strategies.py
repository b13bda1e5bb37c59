"""Every strategy on every module, layer and backend against the dense oracle, in float64."""

import copy
import itertools

import pytest
import torch
from hypothesis import given, settings, strategies as st

import bptt
from bptt.through import parse, plan, strategies
from tests.contract import oracle
from tests.contract.models import ALL, dims, sequence
from tests.contract.registry import ALIKE, CASES, EXAMPLES, answer, fake
from tests.tolerances import assert_close

LOSS = bptt.SquaredError()


@pytest.fixture(autouse=True)
def _by_rule(monkeypatch):
    """Budgets are kept by the rule of the registry, so that small sequences are cut as large ones would be."""
    monkeypatch.setattr("bptt.executor.probe", lambda *given: fake(given[-1]))


def test_every_registered_strategy_has_its_oracle():
    assert set(CASES) == set(EXAMPLES) == set(strategies)
    assert all(EXAMPLES.values())


@pytest.mark.parametrize("ragged", [False, True], ids=["even", "ragged"])
@pytest.mark.parametrize("steps", [6, 7])
@pytest.mark.parametrize("name", ALL)
def test_strategies_equal_the_dense_oracle(name, steps, ragged):
    model = ALL[name]().double()
    data = sequence(name, steps, ragged)
    table = oracle.contributions(model, LOSS, data, dims)
    counted = steps * data.target.shape[1] if data.mask is None else int(data.mask.sum())
    whole = float(bptt.evaluate(model, LOSS, data).loss)
    for strategy, expected_windows in [case for cases in CASES.values() for case in cases]:
        got, total, count = [], 0.0, 0
        for window in bptt.backprop(model, LOSS, data, through=strategy):
            got.append(oracle.gradient(model))
            model.zero_grad()
            total += float(window.loss)
            count += window.count
        expected = expected_windows(table)
        assert len(got) == len(expected), f"{strategy}: {len(got)} windows"
        for index, (g, e) in enumerate(zip(got, expected, strict=True)):
            assert_close(g, e, f"{strategy}, window {index}")
        assert count == counted * data.target.shape[2], f"{strategy}: every loss counts exactly once"
        assert total == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("strategy", [*(case[0] for cases in CASES.values() for case in cases), *ALIKE], ids=str)
@pytest.mark.parametrize("length", [1, 2, 6, 7, 13, 40])
def test_plans_are_sound(strategy, length):
    actions = list(plan.check(strategy.plan(plan.steps_of(length)), length, answer))
    assert sum(action.stop - action.start for action in actions if isinstance(action, plan.Run) and action.count) == length


@pytest.mark.parametrize(("k1", "k2"), [(1, 6), (3, 5), (2, 2), (5, 3), (4, 11)])
def test_forward_steps_are_what_the_docstring_says(k1, k2):
    length = 600
    runs = [a for a in bptt.Truncated(k1, k2).plan(plan.steps_of(length)) if isinstance(a, plan.Run)]
    forward = sum(run.stop - run.start for run in runs)
    assert forward <= length * max(1, k2 / k1)
    assert forward >= length * max(1, k2 / k1) - k2 * k2


@pytest.mark.parametrize("name", ["task model", "LSTM on torch", "dict"])
@pytest.mark.parametrize("strategy", ALIKE, ids=str)
def test_the_answer_does_not_depend_on_how_the_input_was_cut(name, strategy):
    model = ALL[name]().double()
    data = sequence(name, 7, True)
    expected = _gradients(model, data, strategy)
    for cuts in ([0, 7], [0, 1, 7], [0, 3, 4, 6, 7], [0, 0, 2, 2, 7], list(range(8))):
        pieces = (bptt.Piece(*(part[a:b] for part in data)) for a, b in itertools.pairwise(cuts))
        for got, want in zip(_gradients(model, pieces, strategy), expected, strict=True):
            assert_close(got, want, f"cut at {cuts}")


def _gradients(model, data, strategy):
    found = []
    torch.manual_seed(7)
    for _ in bptt.backprop(model, LOSS, data, through=strategy):
        found.append(oracle.gradient(model))
        model.zero_grad()
    return found


def test_the_full_gradient_is_autograds():
    model = bptt.nn.LSTM(3, 4).double()
    x, target = torch.randn(9, 2, 3).double(), torch.randn(9, 2, 4).double()
    LOSS(model(x)[0], target).backward()
    expected = oracle.gradient(model)
    model.zero_grad()
    list(bptt.backprop(model, LOSS, (x, target)))
    assert torch.equal(oracle.gradient(model), expected)


@given(st.integers(1, 12), st.lists(st.integers(0, 12), max_size=6), st.sampled_from(ALIKE), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_rows_that_begin_end_and_start_afresh_in_pieces_of_any_length(steps, cuts, strategy, chance):
    """Rows of no steps at all, gaps and resets in mid-segment; pieces of no steps."""
    model, rows = bptt.nn.GRU(3, 4).double(), 3
    torch.manual_seed(chance.randrange(2**30))
    mask, reset = torch.rand(steps, rows) < 0.7, torch.rand(steps, rows) < 0.2
    mask[:, chance.randrange(rows)] = False
    data = bptt.Piece(torch.randn(steps, rows, 3).double(), torch.randn(steps, rows, 4).double(), mask, reset)
    bounds = [0, *sorted(min(cut, steps) for cut in cuts), steps]
    pieces = (bptt.Piece(*(part[a:b] for part in data)) for a, b in itertools.pairwise(bounds))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bptt.executor.probe", lambda *given: fake(given[-1]))
        expected = _gradients(model, data, strategy)
        for got, want in zip(_gradients(model, pieces, strategy), expected, strict=True):
            assert_close(got, want, f"{strategy} cut at {bounds}")


@pytest.mark.parametrize("name", ["torch.nn.LSTM", "dict"])
@pytest.mark.parametrize("strategy", ALIKE, ids=str)
@pytest.mark.parametrize("after", [1, 3])
def test_every_strategy_goes_on_exactly_where_it_was_saved(name, strategy, after):
    model, data = ALL[name]().double(), sequence(name, 9, name == "dict")
    torch.manual_seed(2)
    run = bptt.backprop(model, LOSS, data, through=strategy)
    for _ in itertools.islice(run, after):
        model.zero_grad()
    saved = copy.deepcopy(run.state_dict())
    expected = [(window.stop, oracle.gradient(model), model.zero_grad()) for window in run]
    torch.manual_seed(77)
    again = bptt.backprop(model, LOSS, data, through=strategy, resume=saved)
    got = [(window.stop, oracle.gradient(model), model.zero_grad()) for window in again]
    assert [stop for stop, _, _ in got] == [stop for stop, _, _ in expected]
    assert all(torch.equal(a, b) for (_, a, _), (_, b, _) in zip(got, expected, strict=True))


@pytest.mark.parametrize("strategy", ALIKE, ids=str)
def test_every_strategy_is_written_and_read(strategy):
    assert parse(str(strategy)) == strategy
