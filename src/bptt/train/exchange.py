"""What the processes of a run tell each other at every update: one sum of the gradient, and of the numbers that decide."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bptt.executor import Reduction
from bptt.train.processes import Processes
from bptt.window import Window

_BUCKET = 1 << 25  # bytes; smaller ones wait for each other, larger ones are not under way while others are filled


@dataclass(frozen=True)
class Told:
    """Of all processes together: the loss and the targets of a window, the signal that one of them was sent, and the time.

    ``seconds``: the first process's; ``None`` where there is one alone, whose own clock serves.
    """

    loss: float
    count: int
    signal: int | None = None
    seconds: float | None = None


class Exchange:
    """Sums the gradients of the parameters over the processes, once an update, and divides by what all of them counted.

        p.grad = Σ_r p.grad_r / n,   n = 1, targets of the window, or rows (``reduction`` ``"sum"``, ``"mean"``, ``"rows"``)

    What each process brings must be the gradient of its *sum*. A parameter that has no gradient in any of them has none
    afterwards. The gradients of a dtype lie one behind the other in buckets of 32 MiB.

    **Raises** ``ValueError`` for sparse gradients, and where the windows of the processes end at different steps.
    """

    def __init__(self, processes: Processes, parameters: Sequence[Tensor], reduction: Reduction) -> None:
        self._processes, self._parameters, self._reduction = processes, list(dict.fromkeys(parameters)), reduction
        self._buckets = [(part, _room(part)) for part in _in_buckets(self._parameters)]

    def __call__(self, window: Window, rows: int, taken: int | None, seconds: float) -> Told:
        """``rows`` of this process took part in the window; it was sent the signal ``taken``."""
        if self._processes.size == 1:
            return Told(float(window.loss), window.count, taken)
        there = [p.grad is not None for p in self._parameters]
        first = self._processes.leads
        numbers = [
            float(window.loss), window.count, rows, window.stop,
            taken == signal.SIGINT, taken == signal.SIGTERM, seconds if first else 0.0, *there,
        ]  # fmt: skip
        device = self._parameters[0].device
        sums = torch.tensor(numbers, dtype=torch.float64, device=device)
        for part, room in self._buckets:
            torch.cat([_flat(p) for p in part], out=room)
        self._processes.sum_in_place([sums, *(torch.view_as_real(r) if r.is_complex() else r for _, r in self._buckets)])
        loss, count, rows_of_all, stops, interrupt, terminate, now, *anywhere = sums.tolist()
        if stops != window.stop * self._processes.size:
            raise ValueError(
                f"the window of process {self._processes.rank} ends at step {window.stop}, that of another elsewhere: give all "
                "of them sequences of one length, and a strategy that cuts alike in all"
            )
        share = max({"sum": 1.0, "mean": count, "rows": rows_of_all}[self._reduction], 1.0)
        for part, room in self._buckets:
            if share != 1:
                room.mul_(1 / share)
            for p, grad in zip(part, torch.split(room, [p.numel() for p in part]), strict=True):
                p.grad = grad.view_as(p)
        for p, count_of in zip(self._parameters, anywhere, strict=True):
            if not count_of:
                p.grad = None
        came = signal.SIGINT if interrupt else signal.SIGTERM if terminate else None
        return Told(loss, round(count), came, now)


def _in_buckets(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for p in parameters:
        kinds.setdefault((p.dtype, p.device), []).append(p)
    for alike in kinds.values():
        part: list[Tensor] = []
        size = 0
        for p in alike:
            if part and size + p.nbytes > _BUCKET:
                yield part
                part, size = [], 0
            part.append(p)
            size += p.nbytes
        yield part


def _room(part: list[Tensor]) -> Tensor:
    return torch.empty(sum(p.numel() for p in part), dtype=part[0].dtype, device=part[0].device)


def _flat(p: Tensor) -> Tensor:
    if p.grad is None:
        return torch.zeros(p.numel(), dtype=p.dtype, device=p.device)
    if p.grad.is_sparse:
        raise ValueError("sparse gradients are not summed over processes: make the embedding without sparse=True")
    return p.grad.detach().reshape(-1)
