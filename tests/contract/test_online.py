"""Forward in time: what RTRL, SnAp and UORO promise beyond the dense oracle of test_strategies."""

import gc
import itertools
import math

import pytest
import torch
from torch import nn

import bptt
from bptt.online.pattern import Pattern, colours, reached
from bptt.online.rank_one import RankOne
from bptt.through import parse
from tests.contract import oracle
from tests.contract.models import ALL, Turning, dims, sequence
from tests.tolerances import assert_close

LOSS = bptt.SquaredError()
EVERY = [bptt.RTRL(), bptt.SnAp(1), bptt.SnAp(9), bptt.UORO(seed=1)]


def _gradients(model, data, through, **options):
    found = []
    for _ in bptt.backprop(model, LOSS, data, through=through, **options):
        found.append(oracle.gradient(model))
        model.zero_grad()
    return found


def _full(model, data):
    [full] = _gradients(model, data, bptt.Full())
    return full


class Elementwise(nn.Module):
    """h_t = a ⊙ h_{t-1} + tanh(W x_t), a user's own, which declares nothing."""

    def __init__(self):
        super().__init__()
        self.decay = nn.Parameter(torch.rand(4))
        self.inside = nn.Linear(3, 4)

    def forward(self, x, state):
        state = x.new_zeros(x.shape[1], 4) if state is None else state
        outputs = []
        for step in x:
            state = torch.sigmoid(self.decay) * state + torch.tanh(self.inside(step))
            outputs.append(state)
        return torch.stack(outputs), state


@pytest.mark.parametrize("name", ALL)
def test_rtrl_is_full_while_the_weights_stand(name):
    model = ALL[name]().double()
    data = sequence(name, 7, True)
    assert_close(torch.stack(_gradients(model, data, bptt.RTRL())).sum(0), _full(model, data), name)


@pytest.mark.parametrize("ragged", [False, True], ids=["even", "ragged"])
def test_snap_1_is_exact_for_an_elementwise_recurrence(ragged):
    model, data = Elementwise().double(), sequence("", 7, ragged)
    assert_close(torch.stack(_gradients(model, data, bptt.SnAp(1))).sum(0), _full(model, data), "SnAp(1)")


def test_snap_1_of_an_elementwise_recurrence_takes_one_backward_pass_a_row():
    model, data = Elementwise().double(), sequence("", 3, False)
    run = bptt.backprop(model, LOSS, data, through=bptt.SnAp(1))
    next(run)
    influence = run._influence
    assert int(influence._colour.max()) == int(influence._row_colour.max()) == 0
    assert sum(block.m.numel() for block in influence._blocks.values()) == 2 * sum(p.numel() for p in model.parameters())


def test_snap_2_is_exact_for_a_dense_vanilla_network_and_snap_1_is_not():
    model, data = nn.RNN(3, 4).double(), sequence("", 7, True)
    full = _full(model, data)
    assert_close(torch.stack(_gradients(model, data, bptt.SnAp(2))).sum(0), full, "SnAp(2)")
    short = torch.stack(_gradients(model, data, bptt.SnAp(1))).sum(0)
    assert float((short - full).abs().max()) > 1e-3


def test_snap_1_by_its_definition():
    """Unit j of a vanilla network is reached by row j of each weight: the influence of the rest is struck out at every step."""
    model, data = nn.RNN(3, 4, bias=False).double(), sequence("", 6, False)
    weights = dict(model.named_parameters())
    own = {"weight_ih_l0": torch.eye(4)[:, :, None].expand(4, 4, 3), "weight_hh_l0": torch.eye(4)[:, :, None].expand(4, 4, 4)}

    def step(h, w_ih, w_hh, x):
        return torch.tanh(w_ih @ x + w_hh @ h)

    expected = {name: torch.zeros_like(p) for name, p in weights.items()}
    for row in range(2):
        h = torch.zeros(4, dtype=torch.float64)
        m = {name: torch.zeros(4, *p.shape, dtype=torch.float64) for name, p in weights.items()}
        for x, target in zip(data.x[:, row], data.target[:, row], strict=True):
            given = (h, weights["weight_ih_l0"].detach(), weights["weight_hh_l0"].detach())
            j, *direct = torch.func.jacrev(step, argnums=(0, 1, 2))(*given, x)
            exact = {
                name: i + torch.einsum("ij,jab->iab", j, m[name])
                for name, i in zip(("weight_ih_l0", "weight_hh_l0"), direct, strict=True)
            }
            h = step(*given, x)
            for name, m_t in exact.items():
                expected[name] += torch.einsum("i,iab->ab", 2 * (h - target), m_t)
                m[name] = m_t * own[name]
    got = torch.stack(_gradients(model, data, bptt.SnAp(1))).sum(0)
    assert_close(got, torch.cat([expected[name].flatten() for name in weights]), "SnAp(1)")


