"""Stateful modules of many kinds: every strategy must serve each of them."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

import bptt

INPUT, HIDDEN, ROWS = 3, 4, 2


class Whole(nn.Module):
    """A task model: embedding, a layer, a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, INPUT)
        self.layer = bptt.nn.GRU(INPUT, HIDDEN)
        self.readout = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x: Tensor, state: Tensor | None, mask: Tensor | None = None, reset: Tensor | None = None):
        y, state = self.layer(self.embed(x), state, mask=mask, reset=reset)
        return self.readout(y), state


class Leaky(NamedTuple):
    membrane: Tensor
    trace: Tensor


class Spiking(nn.Module):
    """A user's own module: a leaky unit with a named tuple of states, its own loop, and no idea of masks or resets."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Linear(INPUT + HIDDEN, HIDDEN)
        self.decay = nn.Parameter(torch.full((HIDDEN,), 0.8))

    def forward(self, x: Tensor, state: Leaky | None):
        if state is None:
            zero = x.new_zeros(x.shape[1], HIDDEN)
            state = Leaky(zero, zero)
        outputs = []
        for step in x:
            drive = self.inside(torch.cat([step, state.trace], -1))
            membrane = self.decay * state.membrane + torch.tanh(drive)
            state = Leaky(membrane, 0.5 * state.trace + torch.sigmoid(membrane))
            outputs.append(state.trace)
        return torch.stack(outputs), state


class Nested(nn.Module):
    """Two clocks in a dict that holds a list, a counter, and a tensor that no error can travel through."""

    def __init__(self) -> None:
        super().__init__()
        self.fast = nn.Linear(INPUT + HIDDEN, HIDDEN)
        self.slow = nn.Linear(HIDDEN, HIDDEN, bias=False)

    def forward(self, x: Tensor, state: dict | None):
        if state is None:
            zero = x.new_zeros(x.shape[1], HIDDEN)
            state = {"h": [zero, zero], "steps": torch.zeros((), dtype=torch.long), "name": "nested"}
        outputs = []
        for step in x:
            fast, slow = state["h"]
            fast = torch.tanh(self.fast(torch.cat([step, fast + slow], -1)))
            slow = 0.9 * slow + 0.1 * self.slow(fast)
            state = {"h": [fast, slow], "steps": state["steps"] + 1, "name": "nested"}
            outputs.append(fast + slow)
        return torch.stack(outputs), state


class Turning(nn.Module):
    """Complex weights, a complex state, and a real readout; in double precision."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.turn = nn.Parameter(0.9 * torch.exp(1j * torch.rand(size, dtype=torch.float64)))
        self.inside = nn.Parameter(torch.randn(INPUT, size, dtype=torch.complex128))
        self.readout = nn.Linear(2 * size, HIDDEN).double()

    def forward(self, x: Tensor, state: Tensor | None):
        if state is None:
            state = self.inside.new_zeros(x.shape[1], len(self.turn))
        outputs = []
        for step in x:
            state = self.turn * state + step.to(state) @ self.inside
            state = state / (1 + state.abs())
            outputs.append(self.readout(torch.cat([state.real, state.imag], -1)))
        return torch.stack(outputs), state


def dims(leaf: Tensor) -> int:
    """Where the rows of the batch are in the states of the modules here."""
    return 1 if leaf.ndim == 3 else 0


MODELS = {
    "torch.nn.LSTM": lambda: nn.LSTM(INPUT, HIDDEN, num_layers=2),
    "torch.nn.GRU": lambda: nn.GRU(INPUT, HIDDEN),
    "torch.nn.RNN": lambda: nn.RNN(INPUT, HIDDEN),
    "task model": Whole,
    "named tuple": Spiking,
    "dict": Nested,
    "projection": lambda: bptt.nn.LSTM(INPUT, HIDDEN + 1, proj_size=HIDDEN),
    "any activation": lambda: bptt.nn.RNN(INPUT, HIDDEN, nonlinearity=torch.sin),
    "MinGRU": lambda: bptt.nn.MinGRU(INPUT, HIDDEN),
    "MinLSTM": lambda: bptt.nn.MinLSTM(INPUT, HIDDEN, num_layers=2, how="scan"),
    "LRU": lambda: bptt.nn.LRU(INPUT, HIDDEN),
}


BACKENDS = [
    name
    for name, kernel in bptt.kernels.table.items()
    if kernel.why_not(bptt.kernels.Layer("lstm", 1, 1), torch.zeros(1, 1, 1), bptt.kernels.Rows()) is None
]
"""The kernels that are installed here."""


def layers_by_backend() -> dict:
    """Every layer of ours on every backend of the table that serves it."""
    found = {}
    for kind in (bptt.nn.RNN, bptt.nn.GRU, bptt.nn.LSTM):
        for backend in BACKENDS:
            found[f"{kind.__name__} on {backend}"] = lambda kind=kind, backend=backend: kind(
                INPUT, HIDDEN, num_layers=2, backend=backend
            )
    return found


ALL = {**MODELS, **layers_by_backend()}


def sequence(name: str, steps: int, ragged: bool) -> bptt.Piece:
    """A sequence for that model, whose rows begin, end, pause and start afresh where ``ragged``."""
    x = torch.randn(steps, ROWS, INPUT, dtype=torch.float64)
    if name == "task model":
        x = torch.randint(0, 5, (steps, ROWS))
    target = torch.randn(steps, ROWS, HIDDEN, dtype=torch.float64)
    if not ragged:
        return bptt.Piece(x, target)
    mask = torch.ones(steps, ROWS, dtype=torch.bool)
    mask[4:, 0] = False
    mask[2, 1] = False
    mask[0, 1] = False
    reset = torch.zeros(steps, ROWS, dtype=torch.bool)
    reset[3, 0] = True
    reset[2, 1] = True
    reset[5, :] = True
    return bptt.Piece(x, target, mask, reset)
