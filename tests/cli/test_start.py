"""What a run begins with: the settings that its first weights go with are taken over and recorded, never silently."""

import pytest

from bptt.train import read_config
from tests.cli.conftest import SMALL
from tests.cli.test_forecast import series  # noqa: F401


def settings_of(folder):
    return read_config(folder)["config"]["settings"]


def test_the_unit_of_the_first_run_is_taken_over_and_another_is_refused(trained, text, here, bptt):
    small = ["--data", text, "--start", trained, "--out", "second", *SMALL[:-2], "--epochs", "1"]
    refused = bptt("train", "text", *small, "--unit", "word")
    assert refused.exit_code == 2
    assert "--unit word (there: character)" in refused.stderr
    assert not (here / "second").exists()
    assert bptt("train", "text", *small, "--unit", "character").exit_code == 0

    assert bptt("train", "text", *small[:2], "--unit", "byte", "--out", "bytes", *small[6:]).exit_code == 0
    begun = bptt("train", "text", *small[:2], "--start", "bytes", "--out", "third", *small[6:])
    assert begun.exit_code == 0, begun.stderr
    assert settings_of("third")["unit"] == "byte"


def test_going_on_from_another_start_is_refused(trained, text, here, bptt):
    refused = bptt("train", "text", "--out", trained, "--start", here / "elsewhere", "--epochs", "3")
    assert refused.exit_code == 2
    assert f"--start {here / 'elsewhere'} (there: None)" in refused.stderr


@pytest.mark.usefixtures("series")
def test_the_history_scale_and_calendar_of_the_first_run_are_taken_over_and_others_are_refused(here, bptt):
    how = ["--data", "level.csv", "--hidden", "8", "--epochs", "1", "--valid", "40", "--test", "40"]
    first = bptt("train", "forecast", *how, "--out", "f1", "--history", "14", "--scale", "minmax", "--no-calendar")
    assert first.exit_code == 0, first.stderr
    for given, said in (
        (["--history", "20"], "--history 20 (there: 14)"),
        (["--scale", "none"], "--scale none (there: minmax)"),
        (["--calendar"], "--calendar True (there: False)"),
    ):
        refused = bptt("train", "forecast", *how, "--out", "f2", "--start", "f1", *given)
        assert refused.exit_code == 2
        assert said in refused.stderr
        assert not (here / "f2").exists()
    begun = bptt("train", "forecast", *how, "--out", "f2", "--start", "f1")
    assert begun.exit_code == 0, begun.stderr
    assert [settings_of("f2")[key] for key in ("history", "scale", "calendar")] == [14, "minmax", False]
    assert bptt("train", "forecast", "--out", "f2", "--epochs", "2").exit_code == 0
