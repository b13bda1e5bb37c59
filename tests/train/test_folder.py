import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import bptt
from bptt.train import BadCheckpoint, FolderError, FolderInUse, Saving, load_weights, read_config, read_log
from bptt.train.checkpoint import checkpoints
from bptt.train.run import Run
from tests.train.runs import Characters, Regressor, assert_same, batches, fresh, outcome, pair, text

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    fresh(batches, folder, config={"task": "forecast", "hidden": 6}, saving=Saving(None, 2, keep=3)).fit(epochs=1)
    return folder


def again(folder: Path, **more: Any) -> Run:
    return fresh(batches, folder, **{"config": {"task": "forecast", "hidden": 6}, **more})


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"config": {"task": "text", "hidden": 6}}, r"differs in task: 'forecast' in the folder, 'text' now"),
        ({"config": {"task": "forecast", "hidden": 7}}, "config.hidden: 6 in the folder, 7 now"),
        ({"config": {"task": "forecast", "hidden": 6, "cell": "gru"}}, 'config.cell: absent in the folder, "gru" now'),
        ({"through": bptt.Truncated(2)}, 'run.through: "full" in the folder, "truncated:k1=2,k2=2" now'),
        ({"lr": 0.5}, "run.optimizer: .*lr=0.05.* in the folder, .*lr=0.5.* now"),
        ({"clip": None}, "run.clip"),
        ({"seed": 6}, "run.seed: 5 in the folder, 6 now"),
        ({"validation": pair(9, 78)}, "validation: "),
    ],
)
def test_another_run_is_refused_with_what_differs(trained: Path, more: dict[str, Any], words: str) -> None:
    before = content(trained)
    with pytest.raises(FolderError, match=words):
        again(trained, **more).fit(epochs=2)
    assert content(trained) == before


def test_other_data_or_another_model_is_refused(trained: Path) -> None:
    record = again(trained)
    record.source.fingerprint = lambda: "six batches"  # type: ignore[method-assign]
    with pytest.raises(FolderError, match='data: "five batches" in the folder, "six batches" now'):
        record.fit(epochs=2)
    other = fresh(text, trained, config={"task": "forecast", "hidden": 6})
    with pytest.raises(FolderError, match=r"model\.\S+: .* in the folder, absent now; … and \d+ more"):
        other.fit(epochs=2)


def test_the_session_and_the_length_of_the_run_may_differ(trained: Path) -> None:
    again(trained, config={"task": "forecast", "hidden": 6, "session": {"threads": 3}}).fit(epochs=2)
    assert read_config(trained)["config"]["session"] == {"threads": 3}


def test_another_format_is_refused(trained: Path) -> None:
    record = json.loads((trained / "config.json").read_text()) | {"format": 9, "bptt": "7.0"}
    (trained / "config.json").write_text(json.dumps(record))
    for call in (lambda: again(trained).fit(epochs=2), lambda: load_weights(trained), lambda: read_log(trained)):
        with pytest.raises(FolderError, match=r"format 9 by bptt 7\.0; this bptt .* reads format 1"):
            call()


@pytest.mark.parametrize("lacks", ["config.json", "checkpoints"])
def test_half_written_is_refused(trained: Path, lacks: str) -> None:
    path = trained / lacks
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = content(trained)
    for call in (lambda: again(trained).fit(epochs=2), lambda: load_weights(trained)):
        with pytest.raises(FolderError, match=r"half-written: it has no (checkpoint|config.json).*rm -r"):
            call()
    assert content(trained) == before


def test_a_folder_of_something_else_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FolderError, match="not the folder of a run"):
        again(tmp_path).fit(epochs=1)
    assert content(tmp_path) == {"thesis.tex": b"years of work"}
    with pytest.raises(FolderError, match="is a file"):
        again(tmp_path / "thesis.tex").fit(epochs=1)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FolderError, match=r"config\.json is not the record of a run"):
        again(tmp_path).fit(epochs=1)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_weights(tmp_path / "nowhere")


def test_an_empty_folder_and_one_that_a_kill_left_empty_are_fine(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".owner").write_text("{}")
    assert again(tmp_path).fit(epochs=1).updates == 5


HOLDER = """
import sys, time
from pathlib import Path
from tests.train.test_folder import again

def wait(moment):
    print("ready", flush=True)
    time.sleep(600)

again(Path(sys.argv[1]), callbacks=[wait]).fit(epochs=2)
"""


KILLED = """
import os, signal, sys
from pathlib import Path
from bptt.train import Logs
from tests.train.test_folder import again

def die(moment):
    os.kill(os.getpid(), signal.SIGKILL)

again(Path(sys.argv[1]), callbacks=[die], logs=Logs(1, False)).fit(epochs=2)
"""


