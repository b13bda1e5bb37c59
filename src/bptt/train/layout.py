"""The folder of a run: what lies where, what its record says, and whether it is in use."""

from __future__ import annotations

import json
import socket
from collections.abc import Collection
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

FORMAT = 1
CONFIG, LOG, BEST, LOCK, OWNER = "config.json", "log.jsonl", "best.json", ".lock", ".owner"
OBSERVED = "observe.jsonl"
CHECKPOINTS, TENSORBOARD = "checkpoints", "tensorboard"
RESERVED = {CONFIG, LOG, OBSERVED, BEST, LOCK, OWNER, CHECKPOINTS, TENSORBOARD}

Record = dict[str, Any]


class FolderError(ValueError):
    """A run folder that cannot serve; the message says why and what to do."""


class FolderInUse(FolderError):
    """Another process is training in this run folder."""


def record_of(path: Path, wanted: str = "the folder of a run") -> Record:
    """What ``config.json`` says; ``wanted``: what is to be given in the place of a folder that is no run's.

    **Raises** as `bptt.train.read_config`.
    """
    if path.exists() and not path.is_dir():
        raise FolderError(f"{path} is a file: give the folder of a run")
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist: give the folder of a run")
    try:
        record = dict(json.loads((path / CONFIG).read_bytes()))
        version = record["format"]
    except FileNotFoundError:
        if (path / CHECKPOINTS).exists() or (path / LOG).exists():
            raise FolderError(half_written(path, f"no {CONFIG}")) from None
        raise FolderError(f"{path} is not the folder of a run (it has no {CONFIG}): give {wanted}") from None
    except (ValueError, KeyError, TypeError):
        raise FolderError(f"{path / CONFIG} is not the record of a run: give another folder") from None
    if version != FORMAT:
        raise FolderError(
            f"{path} was written in format {version} by bptt {record.get('bptt', '?')}; this bptt {package_version()} reads "
            f"format {FORMAT}: use that version, or another folder"
        )
    damaged = [name for name in ("config", "run", "model") if not isinstance(record.get(name), dict)]
    if damaged:
        raise FolderError(
            f"{path / CONFIG} is damaged: it has no {', '.join(map(repr, damaged))}. Put a copy back, or give another folder"
        )
    return record


def is_held(folder: Path) -> bool:
    """Whether a process trains in the folder now."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(str(folder / LOCK), timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a place where nothing can be locked, and so nothing is
        return False


def cut_short(folder: Path, own: Collection[str]) -> bool:
    """Whether a run of this host had the folder, was killed, and had saved nothing: all in it is then the run's own.

    Asked under the run's lock: whoever had it is no more. ``own``: the names that a run gives to what it writes.
    """
    try:
        owner = json.loads((folder / OWNER).read_text())
        here = owner["host"] == socket.gethostname() and not (folder / CONFIG).exists()
        return here and {entry.name for entry in folder.iterdir()} <= set(own)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def in_use(folder: Path) -> str:
    """The line that refuses a folder in use, with who uses it."""
    try:
        owner = json.loads((folder / OWNER).read_text())
        by = f" (pid {owner['pid']} on {owner['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        by = ""
    return f"{folder} is in use by another process{by}: stop it, or give another folder"


def package_version() -> str:
    """The version of bptt that is installed."""
    try:
        return metadata.version("bptt")
    except metadata.PackageNotFoundError:
        return "unknown"


def half_written(path: Path, lacks: str) -> str:
    """The line that refuses a folder that lacks something without which nothing can be told."""
    return f"{path} is half-written: it has {lacks}, so its run cannot go on. Remove it (rm -r {path}) or give another folder"
