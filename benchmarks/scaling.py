"""One process on one core against two on two, each with 20 rows: a word model of Penn Treebank's size, 2×200 LSTM, T=20.

    python benchmarks/scaling.py [--rounds 12] [--out docs/scale.json]

In turns of ten updates: one process; two at once that know nothing of each other, which is the most that the machine gives
(and twice the slower of them, the most where each update waits for both); two that train together; and the same model, loss,
clipping and optimizer in a plain loop with torch's own DistributedDataParallel. Then what sums of several sizes take, from
which latency and bandwidth follow, what they take beside the training, and what a process that is alone pays for being able
to be one of several.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

import bptt
from bptt.data import Stream
from bptt.state import State, detach
from bptt.tasks.text.model import TextModel
from bptt.train import Logs, Run, Saving
from bptt.train.exchange import Exchange
from bptt.train.processes import Alone, Together
from bptt.window import Window

WORDS, HIDDEN, ROWS, STEPS, TURN = 10_000, 200, 20, 20, 10
SIZES = (1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 23, 1 << 25)  # bytes


class Timed(Together):
    """Keeps what its sums took: the numbers that decide, which wait for the slower process, and the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []
        self.summed: list[float] = []

    def sum_in_place(self, tensors: Sequence[Tensor]) -> None:
        start = time.perf_counter()
        super().sum_in_place(tensors)
        gradient = sum(each.nbytes for each in tensors) > SIZES[3]
        (self.summed if gradient else self.waited).append(time.perf_counter() - start)


def make(rows: int, turns: int) -> tuple[Run, Callable[[], float]]:
    """A run, and what gives it a turn: the tokens a second of its updates but the first."""
    torch.manual_seed(0)
    model = TextModel(WORDS, embed=HIDDEN, hidden=HIDDEN, layers=2)
    tokens = (WORDS * torch.rand(rows * STEPS * (turns * TURN + 1) + 1) ** 3).long()  # few words are frequent, most are rare
    settings = {"through": bptt.Truncated(STEPS), "optimizer": "sgd", "lr": 1.0, "clip": 5.0}
    logs = Logs(every=1, progress=False, tensorboard=False)
    with model.leaving_readout() as loss:
        run = Run(model, loss, Stream(tokens, rows), **settings, logs=logs, saving=Saving(seconds=None))
    done = 0

    def turn() -> float:
        nonlocal done
        done += TURN
        with model.leaving_readout():
            made = run.fit(updates=done)
        seconds = [rows * STEPS / line["tokens_per_second"] for line in made.history if line["update"] > done - TURN + 1]
        return rows * STEPS * len(seconds) / sum(seconds)

    return run, turn


class Loss(torch.nn.Module):
    """The model with its loss: what DistributedDataParallel is to call."""

    def __init__(self, model: TextModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, target: Tensor, state: State) -> tuple[Tensor, State]:
        with self.model.leaving_readout() as loss:
            y, state = self.model(x, state)
            return loss(y, target) / x.numel(), state


def peer() -> Callable[[], float]:
    """The same with DistributedDataParallel; its turns."""
    torch.manual_seed(0)
    model = DistributedDataParallel(Loss(TextModel(WORDS, embed=HIDDEN, hidden=HIDDEN, layers=2)), gradient_as_bucket_view=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    tokens = (WORDS * torch.rand(STEPS + 1, ROWS) ** 3).long()
    state: State = None

    def turn() -> float:
        nonlocal state
        start = time.perf_counter()
        for update in range(TURN):
            if update == 1:
                start = time.perf_counter()
            loss, state = model(tokens[:-1], tokens[1:], state)
            state = detach(state)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad()
        return 2 * ROWS * STEPS * (TURN - 1) / (time.perf_counter() - start)

    return turn


def work(rank: int, rounds: int, out: Path | None, port: int) -> None:
    os.sched_setaffinity(0, {rank})
    torch.set_num_threads(1)
    alone, apart = make(ROWS, rounds + 1)[1], make(ROWS, rounds + 1)[1]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    run, together = make(2 * ROWS, rounds + 1)
    run.processes = timed = Timed()
    by_torch = peer()
    names = ("one", "two apart", "slower twice", "two together", "torch's DDP")
    told: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds + 1):
        if rank == 0:
            told["one"].append(alone())
        dist.barrier()
        both = [torch.zeros(()), torch.zeros(())]
        dist.all_gather(both, torch.tensor(apart()))
        told["two apart"].append(float(sum(both)))
        told["slower twice"].append(2 * float(min(both)))
        told["two together"].append(together())
        told["torch's DDP"].append(by_torch())
    del by_torch  # what it holds of the group has to go first
    gc.collect()
    summing(SIZES[-1])
    sums = {size: summing(size) for size in SIZES}
    if rank == 0:
        bytes_of = sum(p.nbytes for name, p in run.model.named_parameters() if "embedding" not in name)
        within = {"waiting": statistics.median(timed.waited), "summing": statistics.median(timed.summed)}
        report({name: each[1:] for name, each in told.items()}, sums, bytes_of, within, paid(run), out)
    dist.barrier()
    dist.destroy_process_group()


