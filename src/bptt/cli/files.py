"""Files that commands write: refused before the work, there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def check_writable(path: Path, option: str) -> None:
    """Refuses a place that cannot be written to, before anything is computed.

    **Raises** ``IsADirectoryError``, ``NotADirectoryError`` or ``PermissionError``.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{option} {path} is a directory; give the name of a file")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise NotADirectoryError(f"{option} {path}: {folder} is a file, so nothing can be written into it")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise PermissionError(f"{option} {path}: there is no permission to write to {path if path.exists() else folder}")


def write(path: Path, content: str | bytes) -> None:
    """Writes a file in one step, text as UTF-8; into a pipe or device it is written as it is."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    made = path.with_name(f".writing-{path.name}-{os.getpid()}")
    try:
        made.write_bytes(data)
        made.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        made.unlink(missing_ok=True)
