"""The executor as its users meet it: windows, reductions, input of every form, resuming, refusals."""

import itertools
import math

import pytest
import torch
from torch import nn

import bptt
from bptt.state import leaves
from tests.contract import oracle
from tests.contract.models import ALL, Nested, Spiking, sequence
from tests.tolerances import assert_close

LOSS = bptt.SquaredError()


def _all_windows(model, data, **options):
    found = []
    for window in bptt.backprop(model, LOSS, data, **options):
        found.append((window, oracle.gradient(model)))
        model.zero_grad()
    return found


def test_windows_say_what_was_done():
    model = bptt.nn.GRU(3, 4).double()
    windows = [w for w, _ in _all_windows(model, sequence("", 7, False), through=bptt.Truncated(3))]
    assert [(w.start, w.stop, w.steps, w.count) for w in windows] == [(0, 3, 3, 24), (3, 6, 3, 24), (6, 7, 1, 8)]
    assert windows[0].mean == pytest.approx(float(windows[0].loss) / 24)
    assert not windows[0].loss.requires_grad


@pytest.mark.parametrize(("reduction", "share"), [("sum", 1), ("mean", 24), ("rows", 2)])
def test_reductions(reduction, share):
    model = bptt.nn.GRU(3, 4).double()
    data = sequence("", 3, False)
    [(_, got)] = _all_windows(model, data, reduction=reduction)
    [(_, plain)] = _all_windows(model, data)
    assert_close(got * share, plain, reduction)


def test_a_mean_divides_by_what_counts():
    model = bptt.nn.GRU(3, 4).double()
    data = sequence("", 7, True)
    for (window, got), (_, plain) in zip(
        _all_windows(model, data, through=bptt.Truncated(3, 5), reduction="mean"),
        _all_windows(model, data, through=bptt.Truncated(3, 5)),
        strict=True,
    ):
        assert window.count == int(data.mask[window.start : window.stop].sum()) * 4
        assert_close(got * window.count, plain, "mean")


def test_gradients_add_to_those_that_stand():
    model = bptt.nn.GRU(3, 4).double()
    data = sequence("", 4, False)
    list(bptt.backprop(model, LOSS, data))
    once = oracle.gradient(model)
    list(bptt.backprop(model, LOSS, data))
    assert_close(oracle.gradient(model), 2 * once, "twice")


def test_endless_input_is_read_as_it_is_needed():
    model = bptt.nn.GRU(3, 4)
    read = []

    def pieces():
        for index in itertools.count():
            read.append(index)
            yield torch.randn(5, 2, 3), torch.randn(5, 2, 4)

    windows = itertools.islice(bptt.backprop(model, LOSS, pieces(), through=bptt.Truncated(4, 6)), 20)
    assert [w.stop for w in windows] == list(range(4, 81, 4))
    assert max(read) <= (80 + 6) // 5


def test_a_streamed_input_is_forgotten_when_it_is_done_with():
    model = bptt.nn.GRU(3, 4)
    run = bptt.backprop(
        model, LOSS, ((torch.randn(3, 2, 3), torch.randn(3, 2, 4)) for _ in range(100)), through=bptt.Truncated(2, 4)
    )
    for window in run:
        held = run._reader._held
        assert held[0][0] >= window.stop - 4 - 3
    assert window.stop == 300


