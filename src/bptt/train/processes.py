"""The processes that train one run together, as torch.distributed knows them; a process without others is one too."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from bptt.train.differences import differences_of

V = TypeVar("V")


class Lost(RuntimeError):
    """Another process of this run has ended, or no longer answers."""


class Elsewhere(RuntimeError):
    """The first process failed at what it did for all; it has told why itself."""


class Processes(Protocol):
    """Those that train together: ``rank`` of ``size``, the one with rank 0 ``leads``.

    All of them call the same methods in the same order. **Raises** `Lost` where one of them does not.
    """

    rank: int
    size: int

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes, prints, and does once what is done once."""
        ...

    def first(self, call: Callable[[], V]) -> V:
        """What ``call()`` gives in the first process, in all of them; the others do not call it.

        **Raises** what it raises there, and `Elsewhere` in the others.
        """
        ...

    def every(self, value: V) -> list[V]:
        """The values of all processes, by rank."""
        ...

    def gather(self, value: V) -> list[V]:
        """The same in the first process; nothing in the others."""
        ...

    def summed(self, numbers: Sequence[float]) -> list[float]:
        """Each number's sum over the processes."""
        ...

    def take_over(self, tensors: Sequence[Tensor]) -> None:
        """Gives the tensors the values that those of the first process have."""
        ...

    def sum_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Gives each tensor its sum over the processes; one call at a time is under way for all of them."""
        ...


class Alone:
    """One process without others."""

    rank, size, leads = 0, 1, True

    def first(self, call: Callable[[], V]) -> V:
        return call()

    def every(self, value: V) -> list[V]:
        return [value]

    def gather(self, value: V) -> list[V]:
        return [value]

    def summed(self, numbers: Sequence[float]) -> list[float]:
        return list(numbers)

    def take_over(self, tensors: Sequence[Tensor]) -> None:
        pass

    def sum_in_place(self, tensors: Sequence[Tensor]) -> None:
        pass


class Together:
    """The processes of torch.distributed's default group."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def first(self, call: Callable[[], V]) -> V:
        told: list[Any] = [None, None]
        failure: BaseException | None = None
        if self.leads:
            try:
                told[1] = call()
            except BaseException as error:
                failure, told[0] = error, f"{type(error).__name__}: {error}"
        with _talking():
            dist.broadcast_object_list(told, 0, device=self._device)
        if failure is not None:
            raise failure
        if told[0] is not None:
            raise Elsewhere(f"process 0 could not do its part ({told[0]})")
        return told[1]  # type: ignore[no-any-return]

    def every(self, value: V) -> list[V]:
        found: list[Any] = [None] * self.size
        with _talking():
            dist.all_gather_object(found, value)
        return found

    def gather(self, value: V) -> list[V]:
        found: list[Any] | None = [None] * self.size if self.leads else None
        with _talking():
            dist.gather_object(value, found)
        return found or []

    def summed(self, numbers: Sequence[float]) -> list[float]:
        sums = torch.tensor(numbers, dtype=torch.float64, device=self._device)
        self.sum_in_place([sums])
        return [float(each) for each in sums.tolist()]

    def take_over(self, tensors: Sequence[Tensor]) -> None:
        with _talking():
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def sum_in_place(self, tensors: Sequence[Tensor]) -> None:
        with _talking():
            for work in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
                work.wait()


def processes() -> Processes:
    """Those of torch.distributed's default group where there is one of several, else this one alone."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return Together()
    return Alone()


def check_alike(processes: Processes, record: Mapping[str, Any]) -> None:
    """Refuses to train where the processes were not asked for the same: settings, model, data, versions.

    **Raises** ``ValueError`` naming a process and what differs, in all of them.
    """
    if processes.size == 1:
        return
    versions = {"torch": torch.__version__, "bptt": record.get("bptt")}
    asked = processes.every((socket.gethostname(), {**record, "versions": versions}))
    for rank, (host, other) in enumerate(asked):
        told = differences_of(other, asked[0][1], (f"in process {rank} on {host}", f"in process 0 on {asked[0][0]}"))
        if told:
            raise ValueError(
                f"the {processes.size} processes were not started alike: {'; '.join(told)}. Give all of them the same "
                "settings, data and versions"
            )


@contextmanager
def _talking() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        late = "imed out" in str(error) or "imeout" in str(error)
        raise Lost(
            "another process of this run "
            + ("has not answered in the time that its group allows (--timeout)" if late else "has ended, or cannot be reached")
            + ": once all are started again, the run goes on from its last checkpoint"
        ) from error
