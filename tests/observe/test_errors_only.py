"""A backward pass that is asked for errors alone leaves the weights out, and changes nothing else."""

import pytest
import torch

import bptt
from bptt.kernels.errors_only import errors_only
from bptt.kernels.native.calls import MISSING

pytestmark = pytest.mark.skipif(MISSING is not None, reason="bptt_native is not installed")


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_kernels_leave_the_weights_out(cell):
    torch.manual_seed(0)
    layer = getattr(bptt.nn, cell)(3, 5, backend="native")
    x = torch.randn(2, 4, 3, requires_grad=True)
    h0 = torch.randn(1, 4, 5, requires_grad=True)
    y, _ = layer(x, (h0, torch.zeros_like(h0)) if cell == "LSTM" else h0)
    wanted = [x, h0, *layer.parameters()]
    everything = torch.autograd.grad(y.sum(), wanted, retain_graph=True)
    with errors_only():
        found = torch.autograd.grad(y.sum(), wanted, retain_graph=True, allow_unused=True)
    torch.testing.assert_close(found[:2], everything[:2])
    assert all(grad is None for grad in found[2:])
    torch.testing.assert_close(torch.autograd.grad(y.sum(), wanted), everything)
