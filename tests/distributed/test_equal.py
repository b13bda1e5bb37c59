"""Several processes make the weights that one with all rows makes, in double precision, and can leave them to others."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

import bptt
from bptt.train import load_weights
from tests.distributed.cases import CASES, RESUMED, STOPS, make, outcome, updates
from tests.tolerances import assert_close


@pytest.mark.parametrize("size", [4, 2])
def test_all_processes_come_to_an_end(together, size):
    assert [each["code"] for each in together.told[f"equal {size}"]] == [0] * size, together.told[f"equal {size}"]


@pytest.mark.parametrize("case", CASES)
def test_several_processes_make_the_weights_of_one(together, case):
    alone = outcome(make(case), updates(case))
    number = list(CASES).index(case)
    for size in (2, 4):
        found = safetensors.torch.load_file(together.folder / f"{size}-{number}.safetensors")
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            assert_close(found[name], value, f"{name} of {size} processes")


def test_files_make_the_weights_of_an_array():
    paged, array = (outcome(make(case), 8) for case in ("text in files", "truncated, k2 longer"))
    assert all(value.equal(array[name]) for name, value in paged.items())


@pytest.mark.parametrize("case", RESUMED)
def test_another_number_of_processes_goes_on(together, case):
    folder = together.folder / f"resumed {case}"
    make(case, folder).fit(updates=STOPS[3])
    alone = outcome(make(case), STOPS[3])
    for name, value in load_weights(folder, "last").items():
        assert_close(value, alone[name], name)


def test_several_processes_write_a_large_checkpoint_in_parts(together):
    case = "truncated, k2 longer"
    path = together.folder / f"resumed {case}" / "checkpoints" / f"{STOPS[2]:08d}"
    parts = sorted(file.name for file in path.glob("*-of-*.safetensors"))
    assert len([name for name in parts if name.startswith("model-")]) > 2
    assert len([name for name in parts if name.startswith("train-")]) > 1
    alone = outcome(make(case), STOPS[2])
    for name, value in load_weights(path.parents[1], STOPS[2]).items():
        assert_close(value, alone[name], name)


def test_the_same_number_goes_on_with_the_same_random_numbers(together):
    said = [each["out"].split() for each in together.told["exact"]]
    assert [each[:2] for each in said] == [["same", "bits"]] * 2, together.told["exact"]
    assert said[0][2] != said[1][2], "both processes draw the same numbers"


def test_buffers_that_differ_are_those_of_the_first_process(together):
    saved = load_weights(together.folder / "buffers", "last")
    assert list((together.folder / "buffers" / "checkpoints" / "00000002").glob("model-*-of-*.safetensors"))
    for name in ("first", "second", "third"):
        assert (saved[name] == 1).all(), name


def test_what_is_asked_by_time_is_saved_by_time(together):
    saved = {path.name for path in (together.folder / "exact" / "checkpoints").iterdir()}
    assert saved >= {f"{update:08d}" for update in range(6, 13)}


def test_what_is_carried_forward_stays_with_its_processes(together):
    with pytest.raises(ValueError, match=r"rtrl:.* by 2 processes.*go on with 2"):
        make("forward in time", together.folder / "forward", through=bptt.RTRL(5)).fit(updates=2)


def test_a_group_of_one_is_a_process_alone(together):
    assert torch.distributed.is_available()
    assert make("full").processes.size == 1
