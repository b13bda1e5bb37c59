"""Gates computed again are the gates of the layer; their statistics are those of what they are."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import bptt
from bptt.observe import units
from bptt.observe.gates import inside_of, watching

KINDS = {
    "bptt.LSTM": lambda: bptt.nn.LSTM(3, 4, num_layers=2),
    "bptt.GRU": lambda: bptt.nn.GRU(3, 4, num_layers=2),
    "bptt.RNN": lambda: bptt.nn.RNN(3, 4, nonlinearity="relu"),
    "both ways": lambda: bptt.nn.LSTM(3, 4, num_layers=2, bidirectional=True),
    "projection": lambda: bptt.nn.LSTM(3, 5, num_layers=2, proj_size=4),
    "no bias": lambda: bptt.nn.GRU(3, 4, bias=False),
    "torch.LSTM": lambda: nn.LSTM(3, 4, num_layers=2, proj_size=2),
    "torch.GRU": lambda: nn.GRU(3, 4, bidirectional=True),
    "torch.RNN": lambda: nn.RNN(3, 4, nonlinearity="relu"),
    "batch first": lambda: nn.GRU(3, 4, batch_first=True),
}


def last(found, name):
    return next(inside for inside in found if inside.name.endswith(name))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("ragged", [False, True], ids=["even", "ragged"])
def test_what_is_computed_again_ends_in_the_layers_own_state(name, ragged):
    layer = KINDS[name]().double()
    if ragged and not isinstance(layer, bptt.nn.Recurrent):
        pytest.skip("torch's layers take no mask")
    x = torch.randn(7, 3, 3, dtype=torch.float64)
    depth = layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = [layer.proj_size or layer.hidden_size] + ([layer.hidden_size] if isinstance(layer, nn.LSTM | bptt.nn.LSTM) else [])
    rows = 7 if getattr(layer, "batch_first", False) else 3
    state = tuple(torch.randn(depth, rows, size, dtype=torch.float64) for size in sizes)
    flags = {}
    if ragged:
        flags = {"mask": torch.rand(7, 3) > 0.3, "reset": torch.rand(7, 3) > 0.8}
    given = state if len(state) > 1 else state[0]
    with watching(layer) as calls, torch.no_grad():
        _, after = layer(x, given, **flags)
    (call,) = calls
    found = inside_of(*call)
    assert len(found) == depth
    for index, inside in enumerate(found):
        end = 0 if inside.name.endswith("reverse") else -1
        for symbol, leaf in zip("hc", after if len(state) > 1 else (after,), strict=False):
            assert torch.allclose(inside.after[symbol][end], leaf[index], atol=1e-12)


def test_gate_statistics_are_those_of_gates_set_by_hand():
    layer = bptt.nn.LSTM(2, 4)
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
        open_, half = math.log(0.95 / 0.05), 0.0
        layer.bias_ih_l0[:4] = -5.0  # input gate: shut
        layer.bias_ih_l0[4:8] = torch.tensor([open_, open_, half, half])
    seen = units(layer, (torch.randn(9, 3, 2), torch.zeros(9, 3, 4)))
    gates = {gate.gate: gate for gate in seen.gates}
    assert (gates["input gate"].low, gates["input gate"].high) == (1.0, 0.0)
    assert gates["forget gate"].high == 0.5
    assert gates["forget gate"].mean == pytest.approx(0.725)
    assert gates["forget gate"].time_constant == pytest.approx([-1 / math.log(0.95)] * 2 + [-1 / math.log(0.5)] * 2, rel=1e-5)
    assert gates["output gate"].mean == 0.5
    assert len(gates["output gate"].time_constant) == 0
    assert "time constant" in repr(seen)


def test_dead_relus_are_counted():
    layer = bptt.nn.RNN(2, 4, nonlinearity="relu")
    with torch.no_grad():
        layer.bias_ih_l0[:] = torch.tensor([-100.0, 100.0, -100.0, 100.0])
        layer.weight_hh_l0.zero_()
    (gate,) = units(layer, (torch.randn(9, 3, 2), torch.zeros(9, 3, 4))).gates
    assert (gate.dead, gate.low) == (2, 0.5)
    assert math.isnan(gate.high)

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.relu = nn.GRUCell(2, 4), nn.ReLU()

        def forward(self, x, state=None):
            state = x.new_zeros(x.shape[1], 4) if state is None else state
            outputs = []
            for step in x:
                state = self.cell(step, state)
                outputs.append(self.relu(state - 2))
            return torch.stack(outputs), state

    found = {(gate.layer, gate.gate): gate for gate in units(Own(), (torch.randn(9, 3, 2), torch.zeros(9, 3, 4))).gates}
    assert found["relu", "relu"].dead == 4
    assert len(found["cell", "update gate"].time_constant) == 4


def test_saturation_and_norms_of_the_state():
    layer = nn.RNN(2, 4)
    with torch.no_grad():
        layer.bias_ih_l0[:] = torch.tensor([50.0, -50.0, 0.0, 0.0])
        layer.weight_hh_l0.zero_()
        layer.weight_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
    seen = units(layer, (torch.randn(5, 3, 2), torch.zeros(5, 3, 4)))
    (gate,) = seen.gates
    assert (gate.low, gate.high) == (0.25, 0.25)
    assert seen.state_saturated == pytest.approx([0.5])
    assert seen.output_saturated == 0.5
    assert seen.state_norm == pytest.approx(np.full((1, 5), math.sqrt(2)))


@pytest.mark.parametrize("kind", [nn.GRU, bptt.nn.GRU])
def test_steps_that_do_not_exist_do_not_count(kind):
    layer = kind(3, 4).double()
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    mask = torch.ones(6, 2, dtype=torch.bool)
    mask[3:, 1] = False
    x[3:, 1] = 100.0
    ragged = units(layer, bptt.Piece(x, torch.zeros(6, 2, 4), mask)).gates
    a = units(layer, (x[:, :1], torch.zeros(6, 1, 4))).gates
    b = units(layer, (x[:3, 1:], torch.zeros(3, 1, 4))).gates
    for got, one, other in zip(ragged, a, b, strict=True):
        assert got.mean == pytest.approx((6 * one.mean + 3 * other.mean) / 9)


def test_a_layer_that_runs_both_ways_has_gates_and_no_states_over_time():
    seen = units(nn.LSTM(3, 4, bidirectional=True), (torch.randn(6, 2, 3), torch.zeros(6, 2, 8)), steps=2)
    assert {gate.layer for gate in seen.gates} == {"LSTM", "LSTM, reverse"}
    assert seen.steps == 6
    assert seen.parts == ()


def test_nothing_changes():
    model = nn.LSTM(3, 4, num_layers=2, dropout=0.5).train()
    data = torch.randn(6, 2, 3), torch.zeros(6, 2, 4)
    random = torch.get_rng_state()
    a, b = units(model, data), units(model, data)
    assert a.gates[0].mean == b.gates[0].mean
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    assert not model._forward_hooks
    a.save("/dev/null")
