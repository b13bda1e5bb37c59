"""What the folder of a run tells: its record, its log, its weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from bptt.train.checkpoint import checkpoints, load_checkpoint_weights
from bptt.train.layout import (
    BEST,
    CHECKPOINTS,
    CONFIG,
    LOG,
    FolderError,
    FolderInUse,
    Record,
    half_written,
    in_use,
    is_held,
    record_of,
)
from bptt.train.log import Line, read_lines


def read_config(folder: str | os.PathLike[str]) -> Record:
    """The record of the run in ``folder``: ``config`` as the user gave it, ``run``, ``model``, ``data``, ``format``, ``bptt``.

    **Raises** ``FileNotFoundError`` where there is no such folder, `FolderError` where it is no run's, half-written, or of a
    format that this version does not read.
    """
    path = Path(folder)
    if not (path / CONFIG).exists() and is_held(path):
        raise FolderInUse(f"{in_use(path)}, or wait for its first checkpoint")
    return record_of(path)


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
        raise FolderError(half_written(path, "no checkpoint"))
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


def _best(folder: Path) -> int:
    try:
        return int(json.loads((folder / BEST).read_bytes())["update"])
    except (ValueError, KeyError, TypeError):
        raise FolderError(
            f'{folder / BEST} is damaged: it does not name a checkpoint. Use "last" or the number of one, or go on with the '
            "training, which writes it again"
        ) from None
