"""`bptt train` in several processes: one of them tells what goes wrong, in the time that is stated, and the folder is sound."""

from __future__ import annotations

import json
import re

import pytest
import torch

from bptt.train import load_weights, read_config, read_log


@pytest.mark.parametrize(
    ("what", "codes", "said"),
    [
        ("misuse", [2, 2], "--lr should be greater than 0, got -1.0"),
        ("missing", [1, 2], "there is no file .*in1.txt"),
        ("lacks", [2, 2], "--data .*shards. is not the same .*: process 1 on .* has no file 2.txt, which process 0 on .* has"),
        ("unlike", [2, 2], "not started alike: config.settings.lr: 0.11 in process 1 on .*, 0.01 in process 0 on"),
        ("search", [2, 2], "--search makes runs of one process each"),
        ("taken", [2, 2], "run with other settings: --hidden 5 .there: 4."),
        ("hangs", [1, -9], r"has not answered in the time .*--timeout.*\(not heard of: process 1 of 0..1\)"),
        ("killed", [1, -9], r"has ended, or cannot be reached.*\(not heard of: process 1 of 0..1\)"),
    ],
)
def test_one_process_tells_in_one_line(together, what, codes, said):
    told = together.told[what]
    lines = [line for each in told for line in each["err"].splitlines()]
    assert len(lines) == 1, lines
    assert re.match(f"bptt: .*{said}", lines[0]), lines
    assert [each["code"] for each in told] == codes


@pytest.mark.parametrize("what", ["misuse", "missing", "lacks", "unlike", "search", "port"])
def test_nothing_is_written_for_what_cannot_be(together, what):
    assert not (together.folder / what / "run").exists()


def test_a_port_in_use_is_named_by_the_process_that_needs_it(together):
    first, second = together.told["port"]
    assert re.search(r"^bptt: port \d+ of this host is in use", first["err"])
    assert re.search("^bptt: process 1 of 0..1 did not meet the others at .* within 2 s", second["err"])
    assert (first["code"], second["code"]) == (2, 2)


@pytest.mark.parametrize("what", ["hangs", "killed", "asked"])
def test_a_run_that_lost_a_process_can_be_gone_on_with(together, what):
    folder = together.folder / what / "run"
    assert read_config(folder)["config"]["task"] == "text"
    assert all(torch.isfinite(value).all() for value in load_weights(folder, "last").values())


def test_a_signal_to_one_process_saves_the_run_of_all(together):
    told = together.told["asked"]
    assert [each["code"] for each in told] == [143, 143]
    assert re.match(r"interrupted after update \d+ .* and saved", told[0]["err"])
    assert told[1]["err"] == "\nstopping after this window, once it is saved; again: at once\n" or told[1]["err"] == ""


def test_the_first_process_alone_reports(together):
    first, second = together.told["whole"]
    assert "trained 81 updates" in first["out"]
    assert (second["out"], second["err"], second["code"]) == ("", "", 0)


def test_files_read_page_by_page_make_the_bits_of_one_file(together):
    assert [each["code"] for each in together.told["paged"]] == [0, 0], together.told["paged"]
    one, many = (load_weights(together.folder / name / "run", "last") for name in ("whole", "paged"))
    assert all(value.equal(one[name]) for name, value in many.items())
    kept = json.loads((together.folder / "paged" / "run" / "outlines.json").read_text())
    assert [name for name, *_ in kept["data"]["files"]] == ["0.txt", "1.txt", "2.txt", "3.txt"]


def test_a_killed_worker_is_started_again_and_ends_with_the_same_bits(together):
    (told,) = together.told["restarted"]
    assert told["code"] == 0, told["err"]
    assert re.search(r"going on in run after update \d+", told["err"])
    whole, again = (together.folder / name / "run" for name in ("whole", "restarted"))
    expected = load_weights(whole, "last")
    assert all(torch.equal(value, expected[name]) for name, value in load_weights(again, "last").items())
    updates, same = ([line["update"] for line in read_log(run) if "loss" in line] for run in (again, whole))
    assert updates == same


@pytest.mark.parametrize("what", ["rate", "data", "version", "limits"])
def test_processes_that_differ_are_told_by_name(together, what):
    for each in together.told["refused"]:
        assert re.search(
            rf"^{what}: the 2 processes were not started alike: .* in process 1 on .* in process 0", each["out"], re.M
        )
    assert not (together.folder / "refused").exists()
