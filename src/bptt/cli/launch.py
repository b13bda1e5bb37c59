"""Several processes of one command: how they find each other, and how one of them speaks for all."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

TIMEOUT = 600.0  # seconds
_FIND = 5.0  # seconds in which the board has to be found, and in which those that know more than "lost" may speak first
_SETTLE = 1.0  # seconds in which all that are still there say so


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
    try:
        dist.init_process_group("gloo", timeout=timedelta(seconds=timeout))
    except (RuntimeError, ValueError) as error:
        text = str(error).splitlines()[0]
        if "EADDRINUSE" in str(error) or "address already in use" in str(error):
            raise ValueError(
                f"port {os.environ['MASTER_PORT']} of this host is in use by another program: give all processes another, "
                "MASTER_PORT or torchrun --master-port"
            ) from None
        raise ValueError(
            f"the {size()} processes did not meet at {where} within {timeout:g} s ({text[:200]}): is each of them started, and "
            "can it reach that address?"
        ) from None
    yield
    # After an error the group stays until the process ends: else the others would speak of a loss before this one of its cause.
    dist.destroy_process_group()


def speaks(error: BaseException) -> str | None:
    """What to add to the line of an error where this process is the one that tells it; ``None`` where another does.

    The first one to fail speaks; one that only lost another waits whether that has something to say, and names it if not.
    """
    if size() == 1:
        return ""
    board = _board()
    second = type(error).__name__ in ("Lost", "Elsewhere")
    if board is None:  # it went with the first process
        return "" if leads() or (second and os.environ["RANK"] == "1") or not second else None
    if not second:
        return "" if board.add("told", 1) == 1 else None
    board.set(f"here/{os.environ['RANK']}", socket.gethostname())
    end = time.monotonic() + _FIND
    while time.monotonic() < end:
        if board.check(["told"]):
            return None
        time.sleep(0.05)
    if board.add("told", 1) != 1:
        return None
    gone = [str(rank) for rank in range(size()) if not board.check([f"here/{rank}"])]
    return f" (not heard of: process {', '.join(gone)} of 0..{size() - 1})" if gone else ""


def _board() -> Store | None:
    """Where the processes of this attempt leave word; it outlives them where torchrun has it."""
    import torch.distributed as dist

    try:
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(  # type: ignore[attr-defined]
            host, port, is_master=False, timeout=timedelta(seconds=_FIND), wait_for_workers=False
        )
    except (KeyError, ValueError, RuntimeError):
        return None
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return dist.PrefixStore(f"bptt/{attempt}", store)  # type: ignore[attr-defined]