def summing(size: int, repeats: int = 15) -> float:
    """Seconds of a sum of so many bytes over both processes; the median."""
    numbers, taken = torch.zeros(size // 4), []
    for _ in range(repeats):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(numbers)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def paid(run: Run, repeats: int = 1000) -> float:
    """Seconds an update that a process alone spends on asking whether there are others."""
    exchange = Exchange(Alone(), run.model, list(run.model.parameters()), "mean")
    window = Window(torch.zeros(()), 1, 0, 1, None)
    start = time.perf_counter()
    for _ in range(repeats):
        exchange(window, 0, None, 0.0)
    return (time.perf_counter() - start) / repeats


def report(
    told: dict[str, list[float]],
    sums: dict[int, float],
    bytes_of: int,
    within: dict[str, float],
    alone: float,
    out: Path | None,
) -> None:
    speed = {name: statistics.median(each) for name, each in told.items()}
    times = {name: sorted(a / b for a, b in zip(each, told["one"], strict=True)) for name, each in told.items()}
    middle = {name: [each[len(each) // 4], statistics.median(each), each[-1 - len(each) // 4]] for name, each in times.items()}
    for name, (low, median, high) in middle.items():
        print(f"{name:<14} {speed[name]:>8,.0f} tokens/s  {median:.2f} times one, middle half {low:.2f}..{high:.2f}")
    of_apart = statistics.median(a / b for a, b in zip(told["two together"], told["two apart"], strict=True))
    print(f"{'':<14} {of_apart:.3f} of what two apart reach")
    print("".join(f"\na sum of {size:>11,} bytes  {1e3 * taken:8.3f} ms" for size, taken in sums.items()))
    small, large = min(sums), max(sums)
    bandwidth = (large - small) / (sums[large] - sums[small])
    latency = sums[small] - small / bandwidth
    compute = 2 * ROWS * STEPS / speed["two apart"]
    predicted = compute / (compute + 2 * latency + bytes_of / bandwidth)
    in_place = compute / (compute + sum(within.values()))
    print(
        f"\nlatency {1e6 * latency:.0f} µs, {bandwidth / 1e9:.2f} GB/s; {bytes_of:,} bytes of gradient beside the embedding's"
    )
    print(f"two together, predicted from these: {predicted:.3f} of what two apart reach")
    print(
        f"in training: {1e3 * within['waiting']:.1f} ms until both are there, {1e3 * within['summing']:.1f} for the gradient;"
    )
    print(f"two together, predicted from these: {in_place:.3f} of what two apart reach")
    print(
        f"a process alone asks for others in {1e6 * alone:.1f} µs an update, {alone / (ROWS * STEPS / speed['one']):.4%} of it"
    )
    if out is not None:
        kept = {"speed": speed, "times": middle, "of_apart": of_apart, "predicted": predicted, "rows": ROWS, "steps": STEPS}
        kept |= {"sums": sums, "summed": bytes_of, "latency": latency, "bandwidth": bandwidth, "alone": alone}
        kept |= {"within": within, "in_place": in_place}
        out.write_text(json.dumps(kept, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--port", type=int, default=29431)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    mp.spawn(work, (given.rounds, given.out, given.port), nprocs=2)


if __name__ == "__main__":
    main()
