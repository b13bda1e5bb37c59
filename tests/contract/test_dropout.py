"""Dropout that is the same at every step, and of the weights from state to state."""

import pytest
import torch
from torch import nn

import bptt
from bptt.nn import VariationalDropout, weight_drop

CELLS = ["RNN", "GRU", "LSTM"]


def test_the_same_features_are_dropped_at_every_step_and_others_in_every_row():
    x = torch.randn(7, 50, 40, dtype=torch.float64)
    y = VariationalDropout(0.25)(x)
    kept = y != 0
    assert bool((kept == kept[:1]).all())
    assert not bool((kept[0] == kept[0, :1]).all())
    torch.testing.assert_close(y[kept], (x / 0.75)[kept])
    assert 0.7 < float(kept.double().mean()) < 0.8


def test_nothing_is_dropped_in_evaluation_or_for_zero():
    x = torch.randn(3, 2, 4)
    assert VariationalDropout(0.5).eval()(x) is x
    assert VariationalDropout(0.0)(x) is x


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backend", ["native", "torch", "reference"])
def test_between_layers_it_is_the_same_at_every_step(cell, backend):
    both = getattr(bptt.nn, cell)(3, 5, 2, dropout=0.4, variational=True, backend=backend).double()
    first, second = (getattr(nn, cell)(size, 5).double() for size in (3, 5))
    for depth, layer in enumerate((first, second)):
        layer.load_state_dict(
            {f"{name[:-1]}0": value for name, value in both.state_dict().items() if name.endswith(f"l{depth}")}
        )
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    torch.manual_seed(5)
    y = both(x)[0]
    torch.manual_seed(5)
    mask = nn.functional.dropout(torch.ones(1, 4, 5, dtype=torch.float64), 0.4)
    torch.testing.assert_close(y, second(first(x)[0] * mask)[0])
    both.eval()
    torch.testing.assert_close(both(x)[0], second(first(x)[0])[0])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backend", ["native", "torch", "reference"])
def test_dropped_weights_are_dropped_at_all_steps_and_their_gradient_is_masked(cell, backend):
    layer, plain = getattr(bptt.nn, cell)(3, 5, backend=backend).double(), getattr(nn, cell)(3, 5).double()
    plain.load_state_dict(layer.state_dict())
    assert weight_drop(layer, 0.3) is layer
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    original = layer.parametrizations.weight_hh_l0.original
    torch.manual_seed(1)
    layer(x)[0].square().sum().backward()
    torch.manual_seed(1)
    mask = nn.functional.dropout(torch.ones_like(original), 0.3)
    with torch.no_grad():
        plain.weight_hh_l0.mul_(mask)
    plain(x)[0].square().sum().backward()
    torch.testing.assert_close(original.grad, plain.weight_hh_l0.grad * mask)
    torch.testing.assert_close(layer.weight_ih_l0.grad, plain.weight_ih_l0.grad)
    assert 0 < int((mask == 0).sum()) < mask.numel()


def test_dropped_weights_are_whole_in_evaluation():
    layer = weight_drop(bptt.nn.GRU(3, 5, 2), 0.5).eval()
    plain = bptt.nn.GRU(3, 5, 2)
    names = {f"parametrizations.weight_hh_l{depth}.original": f"weight_hh_l{depth}" for depth in (0, 1)}
    plain.load_state_dict({names.get(name, name): value for name, value in layer.state_dict().items()})
    x = torch.randn(6, 4, 3)
    torch.testing.assert_close(layer(x)[0], plain(x)[0])


def test_a_run_goes_on_with_dropped_weights_as_if_it_had_not_stopped(tmp_path):
    sequence = torch.randn(40, 2, 3), torch.randn(40, 2, 5)

    def run(folder, epochs):
        torch.manual_seed(0)
        model = weight_drop(bptt.nn.LSTM(3, 5), 0.5)
        bptt.Run(model, bptt.SquaredError(), sequence, through=bptt.Truncated(8), folder=folder).fit(epochs=epochs)
        return model.state_dict()

    whole = run(tmp_path / "whole", 4)
    run(tmp_path / "parts", 2)
    for name, value in run(tmp_path / "parts", 4).items():
        torch.testing.assert_close(value, whole[name], rtol=0, atol=0)


@pytest.mark.parametrize("p", [1.0, -0.1, True, "0.5", float("nan")])
def test_a_share_that_is_none_is_refused(p):
    for make in (VariationalDropout, lambda p: weight_drop(bptt.nn.GRU(2, 2), p)):
        with pytest.raises(ValueError, match="at least 0 and below 1"):
            make(p)


@pytest.mark.parametrize("module", [nn.Linear(2, 2), nn.LSTM(2, 2)], ids=["Linear", "LSTM"])
def test_other_modules_are_refused(module):
    with pytest.raises(TypeError, match=rf"of bptt.nn, got torch.*{type(module).__name__}"):
        weight_drop(module)
