"""Checkpoints of large models: several files, which the processes of a run write side by side."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from bptt.train.disk import write_through
from bptt.train.pack import plain
from bptt.train.processes import Elsewhere, Processes

INDEX = "model.safetensors.index.json"
_PART = re.compile(r"(model|train)(?:-(\d{5})-of-(\d{5}))?\.safetensors")


@dataclass(frozen=True)
class Part:
    """A file of a checkpoint and what of the ``model`` or of the rest (``train``) goes there."""

    file: str
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Begun:
    """Parts that lie in ``folder`` before the rest of their checkpoint does: checksums by file, and the file of each tensor."""

    folder: Path
    sums: dict[str, str] = field(default_factory=dict)
    model: dict[str, str] = field(default_factory=dict)
    train: dict[str, str] = field(default_factory=dict)


def parts_of(stem: str, tensors: Mapping[str, Tensor], limit: int) -> list[Part]:
    """``tensors`` in their order, in files of at most ``limit`` bytes, or of one tensor that is larger."""
    made: list[dict[str, Tensor]] = []
    filled = limit
    for name, tensor in tensors.items():
        if not made or filled + tensor.nbytes > limit:
            made.append({})
            filled = 0
        made[-1][name] = tensor
        filled += tensor.nbytes
    return [Part(f"{stem}-{i:05}-of-{len(made):05}.safetensors", held) for i, held in enumerate(made, 1)]


def begin_together(
    processes: Processes, begin: Callable[[], Path | None], model: Mapping[str, Tensor], train: Mapping[str, Tensor], limit: int
) -> Begun | None:
    """The weights, and what else is large and alike everywhere, written by all processes that see the folder of ``begin``.

    Nothing where ``begin`` made none. **Raises** ``OSError`` where a part cannot be written, `Elsewhere` in the others.
    """
    made = processes.first(begin)
    if made is None:
        return None
    weights, others = parts_of("model", model, limit), parts_of("train", train, limit)
    parts = weights + others
    seeing = [rank for rank, sees in enumerate(processes.every(made.is_dir())) if sees]
    own = parts[seeing.index(processes.rank) :: len(seeing)] if processes.rank in seeing else []
    sums, failure = {}, None
    try:
        for part in own:
            content = tensor_bytes(part.tensors)
            write_through(made / part.file, content)
            sums[part.file] = hashlib.sha256(content).hexdigest()
    except OSError as error:
        failure = error
    told = processes.every((sums, failure and failure.strerror))
    if processes.leads and any(why is not None for _, why in told):
        shutil.rmtree(made, ignore_errors=True)
    if failure is not None:
        raise OSError(failure.errno, f"the run cannot be saved, {failure.strerror}", str(made))
    for rank, (_, why) in enumerate(told):
        if why is not None:
            raise Elsewhere(f"process {rank} could not write its part of a checkpoint ({why})")
    where = [{name: part.file for part in each for name in part.tensors} for each in (weights, others)]
    return Begun(made, {file: digest for found, _ in told for file, digest in found.items()}, *where)


def stem_of(file: str) -> str | None:
    """``model`` or ``train``, of a file that holds their tensors."""
    match = _PART.fullmatch(file)
    return match and match[1]


def is_whole(files: set[str]) -> bool:
    """Whether none of the parts that a checkpoint's files speak of is missing."""
    for stem in ("model", "train"):
        found = [match for match in map(_PART.fullmatch, files) if match and match[1] == stem]
        numbered = [match for match in found if match[2]]
        if not found or {int(match[2]) for match in numbered} != set(range(1, int(numbered[0][3]) + 1) if numbered else ()):
            return False
    return True


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """A safetensors file; complex tensors as pairs of numbers, named in its metadata."""
    made_of_pairs = [name for name, value in tensors.items() if value.is_complex()]
    metadata = {"format": "pt"} | ({"complex": json.dumps(made_of_pairs)} if made_of_pairs else {})
    return safetensors.torch.save({name: plain(value) for name, value in tensors.items()}, metadata)


def tensors_of(content: bytes) -> dict[str, Tensor]:
    """The inverse of `tensor_bytes`."""
    tensors = safetensors.torch.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    for name in json.loads(header.get("__metadata__", {}).get("complex", "[]")):
        tensors[name] = torch.view_as_complex(tensors[name])
    return tensors
