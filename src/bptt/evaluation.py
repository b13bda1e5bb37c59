"""The loss of a model over a sequence, without gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from bptt import state as states
from bptt.call import Caller, evaluating
from bptt.data.reader import reader
from bptt.executor import Loss
from bptt.loss import check_loss, counted
from bptt.state import State
from bptt.through.base import whole
from bptt.window import Window


def evaluate(model: nn.Module, loss: Loss, sequence: Any, *, state: State = None, chunk: int = 256) -> Window:
    """The loss over a whole sequence, without gradients and in evaluation mode, ``chunk`` steps at a time.

    The answer does not depend on ``chunk``, which bounds the memory. See `bptt.backprop` for the arguments. Not for endless
    sequences.

    **Raises** ``TypeError`` or ``ValueError`` as `bptt.backprop` does.
    """
    check_loss(loss)
    whole("chunk", chunk)
    call, source = Caller(model), reader(sequence)
    total = torch.zeros((), dtype=torch.float64)
    count = stop = 0
    with evaluating(model), torch.no_grad():
        while (end := source.upto(math.inf if call.whole is not None else stop + chunk)) > stop:
            piece, where = source.read(stop, end), f"steps {stop}..{end}"
            y, state = call(piece, state, where)
            made, targets = counted(loss, y, piece, where)
            total += made.to("cpu", torch.float64)
            count += targets
            source.forget(end)
            stop = end
    return Window(total, count, 0, stop, states.detach(state))
