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

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from bptt.train.pack import Nested, pack, plain, unpack

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


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint under ``folder``, so that a kill or a power cut at any moment leaves it there whole or not at all.

    It is written beside its place, flushed to the disk, and moved there in one step. One that is there already stays: the
    same run after the same update is the same.
    """
    final = folder / name_of(checkpoint.update)
    if final.exists():
        return final
    made = folder / f".writing-{final.name}-{os.getpid()}"
    made.mkdir(parents=True)
    try:
        tensors, skeleton = pack(checkpoint.train)
        contents = {
            WEIGHTS: weights_bytes(checkpoint.weights),
            TENSORS: safetensors.torch.save(tensors),
            SKELETON: _json(skeleton),
        }
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
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


def load_checkpoint(folder: Path, update: int) -> Checkpoint:
    """Reads a checkpoint back, checked against its checksums.

    **Raises** `BadCheckpoint` naming the damaged file and the newest good checkpoint before it.
    """
    path = folder / name_of(update)
    try:
        sums = _sums(path)
        contents = {name: _checked(path / name, digest) for name, digest in sums["sha256"].items()}
        tensors = safetensors.torch.load(contents[TENSORS])
        train = unpack(tensors, json.loads(contents[SKELETON]))
        return Checkpoint(sums["update"], weights_of(contents[WEIGHTS]), train, sums["best"])
    except (BadCheckpoint, KeyError, SafetensorError) as error:
        raise BadCheckpoint(_advice(folder, update, error)) from None


def load_checkpoint_weights(folder: Path, update: int) -> dict[str, Tensor]:
    """The weights alone, checked; see `load_checkpoint`."""
    path = folder / name_of(update)
    try:
        return weights_of(_checked(path / WEIGHTS, _sums(path)["sha256"][WEIGHTS]))
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


def weights_bytes(weights: dict[str, Tensor]) -> bytes:
    """A safetensors file; complex weights as pairs of numbers, named in its metadata."""
    made_of_pairs = [name for name, value in weights.items() if value.is_complex()]
    metadata = {"format": "pt"} | ({"complex": json.dumps(made_of_pairs)} if made_of_pairs else {})
    return safetensors.torch.save({name: plain(value) for name, value in weights.items()}, metadata)


def weights_of(content: bytes) -> dict[str, Tensor]:
    """The inverse of `weights_bytes`."""
    weights = safetensors.torch.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    for name in json.loads(header.get("__metadata__", {}).get("complex", "[]")):
        weights[name] = torch.view_as_complex(weights[name])
    return weights


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


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def _sums(path: Path) -> dict[str, Any]:
    try:
        sums = json.loads((path / SUMS).read_bytes())
        if set(sums) >= {"update", "best", "sha256"} and set(sums["sha256"]) == {WEIGHTS, TENSORS, SKELETON}:
            return dict(sums)
    except FileNotFoundError:
        raise BadCheckpoint(f"{SUMS} is missing") from None
    except (ValueError, TypeError):
        pass
    raise BadCheckpoint(f"{SUMS} is damaged")


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
