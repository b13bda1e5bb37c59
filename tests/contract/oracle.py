"""The dense oracle: every time step has its own clone of all parameters, so autograd gives each contribution C[t, k] alone."""

import copy
import itertools
import math
import random
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bptt import Piece, Randomized
from bptt.state import leaves, map_leaves


def contributions(model: nn.Module, loss, piece: Piece, dims: Callable[[Tensor], int]) -> Tensor:
    """``C [T, T, P]``: the derivative of the loss at step t by the parameters that step k used.

    Masks and resets are applied here row by row, whatever the module can do; ``dims`` says where a state tensor's rows are.
    """
    steps = len(piece.target)
    clones = [copy.deepcopy(model) for _ in range(steps)]
    state, losses = None, []
    for t, clone in enumerate(clones):
        x = map_leaves(lambda s, t=t: s[t : t + 1], piece.x)
        rows = leaves(x)[0].shape[1]
        if state is not None and piece.reset is not None:
            state = _by_row(piece.reset[t], state, None, rows, dims)
        y, after = clone(x, state)
        if piece.mask is not None:
            after = _by_row(~piece.mask[t], after, state, rows, dims)
            losses.append(loss(y[0][piece.mask[t]], piece.target[t][piece.mask[t]]))
        else:
            losses.append(loss(y[0], piece.target[t]))
        state = after
    parameters = [list(clone.parameters()) for clone in clones]
    every = [p for group in parameters for p in group]
    table = []
    for e_t in losses:
        grads = (
            torch.autograd.grad(e_t, every, retain_graph=True, allow_unused=True) if e_t.requires_grad else [None] * len(every)
        )
        flat = [torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(every, grads, strict=True)]
        table.append(torch.cat(flat).reshape(steps, -1))
    return torch.stack(table)


def _by_row(chosen: Tensor, state, otherwise, rows: int, dims):
    """Rows where ``chosen`` is true take their state from ``otherwise`` (zero where that is None)."""
    others = iter(leaves(otherwise)) if otherwise is not None else None

    def pick(leaf: Tensor) -> Tensor:
        other = torch.zeros_like(leaf) if others is None else next(others)
        if leaf.ndim == 0:
            return leaf
        dim = dims(leaf)
        parts = [(other if bool(chosen[row]) else leaf).select(dim, row).unsqueeze(dim) for row in range(rows)]
        return torch.cat(parts, dim)

    return map_leaves(pick, state)


def full(table: Tensor) -> list[Tensor]:
    """The gradient of the one window of `Full`."""
    return [table.sum((0, 1))]


def truncated(table: Tensor, k1: int, k2: int, aligned: bool = False) -> list[Tensor]:
    """The gradient of every window of `Truncated`, by its definition: g_e = Σ_{t=p+1..e} Σ_{k=max(1, e-k2+1)..t} C[t,k].

    ``aligned``: a last, shorter window reaches back as far as if it were whole.
    """
    windows = -(-len(table) // k1)
    ends = [p + k1 if aligned else min(p + k1, len(table)) for p in range(0, len(table), k1)]
    return [_window(table, p, min(p + k1, len(table)), e - k2) for p, e in zip(range(0, windows * k1, k1), ends, strict=True)]


def reaching(table: Tensor, k1: int, k2: list[int]) -> list[Tensor]:
    """The same, aligned, with a k2 for every window."""
    return [_window(table, p, min(p + k1, len(table)), p + k1 - k2[i]) for i, p in enumerate(range(0, len(table), k1))]


def randomized(table: Tensor, strategy: Randomized) -> list[Tensor]:
    """The gradient of every window of `Randomized`, cuts drawn by its seed: C[t,k] over Π (1-c) at what lies between."""
    drawn, steps, begins = random.Random(strategy.seed), len(table), [0]
    gains: dict[int, float] = {}
    for boundary in range(strategy.block, steps):
        if (boundary - begins[-1]) % strategy.block == 0:
            chance = strategy.chance((boundary - begins[-1]) // strategy.block)
            if drawn.random() < chance:
                begins.append(boundary)
            else:
                gains[boundary] = 1 / (1 - chance)
    found = []
    for start, stop in itertools.pairwise([*begins, steps]):
        g = torch.zeros_like(table[0, 0])
        for t in range(start, stop):
            for k in range(start, t + 1):
                g = g + math.prod(gains.get(b, 1.0) for b in range(k + 1, t + 1)) * table[t, k]
        found.append(g)
    return found


def _window(table: Tensor, p: int, e: int, reach: int) -> Tensor:
    """Σ over losses p < t ≤ e and steps reach < k ≤ t."""
    g = torch.zeros_like(table[0, 0])
    for t in range(p + 1, e + 1):
        for k in range(max(0, reach) + 1, t + 1):
            g = g + table[t - 1, k - 1]
    return g


def online(table: Tensor, k: int) -> list[Tensor]:
    """The gradient of every window of k losses, each with respect to the parameters of every step before it."""
    return [rows.sum((0, 1)) for rows in table.split(k)]


def gradient(model: nn.Module) -> Tensor:
    """What stands in ``p.grad``, as one vector; zero where there is none."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])
