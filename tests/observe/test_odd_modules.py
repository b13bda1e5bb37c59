"""Modules that do more than a layer: what is shared, counted or computed on the way changes nothing that is said of them."""

import math

import pytest
import torch
from torch import nn

import bptt
from bptt.kernels.native.calls import MISSING
from bptt.observe import every, gradient_flow, units
from bptt.observe.every import Observer

LOSS = bptt.SquaredError()


class Weighs(nn.Module):
    """Its recurrent weights depend on the state."""

    def __init__(self, backend):
        super().__init__()
        self.rnn, self.by = bptt.nn.RNN(3, 4, backend=backend), nn.Linear(4, 4)

    def forward(self, x, state=None):
        state = x.new_zeros(1, x.shape[1], 4) if state is None else state
        outputs = []
        for step in x:
            bias = torch.tanh(self.by(state.mean((0, 1))))
            names = {"bias_ih_l0": self.rnn.bias_ih_l0 + bias}
            y, state = torch.func.functional_call(self.rnn, names, (step[None], state))
            outputs.append(y[0])
        return torch.stack(outputs), state


@pytest.mark.skipif(MISSING is not None, reason="bptt_native is not installed")
def test_an_error_that_passes_through_a_computed_weight_is_followed():
    torch.manual_seed(0)
    models = [Weighs(backend).double() for backend in ("native", "reference")]
    models[1].load_state_dict(models[0].state_dict())
    data = torch.randn(8, 2, 3, dtype=torch.float64), torch.randn(8, 2, 4, dtype=torch.float64)
    native, reference = (gradient_flow(model, LOSS, data) for model in models)
    torch.testing.assert_close(torch.tensor(native.error[:, 1:]), torch.tensor(reference.error[:, 1:]), rtol=1e-9, atol=0)


class Counts(nn.Module):
    """Detaches at two calls, counted outside of its state, that are not among those compared with steps by themselves."""

    def __init__(self):
        super().__init__()
        self.cell, self.calls = nn.GRUCell(3, 4), -1

    def forward(self, x, state=None):
        outputs = []
        for step in x:
            self.calls = 0 if state is None else self.calls + 1
            if self.calls in (8, 10):
                state = state.detach()
            state = self.cell(step, state)
            outputs.append(state)
        return torch.stack(outputs), state


def test_a_state_that_is_cut_at_some_steps_has_the_gradient_of_those_cuts():
    torch.manual_seed(0)
    model = Counts().double()
    x, target = torch.randn(12, 2, 3, dtype=torch.float64), torch.randn(12, 2, 4, dtype=torch.float64)
    flow = gradient_flow(model, LOSS, (x, target))
    y, _ = model(x)
    LOSS(y, target).backward()
    true = {name: float(p.grad.norm()) for name, p in model.named_parameters()}
    assert flow.severed == {"state": (8, 10)}
    assert {weight.name: weight.total for weight in flow.weights} == pytest.approx(true, rel=1e-9)


def test_a_network_without_weights_to_train_has_errors():
    flow = gradient_flow(nn.GRU(3, 5).requires_grad_(False), LOSS, (torch.randn(9, 2, 3), torch.randn(9, 2, 5)))
    assert flow.weights == ()
    assert (flow.error[:, 1:] > 0).all()


def test_a_complex_state_that_overflows_is_named():
    layer = bptt.nn.LRU(3, 5)
    flow = gradient_flow(layer, LOSS, (torch.cat([torch.ones(4, 2, 3), torch.full((1, 2, 3), 1e38)]), torch.randn(5, 2, 5)))
    assert flow.trouble is not None
    assert flow.trouble.step == 4


class Reuses(nn.Module):
    """Writes what it reads into a buffer of its own."""

    def __init__(self):
        super().__init__()
        self.rnn, self.own = bptt.nn.GRU(3, 4), torch.zeros(1, 2, 3)

    def forward(self, x, state=None):
        outputs = []
        for step in x:
            self.own.copy_(step[None])
            y, state = self.rnn(self.own, state)
            outputs.append(y[0])
        return torch.stack(outputs), state


