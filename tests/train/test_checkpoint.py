import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from bptt.train import checkpoint as module, disk
from bptt.train.checkpoint import (
    BadCheckpoint,
    Checkpoint,
    begin,
    checkpoints,
    is_good,
    load_checkpoint,
    load_checkpoint_weights,
    prune,
    save_checkpoint,
    tensor_bytes,
    tensors_of,
    weights_from,
)
from bptt.train.disk import write_atomic
from bptt.train.parts import Begun, begin_together, is_whole, parts_of
from bptt.train.processes import Elsewhere


def make(update: int, best: int | None = None) -> Checkpoint:
    return Checkpoint(update, {"w": torch.full((2,), float(update))}, {"update": update, "m": {0: torch.ones(1)}}, best)


def test_comes_back(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, make(7, best=3))
    assert path.name == "00000007"
    assert sorted(file.name for file in path.iterdir()) == [
        "checksums.json",
        "model.safetensors",
        "train.json",
        "train.safetensors",
    ]
    back = load_checkpoint(tmp_path, 7)
    assert (back.update, back.best, back.train["update"]) == (7, 3, 7)
    assert back.weights["w"].tolist() == [7, 7]
    assert back.train["m"][0].tolist() == [1]
    assert load_checkpoint_weights(tmp_path, 7)["w"].tolist() == [7, 7]


@pytest.mark.parametrize("moment", ["write_through", "flush_folder", "pack"])
def test_failure_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    save_checkpoint(tmp_path, make(1))

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(module, moment, fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(tmp_path, make(2))
    assert [entry.name for entry in tmp_path.iterdir()] == ["00000001"]


def test_kill_at_any_moment_leaves_whole_checkpoints_only(tmp_path: Path) -> None:
    program = (
        "import sys, torch; from pathlib import Path; from bptt.train.checkpoint import *\n"
        "for u in range(1, 10**6):\n"
        "    print(u, flush=True)\n"
        "    save_checkpoint(Path(sys.argv[1]), Checkpoint(u, {'w': torch.full((50000,), float(u))}, {'u': u}, None))\n"
        "    prune(Path(sys.argv[1]), 2)\n"
    )
    for attempt in range(3):
        process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / str(attempt))], stdout=subprocess.PIPE)
        with process:
            assert process.stdout is not None
            while process.stdout.readline() != b"2\n":
                pass
            time.sleep(0.1 + 0.037 * attempt)
            os.kill(process.pid, signal.SIGKILL)
        there = checkpoints(tmp_path / str(attempt))
        assert there
        for update in there:
            assert load_checkpoint(tmp_path / str(attempt), update).weights["w"][0] == update


@pytest.mark.parametrize("name", ["model.safetensors", "train.safetensors", "train.json", "checksums.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_is_told_with_the_good_one_before(tmp_path: Path, name: str, damage: str) -> None:
    for update in (1, 2, 3):
        save_checkpoint(tmp_path, make(update))
    file = tmp_path / "00000003" / name
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 4
    file.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    if damage == "remove":
        file.unlink()
    (tmp_path / "00000002" / "train.json").unlink()
    told = r"\S+" if (name, damage) == ("checksums.json", "flip") else name  # which file's checksum was hit
    with pytest.raises(BadCheckpoint, match=rf"00000003: {told} .*; 00000001 before it is good.*which=1.*rm -r .*00000003"):
        load_checkpoint(tmp_path, 3)
    assert not is_good(tmp_path, 3)
    assert is_good(tmp_path, 1)


def test_damage_with_nothing_good_before(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, make(1))
    (tmp_path / "00000001" / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadCheckpoint, match="no earlier checkpoint is good"):
        load_checkpoint_weights(tmp_path, 1)


def test_prune_keeps_the_newest_and_the_best_that_each_knows(tmp_path: Path) -> None:
    for update, best in ((1, 1), (2, 2), (3, 2), (4, 4)):
        save_checkpoint(tmp_path, make(update, best))
    (tmp_path / ".writing-00000009-1").mkdir()
    prune(tmp_path, 2)
    assert checkpoints(tmp_path) == [2, 3, 4]
    assert not list(tmp_path.glob(".*"))


def test_tied_weights_stand_under_each_name_in_a_file_anyone_can_read(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 4, bias=False))
    model[1].weight = model[0].weight
    save_checkpoint(tmp_path, Checkpoint(1, weights_from(model), {}, None))
    loaded = safetensors.torch.load_file(tmp_path / "00000001" / "model.safetensors")
    assert set(loaded) == {"0.weight", "1.weight"}
    other = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 4, bias=False))
    other[1].weight = other[0].weight
    other.load_state_dict(loaded)
    assert torch.equal(other[1].weight, model[0].weight)
    assert other[1].weight is other[0].weight


def test_complex_and_half_weights() -> None:
    weights = {"c": torch.randn(2, 3, dtype=torch.complex128), "h": torch.ones(3, dtype=torch.bfloat16), "n": torch.tensor(3)}
    back = tensors_of(tensor_bytes(weights))
    assert all(torch.equal(back[name], weights[name]) and back[name].dtype == weights[name].dtype for name in weights)


