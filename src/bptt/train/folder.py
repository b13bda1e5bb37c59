"""The folder of a run: its layout, its record, its lock, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from bptt.train.checkpoint import (
    Checkpoint,
    begin,
    checkpoints,
    load_checkpoint,
    load_checkpoint_weights,
    name_of,
    prune,
    save_checkpoint,
    sweep,
)
from bptt.train.differences import differences_of
from bptt.train.disk import write_atomic
from bptt.train.log import Line, read_lines
from bptt.train.parts import Begun

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


class RunFolder:
    """Where a run keeps everything::

        config.json                      what was asked for, and what must be the same to go on
        log.jsonl                        one JSON object a line
        observe.jsonl                    likewise, of what was seen of the gradient, where that was asked for
        best.json                        names the best checkpoint
        …                                what else was given as artifacts
        tensorboard/
        checkpoints/<update>/            model.safetensors, train.safetensors, train.json, checksums.json

    Nothing is written before `held` is entered, and `held` leaves nothing behind where no checkpoint was saved.
    """

    def __init__(self, path: str | os.PathLike[str], artifacts: Mapping[str, bytes] | None = None) -> None:
        self.path = Path(path)
        self._artifacts = dict(artifacts or {})
        self._checkpoints = self.path / CHECKPOINTS

    @property
    def log(self) -> Path:
        return self.path / LOG

    @property
    def tensorboard(self) -> Path:
        return self.path / TENSORBOARD

    def check(self, record: Record) -> bool:
        """Whether a run is there that ``record`` may go on with; False where there is none yet.

        **Raises** `FolderError` for a folder that is no run's, half-written, of another version, or of another run.
        """
        if self.path.exists() and not self.path.is_dir():
            raise FolderError(f"{self.path} is a file; a run needs a folder of its own")
        if not self.path.is_dir() or not {entry.name for entry in self.path.iterdir()} - {LOCK, OWNER}:
            return False
        differences = differences_of(_record(self.path, "a new or an empty folder"), record)
        if not checkpoints(self._checkpoints):
            raise FolderError(_half_written(self.path, "no checkpoint"))
        if differences:
            raise FolderError(
                f"{self.path} holds another run; it differs in {'; '.join(differences)}. Give the same settings and data to go "
                "on with it, or another folder to begin anew"
            )
        return True

    @contextlib.contextmanager
    def held(self, record: Record) -> Iterator[Checkpoint | None]:
        """Holds the folder for this process alone, made where there is none, and gives the newest checkpoint.

        **Raises** `FolderInUse`, and what `check` and `load_checkpoint` raise.
        """
        if not (self.path / LOCK).exists():
            self.check(record)  # nothing is written into a folder that is refused
        missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(self.path / LOCK), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise FolderInUse(_in_use(self.path)) from None
        fresh = False
        try:
            there = self.check(record)
            fresh = not there
            (self.path / OWNER).write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
            if there:
                sweep(self._checkpoints)
            yield load_checkpoint(self._checkpoints, checkpoints(self._checkpoints)[-1]) if there else None
        finally:
            (self.path / OWNER).unlink(missing_ok=True)
            failed = fresh and not (self.path / CONFIG).exists()
            if failed:
                self._clear()
            lock.release()
            if failed:
                for folder in missing:
                    with contextlib.suppress(OSError):  # not empty: something else was put there meanwhile
                        folder.rmdir()

    def begin(self, update: int) -> Path | None:
        """Where several processes may write parts of a checkpoint, before `save`; nothing where it is there already."""
        with self._writing():
            return begin(self._checkpoints, update)

    def save(self, checkpoint: Checkpoint, record: Record, best: float | None, keep: int, begun: Begun | None = None) -> None:
        """Saves a checkpoint, removes those no longer needed, and names the best one; artifacts and the record come first once.

        The record comes after all else: a folder that has it is whole.
        """
        with self._writing():
            save_checkpoint(self._checkpoints, checkpoint, begun)
            for name, content in self._artifacts.items():
                if not (self.path / name).exists():
                    write_atomic(self.path / name, content)
            if not (self.path / CONFIG).exists():
                self.write_record(record)
            self.name_best(checkpoint.best, best)
            prune(self._checkpoints, keep)

    def write_record(self, record: Record) -> None:
        """Writes ``config.json``."""
        with self._writing():
            write_atomic(self.path / CONFIG, json.dumps(record, indent=2).encode() + b"\n")

    def name_best(self, update: int | None, value: float | None) -> None:
        """Writes ``best.json``; nothing where there is no best yet."""
        if update is None:
            (self.path / BEST).unlink(missing_ok=True)
            return
        named = json.dumps({"checkpoint": name_of(update), "update": update, "validation": value}).encode() + b"\n"
        path = self.path / BEST
        if not path.exists() or path.read_bytes() != named:
            with self._writing():
                write_atomic(path, named)

    def weights(self, update: int) -> dict[str, Tensor]:
        """The weights of one checkpoint."""
        return load_checkpoint_weights(self._checkpoints, update)

    def where(self, update: int) -> str:
        """The path of one checkpoint, for messages."""
        return str(self._checkpoints / name_of(update))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A full disk and the like are told with what is whole."""
        try:
            yield
        except OSError as error:
            if error.filename == str(self.path):
                raise
            whole = checkpoints(self._checkpoints) if (self.path / CONFIG).exists() else []
            kept = f"; the checkpoint after update {whole[-1]} is whole: mend this, and go on with the folder" if whole else ""
            raise OSError(error.errno, f"the run cannot be saved, {error.strerror}{kept}", str(self.path)) from error

    def _clear(self) -> None:
        for name in RESERVED | self._artifacts.keys():
            entry = self.path / name
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                with contextlib.suppress(PermissionError):  # Windows keeps the lock's file while it is held
                    entry.unlink(missing_ok=True)


