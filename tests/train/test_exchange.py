"""What processes find out of each other, by the sums of an update alone."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bptt.train.exchange import Exchange

STOP, SQUARE, THERE = 3, 4, 8  # where a window's end, and who has a gradient, stand among the numbers that are summed


class Others:
    """This process of several whose windows end at ``stops``."""

    leads = False

    def __init__(self, stops):
        self.rank, self.size, self._stops = len(stops), len(stops) + 1, stops

    def sum_in_place(self, tensors):
        own = tensors[0].clone()
        for stop in self._stops:
            other = own.clone()
            if len(own) > SQUARE + 1:  # the numbers, not the gradient
                other[STOP], other[SQUARE] = stop, stop**2
            tensors[0] += other


@pytest.mark.parametrize(("stops", "alike"), [([4], True), ([4, 4], True), ([5], False), ([3, 5], False), ([4, 3], False)])
def test_windows_that_end_at_different_steps_are_seen_by_each_process(stops, alike):
    model = nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    exchange = Exchange(Others(stops), model, list(model.parameters()), "sum")
    window = SimpleNamespace(loss=torch.tensor(1.0), count=1, stop=4)
    if alike:
        assert exchange(window, 1, None, 0.0).count == len(stops) + 1
    else:
        with pytest.raises(ValueError, match="ends at step 4, that of another elsewhere"):
            exchange(window, 1, None, 0.0)


class Another:
    """The first of two processes; the other one has met all rows and has a gradient of 1 everywhere, as it is summed."""

    leads, rank, size = True, 0, 2

    def __init__(self):
        self.largest = 0

    def sum_in_place(self, tensors):
        if tensors[0].dtype == torch.float64:
            numbers, *met = tensors
            numbers[:THERE] *= 2
            numbers[THERE:] += 1
            tensors = met
        for each in tensors:
            each += 1
            self.largest = max(self.largest, each.nbytes)


class Sizes(nn.Module):
    """Parameters below and above the size from which gradients are summed where they lie, and a large embedding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(4096, 64)
        self.little, self.large, self.other = nn.Linear(64, 8), nn.Linear(512, 512), nn.Linear(512, 512)


@pytest.mark.parametrize("kind", ["as it comes", "transposed", "none here"])
def test_gradients_of_all_sizes_are_summed(kind):
    torch.manual_seed(0)
    model = Sizes()
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    if kind == "transposed":
        model.large.weight.grad = torch.randn(512, 512).T
    elif kind == "none here":
        model.large.weight.grad = model.little.weight.grad = None
    expected = [1 + (0 if p.grad is None else p.grad / 6) for p in model.parameters()]
    processes = Another()
    Exchange(processes, model, list(model.parameters()), "mean")(
        SimpleNamespace(loss=torch.tensor(1.0), count=3, stop=4), 1, None, 0.0
    )
    for p, sums in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, sums.expand_as(p) if isinstance(sums, torch.Tensor) else torch.ones_like(p))
    assert processes.largest == 2**20