def test_a_run_that_was_killed_before_it_saved_anything_begins_again(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    folder = tmp_path / "run"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = content(folder)
    assert "log.jsonl" in left
    assert "config.json" not in left

    owner = json.loads(left[".owner"])
    (folder / ".owner").write_text(json.dumps(owner | {"host": "elsewhere"}))  # where locks may not reach it
    with pytest.raises(FolderError, match=r"half-written.*rm -r"):
        again(folder).fit(epochs=1)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(FolderError, match=r"half-written.*rm -r"):
        again(folder).fit(epochs=1)
    assert (folder / "thesis.tex").exists()
    (folder / "thesis.tex").unlink()
    (folder / ".owner").write_text(json.dumps(owner | {"pid": os.getppid()}))  # numbers of processes come again

    assert again(folder).fit(epochs=1).updates == 5
    again(tmp_path / "other").fit(epochs=1)
    assert_same(outcome(folder), outcome(tmp_path / "other"))


def test_in_use_by_another_process(trained: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    command = [sys.executable, "-c", HOLDER, str(trained)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            with pytest.raises(FolderInUse, match=rf"in use by another process \(pid {process.pid} on .*\): stop it, or"):
                again(trained).fit(epochs=2)
        finally:
            process.kill()
    assert again(trained).fit(epochs=2).updates == 10  # a lock dies with its process


def test_in_use_by_a_run_of_this_process(trained: Path) -> None:
    def nested(moment: Any) -> None:
        with pytest.raises(FolderInUse, match=f"pid {os.getpid()}"):
            again(trained).fit(epochs=2)

    again(trained, callbacks=[nested]).fit(epochs=2)


def test_a_damaged_checkpoint_stops_and_the_one_before_serves(trained: Path, tmp_path: Path) -> None:
    assert checkpoints(trained / "checkpoints") == [1, 3, 5]
    whole = tmp_path / "whole"
    shutil.copytree(trained, whole)
    again(whole).fit(epochs=3)
    damaged = trained / "checkpoints" / "00000005"
    file = damaged / "train.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(BadCheckpoint, match=r"00000005: train.safetensors fails its checksum; 00000003 before it is good"):
        again(trained).fit(epochs=3)
    assert load_weights(trained, 3).keys() == Regressor().state_dict().keys()
    shutil.rmtree(damaged)
    again(trained).fit(epochs=3)
    assert_same(outcome(trained), outcome(whole))


def test_which_weights(trained: Path) -> None:
    model = Regressor()
    best, last = load_weights(trained, "best"), load_weights(trained, "last")
    model.load_state_dict(last)
    assert_same(load_weights(trained), best)
    assert_same(load_weights(trained, 5), last)
    with pytest.raises(FolderError, match='no checkpoint 77: it has 1, 3, 5, "best" and "last"'):
        load_weights(trained, 77)
    (trained / "best.json").unlink()
    assert_same(load_weights(trained), last)
    with pytest.raises(FolderError, match="trained without validation"):
        load_weights(trained, "best")


def test_the_log_loses_a_torn_line_and_refuses_nonsense(trained: Path) -> None:
    lines = read_log(trained)
    with (trained / "log.jsonl").open("a") as file:
        file.write('{"update": 6, "lo')
    assert read_log(trained) == lines
    again(trained).fit(epochs=2)
    assert read_log(trained)[: len(lines)] == lines
    with (trained / "log.jsonl").open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(ValueError, match=r"log.jsonl, line \d+: not a JSON object: b'nonsense'"):
        read_log(trained)


def test_weights_load_without_pickle_by_anyone(trained: Path) -> None:
    assert not [path for path in trained.rglob("*") if path.suffix in (".pt", ".pkl", ".pth")]
    assert {path.suffix for path in (trained / "checkpoints").rglob("*") if path.is_file()} == {".safetensors", ".json"}
    assert torch.is_tensor(load_weights(trained)["readout.bias"])
    assert len(Characters().state_dict()) > 3


def test_a_run_that_has_saved_nothing_yet_is_in_use_and_not_half_written(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def look(moment: Any) -> None:
        if moment.update == 1:  # nothing is saved before the callbacks of the first line
            assert not (folder / "config.json").exists()
            with pytest.raises(FolderInUse, match=rf"in use by another process \(pid {os.getpid()} on .*wait for its first"):
                read_config(folder)
            with pytest.raises(FolderInUse, match="in use by another process"):
                again(folder).fit(epochs=1)
            seen.append(moment.update)

    seen: list[int] = []
    again(folder, callbacks=[look], logs=bptt.train.Logs(1, False, False)).fit(updates=2)
    assert seen == [1]


def test_a_best_checkpoint_that_was_removed_is_named(trained: Path) -> None:
    best = json.loads((trained / "best.json").read_text())["update"]
    shutil.rmtree(trained / "checkpoints" / f"{best:08d}")
    with pytest.raises(FolderError, match=rf'best.json names the checkpoint after update {best}.*no longer there: use "last"'):
        load_weights(trained)


def test_a_broken_line_beyond_the_checkpoint_is_written_again(trained: Path) -> None:
    with (trained / "log.jsonl").open("a") as log:
        log.write('{"a"\n')
    again(trained, saving=Saving(None, 2, keep=3)).fit(epochs=2)
    assert all("a" not in line for line in read_log(trained))
    (trained / "log.jsonl").write_text("{\n" + (trained / "log.jsonl").read_text())
    with pytest.raises(ValueError, match=r"log.jsonl, line 1: not a JSON object.*write \{\} in its place"):
        again(trained).fit(epochs=3)


def test_a_full_disk_is_told_with_what_is_whole(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bptt.train.checkpoint.write_through", full)
    with pytest.raises(OSError, match=r"cannot be saved, No space left on device; the checkpoint after update \d+ is whole"):
        again(trained).fit(epochs=2)