class Sliced:
    """A sequence by its two methods alone."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data.target)

    def __getitem__(self, steps):
        return tuple(part[steps] for part in self.data[:2])


def test_every_form_of_a_sequence_gives_the_same():
    model = bptt.nn.GRU(3, 4).double()
    data = sequence("", 7, False)
    expected = _all_windows(model, data, through=bptt.Truncated(2, 3))
    for form in (data[:2], list(data[:2]), Sliced(data), [(data.x[:3], data.target[:3]), (data.x[3:], data.target[3:])]):
        for (_, got), (_, want) in zip(_all_windows(model, form, through=bptt.Truncated(2, 3)), expected, strict=True):
            assert_close(got, want, type(form).__name__)


def test_nested_input():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = bptt.nn.GRU(3, 4).double()

        def forward(self, x, state, mask=None):
            y, state = self.layer(x["a"] + x["b"][0], state, mask=mask)
            return y, state

    data = sequence("", 6, True)
    nested = data._replace(x={"a": data.x * 0.25, "b": [data.x * 0.75]})
    model = Two()
    [(_, got)] = _all_windows(model, nested)
    [(_, want)] = _all_windows(model.layer, data)
    assert_close(got, want, "nested")


@pytest.mark.parametrize("name", ["task model", "named tuple", "dict", "torch.nn.LSTM"])
@pytest.mark.parametrize("strategy", [bptt.Full(), bptt.Truncated(2), bptt.Truncated(2, 5), bptt.Truncated(3, 2)], ids=str)
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_run_taken_up_again_goes_on_exactly(name, strategy, after):
    model = ALL[name]().double()
    data = sequence(name, 7, name == "task model")
    run = bptt.backprop(model, LOSS, data, through=strategy)
    after = min(after, 1) if strategy == bptt.Full() else after
    expected = []
    saved = run.state_dict()
    for index, window in enumerate(run, 1):
        if index > after:
            expected.append((window, oracle.gradient(model)))
        model.zero_grad()
        if index == after:
            saved = run.state_dict()
    again = []
    for window in bptt.backprop(model, LOSS, data, through=strategy, resume=saved):
        again.append((window, oracle.gradient(model)))
        model.zero_grad()
    assert len(again) == len(expected)
    for (got, g), (want, e) in zip(again, expected, strict=True):
        assert (got.start, got.stop, got.count) == (want.start, want.stop, want.count)
        assert torch.equal(got.loss, want.loss)
        assert torch.equal(g, e)
        assert type(got.state) is type(want.state)
        assert all(map(torch.equal, leaves(got.state), leaves(want.state)))


def test_resuming_with_another_strategy_or_sequence_is_refused():
    model = bptt.nn.GRU(3, 4).double()
    run = bptt.backprop(model, LOSS, sequence("", 7, False), through=bptt.Truncated(2))
    next(run)
    saved = run.state_dict()
    with pytest.raises(ValueError, match=r"saved after step 2, but window 1 .* ends after step 3"):
        bptt.backprop(model, LOSS, sequence("", 7, False), through=bptt.Truncated(3), resume=saved)
    with pytest.raises(ValueError, match="the sequence ends before step 2"):
        bptt.backprop(model, LOSS, (torch.zeros(0, 2, 3), torch.zeros(0, 2, 4)), resume=saved)


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_evaluation_does_not_depend_on_the_chunk_and_leaves_no_trace(chunk):
    model = bptt.nn.GRU(3, 4, num_layers=2, dropout=0.5).double()
    data = sequence("", 7, True)
    window = bptt.evaluate(model, LOSS, data, chunk=chunk)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    model.eval()
    y, final = model(data.x, mask=data.mask, reset=data.reset)
    expected = LOSS(y[data.mask], data.target[data.mask]).detach()
    assert float(window.loss) == pytest.approx(float(expected))
    assert window.count == int(data.mask.sum()) * 4
    assert_close(window.state, final, "state")


def test_a_bidirectional_layer_is_evaluated_and_trained_whole():
    model = bptt.nn.LSTM(3, 2, bidirectional=True).double()
    data = sequence("", 7, False)
    assert float(bptt.evaluate(model, LOSS, data, chunk=2).loss) == pytest.approx(float(bptt.evaluate(model, LOSS, data).loss))
    list(bptt.backprop(model, LOSS, data))
    with pytest.raises(ValueError, match=r"a bidirectional layer \(LSTM\) needs the whole .* through=bptt.Full\(\)"):
        list(bptt.backprop(model, LOSS, data, through=bptt.Truncated(3)))


def test_cross_entropy_counts_what_is_not_ignored():
    loss = bptt.CrossEntropy()
    y, target = torch.randn(4, 2, 5), torch.randint(0, 5, (4, 2))
    target[0, 0] = -100
    assert loss.count(target) == 7
    kept = target != -100
    assert float(loss(y, target)) == pytest.approx(float(-y.log_softmax(-1)[kept][range(7), target[kept]].sum()), rel=1e-5)
    assert float(loss(y[kept], target[kept])) == pytest.approx(float(loss(y, target)), rel=1e-5)


def test_squared_error_leaves_missing_targets_out():
    y = torch.randn(3, 2, 1, requires_grad=True)
    target = torch.zeros(3, 2, 1)
    target[1] = math.nan
    loss = LOSS(y, target)
    loss.backward()
    assert LOSS.count(target) == 4
    assert torch.isfinite(y.grad).all()
    assert not y.grad[1].any()
    with pytest.raises(ValueError, match=r"y is \[3, 2, 1\] and target \[3, 2\]"):
        LOSS(y, target[..., 0])


class Bad(nn.Module):
    def __init__(self, result):
        super().__init__()
        self.w, self.result, self.calls = nn.Parameter(torch.ones(())), result, 0

    def forward(self, x, state):
        self.calls += 1
        return self.result(self.w * x, self.calls)


X = torch.zeros(6, 2, 3)
CUT = bptt.Truncated(2)
REFUSALS = [
    (lambda: bptt.backprop(lambda x, s: (x, s), LOSS, (X, X)), "model must be a torch.nn.Module, got function"),
    (lambda: bptt.backprop(nn.GRU(3, 3), nn.MSELoss(), (X, X)), r"MSELoss has reduction='mean'.*MSELoss\(reduction='sum'\)"),
    (lambda: bptt.backprop(nn.GRU(3, 3), LOSS, (X, X), through="full"), "through must be a strategy"),
    (lambda: bptt.backprop(nn.GRU(3, 3), LOSS, (X, X), reduction="avg"), "reduction must be"),
    (lambda: bptt.backprop(nn.GRU(3, 3), LOSS, X), "a sequence is a pair"),
    (lambda: bptt.backprop(nn.GRU(3, 3), LOSS, (X, X[:5])), "x has 6 steps and target has 5"),
    (
        lambda: bptt.backprop(nn.GRU(3, 3), LOSS, (X, X, torch.ones(2, 6) > 0)),
        r"mask is \[2, 6\], expected \[T, B\] = \[6, 2\]",
    ),
    (lambda: bptt.backprop(nn.GRU(3, 3), LOSS, (X, X, torch.ones(6, 2))), "mask must be a bool tensor"),
    (lambda: bptt.backprop(nn.GRU(3, 3, batch_first=True), LOSS, (X, X)), "batch_first=True, but a sequence has time first"),
    (
        lambda: bptt.backprop(bptt.nn.GRU(3, 3, batch_first=True), LOSS, (X, X)),
        "batch_first=True, but a sequence has time first",
    ),
    (
        lambda: bptt.backprop(nn.GRU(3, 3), lambda y, t: (y - t) ** 2, (X, X)),
        r"loss\(y, target\) returned a tensor of shape \[6, 2, 3\]",
    ),
    (lambda: bptt.backprop(nn.Sequential(nn.GRU(3, 3)), LOSS, (X, X)), "Sequential.forward cannot be called with"),
    (
        lambda: bptt.backprop(Bad(lambda x, n: x), LOSS, (X, X)),
        r"steps 0..6: Bad returned a tensor of shape \[6, 2, 3\], expected the pair",
    ),
    (
        lambda: bptt.backprop(Bad(lambda x, n: (x, {"h": torch.zeros(2, n)})), LOSS, (X, X), through=CUT),
        r"steps 2..4: the state has changed its form: state\['h'\] is float32\[2, 2\], expected float32\[2, 1\]",
    ),
    (
        lambda: bptt.backprop(Bad(lambda x, n: (x, (torch.zeros(2, 1),) * n)), LOSS, (X, X), through=CUT),
        r"steps 2..4: the state has changed its form: the state has an unexpected state\[1\]",
    ),
    (lambda: bptt.backprop(nn.GRU(3, 3).requires_grad_(False), LOSS, (X, X)), "there is nothing to train"),
    (
        lambda: bptt.backprop(Bad(lambda x, n: (x, torch.zeros(1, 2, 2, 5))), LOSS, (X, X, None, torch.ones(6, 2) > 0)),
        r"state is float32\[1, 2, 2, 5\]: several dimensions of size 2.*take `reset` and `mask` itself",
    ),
    (lambda: bptt.backprop(nn.GRU(3, 3), LOSS, [X]), "piece 0: expected a piece"),
]


@pytest.mark.parametrize(("make", "message"), REFUSALS)
def test_refusals_name_what_is_wrong(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        list(make())


@pytest.mark.parametrize("value", [0, -1, 2.5, "3", True, None])
def test_k1_and_k2_are_whole_and_at_least_1(value):
    with pytest.raises(ValueError, match="k1 must be a whole number of at least 1"):
        bptt.Truncated(value)
    if value is not None:
        with pytest.raises(ValueError, match=r"k2 must be a whole number of at least 1, got"):
            bptt.Truncated(3, value)


def test_states_of_rows_that_have_not_begun_are_the_modules_own():
    class Learned(Spiking):
        def initial_state(self, rows):
            from tests.contract.models import Leaky

            return Leaky(torch.full((rows, 4), 0.3).double(), torch.full((rows, 4), -0.2).double())

        def forward(self, x, state):
            return super().forward(x, self.initial_state(x.shape[1]) if state is None else state)

    model = Learned().double()
    x, reset = torch.randn(5, 2, 3).double(), torch.zeros(5, 2, dtype=torch.bool)
    reset[3, 1] = True
    window = bptt.evaluate(model, LOSS, (x, torch.zeros(5, 2, 4), None, reset))
    _, afresh = model(x[3:], None)
    assert_close(window.state.trace[1], afresh.trace[1], "the row that started afresh")


def test_a_counter_in_the_state_is_carried():
    model = Nested().double()
    *_, (window, _) = _all_windows(model, sequence("", 7, False), through=bptt.Truncated(2, 5))
    assert int(window.state["steps"]) == 7
    assert window.state["name"] == "nested"
