"""Processes of one run, forked from one that has imported everything: what each said, and its exit code."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMIT = 900.0  # seconds


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


class Forks:
    """So many processes that run ``target(rank)``, with the variables that torchrun sets."""

    def __init__(self, size: int, target: Callable[[int], Any], said: Path, port: int | None = None) -> None:
        self._said, self._codes = said, dict[int, int]()
        said.mkdir(parents=True, exist_ok=True)
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port or free_port()), "WORLD_SIZE": str(size)}
        self.pids = [self._fork(rank, target, where) for rank in range(size)]

    def wait(self, but: int | None = None) -> list[dict[str, Any]]:
        """Exit code, output and errors of each; process ``but`` is killed once all others have ended, and all are at last."""
        end = time.monotonic() + LIMIT
        stays = None if but is None else self.pids[but]
        while len(self._codes) < len(self.pids):
            for pid in set(self.pids) - self._codes.keys():
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    self._codes[pid] = os.waitstatus_to_exitcode(status)
            left = set(self.pids) - self._codes.keys()
            if left and (time.monotonic() > end or left == {stays}):
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                stays = None
            time.sleep(0.01)
        found = []
        for rank, pid in enumerate(self.pids):
            out, err = ((self._said / f"{rank}.{name}").read_text() for name in ("out", "err"))
            found.append({"code": self._codes[pid], "out": out, "err": err})
        return found

    def _fork(self, rank: int, target: Callable[[int], Any], where: dict[str, str]) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            os.environ.update(where, RANK=str(rank), LOCAL_RANK=str(rank))
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(self._said / f"{rank}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
            target(rank)
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
