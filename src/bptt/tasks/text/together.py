"""What the processes of one run do together to read a text: each its share, and the first one what is done once."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeVar

from bptt.data.files import Shards, find_files, short_names
from bptt.train.processes import Alone, Elsewhere, Processes

V = TypeVar("V")
Listed = dict[str, tuple[int, str]]
"""The size of each file, and what else tells it from another; see `Shard.mark`."""


class Crew:
    """Several processes that read one text, or one alone; all of them call the same methods in the same order."""

    def __init__(self, processes: Processes | None = None) -> None:
        self._all: Processes = processes or Alone()
        self.size, self.leads = self._all.size, self._all.leads

    def first(self, call: Callable[[], V]) -> V:
        """What ``call()`` gives in the first process; see `Processes.first`."""
        return self._all.first(call)

    def deal(self, work: Callable[[int, int], V]) -> list[V]:
        """What ``work(rank, size)`` gives in each process.

        **Raises** what it raises in its process, and `Elsewhere`, naming that one, in the others.
        """
        made, failure = None, None
        try:
            made = work(self._all.rank, self.size)
        except Exception as error:
            failure = error
        told = None if failure is None else f"{type(failure).__name__}: {failure}"
        found = self._all.every((told, made))
        if failure is not None:
            raise failure
        failed = next((rank for rank, (each, _) in enumerate(found) if each is not None), None)
        if failed is not None:
            raise Elsewhere(f"process {failed} could not do its part ({found[failed][0]})")
        return [value for _, value in found]  # type: ignore[misc]

    def find(self, given: str) -> Shards:
        """The files that ``given`` names, the same in all processes.

        **Raises** as `find_files`; ``ValueError`` naming the process and the file where one lacks a file or has another.
        """
        own: list[Shards] = []

        def listed(_rank: int, _size: int) -> tuple[str, Listed]:
            own.append(find_files(given))
            found = [(shard.size, shard.mark()) for shard in own[0]]
            return socket.gethostname(), dict(zip(short_names(own[0]), found, strict=True))

        if self.size == 1:
            return find_files(given)
        (host, first), *others = self.deal(listed)
        for rank, (where, files) in enumerate(others, 1):
            if len(first) > 1 or len(files) > 1:
                self._check(given, first, files, f"process {rank} on {where}", f"process 0 on {host}")
        return own[0]

    def _check(self, given: str, first: Listed, other: Listed, who: str, whom: str) -> None:
        for name in sorted(first.keys() | other.keys()):
            if first.get(name) == other.get(name):
                continue
            if name not in other:
                told = f"{who} has no file {name}, which {whom} has"
            elif name not in first:
                told = f"{who} has a file {name}, which {whom} lacks"
            elif other[name][0] != first[name][0]:
                told = f"{who} has {other[name][0]:,} bytes of {name}, {whom} {first[name][0]:,}"
            else:
                told = f"{who} has other contents in {name} than {whom}"
            raise ValueError(f"--data {given} is not the same for all processes: {told}. Give all of them the same files")
