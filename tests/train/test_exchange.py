"""What processes find out of each other, by the sums of an update alone."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bptt.train.exchange import Exchange

STOP, SQUARE = 3, 4  # where a window's end stands among the numbers that are summed


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