def test_gates_are_of_what_the_layer_read_then():
    torch.manual_seed(0)
    model, x = Reuses(), torch.randn(40, 2, 3)
    found, plain = units(model, (x, torch.zeros(40, 2))), units(model.rnn, (x, torch.zeros(40, 2)))
    assert [gate.mean for gate in found.gates] == pytest.approx([gate.mean for gate in plain.gates], rel=1e-5)


def looked(model, loss, data, share=1.0):
    watching = Observer(every(1, share=share), model, loss, bptt.Full(), None, lambda: data, 0)
    return watching.look(1) or watching.look(1)  # the first time it may only find out how long that takes


@pytest.mark.parametrize("steps", [40, 400])
def test_a_loss_at_the_end_alone_is_looked_at(steps):
    target = torch.full((steps, 3), -100)
    target[-1] = 1
    look = looked(nn.GRU(3, 5), bptt.CrossEntropy(), (torch.randn(steps, 3, 3), target))
    assert "ended" not in look.line["kinds"], look.said
    assert look.line["horizon"] > 0


def test_a_first_row_that_ends_at_once_stops_no_look():
    mask = torch.ones(40, 3, dtype=torch.bool)
    mask[1:, 0] = False
    reset = torch.zeros_like(mask)
    reset[1, 1] = True
    look = looked(bptt.nn.GRU(3, 5), LOSS, bptt.Piece(torch.randn(40, 3, 3), torch.randn(40, 3, 5), mask, reset))
    assert "ended" not in look.line["kinds"], look.said
    assert math.isfinite(look.line["lyapunov"])


class Mean(nn.Module):
    """Part of its state belongs to no row."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x, state=None):
        h, mean = (x.new_zeros(x.shape[1], 4), x.new_zeros(())) if state is None else state
        outputs = []
        for step in x:
            h, mean = self.cell(step, h), 0.9 * mean + 0.1 * h.mean()
            outputs.append(h + mean)
        return torch.stack(outputs), (h, mean)


def test_what_one_instrument_cannot_tell_the_others_do():
    look = looked(Mean(), LOSS, (torch.randn(30, 3, 3), torch.randn(30, 3, 4)))
    assert "ended" not in look.line["kinds"], look.said
    assert look.line["horizon"] > 0
    assert math.isnan(look.line["lyapunov"])


class Tied(nn.Module):
    """One layer for two states."""

    def __init__(self):
        super().__init__()
        self.rnn = bptt.nn.GRU(3, 3)

    def forward(self, x, state=None):
        first, second = (None, None) if state is None else state
        y, first = self.rnn(x, first)
        y, second = self.rnn(y, second)
        return y, (first, second)


def test_a_layer_called_twice_has_two_parts():
    flow = gradient_flow(Tied(), LOSS, (torch.randn(9, 2, 3), torch.randn(9, 2, 3)))
    assert flow.parts == ("h", "h (2)")
    assert flow.profile_by_part.keys() == {"h", "h (2)"}


def test_no_share_of_nothing_is_told_where_only_the_readout_learns():
    model = Task()
    model.rnn.requires_grad_(False)
    flow = gradient_flow(model, LOSS, (torch.randn(40, 2, 3), torch.randn(40, 2, 2)))
    assert not any("nan" in sentence for sentence in flow.advice)


class Task(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.readout = bptt.nn.GRU(3, 4), nn.Linear(4, 2)

    def forward(self, x, state=None):
        y, state = self.rnn(x, state)
        return self.readout(y), state


def test_nan_where_nothing_exists_is_not_named_for_an_overflow():
    layer = bptt.nn.RNN(3, 4, nonlinearity="relu")
    with torch.no_grad():
        layer.weight_hh_l0.fill_(1e20)
    mask = torch.ones(8, 2, dtype=torch.bool)
    mask[:, 1] = torch.arange(8) < 1
    x = torch.rand(8, 2, 3).masked_fill(~mask[..., None], math.nan)
    flow = gradient_flow(layer, LOSS, bptt.Piece(x, torch.randn(8, 2, 4), mask))
    assert "the input" not in str(flow.trouble)
    assert "inf" in str(flow.trouble)
