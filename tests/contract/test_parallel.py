"""Layers that can be computed in parallel in time: against their equations, one row and one step after the other."""

import itertools
import math

import pytest
import torch
from torch import nn

import bptt
from bptt.nn import linear_scan
from bptt.online.influence import Dense
from bptt.online.sparse import Sparse
from tests.contract import oracle
from tests.contract.models import sequence
from tests.tolerances import assert_close

LOSS = bptt.SquaredError()
T, B, I, H = 9, 4, 3, 5
KINDS = {
    "MinGRU": lambda **given: bptt.nn.MinGRU(I, H, **given),
    "MinLSTM": lambda **given: bptt.nn.MinLSTM(I, H, **given),
    "MinGRU of three": lambda **given: bptt.nn.MinGRU(I, H, num_layers=3, bias=False, **given),
    "LRU": lambda **given: bptt.nn.LRU(I, H, **given),
}


def _step(layer, depth, x, h):
    """One step of one row by the equations."""
    if isinstance(layer, bptt.nn.LRU):
        rate = torch.exp(-torch.exp(layer.nu) + 1j * torch.exp(layer.theta))
        b, c = layer.b_real + 1j * layer.b_imag, layer.c_real + 1j * layer.c_imag
        h = rate * h + torch.exp(layer.gamma_log) * (b @ x.to(b.dtype))
        return (c @ h).real + layer.d @ x, h
    projected = getattr(layer, f"weight_ih_l{depth}") @ x
    bias = getattr(layer, f"bias_ih_l{depth}")
    projected = projected if bias is None else projected + bias
    if isinstance(layer, bptt.nn.MinGRU):
        z, v = projected.chunk(2)
        h = (1 - z.sigmoid()) * h + z.sigmoid() * v
    else:
        f, i, v = projected.chunk(3)
        f, i = f.sigmoid(), i.sigmoid()
        h = f / (f + i) * h + i / (f + i) * v
    return h, h


def _by_equations(layer, x, state, mask=None, reset=None):
    steps, rows = x.shape[:2]
    columns, finals = [], []
    for row in range(rows):
        y, ends = [x[t, row] for t in range(steps)], []
        for depth in range(len(state)):
            h = state[depth, row]
            for t in range(steps):
                if reset is not None and reset[t, row]:
                    h = torch.zeros_like(h)
                if mask is None or mask[t, row]:
                    y[t], h = _step(layer, depth, y[t], h)
                else:
                    y[t] = y[t].new_zeros(H)
            ends.append(h)
        columns.append(torch.stack(y))
        finals.append(torch.stack(ends))
    return torch.stack(columns, 1), torch.stack(finals, 1)


def _gradients(run, layer, x, state, weights, **flags):
    x, state = x.clone().requires_grad_(), state.clone().requires_grad_()
    layer.zero_grad()
    y, final = run(x, state, **flags)
    torch.real((y * weights[0]).sum() + (final * weights[1]).sum()).backward()
    return [y, final, *(torch.zeros_like(p) if p.grad is None else p.grad for p in (x, state, *layer.parameters()))]


def _inputs(layer):
    x = torch.randn(T, B, I, dtype=torch.float64)
    y, final = layer(x)
    return x, torch.randn_like(final), (torch.randn_like(y), torch.randn_like(final))


def _flags():
    mask = torch.rand(T, B) > 0.3
    mask[:, 3] = False  # a row of length zero
    mask[6:, 0] = False
    return mask, torch.rand(T, B) > 0.7


@pytest.mark.parametrize("how", ["steps", "scan", "auto"])
@pytest.mark.parametrize("which", ["plain", "mask", "reset", "both"])
@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_their_equations(kind, which, how):
    layer = KINDS[kind](how=how).double()
    x, state, weights = _inputs(layer)
    mask, reset = _flags()
    flags = {name: flag for name, flag in (("mask", mask), ("reset", reset)) if which in (name, "both")}
    expected = _gradients(lambda *given, **f: _by_equations(layer, *given, **f), layer, x, state, weights, **flags)
    for index, (g, e) in enumerate(zip(_gradients(layer, layer, x, state, weights, **flags), expected, strict=True)):
        assert_close(
            torch.view_as_real(g) if g.is_complex() else g, torch.view_as_real(e) if e.is_complex() else e, f"part {index}"
        )


