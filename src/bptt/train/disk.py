"""Files that are on the disk whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """Replaces a file in one step: a kill at any moment leaves the old one or the new one."""
    made = path.with_name(f".writing-{path.name}-{os.getpid()}")
    try:
        write_through(made, content)
        made.replace(path)
    except BaseException:
        made.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def write_through(path: Path, content: bytes) -> None:
    """Writes a file and waits until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Waits until the entries of a folder are on the disk, where the system knows such a thing."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
