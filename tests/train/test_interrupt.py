"""Real signals to real processes."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import bptt
from bptt.train import Interrupted
from bptt.train.checkpoint import checkpoints
from bptt.train.interrupt import Interruption
from tests.train.runs import assert_same, fresh, outcome, stop_after, text

ROOT = Path(__file__).parents[2]
PATIENCE = 600  # seconds
PROGRAM = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
from bptt.train import Logs, Saving
from tests.train.runs import fresh, text

def slow(moment):
    print("update", moment.update, flush=True)
    while moment.update == int(sys.argv[2]) and not Path(sys.argv[1], "..", "sent").exists():
        time.sleep(0.01)

fresh(text, Path(sys.argv[1]), logs=Logs(1, True, False), saving=Saving(None, 3), callbacks=[slow]).fit(epochs=2)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("whole")
    start(folder).communicate(timeout=PATIENCE)
    return outcome(folder)


def start(folder: Path, until: int = 0) -> "subprocess.Popen[str]":
    """The program, which waits after update ``until`` for the file ``sent``."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(until)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_and_then_on_to_the_same_bits(tmp_path: Path, whole: Any, number: signal.Signals) -> None:
    folder = tmp_path / "run"
    with start(folder, until=7) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "update 7\n":
            assert process.poll() is None
        process.send_signal(number)
        (tmp_path / "sent").touch()
        _, errors = process.communicate(timeout=PATIENCE)
    stopped = checkpoints(folder / "checkpoints")[-1]
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
        assert stopped == 4
    else:
        assert process.returncode == 128 + number
        assert stopped >= 7
        assert errors.rstrip().splitlines()[-1] == (
            f"interrupted after update {stopped} (epoch {1 + stopped // 8}), and saved: "
            f"start it again with the folder {folder} to go on"
        )
    assert stopped < 16
    with start(folder) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert f"going on in {folder} after update {stopped}" in errors
    assert_same(outcome(folder), whole)


def test_the_second_signal_stops_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with start(folder, until=1) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "update 1\n"
        process.send_signal(signal.SIGINT)
        while "stopping after this window" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert "KeyboardInterrupt" in errors
    assert not folder.exists()  # the first update was not over: nothing is left behind


def test_handlers_are_put_back_whatever_happens(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    inside: list[Any] = []

    def look(moment: Any) -> None:
        inside.append(signal.getsignal(signal.SIGINT))

    fresh(text, None, callbacks=[look]).fit(updates=4)
    assert inside[0] not in before
    with pytest.raises(Interrupted, match=r"interrupted after update 3 \(epoch 1\), and saved: call fit again to go on"):
        fresh(text, None, callbacks=[stop_after(3)]).fit(epochs=3)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_signal_during_the_last_update_still_ends_the_program() -> None:
    with pytest.raises(Interrupted) as raised:
        fresh(text, None, callbacks=[stop_after(6, signal.SIGTERM)]).fit(updates=6)
    assert raised.value.code == 143


def test_a_thread_trains_without_touching_the_handlers() -> None:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(fresh(text, None).fit(updates=4)))
    thread.start()
    thread.join()
    assert results[0].updates == 4


def test_interruption_takes_one_signal_only() -> None:
    calls: list[int] = []
    old = signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGINT)
            assert interruption.signal == signal.SIGINT
            assert not calls
            os.kill(os.getpid(), signal.SIGINT)
            assert calls == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, old)
    assert bptt.Window is not None
