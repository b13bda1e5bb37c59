"""What the processes of a run tell each other at every update: one sum of the gradient, and of the numbers that decide."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bptt.executor import Reduction
from bptt.train.processes import Processes
from bptt.window import Window

_BUCKET = 1 << 25  # bytes
_TABLE = 1 << 20  # bytes; to look which rows were met takes longer than to sum a smaller one
_LARGE = 1 << 20  # bytes; from here on a sum of its own costs less than a copy into a bucket and back


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

    What each process brings must be the gradient of its *sum*; one without rows brings nothing. A parameter that has no
    gradient in any of them has none afterwards. Large gradients are summed where they lie, the others of a dtype one behind
    the other in buckets of 32 MiB; of large embeddings, only the rows that were met are summed.

    **Raises** ``ValueError`` for sparse gradients, and where the windows of the processes end at different steps.
    """

    def __init__(self, processes: Processes, model: nn.Module, parameters: Sequence[Tensor], reduction: Reduction) -> None:
        self._processes, self._parameters, self._reduction = processes, list(dict.fromkeys(parameters)), reduction
        if processes.size > 1:
            by_rows = _by_rows(model)
            self._tables = [p for p in self._parameters if id(p) in by_rows]
            whole = [p for p in self._parameters if id(p) not in by_rows]
            self._large = [p for p in whole if p.nbytes >= _LARGE]
            self._buckets = [(part, _room(part)) for part in _in_buckets([p for p in whole if p.nbytes < _LARGE])]

    def __call__(self, window: Window, rows: int, taken: int | None, seconds: float) -> Told:
        """``rows`` of this process took part in the window; it was sent the signal ``taken``."""
        if self._processes.size == 1:
            return Told(float(window.loss), window.count, taken)
        if not rows:
            for p in self._parameters:
                p.grad = None
        numbers = [
            float(window.loss) if rows else 0.0, window.count if rows else 0, rows, window.stop, window.stop**2,
            taken == signal.SIGINT, taken == signal.SIGTERM, seconds if self._processes.leads else 0.0,
            *(_checked(p).grad is not None for p in self._parameters),
        ]  # fmt: skip
        sums = torch.tensor(numbers, dtype=torch.float64, device=self._parameters[0].device)
        met = [_met(p) for p in self._tables]
        self._processes.sum_in_place([sums, *met])
        loss, count, rows_of_all, stops, squares, interrupt, terminate, now, *anywhere = sums.tolist()
        each, size = window.stop, self._processes.size
        if (stops, squares) != (each * size, each**2 * size):  # in all of them, also where one is at the mean of the others
            raise ValueError(
                f"the window of process {self._processes.rank} ends at step {window.stop}, that of another elsewhere: give all "
                "of them sequences of one length, and a strategy that cuts alike in all"
            )
        share = 1 / max({"sum": 1.0, "mean": count, "rows": rows_of_all}[self._reduction], 1.0)
        self._sum(share, [each.nonzero().flatten() for each in met])
        for p, there in zip(self._parameters, anywhere, strict=True):
            if not there:
                p.grad = None
        came = signal.SIGINT if interrupt else signal.SIGTERM if terminate else None
        return Told(loss, round(count), came, now)

    def _sum(self, share: float, met: list[Tensor]) -> None:
        some, large = [], []
        for p, rows in zip(self._tables, met, strict=True):
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            some.append(p.grad.detach()[rows].mul_(share))
        for p in self._large:
            p.grad = own = torch.zeros_like(p) if p.grad is None else p.grad.detach().contiguous().mul_(share)
            large.append(own)
        for part, room in self._buckets:
            for p, own in zip(part, torch.split(room, [p.numel() for p in part]), strict=True):
                if p.grad is None:
                    own.zero_()
                else:
                    torch.mul(p.grad.detach().reshape(-1), share, out=own)
        rooms = [*some, *large, *(room for _, room in self._buckets)]
        self._processes.sum_in_place([torch.view_as_real(each) if each.is_complex() else each for each in rooms])
        for p, rows, reduced in zip(self._tables, met, some, strict=True):
            assert p.grad is not None
            p.grad.index_copy_(0, rows, reduced)  # where no process met a row, its gradient is 0 already
        for part, room in self._buckets:
            for p, own in zip(part, torch.split(room, [p.numel() for p in part]), strict=True):
                p.grad = own.view_as(p)


def _by_rows(model: nn.Module) -> set[int]:
    """The weights of large embeddings that nothing else uses."""
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    found = (part.weight for part in model.modules() if isinstance(part, nn.Embedding))
    return {id(p) for p in found if uses[id(p)] == 1 and p.nbytes >= _TABLE}


def _met(p: Tensor) -> Tensor:
    """Which rows have a gradient that is not 0, as numbers; of all ways to look, torch is fastest at the largest byte."""
    if p.grad is None:
        return torch.zeros(len(p), dtype=torch.int32, device=p.device)
    return p.grad.detach().contiguous().view(torch.uint8).amax(1).ne(0).to(torch.int32)


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


def _checked(p: Tensor) -> Tensor:
    if p.grad is not None and p.grad.is_sparse:
        raise ValueError("sparse gradients are not summed over processes: make the embedding without sparse=True")
    return p