def test_a_sparse_network_is_found_to_be_sparse():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 6) / 3)
            self.inside = nn.Linear(3, 6)
            self.register_buffer("kept", torch.eye(6).roll(1, 0) + torch.eye(6))

        def forward(self, x, state):
            state = x.new_zeros(x.shape[1], 6) if state is None else state
            outputs = []
            for step in x:
                state = torch.tanh(self.inside(step) + state @ (self.weight * self.kept).T)
                outputs.append(state[:, :4])
            return torch.stack(outputs), state

    model, data = Masked().double(), sequence("", 8, False)
    run = bptt.backprop(model, LOSS, data, through=bptt.SnAp(2))
    next(run)
    assert all(block.m.shape[1] == 2 for block in run._influence._blocks.values())
    model.zero_grad()
    full = _full(model, data)
    errors = [
        float((torch.stack(_gradients(model, data, bptt.SnAp(n))).sum(0) - full).norm() / full.norm()) for n in (1, 2, 3, 6)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-3
    assert errors[-1] < 1e-12


def test_parameters_of_one_tensor_may_reach_different_numbers_of_units():
    class Shared(Elementwise):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.randn(3))

        def forward(self, x, state):
            state = x.new_zeros(x.shape[1], 4) if state is None else state
            outputs = []
            for step in x:
                state = torch.sigmoid(self.decay) * state + torch.tanh(self.inside(step) * self.gain[[0, 0, 1, 2]])
                outputs.append(state)
            return torch.stack(outputs), state

    model, data = Shared().double(), sequence("", 7, True)
    assert_close(torch.stack(_gradients(model, data, bptt.SnAp(1))).sum(0), _full(model, data), "SnAp(1)")


def test_patterns_grow_along_the_links():
    ring = torch.eye(4).roll(1, 0).bool()
    found = reached(Pattern(ring, {0: torch.eye(4).bool()}), 2)
    assert torch.equal(found[0], torch.eye(4).bool() | ring)
    assert bool(reached(Pattern(ring, {0: torch.eye(4).bool()}), 4)[0].all())
    assert colours([torch.eye(4).bool()]).tolist() == [0, 0, 0, 0]
    assert colours([torch.ones(4, 1).bool()]).tolist() == [0, 1, 2, 3]
    assert colours([torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]]).bool()]).tolist() == [0, 1, 0, 1]