@pytest.mark.parametrize("how", ["steps", "scan"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7, 8, 13])
def test_scans_and_their_gradients_by_finite_differences(steps, dtype, how):
    a, b = (torch.randn(steps, 2, 2, dtype=dtype, requires_grad=True) for _ in range(2))
    initial = torch.randn(2, 2, dtype=dtype, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *given: linear_scan(*given, how), (a, b, initial))
    if steps < 5:
        assert torch.autograd.gradgradcheck(lambda *given: linear_scan(*given, how), (a, b, initial))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_tree_is_as_exact_as_the_loop_over_long_times(dtype):
    a, b = torch.rand(3000, 2, 3).to(dtype), torch.randn(3000, 2, 3).to(dtype)
    a[1000] = 0  # an end to every memory, exactly
    steps, scan = (linear_scan(a, b, torch.zeros(2, 3, dtype=dtype), how) for how in ("steps", "scan"))
    assert_close(scan, steps, "scan")
    assert torch.equal(scan[1000], b[1000])


def test_the_way_it_is_computed_is_the_faster_one():
    def taken(steps, width):
        h = linear_scan(torch.zeros(steps, 1, width, requires_grad=True), torch.zeros(steps, 1, width), torch.zeros(1, width))
        return h.grad_fn.how

    assert (taken(8, 4), taken(500, 4), taken(500, 5000)) == ("steps", "scan", "steps")


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_in_pieces_is_the_whole(kind):
    layer = KINDS[kind]().double()
    x = torch.randn(T, B, I).double()
    mask, reset = _flags()
    whole, final = layer(x, mask=mask, reset=reset)
    state, parts = None, []
    for a, b in itertools.pairwise([0, 1, 4, 9]):
        y, state = layer(x[a:b], state, mask=mask[a:b], reset=reset[a:b])
        parts.append(y)
    assert_close(torch.cat(parts), whole, "y")
    assert_close((state - final).abs(), torch.zeros_like(final.abs()), "final state")


@pytest.mark.parametrize("kind", KINDS)
def test_other_orders_of_dimensions(kind):
    layer = KINDS[kind]().double()
    turned = KINDS[kind](batch_first=True).double()
    turned.load_state_dict(layer.state_dict())
    x = torch.randn(T, B, I).double()
    mask, reset = _flags()
    y, final = layer(x, mask=mask, reset=reset)
    other, same = turned(x.transpose(0, 1), mask=mask.T, reset=reset.T)
    assert_close(other.transpose(0, 1), y, "batch first")
    assert torch.equal(same, final)
    alone, end = layer(x[:, 0], mask=mask[:, 0], reset=reset[:, 0])
    assert_close(alone, y[:, 0], "without a batch")
    again, _ = layer(x[:, 0], end)
    assert_close(again, layer(x, final.clone())[0][:, 0], "a state without a batch")


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_at_missing_steps_reaches_nothing(kind):
    layer = KINDS[kind]().double()
    x, state, weights = _inputs(layer)
    mask, reset = _flags()
    expected = _gradients(layer, layer, x, state, weights, mask=mask, reset=reset)
    dirty = torch.where(mask[:, :, None], x, torch.full_like(x, float("nan")))
    for got, want in zip(_gradients(layer, layer, dirty, state, weights, mask=mask, reset=reset), expected, strict=True):
        assert torch.equal(got, want)


def test_a_reset_ends_even_a_state_that_is_not_a_number():
    layer, reset = bptt.nn.MinGRU(3, 4), torch.zeros(3, 2, dtype=torch.bool)
    reset[0] = True
    y, final = layer(torch.randn(3, 2, 3), torch.full((1, 2, 4), torch.nan), reset=reset)
    assert torch.isfinite(y).all()
    assert torch.isfinite(final).all()


