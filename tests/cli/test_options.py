"""Options of `evaluate`, `generate` and `predict`: each does something or is refused, before anything is written."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import SMALL
from tests.cli.test_bad_input import refused

HOW = ["--hidden", "4", "--epochs", "1", "--history", "14", "--valid", "20", "--test", "20"]


@pytest.fixture
def weather(here, bptt):
    """A forecast run of its own, and its table."""
    stamps = np.datetime64("2001-01-01") + np.arange(120)
    (here / "level.csv").write_text("day,level\n" + "".join(f"{s},{10 + i % 7}.5\n" for i, s in enumerate(stamps)))
    assert bptt("train", "forecast", "--data", "level.csv", "--out", "run", *HOW).exit_code == 0
    return here


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (["--rows", "2"], "--rows means nothing for a run of task 'forecast'.* for text"),
        (["--encoding", "latin-1"], "--encoding says how the file of --data is read.*--data FILE"),
        (["--missing", "drop"], "--missing.*'drop'"),
        (["--part", "train"], "--part.*'train'"),
    ],
)
def test_options_that_mean_nothing_to_a_forecast(weather, bptt, how, said):
    refused(bptt("evaluate", "run", *how), weather, ["level.csv", "run"], said)


@pytest.mark.parametrize("option", ["--missing=forward", "--gaps=keep", "--time-format=%Y", "--separator=;"])
def test_options_that_mean_nothing_to_a_text(trained, here, text, bptt, option):
    said = f"{option.split('=')[0]} means nothing for a run of task 'text'.* for forecast"
    refused(bptt("evaluate", trained, "--data", text, option), here, ["run"], said)


def test_a_newer_table_is_read_as_it_is_told(weather, bptt):
    rows = [f"{d:02}.06.2001;{d}.5" if d != 9 else "09.06.2001;" for d in range(1, 29)]
    (weather / "newer.csv").write_text("day;level\n" + "\n".join(rows) + "\n", encoding="utf-16")
    how = ["--data", "newer.csv", "--encoding", "utf-16", "--separator", ";", "--time-format", "%d.%m.%Y"]
    assert "say what to do with missing values" in bptt("predict", "run", *how).stderr
    made = bptt("predict", "run", *how, "--missing", "forward")
    assert made.exit_code == 0, made.stderr
    assert made.stdout.splitlines()[1].startswith("2001-06-29,")
    measured = bptt("evaluate", "run", *how, "--missing", "forward", "--json")
    assert measured.exit_code == 0, measured.stderr
    assert json.loads(measured.stdout)["targets"]["level"]["count"] == 14


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (["--plot", "y.bmp"], r"\.png, \.svg or \.pdf, got y\.bmp"),
        (["--plot", "level.csv/y.png"], "level.csv is a file"),
        (["--plot", "run"], r"\.png, \.svg or \.pdf"),
        (["--plot", "run.png"], "run.png is a directory"),
    ],
)
def test_a_plot_that_cannot_be_is_refused_before_the_forecast_is_written(weather, bptt, how, said):
    (weather / "run.png").mkdir()
    refused(bptt("predict", "run", "--out", "x.csv", *how), weather, ["level.csv", "run", "run.png"], said)


def test_a_place_that_cannot_be_written_to_is_refused_first(weather, bptt):
    for out, said in (("run", "is a directory"), ("level.csv/x.csv", "is a file")):
        refused(bptt("predict", "run", "--out", out, "--plot", "y.png"), weather, ["level.csv", "run"], said)


def test_a_forecast_replaces_the_old_one_in_one_step(weather, bptt, monkeypatch):
    (weather / "next.csv").write_text("old")

    def full(self, target):
        raise OSError(28, "No space left on device", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        failed = bptt("predict", "run", "--out", "next.csv")
    refused(failed, weather, ["level.csv", "next.csv", "run"], "No space left", code=1)
    assert (weather / "next.csv").read_text() == "old"
    assert bptt("predict", "run", "--out", "next.csv").exit_code == 0
    assert (weather / "next.csv").read_text().startswith("time,level")


def test_a_scale_of_zero_gives_no_mase(here, bptt):
    stamps = np.datetime64("2001-01-01") + np.arange(120)
    (here / "flat.csv").write_text("day,level\n" + "".join(f"{s},{5 if i < 90 else i}\n" for i, s in enumerate(stamps)))
    trained = bptt("train", "forecast", "--data", "flat.csv", "--out", "run", *HOW)
    assert trained.exit_code == 0, trained.stderr
    assert re.search(r"persistence +\S+ +\S+ +– ", trained.stdout)
    measured = bptt("evaluate", "run", "--json")
    assert measured.exit_code == 0, measured.stderr
    assert json.loads(measured.stdout)["targets"]["level"]["scores"]["persistence"]["mase"] is None


@pytest.mark.parametrize("seed", ["-1", str(2**63), "9" * 40])
def test_a_seed_out_of_range_is_told_the_range(trained, here, bptt, seed):
    refused(bptt("generate", trained, "--seed", seed), here, ["run"], r"seed.*0.*9223372036854775807")


def test_the_greatest_seed_writes(trained, bptt):
    assert bptt("generate", trained, "-n", "3", "--seed", 2**63 - 1).exit_code == 0


@pytest.mark.parametrize("value", ["inf", "nan", "-1", "0"])
def test_a_limit_that_is_no_number_is_refused(here, text, bptt, value):
    result = bptt("train", "text", "--data", text, "--out", "run", *SMALL, "--clip-step", value)
    refused(result, here, [], "--clip-step .*(finite|greater than 0)")


def test_a_network_larger_than_the_machine_is_refused_with_both_sizes(here, text, bptt):
    for hidden in ("2000000", "3000000000"):
        result = bptt("train", "text", "--data", text, "--out", "run", *SMALL, "--hidden", hidden)
        refused(result, here, [], f"--hidden {hidden} takes (.*TiB|more than can be counted).*this machine has .*[GM]iB")


def test_what_can_be_read_only_once_is_refused(here, bptt):
    refused(bptt("train", "text", "--data", "/dev/null"), here, [], "/dev/null is a device.*more than once")
    refused(bptt("train", "forecast", "--data", "/dev/null"), here, [], "/dev/null is a device")
    os.mkfifo(here / "pipe")
    refused(bptt("train", "text", "--data", "pipe"), here, ["pipe"], "pipe is a pipe.*write it to a file first")


@pytest.mark.parametrize("option", ["--patience", "--validate-every"])
def test_what_needs_validation_is_refused_without(here, text, bptt, option):
    result = bptt("train", "text", "--data", text, "--valid", "0", "--out", "run", *SMALL, option, "3")
    refused(result, here, [], f"{option} needs something to validate on.*--valid")


def test_far_more_threads_than_cores_are_refused(trained, here, text, bptt):
    for command in (("train", "text", "--data", text), ("evaluate", trained)):
        refused(bptt(*command, "--threads", "100000"), here, ["run"], "--threads 100000: this machine has .* cores")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (["--horizon", "30"], "--valid holds out 20 rows, fewer than the 30 of --horizon"),
        (["--horizon", "30", "--valid", "0"], "--test holds out 20 rows"),
        (["--history", "90"], "leaves 80 rows to learn from.* history 90 and horizon 1 need 91"),
        (["--time-format", "%H"], "'%H' is no form of dates.*--time-format"),
    ],
)
def test_what_would_show_only_after_the_training_is_refused_before(weather, bptt, how, said):
    result = bptt("train", "forecast", "--data", "level.csv", "--out", "second", *HOW, *how)
    refused(result, weather, ["level.csv", "run"], said)


def test_one_quantile_has_no_interval(weather, bptt):
    result = bptt("train", "forecast", "--data", "level.csv", "--out", "one", *HOW, "--set", "quantiles=[0.5]")
    assert result.exit_code == 0, result.stderr
    assert "interval" not in result.stdout
    assert bptt("predict", "one", "--plot", "p.png").stdout.splitlines()[0] == "time,level,level_q0.5"
