"""A word model trained in plain torch and in bptt: 2×200 LSTM, 10,000 words, 20 rows, plain SGD, clipped by norm.

    python benchmarks/words.py [--steps 20] [--threads 2] [--kept-memory]

Both do the same mathematics from the same weights; the losses of the first updates are compared before anything is timed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from training import compare

import bptt
from bptt.memory import large_apart

WORDS, EMBED, HIDDEN, ROWS = 10_000, 200, 200, 20


class Words(nn.Module):
    def __init__(self, lstm: type[nn.Module], sparse: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, EMBED, sparse=sparse)
        self.lstm = lstm(EMBED, HIDDEN, 2)
        self.readout = nn.Linear(HIDDEN, WORDS)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return self.lstm(self.embedding(x), state)


def trainer(model: Words, ours: bool, text: Tensor, steps: int) -> Callable[[], float]:
    """One update a call: the next ``steps`` steps of the text, the state carried over."""
    readout, at, state = bptt.nn.ReadoutCrossEntropy(model.readout), 0, None
    if ours:
        dense = [p for name, p in model.named_parameters() if name != "embedding.weight"]
        optimizers = [torch.optim.SGD(dense, 1.0, fused=True), torch.optim.SGD([model.embedding.weight], 1.0)]
    else:
        optimizers = [torch.optim.SGD(model.parameters(), 1.0)]

    def step() -> float:
        nonlocal at, state
        x, target = text[at : at + steps], text[at + 1 : at + steps + 1]
        at = (at + steps) % (len(text) - steps - 1)
        state = None if state is None else tuple(part.detach() for part in state)
        model.zero_grad()
        y, state = model(x, state)
        if ours:
            loss = readout(y, target) / target.numel()
            loss.backward()
            bptt.clip_norm(model, 5.0)
        else:
            loss = cross_entropy(model.readout(y).flatten(0, 1), target.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        for optimizer in optimizers:
            optimizer.step()
        return float(loss.detach())

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument(
        "--kept-memory", action="store_true", help="malloc keeps what an update frees, as bptt.Run has it do; for both"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    if chosen.kept_memory:
        large_apart(False)
    text = (WORDS * torch.rand(2001, ROWS) ** 3).long()  # few words are frequent, most are rare
    plain, ours = Words(nn.LSTM, sparse=False), Words(bptt.nn.LSTM, sparse=True)
    ours.load_state_dict(plain.state_dict())
    steps = {"torch": trainer(plain, False, text, chosen.steps), "bptt": trainer(ours, True, text, chosen.steps)}
    for _ in range(5):
        losses = [step() for step in steps.values()]
        if abs(losses[0] - losses[1]) > 1e-3:
            raise SystemExit(f"the two differ: losses {losses[0]:.5f} and {losses[1]:.5f}")
    compare(f"words, T={chosen.steps}, B={ROWS}", steps, chosen.steps * ROWS, "tokens", chosen.rounds)


if __name__ == "__main__":
    main()
