"""The corners: what is kept, carried, refused and put back where a simpler test would not look."""

import copy
import functools
import gc
import itertools
from collections import OrderedDict, defaultdict
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import bptt
from bptt.state import leaves
from bptt.through.plan import Back, HandBack, Run
from tests.contract import oracle
from tests.contract.models import ALL, Nested, sequence
from tests.tolerances import assert_close

LOSS = bptt.SquaredError()


def _gradients(model, data, **options):
    found = []
    for window in bptt.backprop(model, LOSS, data, **options):
        found.append((float(window.loss), oracle.gradient(model)))
        model.zero_grad()
    return found


def _same(got, expected, what=""):
    assert len(got) == len(expected)
    for (loss, g), (other, e) in zip(got, expected, strict=True):
        assert loss == pytest.approx(other, rel=1e-12), what
        assert_close(g, e, what)


class OnlyReset(nn.Module):
    """Takes `reset` and knows nothing of `mask`."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, state, reset=None):
        return self.layer(x, state, reset=reset)


@pytest.mark.parametrize("strategy", [bptt.Full(), bptt.Truncated(2, 5)], ids=str)
def test_a_reset_on_an_absent_row_reaches_a_module_that_knows_resets_alone(strategy):
    layer = bptt.nn.GRU(3, 4).double()
    data = sequence("", 6, False)
    mask, reset = torch.ones(6, 2, dtype=torch.bool), torch.zeros(6, 2, dtype=torch.bool)
    mask[2:4, 0] = False
    reset[3, 0] = True
    data = bptt.Piece(data.x, data.target, mask, reset)
    _same(_gradients(OnlyReset(layer), data, through=strategy), _gradients(layer, data, through=strategy))


def test_a_reset_of_one_row_leaves_what_all_rows_share():
    model = Nested().double()
    data = sequence("", 6, False)
    reset = torch.zeros(6, 2, dtype=torch.bool)
    reset[3, 0] = True
    *_, window = bptt.backprop(model, LOSS, (data.x, data.target, None, reset), through=bptt.Truncated(2))
    assert int(window.state["steps"]) == 6


def test_a_reset_ends_even_a_state_that_is_not_a_number():
    for model in (bptt.nn.GRU(3, 4, backend="reference"), bptt.nn.GRU(3, 4, backend="torch"), nn.GRU(3, 4)):
        state, reset = torch.full((1, 2, 4), torch.nan), torch.zeros(3, 2, dtype=torch.bool)
        reset[0] = True
        window = bptt.evaluate(model, LOSS, (torch.randn(3, 2, 3), torch.zeros(3, 2, 4), None, reset), state=state)
        assert torch.isfinite(window.state).all()


@pytest.mark.parametrize("model", [nn.LSTM(3, 4), nn.GRU(3, 4)])
def test_not_a_number_at_missing_steps_reaches_nothing_in_modules_without_masks(model):
    model = model.double()
    data = sequence("", 7, True)
    dirty = data._replace(x=torch.where(data.mask[..., None], data.x, torch.full_like(data.x, torch.nan)))
    _same(_gradients(model, dirty, through=bptt.Truncated(3, 5)), _gradients(model, data, through=bptt.Truncated(3, 5)))


def test_one_row_is_told_from_any_dimension_of_size_1():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.GRU(3, 4)

        def forward(self, x, state):
            return self.layer(x, state)

    reset = torch.zeros(4, 1, dtype=torch.bool)
    reset[2] = True
    model, x = Wrapped(), torch.randn(4, 1, 3)
    window = bptt.evaluate(model, LOSS, (x, torch.zeros(4, 1, 4), None, reset))
    assert_close(window.state, model.layer(x[2:])[1], "one row")


def test_states_of_other_kinds_of_dict():
    class Model(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.layer, self.kind = nn.GRU(3, 4), kind

        def forward(self, x, state):
            y, h = self.layer(x, None if state is None else state["h"])
            state = self.kind()
            state["h"] = h
            return y, state

    data = (torch.randn(5, 2, 3), torch.zeros(5, 2, 4))
    for kind in (OrderedDict, functools.partial(defaultdict, list), dict):
        model = Model(kind)
        *_, window = bptt.backprop(model, LOSS, data, through=bptt.Truncated(2, 3))
        assert type(window.state) is type(kind())


def test_entries_of_a_dict_are_paired_by_name():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTMCell(3, 4)

        def forward(self, x, state):
            pair = None if state is None else (state["h"], state["c"])
            outputs = []
            for step in x:
                pair = self.cell(step, pair)
                outputs.append(pair[0])
            return torch.stack(outputs), {"h": pair[0], "c": pair[1]}

    model, data = Model().double(), sequence("", 6, True)
    h, c = torch.randn(2, 2, 4, dtype=torch.float64)
    one = bptt.evaluate(model, LOSS, data, state={"h": h, "c": c})
    other = bptt.evaluate(model, LOSS, data, state={"c": c, "h": h})
    assert float(one.loss) == float(other.loss)


@dataclass
class Both:
    h: torch.Tensor
    wave: torch.Tensor


def test_complex_states_carry_the_error():
    class Rotating(nn.Module):
        def __init__(self):
            super().__init__()
            self.angle = nn.Parameter(torch.tensor([0.3, 0.7], dtype=torch.float64))
            self.inside = nn.Linear(3, 2).double()

        def forward(self, x, state):
            if state is None:
                zero = x.new_zeros(x.shape[1], 2)
                state = Both(zero, zero.to(torch.complex128))
            outputs = []
            for step in x:
                wave = 0.9 * torch.exp(1j * self.angle) * state.wave + self.inside(step)
                state = Both(torch.tanh(wave.real + 0.1 * state.h), wave)
                outputs.append(state.h.repeat(1, 2))
            return torch.stack(outputs), state

    model, data = Rotating(), sequence("", 6, False)
    expected = torch.stack(oracle.truncated(oracle.contributions(model, LOSS, data, lambda leaf: 0), 2, 6)).sum(0)
    assert_close(torch.stack([g for _, g in _gradients(model, data, through=bptt.Truncated(2, 6))]).sum(0), expected, "complex")


class HalfTheError(bptt.Strategy):
    """Two segments, with half of the error handed from the second to the first."""

    def plan(self, upto):
        stop = upto(10**9)
        yield Run(0, 2)
        yield Run(2, stop)
        yield Back(2, stop)
        yield Back(0, 2, gain=0.5)
        yield HandBack(0, stop)


def test_the_gain_of_a_boundary_scales_the_error_that_crosses_it():
    import dataclasses

    strategy = dataclasses.dataclass(frozen=True)(HalfTheError)()
    model, data = bptt.nn.LSTM(3, 4).double(), sequence("", 5, False)
    table = oracle.contributions(model, LOSS, data, lambda leaf: 1)
    weights = torch.ones(5, 5, 1, dtype=torch.float64)
    weights[2:, :2] = 0.5
    [(_, got)] = _gradients(model, data, through=strategy)
    assert_close(got, (weights * table).sum((0, 1)), "gain")


def test_pieces_with_and_without_flags_follow_each_other():
    model, data = bptt.nn.GRU(3, 4).double(), sequence("", 7, True)
    clear = data._replace(mask=data.mask.clone(), reset=data.reset.clone())
    clear.mask[3:5], clear.reset[3:5] = True, False
    pieces = [
        bptt.Piece(*(part[:3] for part in clear)),
        (clear.x[3:5], clear.target[3:5]),
        bptt.Piece(*(part[5:] for part in clear)),
    ]
    _same(_gradients(model, pieces, through=bptt.Truncated(4, 6)), _gradients(model, clear, through=bptt.Truncated(4, 6)))


@pytest.mark.parametrize("rows", [1, 5])
def test_rows_are_counted_not_assumed(rows):
    model = bptt.nn.GRU(3, 4).double()
    data = (torch.randn(3, rows, 3).double(), torch.randn(3, rows, 4).double())
    [(_, got)] = _gradients(model, data, reduction="rows")
    [(_, plain)] = _gradients(model, data)
    assert_close(got * rows, plain, "rows")


class Counting(nn.Module):
    """A batch normalisation before a layer: a buffer that counts its batches."""

    def __init__(self):
        super().__init__()
        self.norm, self.layer = nn.BatchNorm1d(3), bptt.nn.GRU(3, 4)

    def forward(self, x, state):
        return self.layer(self.norm(x.flatten(0, 1)).unflatten(0, x.shape[:2]), state)


def test_steps_that_run_again_are_not_counted_again():
    model = Counting()
    data = (torch.randn(6, 4, 3), torch.randn(6, 4, 4))
    *_, _ = bptt.backprop(model, LOSS, data, through=bptt.Truncated(1, 4))
    assert int(model.norm.num_batches_tracked) == 6


def test_modes_of_submodules_are_put_back():
    model = Counting()
    model.norm.eval()
    data = (torch.randn(6, 4, 3), torch.randn(6, 4, 4))
    run = bptt.backprop(model, LOSS, data, through=bptt.Truncated(2))
    next(run)
    bptt.evaluate(model, LOSS, data)
    bptt.backprop(model, LOSS, data, through=bptt.Truncated(2), resume=run.state_dict())
    assert not model.norm.training
    assert model.layer.training


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(3, 4)

    def forward(self, x, state):
        return self.layer(nn.functional.dropout(x, 0.5, self.training), state)


@pytest.mark.parametrize("strategy", [bptt.Truncated(2), bptt.Truncated(1, 5), bptt.Truncated(2, 6)], ids=str)
@pytest.mark.parametrize("after", [1, 2])
def test_random_numbers_go_on_where_they_were(strategy, after):
    model, data = Dropping().double(), sequence("", 7, False)
    run = bptt.backprop(model, LOSS, data, through=strategy)
    for _ in range(after):
        next(run)
        model.zero_grad()
    saved = copy.deepcopy(run.state_dict())
    expected = [(float(w.loss), oracle.gradient(model)) for w in _zeroed(run, model)]
    torch.manual_seed(123)
    again = bptt.backprop(model, LOSS, data, through=strategy, resume=saved)
    for (loss, g), (other, e) in zip(
        [(float(w.loss), oracle.gradient(model)) for w in _zeroed(again, model)], expected, strict=True
    ):
        assert loss == other
        assert torch.equal(g, e)


def _zeroed(run, model):
    for window in run:
        yield window
        model.zero_grad()


def test_a_number_in_the_state_goes_on():
    class Clock(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.GRU(3, 4)

        def forward(self, x, state):
            h, n = (None, 0) if state is None else state
            y, h = self.layer(x + n, h)
            return y, (h, n + len(x))

    model, data = Clock().double(), sequence("", 6, False)
    run = bptt.backprop(model, LOSS, data, through=bptt.Truncated(2))
    next(run), next(run)
    saved = run.state_dict()
    expected = float(next(run).loss)
    assert float(next(bptt.backprop(model, LOSS, data, through=bptt.Truncated(2), resume=saved)).loss) == expected


def test_a_learned_initial_state_learns_on_after_resuming():
    model, data = bptt.nn.GRU(3, 4).double(), sequence("", 6, False)
    start = nn.Parameter(torch.randn(1, 2, 4, dtype=torch.float64))
    run = bptt.backprop(model, LOSS, data, through=bptt.Truncated(1, 3), state=start)
    next(run)
    saved, start.grad = run.state_dict(), None
    next(run)
    expected, start.grad = start.grad, None
    next(bptt.backprop(model, LOSS, data, through=bptt.Truncated(1, 3), state=start, resume=saved))
    assert torch.equal(start.grad, expected)


def test_a_pass_that_failed_in_mid_window_says_so_and_can_be_taken_up_again():
    model, data = bptt.nn.GRU(3, 4).double(), sequence("", 6, False)
    expected = _gradients(model, data, through=bptt.Truncated(2, 3))
    broken = False

    def loss(y, target):
        if broken:
            raise KeyboardInterrupt
        return LOSS(y, target)

    run = bptt.backprop(model, loss, data, through=bptt.Truncated(2, 3))
    next(run)
    model.zero_grad()
    next(run)
    model.zero_grad()
    broken = True
    with pytest.raises(KeyboardInterrupt):
        next(run)
    with pytest.raises(RuntimeError, match=r"stopped in mid-window \(KeyboardInterrupt\)"):
        next(run)
    model.zero_grad()
    again = bptt.backprop(model, LOSS, data, through=bptt.Truncated(2, 3), resume=run.state_dict())
    window = next(again)
    assert float(window.loss) * 1 == pytest.approx(expected[2][0])
    assert_close(oracle.gradient(model), expected[2][1], "third window")


def test_resuming_on_a_stream_holds_no_more_than_running_on_it():
    model = bptt.nn.GRU(3, 4)

    def pieces():
        return ((torch.zeros(1, 2, 3), torch.zeros(1, 2, 4)) for _ in range(200))

    run = bptt.backprop(model, LOSS, pieces(), through=bptt.Truncated(1, 4))
    for _ in range(150):
        next(run)
    again = bptt.backprop(model, LOSS, pieces(), through=bptt.Truncated(1, 4), resume=run.state_dict())
    assert len(again._reader._held) <= len(run._reader._held) + 1
    assert len(list(again)) == 50


def test_evaluation_forgets_what_it_has_read():
    model, seen = nn.GRU(3, 4), []

    def pieces():
        for _ in range(50):
            seen.append(torch.zeros(4, 2, 3))
            yield seen[-1], torch.zeros(4, 2, 4)
            assert len([x for x in seen[:-3] if x is not None and _held(x)]) == 0

    def _held(x):
        import sys

        return sys.getrefcount(x) > 5

    bptt.evaluate(model, LOSS, pieces(), chunk=4)


def test_evaluation_sums_in_double_precision():
    model = nn.GRU(1, 1)
    x = torch.zeros(3, 1, 1)
    target = torch.tensor([1e8, 1.0, 1.0]).reshape(3, 1, 1)
    assert float(bptt.evaluate(model, lambda y, t: (t + 0 * y).sum(), (x, target), chunk=1).loss) == 1e8 + 2


def test_a_compiled_model_is_known_by_what_is_inside():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = bptt.nn.GRU(3, 4)

        def forward(self, x, state, mask=None):
            return self.layer(x, state, mask=mask)

    model, data = Masked().double(), sequence("", 6, True)._replace(reset=None)
    compiled = torch.compile(model, backend="eager")
    assert float(bptt.evaluate(compiled, LOSS, data).loss) == pytest.approx(float(bptt.evaluate(model, LOSS, data).loss))


def test_a_replay_is_one_run_unless_the_first_runs_drew_random_numbers():
    for model, expected in ((Dropping(), 4), (nn.GRU(3, 4), 2)):
        calls = []
        model.register_forward_hook(lambda *_: calls.append(1))  # noqa: B023
        data = (torch.randn(40, 2, 3), torch.randn(40, 2, 4))
        run = bptt.backprop(model, LOSS, data, through=bptt.Truncated(1, 4))
        for _ in range(20):
            next(run)
        calls.clear()
        next(run)
        assert len(calls) == expected


def test_gradients_reach_an_input_that_asks_for_them():
    model, data = bptt.nn.GRU(3, 4).double(), sequence("", 6, False)
    x = data.x.clone().requires_grad_()
    with torch.no_grad():
        list(bptt.backprop(model, LOSS, (x, data.target)))
    got, x.grad = x.grad, None
    LOSS(model(x)[0], data.target).backward()
    assert_close(got, x.grad, "x")


X, Y = torch.zeros(6, 2, 3), torch.zeros(6, 2, 4)


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))

    def forward(self, x, state):
        h = torch.zeros(x.shape[1], 3) if state is None else state
        outputs = []
        for step in x:
            with torch.no_grad():
                h.mul_(0.5).add_(step)
            outputs.append(h * self.w)
        return torch.stack(outputs), h


class Boxed(nn.Module):
    class Box:
        def __init__(self, h):
            self.h = h

    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(3, 4)

    def forward(self, x, state):
        y, h = self.layer(x, None if state is None else state.h)
        return y, Boxed.Box(h)


class Broadcasting(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = nn.Linear(7, 4)

    def forward(self, x, state):
        h = x.new_zeros(x.shape[1], 4) if state is None else state.expand(x.shape[1], 4)
        outputs = []
        for step in x:
            h = torch.tanh(self.inside(torch.cat([step, h], -1)))
            outputs.append(h)
        return torch.stack(outputs), h


def _graph_in_x():
    x = nn.Linear(3, 3)(X)
    return bptt.backprop(nn.GRU(3, 4), LOSS, (x, Y), through=bptt.Truncated(2))


REFUSALS = [
    (lambda: bptt.evaluate(nn.GRU(3, 4), nn.MSELoss(), (X, Y)), r"MSELoss has reduction='mean'"),
    (lambda: bptt.backprop(nn.GRU(3, 4), nn.functional.mse_loss, (X, Y)), r"mse_loss has reduction='mean'.*functools.partial"),
    (lambda: bptt.backprop(nn.GRU(3, 4), 3, (X, Y)), "loss must be a function"),
    (lambda: bptt.evaluate(nn.GRU(3, 4), LOSS, (X, Y), chunk=0), "chunk must be a whole number of at least 1, got 0"),
    (lambda: bptt.evaluate(nn.GRU(3, 4), LOSS, (X, Y), chunk="3"), "chunk must be a whole number"),
    (
        lambda: bptt.backprop(nn.GRU(3, 4), lambda y, t: torch.tensor(float((y - t).detach().sum())), (X, Y)),
        "the loss has no connection to y",
    ),
    (lambda: bptt.backprop(Boxed(), LOSS, (X, Y)), "state is a Box: a state is made of tensors"),
    (lambda: bptt.evaluate(InPlace(), LOSS, (X, X), chunk=2), "InPlace changed its state in place"),
    (
        lambda: bptt.backprop(Broadcasting(), LOSS, (X, Y), state=torch.zeros(1, 4)),
        r"the state given does not fit: state is float32\[1, 4\], expected float32\[2, 4\]",
    ),
    (lambda: bptt.backprop(nn.LSTM(3, 4), LOSS, (X, Y), state=torch.zeros(1, 2, 4)), "LSTM does not take the state given"),
    (lambda: bptt.backprop(nn.GRU(3, 4), LOSS, (X, Y[:, :1])), "x has 2 rows and target has 1"),
    (lambda: bptt.backprop(nn.GRU(3, 4), LOSS, (X[:, 0], Y[:, 0])), r"x has 3 rows|target"),
    (lambda: bptt.backprop(nn.GRU(3, 4), LOSS, (X[:, 0, 0], Y[:, 0, 0])), r"x is \[6\], expected \[T, B, ...\]"),
    (lambda: bptt.backprop(nn.GRU(3, 4), LOSS, (X.numpy(), Y.numpy())), "NumPy arrays: torch.from_numpy"),
    (lambda: bptt.backprop(nn.GRU(3, 4), LOSS, [(X, Y), (X[:, :1], Y[:, :1])]), "piece 1 has 1 rows, those before it 2"),
    (
        lambda: bptt.backprop(nn.Linear(3, 4), LOSS, (X, Y)),
        r"Linear.forward cannot be called with \(x, state\)",
    ),
    (_graph_in_x, "carries history that an earlier window has used up"),
    (
        lambda: bptt.CrossEntropy()(torch.zeros(2, 6, 5), torch.zeros(6, 2, dtype=torch.long)),
        r"y is \[2, 6, 5\] and target \[6, 2\]",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSALS)
def test_refusals_name_what_is_wrong(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        list(make())


def test_inference_mode_is_refused():
    run = bptt.backprop(nn.GRU(3, 4), LOSS, (X, Y))
    with torch.inference_mode(), pytest.raises(RuntimeError, match="inference_mode"):
        next(run)


def test_a_sequence_that_gives_less_than_asked_is_refused():
    class Short:
        def __len__(self):
            return 6

        def __getitem__(self, steps):
            return X[steps][:1], Y[steps][:1]

    with pytest.raises(ValueError, match=r"sequence\[0:6\] gave 1 steps, expected 6"):
        list(bptt.backprop(nn.GRU(3, 4), LOSS, Short()))


def test_a_layer_that_reads_within_one_step_may_run_against_it():
    class Words(nn.Module):
        needs_whole = False

        def __init__(self):
            super().__init__()
            self.letters, self.layer = bptt.nn.GRU(3, 2, bidirectional=True), bptt.nn.GRU(4, 4)

        def forward(self, x, state):
            steps, rows, letters, size = x.shape
            y, _ = self.letters(x.reshape(steps * rows, letters, size).transpose(0, 1))
            return self.layer(y[-1].reshape(steps, rows, -1), state)

    windows = list(bptt.backprop(Words(), LOSS, (torch.randn(6, 2, 5, 3), Y), through=bptt.Truncated(2)))
    assert len(windows) == 3


def test_an_endless_stream_and_a_bidirectional_layer_are_refused_at_once():
    pieces = ((torch.zeros(1, 2, 3), torch.zeros(1, 2, 4)) for _ in itertools.count())
    with pytest.raises(ValueError, match="needs the whole sequence"):
        next(bptt.backprop(bptt.nn.GRU(3, 2, bidirectional=True), LOSS, pieces, through=bptt.Truncated(2)))


def test_torchs_names_are_there():
    layer, theirs = bptt.nn.LSTM(3, 4, 2, bidirectional=True), nn.LSTM(3, 4, 2, bidirectional=True)
    layer.flatten_parameters()
    assert [[p.shape for p in each] for each in layer.all_weights] == [[p.shape for p in each] for each in theirs.all_weights]
    h = torch.randn(4, 2, 4)
    assert torch.equal(layer(X, hx=(h, h))[0], layer(X, (h, h))[0])


def test_autocast_chooses_dtypes():
    layer = bptt.nn.LSTM(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = layer(X)
        y, _ = layer(X, state)
    assert y.shape == (6, 2, 4)


def test_every_public_name_is_there():
    for name in bptt.__all__:
        assert getattr(bptt, name) is not None
        assert name in dir(bptt)
    with pytest.raises(AttributeError, match="no attribute 'backprops'"):
        bptt.backprops  # noqa: B018


@pytest.mark.parametrize("name", [n for n in ALL if "torch" not in n])
def test_states_can_be_dumped_and_restored(name):
    from bptt import state as states

    model = ALL[name]().double()
    _, state = model(sequence(name, 3, False).x, None)
    again = states.restore(states.zeros(state), states.dump(state))
    assert all(map(torch.equal, leaves(again), leaves(state)))


def test_a_plan_that_was_refused_is_refused_each_time():
    run = bptt.backprop(
        nn.GRU(3, 4), LOSS, (torch.randn(50, 2, 3), torch.randn(50, 2, 4)), through=bptt.Checkpointed(memory=1024)
    )
    for _ in range(2):
        with pytest.raises(ValueError, match="memory=1 KiB is too little"):
            run.plan  # noqa: B018
        with pytest.raises(ValueError, match="memory=1 KiB is too little"):
            next(run)


def test_malloc_has_its_own_bounds_again_where_a_pass_is_given_up(monkeypatch):
    said = []
    monkeypatch.setattr("bptt.executor.large_apart", said.append)
    run = bptt.backprop(
        nn.GRU(3, 4), LOSS, (torch.randn(50, 2, 3), torch.randn(50, 2, 4)), through=bptt.Truncated(5, memory="8MiB")
    )
    next(run)
    assert said == [True]
    del run
    gc.collect()
    assert said == [True, False]