def test_small_gates_of_the_min_lstm_do_not_become_zero_over_zero():
    layer = bptt.nn.MinLSTM(1, 2)
    with torch.no_grad():
        layer.weight_ih_l0.zero_()
        layer.bias_ih_l0.copy_(torch.tensor([-300.0, -300.0, -301.0, -299.0, 1.0, 1.0]))
    y, _ = layer(torch.zeros(1, 1, 1))
    assert_close(y[0, 0], torch.sigmoid(torch.tensor([-1.0, 1.0])), "shares")


def test_dropout_acts_between_layers_while_training():
    layer = bptt.nn.MinGRU(3, 4, num_layers=2, dropout=0.5)
    x = torch.randn(5, 2, 3)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])
    with pytest.warns(UserWarning, match="num_layers=1 has none"):
        bptt.nn.MinLSTM(3, 4, dropout=0.1)


def test_the_lru_begins_on_its_ring_and_keeps_the_size_of_its_state():
    layer = bptt.nn.LRU(8, 4000, r_min=0.5, r_max=0.9, max_phase=1.0).double()
    radius = torch.exp(-torch.exp(layer.nu)).detach()
    assert 0.5 <= float(radius.min()) < 0.52
    assert 0.88 < float(radius.max()) <= 0.9
    assert float(radius.square().mean()) == pytest.approx((0.25 + 0.81) / 2, abs=0.01)  # uniform by area
    assert float(torch.exp(layer.theta.detach()).max()) <= 1.0
    _, h = layer(torch.randn(200, 3, 8).double())
    assert float(h.detach().abs().square().mean()) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("make", [lambda: bptt.nn.MinGRU(3, 4), lambda: bptt.nn.MinLSTM(3, 4), lambda: bptt.nn.LRU(3, 4)])
def test_one_elementwise_layer_has_a_cheap_exact_influence(make):
    model, data = make().double(), sequence("", 7, True)
    [window] = bptt.backprop(model, LOSS, data)
    full = oracle.gradient(model)
    model.zero_grad()
    run = bptt.backprop(model, LOSS, data, through=bptt.RTRL())
    held = [run._influence for _ in run][-1]
    assert_close(oracle.gradient(model), full, "RTRL")
    assert isinstance(held, Sparse)
    reaching = sum(p.numel() for n, p in model.named_parameters() if n not in ("c_real", "c_imag", "d"))
    halves = 2 if isinstance(model, bptt.nn.LRU) else 1
    assert sum(block.m.numel() for block in held._blocks.values()) == 2 * halves * reaching
    assert window.steps == 7


