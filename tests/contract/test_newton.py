"""All steps at once by Newton's method: the module's own states and gradients, or a return to its own pass."""

import pytest
import torch
from torch import nn

import bptt
from bptt import newton
from bptt.nn.scan import tree
from bptt.state import leaves, map_leaves
from tests.contract import oracle
from tests.contract.models import ALL, sequence
from tests.contract.test_online import Foreign, _Foreign
from tests.tolerances import assert_close

LOSS = bptt.SquaredError()
NAMES = ["torch.nn.LSTM", "torch.nn.GRU", "task model", "named tuple", "projection", "MinLSTM", "LRU", "RNN on reference"]


def _real(leaf):
    return torch.view_as_real(leaf) if leaf.is_complex() else leaf


def _gradients(run, model, x, state):
    """Every output, final state and gradient, with weights on all outputs and final states."""
    x = x.clone().requires_grad_(x.is_floating_point())
    state = map_leaves(lambda s: s.clone().requires_grad_(), state)
    model.zero_grad()
    y, final = run(x, state)
    generator = torch.Generator().manual_seed(1)
    parts = [_real(part) for part in (y, *leaves(final))]
    sum((p * torch.randn(p.shape, generator=generator, dtype=p.dtype)).sum() for p in parts).backward()
    found = [*([x] if x.requires_grad else []), *leaves(state), *model.parameters()]
    return [*parts, *(torch.zeros_like(_real(p)) if p.grad is None else _real(p.grad) for p in found)]


@pytest.mark.parametrize("jacobian", ["full", "diagonal"])
@pytest.mark.parametrize("name", NAMES)
def test_states_and_gradients_are_those_of_the_module(name, jacobian):
    model = ALL[name]().double()
    data = sequence(name, 9, False)
    _, state = model(data.x, None)
    state = map_leaves(torch.Tensor.detach, state)
    run = bptt.Newton(model, jacobian=jacobian)
    for got, expected in zip(_gradients(run, model, data.x, state), _gradients(model, model, data.x, state), strict=True):
        assert_close(got, expected, name)
    assert run.report.converged
    assert run.report.steps == 9
    assert len(run.report.residuals) == run.report.iterations + 1