def read_config(folder: str | os.PathLike[str]) -> Record:
    """The record of the run in ``folder``: ``config`` as the user gave it, ``run``, ``model``, ``data``, ``format``, ``bptt``.

    **Raises** ``FileNotFoundError`` where there is no such folder, `FolderError` where it is no run's, half-written, or of a
    format that this version does not read.
    """
    path = Path(folder)
    if not (path / CONFIG).exists() and _is_held(path):
        raise FolderInUse(f"{_in_use(path)}, or wait for its first checkpoint")
    return _record(path)


def read_log(folder: str | os.PathLike[str]) -> list[Line]:
    """The lines of the log of the run in ``folder``.

    **Raises** as `read_config`.
    """
    read_config(folder)
    return read_lines(Path(folder) / LOG)


def load_weights(folder: str | os.PathLike[str], which: str | int | None = None) -> dict[str, Tensor]:
    """The weights of the run in ``folder``, checked against their checksum, for ``model.load_state_dict``.

    ``which``: ``"best"`` (by validation), ``"last"``, or the update of a checkpoint; ``None``: the best if there is one,
    else the last.

    **Raises** `FolderError` where there is no such checkpoint, `BadCheckpoint` where it is damaged, and as `read_config`.
    """
    path = Path(folder)
    read_config(path)
    there = checkpoints(path / CHECKPOINTS)
    if not there:
        raise FolderError(_half_written(path, "no checkpoint"))
    if which is None:
        which = "best" if (path / BEST).exists() else "last"
    update: Any = which
    if which == "last":
        update = there[-1]
    elif which == "best":
        if not (path / BEST).exists():
            raise FolderError(f'{path} has no best checkpoint, since it was trained without validation: use which="last"')
        update = _best(path)
        if update not in there:
            raise FolderError(
                f'{path / BEST} names the checkpoint after update {update}, which is no longer there: use "last" (--which '
                f"last) or one of {', '.join(map(str, there))}"
            )
    if update not in there:
        raise FolderError(f'{path} has no checkpoint {which!r}: it has {", ".join(map(str, there))}, "best" and "last"')
    return load_checkpoint_weights(path / CHECKPOINTS, update)


def _record(path: Path, wanted: str = "the folder of a run") -> Record:
    if path.exists() and not path.is_dir():
        raise FolderError(f"{path} is a file: give the folder of a run")
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist: give the folder of a run")
    try:
        record = dict(json.loads((path / CONFIG).read_bytes()))
        version = record["format"]
    except FileNotFoundError:
        if (path / CHECKPOINTS).exists() or (path / LOG).exists():
            raise FolderError(_half_written(path, f"no {CONFIG}")) from None
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


def _is_held(folder: Path) -> bool:
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


def _in_use(folder: Path) -> str:
    try:
        owner = json.loads((folder / OWNER).read_text())
        by = f" (pid {owner['pid']} on {owner['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        by = ""
    return f"{folder} is in use by another process{by}: stop it, or give another folder"


def _best(folder: Path) -> int:
    try:
        return int(json.loads((folder / BEST).read_bytes())["update"])
    except (ValueError, KeyError, TypeError):
        raise FolderError(
            f'{folder / BEST} is damaged: it does not name a checkpoint. Use "last" or the number of one, or go on with the '
            "training, which writes it again"
        ) from None


def package_version() -> str:
    """The version of bptt that is installed."""
    try:
        return metadata.version("bptt")
    except metadata.PackageNotFoundError:
        return "unknown"


def _half_written(path: Path, lacks: str) -> str:
    return f"{path} is half-written: it has {lacks}, so its run cannot go on. Remove it (rm -r {path}) or give another folder"