def test_in_a_task_model_too_though_an_embedding_reaches_everything():
    class Task(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.layer, self.out = nn.Embedding(11, 3), bptt.nn.MinGRU(3, 6), nn.Linear(6, 4)

        def forward(self, x, state, mask=None, reset=None):
            y, state = self.layer(torch.relu(self.embed(x)), state, mask=mask, reset=reset)
            return self.out(y), state

    model, data = Task().double(), sequence("task model", 7, True)
    list(bptt.backprop(model, LOSS, data))
    full = oracle.gradient(model)
    model.zero_grad()
    run = bptt.backprop(model, LOSS, data, through=bptt.RTRL())
    held = [run._influence for _ in run][-1]
    assert isinstance(held, Sparse)
    assert_close(oracle.gradient(model), full, "RTRL")


def test_across_layers_it_stays_exact_but_a_lower_layer_reaches_all_of_the_upper_ones():
    model, data = bptt.nn.MinGRU(3, 4, num_layers=2).double(), sequence("", 7, True)
    found, gradients = {}, []
    for strategy in (bptt.Full(), bptt.RTRL(), bptt.SnAp(1)):
        run = bptt.backprop(model, LOSS, data, through=strategy)
        found[strategy] = [getattr(run, "_influence", None) for _ in run][-1]
        gradient = oracle.gradient(model)
        gradients.append(gradient)
        assert_close(gradient, gradients[0], str(strategy))
        model.zero_grad()
    assert isinstance(found[bptt.RTRL()], Dense)
    reached = {found[bptt.SnAp(1)].names[place]: block.m.shape[1] for place, block in found[bptt.SnAp(1)]._blocks.items()}
    assert reached == {"weight_ih_l0": 8, "bias_ih_l0": 8, "weight_ih_l1": 1, "bias_ih_l1": 1}


BAD = [
    (lambda: bptt.nn.MinGRU(3, 0), "hidden_size must be a whole number of at least 1, got 0"),
    (lambda: bptt.nn.LRU(True, 4), "input_size must be a whole number of at least 1, got True"),
    (lambda: bptt.nn.MinGRU(3, 4, 2, dropout=2.0), "dropout is a probability between 0 and 1, got 2.0"),
    (lambda: bptt.nn.MinGRU(3, 4, how="tree"), "how='tree' does not exist: one of 'auto', 'steps', 'scan'"),
    (lambda: bptt.nn.LRU(3, 4, r_min=0.9, r_max=0.5), "0 ≤ r_min < r_max < 1, got 0.9 and 0.5"),
    (lambda: bptt.nn.LRU(3, 4, max_phase=7.0), "max_phase must be above 0 and at most 2π, got 7.0"),
    (lambda: bptt.nn.MinGRU(3, 4)(torch.zeros(2, 1, 5)), r"x has 5 features but MinGRU\(input_size=3\) expects 3"),
    (lambda: bptt.nn.MinGRU(3, 4)(torch.zeros(0, 1, 3)), "x has no steps"),
    (lambda: bptt.nn.MinGRU(3, 4)(torch.zeros(3)), r"x is \[3\], expected \[T, B, I\]"),
    (lambda: bptt.nn.MinGRU(3, 4)([1.0]), "x is a list, expected a tensor"),
    (lambda: bptt.nn.LRU(3, 4)(torch.zeros(2, 1, 3).double()), "x is torch.float64 but the weights are torch.float32"),
    (lambda: bptt.nn.LRU(3, 4)(torch.zeros(2, 1, 3), torch.zeros(1, 1, 4)), "state is torch.float32 on cpu"),
    (lambda: bptt.nn.MinGRU(3, 4)(torch.zeros(2, 1, 3), torch.zeros(2, 1, 4)), r"state is \[2, 1, 4\], expected \[1, 1, 4\]"),
    (lambda: bptt.nn.MinGRU(3, 4)(torch.zeros(2, 3), torch.zeros(1, 1, 4)), r"state is \[1, 1, 4\], expected \[1, 4\]"),
    (lambda: bptt.nn.MinGRU(3, 4)(torch.zeros(2, 1, 3), (torch.zeros(1, 1, 4),) * 2), "one tensor .* got a tuple"),
    (lambda: bptt.nn.LRU(3, 4)(torch.zeros(2, 1, 3), mask=torch.ones(1, 2) > 0), r"mask is \[1, 2\], expected \[2, 1\]"),
    (lambda: bptt.nn.LRU(3, 4)(torch.zeros(2, 1, 3), reset=torch.ones(2, 1)), "reset must be a bool tensor"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BAD)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_settings_are_shown_and_saved_weights_are_those():
    assert repr(bptt.nn.MinGRU(3, 4, 2, how="scan")) == "MinGRU(3, 4, num_layers=2, how='scan')"
    assert repr(bptt.nn.LRU(3, 4)) == "LRU(3, 4)"
    assert math.isclose(bptt.nn.LRU(3, 4).max_phase, 2 * math.pi)
    assert list(bptt.nn.MinLSTM(3, 4).state_dict()) == ["weight_ih_l0", "bias_ih_l0"]