@pytest.mark.parametrize("jacobian", ["full", "diagonal"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strategy", [bptt.Full(), bptt.Truncated(2, 5), bptt.RTRL()], ids=str)
def test_ragged_rows_through_every_strategy(name, jacobian, strategy):
    model, data = ALL[name]().double(), sequence(name, 7, True)
    run = bptt.Newton(model, jacobian=jacobian)
    found = []
    for each in (run, model):
        windows = []
        for window in bptt.backprop(each, LOSS, data, through=strategy):
            windows.append((float(window.loss), oracle.gradient(model)))
            model.zero_grad()
        found.append(windows)
    for (loss, got), (other, expected) in zip(*found, strict=True):
        assert loss == pytest.approx(other, rel=1e-12)
        assert_close(got, expected, name)


def test_newton_converges_quadratically_and_its_diagonal_does_not():
    model, x = nn.GRU(3, 4).double(), torch.randn(200, 2, 3).double()
    runs = {kind: bptt.Newton(model, jacobian=kind, iterations=200) for kind in ("full", "diagonal")}
    for run in runs.values():
        run(x)
        assert run.report.converged
    full = runs["full"].report
    assert full.iterations < 8 < runs["diagonal"].report.iterations
    near = [r for r in full.residuals if 1e-7 < r < 1e-2]
    for before, after in zip(near, full.residuals[full.residuals.index(near[0]) + 1 :], strict=False):
        assert after < 100 * before**2 + 1e-14


class Chaotic(nn.Module):
    def __init__(self, gain):
        super().__init__()
        torch.manual_seed(0)
        self.w = nn.Parameter(gain * torch.randn(6, 6))

    def forward(self, x, state):
        state = x.new_zeros(x.shape[1], 6) if state is None else state
        outputs = []
        for step in x:
            state = torch.sin(state @ self.w.T + step)
            outputs.append(state)
        return torch.stack(outputs), state


def test_without_convergence_the_module_runs_step_by_step_and_the_report_says_so():
    model, x = Chaotic(4.0).double(), torch.randn(60, 2, 6).double()
    _, state = model(x, None)
    run = bptt.Newton(model, iterations=5)
    for got, expected in zip(
        _gradients(run, model, x, state.detach()), _gradients(model, model, x, state.detach()), strict=True
    ):
        assert torch.equal(got, expected)
    assert run.report == newton.Convergence(False, 5, run.report.residuals, 60)
    assert len(run.report.residuals) == 6


def test_as_many_iterations_as_steps_always_suffice():
    model, x = Chaotic(1.0).double(), torch.randn(12, 2, 6).double()
    run = bptt.Newton(model, iterations=12)
    assert_close(run(x)[0], model(x, None)[0], "y")
    assert run.report.converged


def test_values_that_are_not_finite_end_the_search():
    x = torch.randn(9, 2, 3)
    x[4] = torch.nan
    model = nn.GRU(3, 4)
    run = bptt.Newton(model)
    y, _ = run(x)
    assert torch.equal(torch.isnan(y), torch.isnan(model(x)[0]))
    assert run.report.iterations == 0
    assert not run.report.converged


def test_single_precision_and_no_gradient():
    model, x = nn.LSTM(3, 8), torch.randn(100, 2, 3)
    run = bptt.Newton(model)
    with torch.no_grad():
        y, final = run(x)
    assert run.report.converged
    assert not y.requires_grad
    assert_close(y, model(x)[0], "y")
    assert_close(final[1], model(x)[1][1], "c")
    assert bptt.evaluate(run, LOSS, (x, torch.zeros(100, 2, 8))).steps == 100


def test_one_step_is_the_module():
    model, x = nn.GRU(3, 4), torch.randn(1, 2, 3)
    run = bptt.Newton(model)
    assert torch.equal(run(x)[0], model(x)[0])
    assert run.report == newton.Convergence(True, 0, (), 1)


def test_dropout_draws_once_a_pass():
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.GRU(3, 4)

        def forward(self, x, state):
            return self.layer(nn.functional.dropout(x, 0.5, self.training), state)

    model, x = Dropping().double(), torch.randn(20, 2, 3).double()
    run = bptt.Newton(model)
    torch.manual_seed(3)
    first, _ = run(x)
    assert run.report.converged
    second, _ = run(x)
    torch.manual_seed(3)
    again, _ = run(x)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    model.eval()
    assert_close(run(x)[0], model(x, None)[0], "evaluation")


def test_a_module_whose_backward_pass_torch_cannot_look_into():
    model, x = Foreign(_Foreign.apply).double(), torch.randn(9, 2, 3).double()
    _, state = model(x, None)
    run = bptt.Newton(model)
    plain = Foreign(torch.tanh).double()
    plain.load_state_dict(model.state_dict())
    for got, expected in zip(
        _gradients(run, model, x, state.detach()), _gradients(plain, plain, x, state.detach()), strict=True
    ):
        assert_close(got, expected, "foreign")


class Starting(nn.Module):
    def __init__(self):
        super().__init__()
        self.start, self.cell = nn.Parameter(torch.randn(4)), nn.GRUCell(3, 4)

    def forward(self, x, state):
        state = self.start.expand(x.shape[1], 4) if state is None else state
        outputs = []
        for step in x:
            state = self.cell(step, state)
            outputs.append(state)
        return torch.stack(outputs), state


class StartingSo(Starting):
    def initial_state(self, rows):
        return self.start.expand(rows, 4)


def test_an_initial_state_that_is_learned():
    model, data = StartingSo().double(), sequence("", 7, True)
    run = bptt.Newton(model)
    list(bptt.backprop(run, LOSS, data))
    got = oracle.gradient(model)
    model.zero_grad()
    list(bptt.backprop(model, LOSS, data))
    assert_close(got, oracle.gradient(model), "start and cell")
    with pytest.raises(ValueError, match=r"does not begin from zero: give it a method initial_state\(rows\)"):
        bptt.Newton(Starting().double())(data.x)


@pytest.mark.parametrize("jacobian", ["full", "diagonal"])
def test_states_that_are_remembered_for_long_are_right_too(jacobian):
    """What each step leaves open adds up over some hundred steps."""
    model = nn.GRU(4, 8)
    with torch.no_grad():
        for bias in (model.bias_ih_l0, model.bias_hh_l0):
            bias[8:16] += 3
    x = torch.randn(600, 2, 4)
    run = bptt.Newton(model, jacobian=jacobian, iterations=200)
    y, _ = run(x)
    assert run.report.converged
    assert float((y - model(x)[0]).detach().abs().max()) < 1e-4


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 13])
def test_the_tree_of_matrices_is_the_loop(steps):
    matrices, vectors = torch.randn(steps, 2, 3, 3).double(), torch.randn(steps, 2, 3).double()
    expected = newton._affine_scan(matrices, vectors, torch.zeros(2, 3).double())
    assert_close(tree(matrices, vectors, newton._applied, torch.matmul), expected, "tree")


class Blurred(nn.Module):
    """Its steps meet before the layer, or its rows do."""

    def __init__(self, kind):
        super().__init__()
        self.layer, self.before = nn.GRU(3, 4), nn.Conv1d(3, 3, 3, padding=1) if kind == "steps" else nn.BatchNorm1d(3)

    def forward(self, x, state):
        x = self.before(x.permute(1, 2, 0)).permute(2, 0, 1)
        return self.layer(x, state)


@pytest.mark.parametrize("kind", ["steps", "rows"])
def test_steps_that_depend_on_each_other_otherwise_are_refused(kind):
    with pytest.raises(ValueError, match="depend on each other, or on other rows, through more than its state"):
        bptt.Newton(Blurred(kind))(torch.randn(20, 2, 3))


BAD = [
    (lambda: bptt.Newton(nn.GRU(3, 4))(torch.zeros(0, 2, 3)), r"x is \[0, 2, 3\], expected .* at least one step"),
    (lambda: bptt.Newton(nn.GRU(3, 4))(torch.zeros(5, 0, 3)), r"x is \[5, 0, 3\], expected .* and one row"),
    (lambda: bptt.Newton(nn.GRU(3, 4), tolerance=1), "tolerance must lie between 0 and 1, relative to the states, got 1"),
    (lambda: bptt.Newton(nn.GRU(3, 4), jacobian="dense"), "jacobian='dense' does not exist"),
    (lambda: bptt.Newton(nn.GRU(3, 4), iterations=0), "iterations must be a whole number of at least 1, got 0"),
    (lambda: bptt.Newton(nn.GRU(3, 4), tolerance=-1.0), "tolerance must lie between 0 and 1, relative to the states, got -1"),
    (lambda: bptt.Newton(nn.GRU(3, 4, batch_first=True)), "batch_first=True"),
    (lambda: bptt.Newton(nn.GRU(3, 4, bidirectional=True))(torch.zeros(3, 2, 3)), "Newton runs single steps"),
    (lambda: bptt.Newton(ALL["dict"]())(torch.zeros(3, 2, 3)), r"state\['steps'\] holds torch.int64"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_what_cannot_be_served_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
