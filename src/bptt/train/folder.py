"""The folder of a run while it trains: held by one process, saved into, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

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
from bptt.train.layout import (
    BEST,
    CHECKPOINTS,
    CONFIG,
    LOCK,
    LOG,
    OWNER,
    RESERVED,
    TENSORBOARD,
    FolderError,
    FolderInUse,
    Record,
    cut_short,
    half_written,
    in_use,
    record_of,
)
from bptt.train.parts import Begun


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
        differences = differences_of(record_of(self.path, "a new or an empty folder"), record)
        if not checkpoints(self._checkpoints):
            raise FolderError(half_written(self.path, "no checkpoint"))
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
            raise FolderInUse(in_use(self.path)) from None
        fresh = False
        try:
            if cut_short(self.path, RESERVED | self._artifacts.keys()):
                self._clear({LOCK})
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

    def _clear(self, but: Collection[str] = ()) -> None:
        for name in (RESERVED | self._artifacts.keys()) - set(but):
            entry = self.path / name
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                with contextlib.suppress(PermissionError):  # Windows keeps the lock's file while it is held
                    entry.unlink(missing_ok=True)