class Small(nn.Module):
    """Two units, all in one weight: few enough for every pattern of signs."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[0.5, -0.8], [0.9, 0.3]]))
        self.u = nn.Parameter(torch.tensor([[0.7], [-0.6]]))

    def forward(self, x, state):
        state = x.new_zeros(x.shape[1], 2) if state is None else state
        outputs = []
        for step in x:
            state = torch.tanh(state @ self.w.T + step @ self.u.T)
            outputs.append(state)
        return torch.stack(outputs), state


def _all_signs(monkeypatch, shape):
    """Every pattern of the signs ``[steps, R, n]``, dictated while it is handed out."""
    for signs in itertools.product((-1.0, 1.0), repeat=math.prod(shape)):
        pending = iter(torch.tensor(signs).reshape(shape))
        monkeypatch.setattr(RankOne, "signs", lambda self, r, n, pending=pending: next(pending, torch.ones(r, n)))
        yield signs


@pytest.mark.parametrize(("steps", "rows"), [(4, 1), (3, 2)])
def test_uoro_is_right_on_average_over_all_signs(monkeypatch, steps, rows):
    model = Small().double()
    data = torch.randn(steps, rows, 1).double(), torch.randn(steps, rows, 2).double()
    drawn = (steps - 1) * rows * 2  # the last step's signs reach no loss
    total, spread, count = 0.0, 0.0, 0
    full = _full(model, data)
    for _ in _all_signs(monkeypatch, (steps - 1, rows, 2)):
        g = torch.stack(_gradients(model, data, bptt.UORO())).sum(0)
        total, spread, count = total + g, spread + float((g - full).square().sum()), count + 1
    assert count == 2**drawn
    assert float((total / count - full).abs().max()) < 1e-12
    assert spread / count > 1e-3


def test_uoro_draws_signs_of_its_own():
    model, data = Small().double(), (torch.randn(5, 2, 1).double(), torch.randn(5, 2, 2).double())
    one = torch.stack(_gradients(model, data, bptt.UORO(seed=3)))
    torch.manual_seed(9)
    drawn = torch.get_rng_state()
    assert torch.equal(torch.stack(_gradients(model, data, bptt.UORO(seed=3))), one)
    assert torch.equal(torch.get_rng_state(), drawn)
    first, second = (torch.stack(_gradients(model, data, bptt.UORO())) for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(9)
    assert torch.equal(torch.stack(_gradients(model, data, bptt.UORO())), first)


def test_a_row_that_starts_afresh_has_no_influence_left():
    """With a reset in every row, what went before matters to no strategy, random or not."""
    model, data = ALL["GRU on reference"]().double(), sequence("", 6, False)
    reset = torch.zeros(6, 2, dtype=torch.bool)
    reset[3] = True
    for strategy in EVERY:
        whole = _gradients(model, bptt.Piece(data.x, data.target, None, reset), strategy)
        part = _gradients(model, (data.x[3:], data.target[3:]), strategy)
        assert_close(whole[3], part[0], str(strategy))
        if not isinstance(strategy, bptt.UORO):
            assert_close(torch.stack(whole[3:]), torch.stack(part), str(strategy))


@pytest.mark.parametrize("strategy", EVERY, ids=str)
def test_memory_does_not_grow_with_the_length(strategy):
    def most(steps):
        model = ALL["LSTM on reference"]()
        pieces = ((torch.zeros(1, 2, 3), torch.zeros(1, 2, 4)) for _ in range(steps))
        found = []
        for window in bptt.backprop(model, LOSS, pieces, through=strategy):
            model.zero_grad()
            if window.stop % 20 == 10:
                gc.collect()
                held = (o for o in gc.get_objects() if type(o) in (torch.Tensor, nn.Parameter))
                found.append(sum(t.untyped_storage().nbytes() for t in held))
        assert len(found) == steps // 20
        return max(found[1:])

    assert most(40) == most(120)


@pytest.mark.parametrize("strategy", [*EVERY, bptt.RTRL(k=3), bptt.UORO(k=2)], ids=str)
@pytest.mark.parametrize("name", ["task model", "dict", "torch.nn.LSTM"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_run_taken_up_again_goes_on_exactly(name, strategy, after):
    model, data = ALL[name]().double(), sequence(name, 8, name == "task model")
    run = bptt.backprop(model, LOSS, data, through=strategy)
    for _ in range(after):
        next(run)
    saved = run.state_dict()
    model.zero_grad()
    expected = []
    for window in run:
        expected.append((window, oracle.gradient(model)))
        model.zero_grad()
    torch.manual_seed(77)
    again = bptt.backprop(model, LOSS, data, through=strategy, resume=saved)
    if after == 0 and strategy == bptt.UORO(k=2):
        return  # its signs are seeded by the first step, from torch's random numbers
    assert again.state_dict().keys() == saved.keys()
    for window, gradient in expected:
        got = next(again)
        assert (got.start, got.stop, float(got.loss)) == (window.start, window.stop, float(window.loss))
        assert torch.equal(oracle.gradient(model), gradient)
        model.zero_grad()
    assert next(again, None) is None


def test_resuming_twice_before_the_next_step_and_on_a_stream():
    model, data = ALL["GRU on torch"]().double(), sequence("", 8, False)

    def pieces():
        return (bptt.Piece(*(None if part is None else part[t : t + 2] for part in data)) for t in range(0, 8, 2))

    expected = _gradients(model, data, bptt.RTRL())
    run = bptt.backprop(model, LOSS, pieces(), through=bptt.RTRL())
    for _ in range(5):
        next(run)
    model.zero_grad()
    once = bptt.backprop(model, LOSS, pieces(), through=bptt.RTRL(), resume=run.state_dict())
    twice = bptt.backprop(model, LOSS, pieces(), through=bptt.RTRL(), resume=once.state_dict())
    next(twice)
    assert torch.equal(oracle.gradient(model), expected[5])


@pytest.mark.parametrize("strategy", [bptt.RTRL(), bptt.SnAp(1), bptt.SnAp(2, k=3), bptt.UORO(seed=5)], ids=str)
@pytest.mark.parametrize("name", ["task model", "dict"])
def test_the_answer_does_not_depend_on_how_the_input_was_cut(name, strategy):
    model, data = ALL[name]().double(), sequence(name, 7, True)
    expected = _gradients(model, data, strategy)
    for cuts in ([0, 1, 7], [0, 3, 4, 6, 7], [0, 0, 2, 2, 7], list(range(8))):
        pieces = (bptt.Piece(*(part[a:b] for part in data)) for a, b in itertools.pairwise(cuts))
        assert_close(torch.stack(_gradients(model, pieces, strategy)), torch.stack(expected), f"cut at {cuts}")


@pytest.mark.parametrize(("reduction", "share"), [("mean", 3 * 2 * 4), ("rows", 2)])
def test_reductions(reduction, share):
    model, data = ALL["GRU on torch"]().double(), sequence("", 6, False)
    plain, scaled = (_gradients(model, data, bptt.RTRL(k=3), reduction=kind) for kind in ("sum", reduction))
    for got, expected in zip(scaled, plain, strict=True):
        assert_close(got * share, expected, reduction)


def test_the_weights_may_change_at_every_step():
    """s_t = w_t s_{t-1} + x_t: the influence is carried by the weights of each step."""

    class Scalar(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

        def forward(self, x, state):
            state = x.new_zeros(x.shape[1], 1) if state is None else state
            outputs = []
            for step in x:
                state = self.w * state + step
                outputs.append(state)
            return torch.stack(outputs), state

    model = Scalar()
    x, target = torch.randn(9, 1, 1).double(), torch.randn(9, 1, 1).double()
    s = m = 0.0
    for t, _ in enumerate(bptt.backprop(model, LOSS, (x, target), through=bptt.RTRL())):
        w = float(model.w.detach())
        s, m = w * s + float(x[t]), w * m + s
        assert float(model.w.grad) == pytest.approx(2 * (s - float(target[t])) * m, abs=1e-12)
        with torch.no_grad():
            model.w -= 0.05 * model.w.grad
        model.w.grad = None


def test_a_task_is_learned_while_it_runs():
    """Parity of the last two bits, one optimizer step after every step: the loss falls far below that of guessing."""
    torch.manual_seed(2)
    model = nn.ModuleDict({"layer": bptt.nn.GRU(1, 8), "out": nn.Linear(8, 1)})

    class Task(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = model

        def forward(self, x, state):
            y, state = self.parts["layer"](x, state)
            return self.parts["out"](y), state

    bits = torch.randint(2, (1200, 2, 1)).float()
    target = (bits + bits.roll(1, 0)) % 2
    task = Task()
    optimizer, losses = torch.optim.Adam(task.parameters(), 0.01), []
    for window in bptt.backprop(task, LOSS, (bits, target), through=bptt.SnAp(1)):
        optimizer.step()
        optimizer.zero_grad()
        losses.append(window.mean)
    assert sum(losses[:200]) / 200 > 0.2
    assert sum(losses[-200:]) / 200 < 0.05


class Coupled(nn.Module):
    """The rows see each other: a mean over the batch."""

    def __init__(self):
        super().__init__()
        self.w = nn.Linear(4, 4)
        self.inside = nn.Linear(3, 4)

    def forward(self, x, state):
        state = x.new_zeros(x.shape[1], 4) if state is None else state
        outputs = []
        for step in x:
            state = torch.tanh(self.inside(step) + self.w(state) - state.mean(0))
            outputs.append(state)
        return torch.stack(outputs), state


@pytest.mark.parametrize("strategy", [bptt.RTRL(), bptt.SnAp(9)], ids=str)
def test_rows_that_depend_on_each_other(strategy):
    model, data = Coupled().double(), sequence("", 6, False)
    run = bptt.backprop(model, LOSS, data, through=strategy)
    next(run)
    assert run._influence.layout.rows == 1
    model.zero_grad()
    assert_close(torch.stack(_gradients(model, data, strategy)).sum(0), _full(model, data), "coupled rows")


class _Foreign(torch.autograd.Function):
    """tanh by NumPy: no batches of errors, no second derivative."""

    @staticmethod
    def forward(ctx, x):
        y = torch.from_numpy(x.detach().numpy().copy()).tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, error):
        (y,) = ctx.saved_tensors
        return torch.from_numpy(error.numpy() * (1 - y.numpy() ** 2))


class Foreign(nn.Module):
    def __init__(self, tanh):
        super().__init__()
        self.inside, self.tanh = nn.Linear(7, 4), tanh

    def forward(self, x, state):
        state = x.new_zeros(x.shape[1], 4) if state is None else state
        outputs = []
        for step in x:
            state = self.tanh(self.inside(torch.cat([step, state], -1)))
            outputs.append(state)
        return torch.stack(outputs), state


@pytest.mark.parametrize("strategy", EVERY, ids=str)
def test_a_module_whose_backward_pass_torch_cannot_look_into(strategy):
    plain = Foreign(torch.tanh).double()
    foreign = Foreign(_Foreign.apply).double()
    foreign.load_state_dict(plain.state_dict())
    data = sequence("", 6, True)
    for got, expected in zip(_gradients(foreign, data, strategy), _gradients(plain, data, strategy), strict=True):
        assert_close(got, expected, str(strategy))


@pytest.mark.parametrize("strategy", EVERY, ids=str)
@pytest.mark.parametrize("name", ["torch.nn.LSTM", "GRU on torch", "task model"])
def test_single_precision(name, strategy):
    model = ALL[name]()
    data = sequence(name, 6, True)
    data = data._replace(x=data.x if name == "task model" else data.x.float(), target=data.target.float())
    got = torch.stack(_gradients(model, data, strategy)).sum(0)
    model = model.double()
    data = data._replace(x=data.x if name == "task model" else data.x.double(), target=data.target.double())
    assert_close(got.double(), torch.stack(_gradients(model, data, strategy)).sum(0), name, relative=1e-4)


def test_dropout_meets_one_draw_a_step():
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = bptt.nn.GRU(3, 4)

        def forward(self, x, state):
            y, state = self.layer(nn.functional.dropout(x, 0.5, self.training), state)
            return nn.functional.dropout(y, 0.5, self.training), state

    model, data = Dropping().double(), sequence("", 6, False)
    torch.manual_seed(4)
    got = torch.stack(_gradients(model, data, bptt.RTRL())).sum(0)
    torch.manual_seed(4)
    loss, state = 0.0, None
    for t in range(6):
        y, state = model(data.x[t : t + 1], state)
        loss = loss + LOSS(y, data.target[t : t + 1])
    loss.backward()
    assert_close(got, oracle.gradient(model), "dropout")


def test_complex_states():
    class Rotating(nn.Module):
        def __init__(self):
            super().__init__()
            self.angle = nn.Parameter(torch.tensor([0.3, 0.7], dtype=torch.float64))
            self.inside = nn.Linear(3, 2).double()

        def forward(self, x, state):
            state = x.new_zeros(x.shape[1], 2, dtype=torch.complex128) if state is None else state
            outputs = []
            for step in x:
                state = 0.9 * torch.exp(1j * self.angle) * state + self.inside(step)
                outputs.append(torch.cat([state.real, state.imag], -1))
            return torch.stack(outputs), state

    model, data = Rotating(), sequence("", 6, True)
    table = oracle.contributions(model, LOSS, data, dims)
    for strategy in (bptt.RTRL(), bptt.SnAp(2)):
        for got, expected in zip(_gradients(model, data, strategy), oracle.online(table, 1), strict=True):
            assert_close(got, expected, str(strategy))


def _real(model):
    return {name: torch.view_as_real(p.grad) if p.is_complex() else p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("strategy", [bptt.RTRL(), bptt.SnAp(9), bptt.RTRL(3)], ids=str)
@pytest.mark.parametrize("ragged", [False, True], ids=["even", "ragged"])
def test_complex_parameters(strategy, ragged):
    model, data = Turning(), sequence("", 6, ragged)
    list(bptt.backprop(model, LOSS, data))
    expected = _real(model)
    model.zero_grad()
    list(bptt.backprop(model, LOSS, data, through=strategy))
    for name, got in _real(model).items():
        assert_close(got, expected[name], name)


def test_uoro_of_complex_parameters_is_right_on_average(monkeypatch):
    model, data = Turning(size=1), bptt.Piece(*(part[:, :1] for part in sequence("", 4, False)[:2]))
    list(bptt.backprop(model, LOSS, data))
    expected = _real(model)
    patterns = list(_all_signs(monkeypatch, (3, 1, 2)))
    model.zero_grad()
    for _ in _all_signs(monkeypatch, (3, 1, 2)):  # the last step's signs reach no loss
        list(bptt.backprop(model, LOSS, data, through=bptt.UORO()))
    for name, got in _real(model).items():
        assert_close(got / len(patterns), expected[name], name)


def test_room_counts_complex_parameters_twice(monkeypatch):
    """16 complex weights reach a state of 4 complex numbers: M has 8 × 32 entries, and a row more is under way."""
    monkeypatch.setattr("bptt.online.beginning.ROOM", 2 * 8 * 32 * 8 - 1)
    with pytest.raises(ValueError, match=r"RTRL would take .* for the influence of 32 parameters on 1 × 8 numbers of state"):
        list(
            bptt.backprop(
                Turning(size=4), LOSS, (torch.randn(2, 1, 3).double(), torch.randn(2, 1, 4).double()), through=bptt.RTRL()
            )
        )


def test_the_loss_may_have_parameters_of_its_own():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

        def forward(self, y, target):
            return ((self.scale * y - target) ** 2).sum()

    model, loss, data = ALL["GRU on torch"]().double(), Scaled(), sequence("", 5, False)
    list(bptt.backprop(model, loss, data))
    expected, loss.scale.grad = loss.scale.grad, None
    list(bptt.backprop(model, loss, data, through=bptt.RTRL()))
    assert_close(loss.scale.grad, expected, "scale")


def test_gradients_that_stand_are_added_to_and_share_no_memory():
    model, data = nn.GRU(3, 4).double(), sequence("", 4, False)
    once = torch.stack(_gradients(model, data, bptt.RTRL())).sum(0)
    for _ in range(2):
        list(bptt.backprop(model, LOSS, data, through=bptt.RTRL()))
    assert_close(oracle.gradient(model), 2 * once, "twice")
    places = [p.grad.data_ptr() for p in model.parameters()]
    assert len(set(places)) == len(places)


def test_a_module_that_makes_its_initial_state_learns_it():
    class Starting(nn.Module):
        def __init__(self):
            super().__init__()
            self.start = nn.Parameter(torch.randn(4))
            self.layer = nn.GRUCell(3, 4)

        def initial_state(self, rows):
            return torch.tanh(self.start).expand(rows, 4)

        def forward(self, x, state):
            state = self.initial_state(x.shape[1]) if state is None else state
            outputs = []
            for step in x:
                state = self.layer(step, state)
                outputs.append(state)
            return torch.stack(outputs), state

    model, data = Starting().double(), sequence("", 7, True)
    full = _full(model, data)
    assert float(full[:4].abs().max()) > 1e-3
    for strategy in (bptt.RTRL(), bptt.SnAp(9)):
        assert_close(torch.stack(_gradients(model, data, strategy)).sum(0), full, str(strategy))


@pytest.mark.parametrize("strategy", EVERY, ids=str)
def test_what_cannot_be_right_is_named(strategy):
    model, data = nn.GRU(3, 4).double(), sequence("", 5, False)
    with pytest.raises(ValueError, match=r"step 0: loss\(y, target\) is .* must be the sum"):
        next(bptt.backprop(model, lambda y, t: (y - t).square().mean(), data, through=strategy))
    data.x[3, 1] = torch.inf
    with pytest.raises(ValueError, match="step 3: x is not finite"):
        list(bptt.backprop(model, LOSS, data, through=strategy))
    windows = list(bptt.backprop(model, LOSS, data, through=strategy, check_finite=False))
    assert [window.not_finite for window in windows[:4]] == [None, None, None, "step 3: x is not finite"]


def test_strategies_are_written_and_read():
    for strategy in (bptt.RTRL(), bptt.RTRL(k=5, force=True), bptt.SnAp(2, k=3), bptt.UORO(), bptt.UORO(k=2, seed=7)):
        assert parse(str(strategy)) == strategy
    assert parse("rtrl") == bptt.RTRL()
    assert parse("snap:n=1") == bptt.SnAp(1)
    assert parse("uoro") == bptt.UORO()


def _large():
    return bptt.nn.GRU(3, 400), (torch.zeros(2, 1, 3), torch.zeros(2, 1, 400))


def _data(**changes):
    return sequence("", 4, False)._replace(**changes)


BAD = [
    (lambda: bptt.RTRL(k=0), "k must be a whole number of at least 1, got 0"),
    (lambda: bptt.RTRL(force=1), "force must be True or False, got 1"),
    (lambda: bptt.SnAp(0), "n must be a whole number of at least 1, got 0"),
    (lambda: bptt.SnAp(1.5), "n must be a whole number of at least 1, got 1.5"),
    (lambda: bptt.UORO(seed=-1), "seed must be a whole number of at least 0, got -1"),
    (
        lambda: list(bptt.backprop(_large()[0], LOSS, _large()[1], through=bptt.RTRL())),
        r"RTRL would take 1.45 GiB for the influence of 486,000 parameters on 1 × 400 numbers of state, .* RTRL\(force=True\)",
    ),
    (
        lambda: list(
            bptt.backprop(
                nn.GRU(3, 4), LOSS, (torch.zeros(4, 2, 3), torch.zeros(4, 2, 4)), through=bptt.RTRL(),
                state=torch.zeros(1, 2, 4, requires_grad=True),
            )
        ),
        r"the initial state requires a gradient, and RTRL carries none back to it: detach it",
    ),
    (
        lambda: list(
            bptt.backprop(nn.GRU(3, 4).double(), LOSS, _data(x=_data().x.requires_grad_()), through=bptt.SnAp(1))
        ),
        r"step 0: x requires a gradient, and SnAp carries none back to it",
    ),
    (
        lambda: list(bptt.backprop(nn.GRU(3, 4).double().requires_grad_(False), LOSS, _data(), through=bptt.RTRL())),
        "no parameter requires a gradient: there is nothing to train",
    ),
    (
        lambda: list(
            bptt.backprop(nn.GRU(3, 4).double(), lambda y, t: LOSS(y.detach(), t), _data(), through=bptt.UORO())
        ),
        "steps? 0.*: the loss has no connection to y",
    ),
    (
        lambda: list(bptt.backprop(bptt.nn.GRU(3, 4, bidirectional=True).double(), LOSS, _data(), through=bptt.RTRL())),
        r"a bidirectional layer .* needs the whole sequence",
    ),
    (
        lambda: bptt.backprop(
            nn.GRU(3, 4).double(), LOSS, _data(), through=bptt.RTRL(),
            resume=bptt.backprop(nn.GRU(3, 4).double(), LOSS, _data(), through=bptt.SnAp(1)).state_dict(),
        ),
        r"saved by through=snap:.*, and this is rtrl:",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BAD)
def test_what_cannot_be_done_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_large_module_is_served_where_it_is_forced(monkeypatch):
    from bptt.online import beginning

    monkeypatch.setattr(beginning, "ROOM", 1000)
    model, data = nn.GRU(3, 4).double(), sequence("", 3, False)
    for strategy, message in ((bptt.RTRL(), "SnAp.1. or bptt.UORO"), (bptt.SnAp(1), "use through=bptt.UORO")):
        with pytest.raises(ValueError, match=message):
            list(bptt.backprop(model, LOSS, data, through=strategy))
    assert len(list(bptt.backprop(model, LOSS, data, through=bptt.RTRL(force=True)))) == 3
    assert len(list(bptt.backprop(model, LOSS, data, through=bptt.SnAp(1, force=True)))) == 3
