"""Checkpoints: folders that are there whole or not at all, and that tell when they were damaged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from bptt.train.disk import flush_folder, write_through
from bptt.train.pack import Nested, pack, unpack
from bptt.train.parts import INDEX, Begun, is_whole, stem_of, tensor_bytes, tensors_of

WEIGHTS, TENSORS, SKELETON, SUMS = "model.safetensors", "train.safetensors", "train.json", "checksums.json"
_NAME = re.compile(r"\d{8,}")


class BadCheckpoint(ValueError):
    """A checkpoint that is damaged or incomplete; the message says which one and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """A run after ``update`` updates: the model's weights, and all else that it takes to go on exactly.

    ``best``: the update of the best checkpoint so far, or ``None``.
    """

    update: int
    weights: dict[str, Tensor]
    train: Nested
    best: int | None = None


def name_of(update: int) -> str:
    """The folder of the checkpoint after ``update`` updates."""
    return f"{update:08d}"


def checkpoints(folder: Path) -> list[int]:
    """The updates of which ``folder`` holds a checkpoint, oldest first, damaged ones included."""
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if _NAME.fullmatch(entry.name) and entry.is_dir())


def save_checkpoint(folder: Path, checkpoint: Checkpoint, begun: Begun | None = None) -> Path:
    """Writes a checkpoint under ``folder``, so that a kill or a power cut at any moment leaves it there whole or not at all.

    It is written beside its place, flushed to the disk, and moved there in one step. One that is there already stays: the
    same run after the same update is the same. ``begun``: what of it lies ready, in a folder that `begin` gave.
    """
    final = folder / name_of(checkpoint.update)
    made = begin(folder, checkpoint.update) if begun is None else begun.folder
    if made is None:
        return final
    there = begun or Begun(made)
    try:
        tensors, skeleton = pack(checkpoint.train)
        contents = {
            **_weights_files(checkpoint.weights, there),
            TENSORS: tensor_bytes({name: tensor for name, tensor in tensors.items() if name not in there.train}),
            SKELETON: _json(skeleton),
        }
        sums = there.sums | {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        contents[SUMS] = _json({"update": checkpoint.update, "best": checkpoint.best, "sha256": sums})
        for name, content in contents.items():
            write_through(made / name, content)
        flush_folder(made)
        made.replace(final)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    flush_folder(folder)
    return final


def _weights_files(weights: dict[str, Tensor], begun: Begun) -> dict[str, bytes]:
    """The weights that are in no part yet; where there are parts an index of all, as others who read safetensors expect it."""
    rest = {name: value for name, value in weights.items() if name not in begun.model}
    files = {} if begun.model and not rest else {WEIGHTS: tensor_bytes(rest)}
    if begun.model:
        files[INDEX] = _json({"metadata": {}, "weight_map": begun.model | dict.fromkeys(rest, WEIGHTS)})
    return files


def begin(folder: Path, update: int) -> Path | None:
    """An empty folder for the files of a checkpoint; nothing where that checkpoint is there already."""
    if (folder / name_of(update)).exists():
        return None
    made = folder / f".writing-{name_of(update)}-{os.getpid()}"
    made.mkdir(parents=True)
    return made


def load_checkpoint(folder: Path, update: int) -> Checkpoint:
    """Reads a checkpoint back, checked against its checksums.

    **Raises** `BadCheckpoint` naming the damaged file and the newest good checkpoint before it.
    """
    path = folder / name_of(update)
    try:
        sums = _sums(path)
        found = {stem: _tensors(path, sums, stem) for stem in ("model", "train")}
        skeleton = json.loads(_checked(path / SKELETON, sums["sha256"][SKELETON]))
        return Checkpoint(sums["update"], found["model"], unpack(found["train"], skeleton), sums["best"])
    except (BadCheckpoint, KeyError, SafetensorError) as error:
        raise BadCheckpoint(_advice(folder, update, error)) from None


def load_checkpoint_weights(folder: Path, update: int) -> dict[str, Tensor]:
    """The weights alone, checked; see `load_checkpoint`."""
    path = folder / name_of(update)
    try:
        return _tensors(path, _sums(path), "model")
    except (BadCheckpoint, KeyError, SafetensorError) as error:
        raise BadCheckpoint(_advice(folder, update, error)) from None


def is_good(folder: Path, update: int) -> bool:
    """Whether every file of this checkpoint is there and has its checksum."""
    path = folder / name_of(update)
    try:
        for name, digest in _sums(path)["sha256"].items():
            _checked(path / name, digest)
    except BadCheckpoint:
        return False
    return True


def prune(folder: Path, keep: int) -> None:
    """Removes all but the newest ``keep`` checkpoints and the best one that each of those knows; and what kills left behind."""
    newest = checkpoints(folder)[-keep:]
    kept = set(newest)
    for update in newest:
        with contextlib.suppress(BadCheckpoint):
            kept.add(_sums(folder / name_of(update))["best"])
    for update in set(checkpoints(folder)) - kept:
        # Out of sight first: a kill in mid-removal must not leave something that looks like a damaged checkpoint.
        (folder / name_of(update)).rename(folder / f".old-{name_of(update)}")
    sweep(folder)


def sweep(folder: Path) -> None:
    """Removes what a kill in the middle of writing or removing left behind. Only under the run's lock."""
    for pattern in (".writing-*", ".old-*"):
        for left in folder.glob(pattern):
            shutil.rmtree(left, ignore_errors=True)


def weights_from(model: nn.Module) -> dict[str, Tensor]:
    """The model's parameters and buffers as copies, by the names of ``state_dict``; tied ones stand under each of their names.

    **Raises** ``TypeError`` for an entry that is no tensor.
    """
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"state_dict()[{name!r}] of the model is a {type(value).__name__}, but only tensors can be saved")
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def _sums(path: Path) -> dict[str, Any]:
    try:
        sums = json.loads((path / SUMS).read_bytes())
        if set(sums) >= {"update", "best", "sha256"} and SKELETON in sums["sha256"] and is_whole(set(sums["sha256"])):
            return dict(sums)
    except FileNotFoundError:
        raise BadCheckpoint(f"{SUMS} is missing") from None
    except (ValueError, TypeError):
        pass
    raise BadCheckpoint(f"{SUMS} is damaged")


def _tensors(path: Path, sums: dict[str, Any], stem: str) -> dict[str, Tensor]:
    """The tensors of all files of that stem."""
    found: dict[str, Tensor] = {}
    for name, digest in sums["sha256"].items():
        if stem_of(name) == stem:
            found |= tensors_of(_checked(path / name, digest))
    return found


def _checked(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BadCheckpoint(f"{path.name} is missing") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise BadCheckpoint(f"{path.name} fails its checksum")
    return content


def _advice(folder: Path, update: int, error: Exception) -> str:
    path = folder / name_of(update)
    good = next((other for other in reversed(checkpoints(folder)) if other < update and is_good(folder, other)), None)
    if good is None:
        return f"{path}: {error}; no earlier checkpoint is good: the run has to begin again in another folder"
    return (
        f"{path}: {error}; {name_of(good)} before it is good: to use it take that one (which={good}, or --which {good}); to go "
        f"on training from there, remove the damaged one (rm -r {path})"
    )
