"""Starts the processes of a test, as torchrun would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def start(size: int, *command: str, port: int | None = None, cwd: Path = ROOT, **changed: str) -> list[subprocess.Popen[str]]:
    """``python command`` so many times."""
    port = port or free_port()
    started = []
    for rank in range(size):
        env = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), **changed}
        env["PYTHONPATH"] = str(ROOT)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": cwd}
        started.append(subprocess.Popen([sys.executable, *command], env=env, **pipes))
    return started


def ended(started: list[subprocess.Popen[str]], seconds: float = 60) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each; none of them outlives this."""
    try:
        told = [each.communicate(timeout=seconds) for each in started]
    finally:
        for each in started:
            if each.poll() is None:
                each.kill()
                each.wait()
    return [(each.returncode, *said) for each, said in zip(started, told, strict=True)]
