"""The program itself: help, version, doctor, start-up, signals, pipes."""

import json
import os
import signal
import subprocess
import sys

import pytest

from bptt.cli.demo import _manual
from bptt.tasks.registry import tasks
from bptt.train import load_weights
from bptt.train.checkpoint import checkpoints
from tests.cli.conftest import SMALL

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def program(*arguments, code=None, **how):
    command = [sys.executable, *(("-m", "bptt") if code is None else ("-c", code)), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **how)


def test_python_m_bptt_is_bptt(here):
    process = program("--version")
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    assert out.startswith("bptt ")


def test_help_names_every_command_with_examples(bptt):
    said = bptt("--help").stdout
    for command in ("train", "evaluate", "generate", "predict", "doctor", "demo"):
        assert command in said
    assert "bptt train text --data input.txt" in said
    for task in tasks.values():
        assert task.examples[0][0] in bptt("train", task.name, "--help").stdout


def test_help_loads_no_torch():
    code = """
import sys
from bptt.cli.main import app
for arguments in (["--help"], ["train", "--help"], ["train", "text", "--help"], ["train", "forecast", "--help"]):
    try:
        app(arguments)
    except SystemExit:
        pass
heavy = [name for name in ("torch", "numpy", "polars", "matplotlib") if name in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr


def test_doctor_tells_versions_machine_and_kernels(bptt):
    found = json.loads(bptt("doctor", "--json").stdout)
    assert {"python", "torch", "bptt", "numpy"} <= found["versions"].keys()
    assert "instruction sets" in found["machine"]
    assert found["kernels"]["LSTM"]["torch"] == "serves"
    assert "clip_step" in found["kernels"]["LSTM, clip_step"]["torch"]
    assert found["kernels"]["LSTM, clip_step"]["reference"] == "serves"
    said = bptt("doctor").stdout
    assert "softplus" in said
    assert "auto takes" in said


def test_doctor_names_the_extra_that_is_missing(bptt, monkeypatch):
    real = sys.modules["bptt.cli.doctor"].importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "polars" else real(name, *rest))
    assert json.loads(bptt("doctor", "--json").stdout)["extras"]["polars"]["install"] == 'pip install "bptt[tables]"'


WAITING = """
import sys, time
from pathlib import Path
from bptt.cli.main import app
from bptt.tasks.task import Task

fit = Task.fit

def wait(moment):
    if moment.update == 20:
        print("waiting", flush=True)
        while not Path("sent").exists():
            time.sleep(0.01)

Task.fit = lambda task, folder, callbacks: fit(task, folder, callbacks=[*callbacks, wait])
app(sys.argv[1:])
"""
"""The program, which after update 20 waits until the signal has been sent."""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_run_which_goes_on_to_the_same_end(here, text, bptt, number, code):
    how = [*SMALL, "--schedule", "constant", "--threads", "1"]
    process = program("train", "text", "--data", text, "--out", "run", *how, code=WAITING, cwd=here)
    while (line := process.stdout.readline()) != "waiting\n":
        assert line, process.stderr.read()
    process.send_signal(number)
    (here / "sent").touch()
    _, told = process.communicate(timeout=600)
    assert process.returncode == code, told
    assert "bptt train text --out run" in told
    assert "Traceback" not in told
    assert 20 <= checkpoints(here / "run" / "checkpoints")[-1] <= 21
    assert bptt("train", "text", "--out", "run").exit_code == 0
    assert bptt("train", "text", "--data", text, "--out", "whole", *how).exit_code == 0
    first, second = load_weights("run", "last"), load_weights("whole", "last")
    assert all(first[name].equal(second[name]) for name in first)


def test_a_reader_that_goes_away_is_no_error(trained):
    with program("generate", trained, "-n", "100000", cwd=trained.parent) as process:
        assert process.stdout.read(10)
        process.stdout.close()
        told = process.stderr.read()
    assert process.returncode == 1
    assert told == ""


def test_the_manual_of_the_demo_says_nothing_twice():
    paragraphs = [" ".join(p.split()) for p in _manual().split("\n\n")]
    assert len(paragraphs) > 1000
    assert len(set(paragraphs)) == len(paragraphs)


@pytest.mark.slow
def test_the_demo_runs_writes_and_says_how_to_go_on(here, bptt):
    result = bptt("demo", "--minutes", "0.2")
    assert result.exit_code == 0, result.stderr
    assert "it writes:" in result.stderr
    for what in ("this model", "unigram", "Kneser-Ney", "loss.png", "bptt generate runs/demo", "What it writes now"):
        assert what in result.stdout
    again = bptt("demo", "--minutes", "0.2")
    assert "is complete" in again.stderr
    assert bptt("demo", "--fresh", "--minutes", "0.05").exit_code == 0
