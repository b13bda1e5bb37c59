"""Ctrl-C and SIGTERM while a run trains: the present window is finished and saved before the program ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any] | int | None


class Interrupted(SystemExit):
    """A run was interrupted and has saved itself; ``signal`` says by what, and ``code`` is 128 + that (130: Ctrl-C).

    Left alone it ends the program with that exit code. The line that says how to go on has been printed.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(128 + number)
        self.signal = number
        self.message = message

    def __str__(self) -> str:
        return self.message


class Interruption:
    """Takes SIGINT and SIGTERM while it is entered, in the main thread; ``signal`` is the one that came, or ``None``.

    The second one finds the handlers of before, and so stops at once. ``tells``: says that it will stop.
    """

    def __init__(self, tells: bool = True) -> None:
        self._tells = tells
        self.signal: int | None = None
        self._before: dict[int, _Handler] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._taken)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._put_back()

    def _taken(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of handlers
        self.signal = number
        self._put_back()
        if not self._tells:
            return
        # Not print: this may interrupt a print.
        with contextlib.suppress(OSError, ValueError):
            os.write(sys.stderr.fileno(), b"\nstopping after this window, once it is saved; again: at once\n")

    def _put_back(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            # None: a handler that was not installed from Python, which only the default can stand for.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