def test_a_model_that_saves_more_than_tensors_is_refused() -> None:
    class Odd(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"a": 1}

    with pytest.raises(TypeError, match=r"_extra_state.* is a dict, but only tensors"):
        weights_from(Odd(1, 1))


def test_write_atomic_keeps_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "best.json"
    write_atomic(path, b"old")

    def fail(path: Path, content: bytes) -> None:
        path.write_bytes(content[:1])
        raise OSError("disk full")

    monkeypatch.setattr(disk, "write_through", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def in_parts(folder: Path, update: int) -> Path:
    """A checkpoint of which two files lay ready, as processes write them, and one weight is complex."""
    weights = {"a": torch.arange(4.0), "b": torch.ones(2, dtype=torch.complex128), "c": torch.zeros(9)}
    own = {"mean": torch.full((2,), 3.0)}
    train = {"optimizer": {"m": torch.ones(3)}, "update": update}
    made = begin(folder, update)
    assert made is not None
    sums, where = {}, {}
    for part in parts_of("model", weights, 48):
        content = tensor_bytes(part.tensors)
        (made / part.file).write_bytes(content)
        sums[part.file] = hashlib.sha256(content).hexdigest()
        where |= dict.fromkeys(part.tensors, part.file)
    return save_checkpoint(folder, Checkpoint(update, weights | own, train), Begun(made, sums, where))


def test_a_checkpoint_in_parts_comes_back(tmp_path: Path) -> None:
    path = in_parts(tmp_path, 2)
    back = load_checkpoint(tmp_path, 2)
    assert {name: value.dtype for name, value in back.weights.items()} == {
        "a": torch.float32, "b": torch.complex128, "c": torch.float32, "mean": torch.float32,
    }  # fmt: skip
    assert back.weights["a"].tolist() == [0, 1, 2, 3]
    assert back.train["optimizer"]["m"].tolist() == [1, 1, 1]
    assert back.weights["mean"].tolist() == [3, 3]
    assert list(safetensors.torch.load_file(path / "model.safetensors")) == ["mean"]
    for name, file in json.loads((path / "model.safetensors.index.json").read_text())["weight_map"].items():
        assert name in safetensors.torch.load_file(path / file)


@pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"])
def test_a_damaged_part_is_told(tmp_path: Path, name: str) -> None:
    path = in_parts(tmp_path, 2)
    (path / name).write_bytes(b"other")
    with pytest.raises(BadCheckpoint, match=name):
        load_checkpoint(tmp_path, 2)
    sums = json.loads((path / "checksums.json").read_text())
    del sums["sha256"][name]
    (path / "checksums.json").write_text(json.dumps(sums))
    with pytest.raises(BadCheckpoint, match=r"checksums\.json is damaged"):
        load_checkpoint_weights(tmp_path, 2)


@pytest.mark.parametrize("limit", [1, 16, 17, 40, 1000])
def test_parts_hold_everything_once_and_in_order(limit: int) -> None:
    tensors = {str(n): torch.zeros(n) for n in (3, 1, 0, 4, 2, 20)}
    parts = parts_of("model", tensors, limit)
    assert [name for part in parts for name in part.tensors] == list(tensors)
    for part in parts:
        assert sum(value.nbytes for value in part.tensors.values()) <= limit or len(part.tensors) == 1
    assert is_whole({part.file for part in parts} | {"train.safetensors"})
    assert len(parts) == 1 or not is_whole({part.file for part in parts[:-1]} | {"train.safetensors"})


class OneOfTwo:
    """The first of two processes, of which the other tells that it ``failed``, or that all went well."""

    rank, size, leads = 0, 2, True

    def __init__(self, failed: str | None) -> None:
        self._failed = failed

    def first(self, call: Any) -> Any:
        return call()

    def every(self, value: Any) -> list[Any]:
        return [value, ({}, self._failed) if isinstance(value, tuple) else False]


@pytest.mark.parametrize("failed", ["No space left on device", None])
def test_a_part_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failed: str | None
) -> None:
    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:1])
        raise OSError(28, "No space left on device")

    if failed is None:  # it is this process that fails
        monkeypatch.setattr("bptt.train.parts.write_through", full)
    kind, said = (OSError, "cannot be saved, No space") if failed is None else (Elsewhere, "process 1 .*No space")
    with pytest.raises(kind, match=said):
        begin_together(OneOfTwo(failed), lambda: begin(tmp_path, 3), {"a": torch.ones(9)}, {}, 8)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_parts_are_written_by_those_who_see_the_folder(tmp_path: Path) -> None:
    weights = {"a": torch.ones(9), "b": torch.zeros(9)}
    made = begin_together(OneOfTwo(None), lambda: begin(tmp_path, 3), weights, {}, 36)  # type: ignore[arg-type]
    assert made is not None
    assert sorted(made.sums) == sorted(path.name for path in made.folder.iterdir()) == sorted(set(made.model.values()))
    assert len(made.sums) == 2
