"""What the user asked for wrongly, what failed on the way, and what is a fault of bptt are told apart."""

import json

import pytest
import torch

from bptt.cli.errors import exit_code, line, meant_for_the_user
from tests.cli.conftest import SMALL
from tests.cli.test_bad_input import refused


def raised(function, *arguments):
    with pytest.raises(Exception) as caught:
        function(*arguments)
    return caught.value


def test_only_what_bptt_raises_itself_is_for_the_user():
    from bptt.through import Truncated, parse

    assert meant_for_the_user(raised(parse, "truncatd"))
    assert meant_for_the_user(raised(Truncated, 0))
    assert not meant_for_the_user(raised(parse, None))  # an AttributeError within bptt
    assert not meant_for_the_user(raised(int, "x"))
    assert not meant_for_the_user(raised(torch.zeros, "x"))
    assert not meant_for_the_user(raised(torch.zeros(2).view, 3))


def test_a_fault_of_ours_is_called_one(trained, here, bptt, monkeypatch):
    def broken(*_, **__):
        return {} + []

    for name in ("generate", "evaluate"):
        monkeypatch.setattr(f"bptt.tasks.text.task.TrainedText.{name}", broken)
        refused(bptt(name, trained), here, ["run"], "TypeError: unsupported operand.*a fault in bptt.*--debug", code=1)
    monkeypatch.setattr("bptt.tasks.text.task.TrainedText.generate", lambda *_, **__: int("x"))
    refused(bptt("generate", trained), here, ["run"], "ValueError: invalid literal.*a fault in bptt", code=1)


def test_memory_that_is_not_there_is_no_fault_of_ours(trained, here, bptt, monkeypatch):
    def hungry(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to "
                           "allocate 53687091200 bytes. Error code 12 (Cannot allocate memory)")  # fmt: skip

    monkeypatch.setattr("bptt.tasks.text.task.TrainedText.evaluate", hungry)
    refused(bptt("evaluate", trained), here, ["run"], r"not enough memory \(for 50.0 GiB more\).*--rows", code=1)
    assert exit_code(MemoryError()) == 1
    assert "not enough memory" in line(MemoryError())


def test_a_terminal_without_the_letters_is_told_how(trained):
    error = raised("é".encode, "ascii")
    assert "'é'" in line(error)
    assert "PYTHONIOENCODING=utf-8" in line(error)
    assert exit_code(error) == 1


CONFIGS = {
    "no settings": (lambda c: c["config"].pop("settings"), "lacks 'settings'"),
    "no session": (lambda c: c["config"].pop("session"), "lacks 'session'"),
    "settings of a wrong type": (lambda c: c["config"].update(settings=[1]), "is damaged"),
    "a setting of a wrong type": (lambda c: c["config"]["settings"].update(hidden="ten"), "--hidden .*'ten'"),
    "a setting too many": (lambda c: c["config"]["settings"].update(hiden=3), "unknown setting 'hiden'"),
    "no data": (lambda c: c["config"]["session"].pop("data"), "--data is needed"),
    "no such task": (lambda c: c["config"].update(task="txt"), "no task is called 'txt'"),
    "a task that is no name": (lambda c: c["config"].update(task=[1]), "is damaged"),
    "no config": (lambda c: c.pop("config"), "'config'"),
    "config of a wrong type": (lambda c: c.update(config=3), "'config'"),
}


@pytest.mark.parametrize("case", CONFIGS)
@pytest.mark.parametrize("command", [("evaluate",), ("generate",), ("train", "text", "--epochs", "9", "--out")])
def test_a_damaged_record_says_which_file_what_and_how_to_go_on(trained, here, bptt, case, command):
    spoil, said = CONFIGS[case]
    record = json.loads((trained / "config.json").read_text())
    spoil(record)
    (trained / "config.json").write_text(json.dumps(record))
    refused(bptt(*command, trained), here, ["run"], rf"config\.json is damaged.*({said}).*(copy|another folder)|({said}).*copy")


@pytest.mark.parametrize("content", ["[]", "{", "{}", '{"update": "x"}', '{"update": null}'])
def test_a_damaged_best_json_names_itself(trained, here, bptt, content):
    (trained / "best.json").write_text(content)
    refused(bptt("evaluate", trained), here, ["run"], r"best\.json is damaged.*last")
    assert bptt("evaluate", trained, "--which", "last").exit_code == 0


@pytest.mark.parametrize("content", ["[]", "{}", '{"kind": "word"}', '{"kind": "character", "symbols": 3}', '{"kind": "x"}'])
def test_a_damaged_vocabulary_can_be_made_anew(trained, here, bptt, content):
    before = (trained / "vocabulary.json").read_bytes()
    (trained / "vocabulary.json").write_text(content)
    refused(bptt("generate", trained), here, ["run"], r"vocabulary\.json is damaged.*remove it and go on with the training")
    (trained / "vocabulary.json").unlink()
    assert bptt("train", "text", "--out", trained).exit_code == 0
    assert (trained / "vocabulary.json").read_bytes() == before


def test_a_run_made_in_python_is_not_a_task(trained, here, bptt):
    record = json.loads((trained / "config.json").read_text())
    (trained / "config.json").write_text(json.dumps({**record, "config": {"mine": 1}}))
    refused(bptt("evaluate", trained), here, ["run"], "made in Python")


def test_a_run_that_diverged_is_told_the_command_for_another(here, text, bptt):
    result = bptt(
        "train", "text", "--data", text, "--out", "run", *SMALL, "--optimizer", "sgd", "--lr", "1e38", "--clip", "0",
        "--schedule", "constant", "--cell", "rnn",
    )  # fmt: skip
    assert result.exit_code == 1
    command = next(said for said in result.stderr.splitlines() if said.startswith("bptt train text"))
    assert "--start run" in command
    assert "--lr 2.5e+37" in command
    again = command.replace("--start run", "").replace("2.5e+37", "0.01")
    assert bptt(*again.split()[1:], "--out", "second").exit_code == 0
