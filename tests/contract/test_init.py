import pytest
import torch
from torch import nn

import bptt
from bptt.nn import init


@pytest.mark.parametrize("library", [bptt.nn, nn])
def test_identity_carries_the_state_unchanged(library):
    layer = library.RNN(2, 5, num_layers=2, nonlinearity="relu")
    init.identity_(layer)
    start = torch.rand(2, 3, 5)
    _, final = layer(torch.zeros(40, 3, 2), start)
    assert torch.equal(layer.weight_hh_l1, torch.eye(5))
    assert torch.equal(final[0], start[0])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_orthogonal_keeps_lengths_in_every_gate(kind):
    layer = getattr(bptt.nn, kind)(2, 6)
    init.orthogonal_(layer, gain=2.0)
    for block in layer.weight_hh_l0.split(6):
        assert torch.allclose(block @ block.T, 4 * torch.eye(6), atol=1e-5)


@pytest.mark.parametrize(("kind", "gates"), [("GRU", 3), ("LSTM", 4)])
def test_forget_bias_is_the_sum_of_both_vectors(kind, gates):
    layer = getattr(bptt.nn, kind)(2, 6, bidirectional=True)
    init.forget_bias_(layer, 1.5)
    for suffix in ("l0", "l0_reverse"):
        total = getattr(layer, f"bias_ih_{suffix}") + getattr(layer, f"bias_hh_{suffix}")
        assert torch.equal(total[6:12], torch.full((6,), 1.5))
        assert not torch.equal(total[:6], torch.full((6,), 1.5))
        assert len(total) == 6 * gates


def test_refusals():
    with pytest.raises(ValueError, match="plain RNNs"):
        init.identity_(bptt.nn.LSTM(2, 3))
    with pytest.raises(ValueError, match="no gates"):
        init.forget_bias_(bptt.nn.RNN(2, 3))
    with pytest.raises(ValueError, match="bias=False"):
        init.chrono_(bptt.nn.LSTM(2, 3, bias=False), 10)
    with pytest.raises(ValueError, match="longest"):
        init.chrono_(bptt.nn.LSTM(2, 3), 2)
    with pytest.raises(ValueError, match="expected an RNN, GRU or LSTM"):
        init.orthogonal_(nn.Linear(2, 3))
