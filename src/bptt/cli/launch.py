"""Several processes of one command: how they find each other, and how one of them speaks for all."""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

V = TypeVar("V")
TIMEOUT = 600.0  # seconds
_FIND = 3.0  # seconds in which the board is found, where there is one
_SPEAK = 2.0  # seconds in which one that knows why it failed has spoken
_MORE = 1.0  # seconds beyond the limit that torch itself is given
_SECOND = ("Lost", "Elsewhere")  # errors that come of another process's

_met: list[Store] = []
"""Where those that have met leave word."""

if "RANK" in os.environ:  # what torch says of lost connections, with its frames, says less than the line that tells them
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")


def size() -> int:
    """How many processes torchrun, or whoever sets its variables, has started."""
    return int(os.environ.get("WORLD_SIZE") or 1) if "RANK" in os.environ else 1


def leads() -> bool:
    """Whether this process writes and tells."""
    return size() == 1 or os.environ["RANK"] == "0"


@contextmanager
def joined(timeout: float = TIMEOUT) -> Iterator[None]:
    """Inside, `bptt.Run` trains with all processes of this command; nothing is done where it is one alone.

    One that does not answer the others for ``timeout`` seconds ends them. **Raises** ``ValueError`` where they cannot meet.
    """
    if size() == 1:
        yield
        return
    import torch.distributed as dist

    lacking = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if lacking:
        raise ValueError(f"WORLD_SIZE is {size()} but {lacking[0]} is not set: start the processes by torchrun")
    where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    limit = timedelta(seconds=timeout)
    try:
        store = _within(timeout, lambda: _meet(timeout))
        dist.init_process_group("gloo", store=store, rank=int(os.environ["RANK"]), world_size=size(), timeout=limit)
    except (RuntimeError, ValueError, TimeoutError) as error:
        if "EADDRINUSE" in str(error):
            raise ValueError(
                f"port {os.environ['MASTER_PORT']} of this host is in use by another program: give all processes another, "
                "MASTER_PORT or torchrun --master-port"
            ) from None
        raise ValueError(
            f"process {os.environ['RANK']} of 0..{size() - 1} did not meet {_others(error)} at {where} within {timeout:g} s: "
            "is each of them started, can it reach that address, and is it one of them that listens there?"
        ) from None
    _met.append(store)
    yield
    # After an error the group stays until the process ends: else the others would speak of a loss before this one of its cause.
    dist.destroy_process_group()


def tell(error: BaseException, text: str) -> None:
    """Prints the line of an error, unless another process of this command tells it.

    The first one to fail speaks; one that only lost another waits whether that has something to say, and names it if not.
    """
    board = _board() if size() > 1 else None
    second, lost = type(error).__name__ in _SECOND, ""
    speaks = size() == 1 or not second or os.environ["RANK"] in ("0", "1")  # where the board went with the first process
    if board is not None:
        with suppress(RuntimeError):  # it may go in the midst of it
            board.set(f"left/{os.environ['RANK']}", "")
            if second:
                _wait(lambda: board.check(["told"]))
                gone = [str(rank) for rank in range(size()) if not board.check([f"left/{rank}"])]
                lost = f" (not heard of: process {', '.join(gone)} of 0..{size() - 1})" if gone else ""
            speaks = board.add("told", 1) == 1
            board.add("seen", 1)  # the last that this one asks of it: the first process waits for that
    if speaks:
        print(f"{text}{lost}", file=sys.stderr, flush=True)
    if board is not None and leads() and not _of_torchrun():
        _wait(lambda: board.add("seen", 0) == size())


def _meet(timeout: float) -> Store:
    """A store that the processes of this attempt alone have, once all of them are there.

    torchrun's own holds what those of earlier attempts wrote, such as where they could be reached; so each process asks
    the first one, by a name that nobody had before, for the place of this attempt.
    """
    import torch.distributed as dist

    store, end, rank, own = _store(timeout), time.monotonic() + timeout, os.environ["RANK"], uuid.uuid4().hex
    if rank != "0":
        store.set(f"hello/{rank}", own)
        while not store.check([f"welcome/{own}"]):
            _rest(end, [0])
        made: Store = dist.PrefixStore(store.get(f"welcome/{own}").decode(), store)  # type: ignore[attr-defined]
        made.set(f"here/{rank}", "")
        return made
    made = dist.PrefixStore(own, store)  # type: ignore[attr-defined]
    while lacking := [other for other in range(1, size()) if not made.check([f"here/{other}"])]:
        for other in lacking:
            if store.check([f"hello/{other}"]):
                store.set(f"welcome/{store.get(f'hello/{other}').decode()}", own)
        _rest(end, lacking)
    return made


def _rest(end: float, lacking: list[int]) -> None:
    if time.monotonic() > end:
        raise TimeoutError(lacking)
    time.sleep(0.01)


def _others(error: BaseException) -> str:
    lacking = error.args[0] if isinstance(error, TimeoutError) and error.args else []
    return f"process {', '.join(map(str, lacking[:8]))}{', …' * (len(lacking) > 8)}" if lacking else "the others"


def _store(timeout: float) -> Store:
    import torch.distributed as dist

    hosts = leads() and not _of_torchrun()
    host, port, limit = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timedelta(seconds=timeout)
    made = dist.TCPStore  # type: ignore[attr-defined]
    return made(host, port, is_master=hosts, timeout=limit, wait_for_workers=False, multi_tenant=True)


def _board() -> Store | None:
    """Where the processes leave word; it outlives them where torchrun has it."""
    import torch.distributed as dist

    def found() -> Store:
        if _met:
            _met[0].add("seen", 0)  # whether it is still there
            return _met[0]
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return dist.PrefixStore(f"attempt {attempt}", _store(_FIND))  # type: ignore[attr-defined]

    try:
        return _within(_FIND, found)
    except (KeyError, ValueError, RuntimeError, TimeoutError):
        return None


def _of_torchrun() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _within(seconds: float, call: Callable[[], V]) -> V:
    """What ``call()`` gives; it may hang where a port is another program's, which torch's own time limit does not see.

    **Raises** ``TimeoutError``, and what it raises.
    """
    found: list[V] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds + _MORE)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError
    return found[0]


def _wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + _SPEAK
    while not until() and time.monotonic() < end:
        time.sleep(0.02)
