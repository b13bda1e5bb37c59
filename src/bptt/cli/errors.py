"""Every error as one clear line and an exit code: 2 for misuse, 1 for failure, 130 and 143 where a signal ended the work."""

from __future__ import annotations

import dis
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from bptt.cli.launch import tell

MISUSE = (ValueError, TypeError, ImportError)
MISUSE_OF_FILES = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
FAILED = ("Diverged", "BadCheckpoint")  # by name, as naming the classes would import torch


ORDER = ("demo", "train", "evaluate", "generate", "predict", "compare", "inspect", "explain", "doctor")


class Group(TyperGroup):
    """A group of commands whose errors are one line, unless ``--debug`` asks for the traceback."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return sorted(super().list_commands(ctx), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, standalone_mode: bool = True, **more: Any
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in given
        given = [arg for arg in given if arg != "--debug"]
        more |= {"prog_name": prog_name or "bptt", "standalone_mode": False}
        if not standalone_mode:
            return super().main(given, **more)
        try:
            code = super().main(given, **more)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader (head, say) has gone: what remains in the buffer must not raise again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except (KeyboardInterrupt, typer.Abort):
            print("bptt: interrupted", file=sys.stderr)
            sys.exit(130)
        except SystemExit:
            raise
        except Exception as error:
            if debug:
                raise
            if type(error).__name__ == "NoArgsIsHelpError":
                sys.exit(2)  # the help has been shown
            tell(error, f"bptt: {line(error)}")
            sys.exit(exit_code(error))
        sys.exit(code if isinstance(code, int) else 0)


def line(error: BaseException) -> str:
    """The error in one line, in the user's words."""
    usage = getattr(error, "format_message", None)
    if usage is not None:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        return " ".join(str(usage()).replace("Value error, ", "").replace("Input ", "").split()).rstrip(".") + hint
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = " ".join(str(error).split())
    if _out_of_memory(error):
        asked = re.search(r"allocate (\d+) bytes", text)
        more = f" (for {int(asked[1]) / 2**30:,.1f} GiB more)" if asked else ""
        return f"there is not enough memory{more}: make --hidden, --rows, --history or the windows of --through smaller"
    if isinstance(error, UnicodeEncodeError) and error.encoding != "utf-8":
        return f"the output takes {error.encoding} only, which has no {error.object[error.start]!r}: set PYTHONIOENCODING=utf-8"
    if meant_for_the_user(error) or isinstance(error, OSError):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text} (this is a fault in bptt, not in what you asked for; bptt --debug … shows where)"


def exit_code(error: BaseException) -> int:
    """2 where the command asked for what cannot be, 1 where it failed on the way or has a fault of its own."""
    if hasattr(error, "format_message"):
        return int(getattr(error, "exit_code", 2))
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        return code
    if isinstance(error, OSError):
        return 2 if isinstance(error, MISUSE_OF_FILES) else 1
    if any(kind.__name__ in FAILED for kind in type(error).__mro__):
        return 1
    return 2 if isinstance(error, MISUSE) and meant_for_the_user(error) else 1


def meant_for_the_user(error: BaseException) -> bool:
    """Whether bptt raised this error itself, in words of its own, rather than Python or a library beneath it.

    So it is where the innermost frame is bptt's and stands at a ``raise``; what a wrong operation of ours brings comes from
    another instruction, and what a library refuses from its own frames.
    """
    trace = error.__traceback__
    if trace is None:
        return type(error).__module__.split(".")[0] == "bptt"
    while trace.tb_next is not None:
        trace = trace.tb_next
    if trace.tb_frame.f_globals.get("__name__", "").split(".")[0] != "bptt":
        return False
    here = (each for each in dis.get_instructions(trace.tb_frame.f_code) if each.offset == trace.tb_lasti)
    return any(each.opname == "RAISE_VARARGS" for each in here) and not isinstance(error, AssertionError)


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))
