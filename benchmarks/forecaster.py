"""A forecaster trained in plain torch and in bptt: GRU of 64 units over 168 hours, 32 rows, Adam, clipped by norm.

    python benchmarks/forecaster.py [--threads 2]

Both do the same mathematics from the same weights; the losses of the first updates are compared before anything is timed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn
from training import compare

import bptt

STEPS, ROWS, INPUTS, HIDDEN, AHEAD = 168, 32, 8, 64, 24


class Forecaster(nn.Module):
    def __init__(self, gru: type[nn.Module]) -> None:
        super().__init__()
        self.gru = gru(INPUTS, HIDDEN)
        self.readout = nn.Linear(HIDDEN, AHEAD)

    def forward(self, x: Tensor) -> Tensor:
        _, state = self.gru(x)
        return self.readout(state[-1])


def trainer(model: Forecaster, ours: bool, x: Tensor, target: Tensor) -> Callable[[], float]:
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True if ours else None)

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), target)
        loss.backward()
        if ours:
            bptt.clip_norm(model, 1.0)
        else:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach())

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=11)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    x, target = torch.randn(STEPS, ROWS, INPUTS), torch.randn(ROWS, AHEAD)
    plain, ours = Forecaster(nn.GRU), Forecaster(bptt.nn.GRU)
    ours.load_state_dict(plain.state_dict())
    steps = {"torch": trainer(plain, False, x, target), "bptt": trainer(ours, True, x, target)}
    for _ in range(5):
        losses = [step() for step in steps.values()]
        if abs(losses[0] - losses[1]) > 1e-4:
            raise SystemExit(f"the two differ: losses {losses[0]:.6f} and {losses[1]:.6f}")
    compare(f"forecaster, T={STEPS}, B={ROWS}, H={HIDDEN}", steps, ROWS * STEPS, "steps", chosen.rounds)


if __name__ == "__main__":
    main()
