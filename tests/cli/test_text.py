import json
import subprocess
import sys
from pathlib import Path

import pytest

from bptt.train import load_weights, read_config
from tests.cli.conftest import SMALL, write_text


def weights_equal(a, b):
    first, second = load_weights(a, "last"), load_weights(b, "last")
    return first.keys() == second.keys() and all(first[name].equal(second[name]) for name in first)


def test_training_tells_data_model_strategy_and_how_good_it_is(told):
    for what in (
        "different characters",
        "LSTM 1×8",
        "truncated:k1=16,k2=16",
        "this model",
        "unigram",
        "Kneser-Ney",
        "loss.png",
    ):
        assert what in told
    for command in ("bptt generate", "bptt evaluate", "bptt train text --out"):
        assert command in told


def test_the_folder_holds_the_whole_configuration_and_the_vocabulary(trained, text):
    record = read_config(trained)
    assert record["config"]["task"] == "text"
    assert record["config"]["settings"]["hidden"] == 8
    assert record["config"]["settings"]["lr"] == 0.003
    assert record["config"]["session"]["data"] == str(text)
    assert record["config"]["session"]["epochs"] == 2
    assert json.loads((trained / "vocabulary.json").read_text())["kind"] == "character"


def test_evaluation_says_what_training_said(trained, told, bptt):
    said = bptt("evaluate", trained).stdout
    assert said.strip() in told


def test_evaluation_for_programs(trained, bptt, here):
    figures = json.loads(bptt("evaluate", trained, "--json").stdout)
    assert figures["count"] == figures["baselines"]["measured_on"]
    assert figures["bits"] == pytest.approx(figures["nats"] * 1.4426950408889634)
    assert figures["baselines"]["ngram"] <= figures["baselines"]["unigram"] < figures["baselines"]["uniform"]
    other = write_text(here / "other.txt", words=50)
    assert json.loads(bptt("evaluate", trained, "--data", other, "--json").stdout)["count"] == len(other.read_text()) - 1


def test_one_row_and_many_rows_are_nearly_the_same(trained, bptt):
    figures = [json.loads(bptt("evaluate", trained, "--json", "--rows", rows).stdout) for rows in (1, 4)]
    assert figures[0]["nats"] == pytest.approx(figures[1]["nats"], rel=0.02)


def test_the_same_seed_writes_the_same_text_after_the_prompt(trained, bptt):
    def written(*how):
        return bptt("generate", trained, "--prompt", "the king", "-n", "40", *how).stdout

    first = written("--seed", "5")
    assert first == written("--seed", "5") != written("--seed", "6")
    assert first.startswith("the king")
    assert len(first) == len("the king") + 40 + 1
    assert written("--temperature", "0") == written("--top-k", "1", "--seed", "9")


@pytest.mark.parametrize("which", ["best", "last"])
def test_a_checkpoint_can_be_chosen(trained, bptt, which):
    assert bptt("evaluate", trained, "--which", which).exit_code == 0


def test_a_run_goes_on_by_its_folder_alone_and_ends_as_if_it_had_not_stopped(here, text, bptt):
    straight = ["--schedule", "constant", *SMALL[:-2]]
    assert bptt("train", "text", "--data", text, "--out", "whole", *straight, "--epochs", "3").exit_code == 0
    assert bptt("train", "text", "--data", text, "--out", "parts", *straight, "--epochs", "1").exit_code == 0
    went_on = bptt("train", "text", "--out", "parts", "--epochs", "3")
    assert went_on.exit_code == 0
    assert "going on in parts" in went_on.stderr
    assert weights_equal("whole", "parts")
    complete = bptt("train", "text", "--out", "parts")
    assert complete.exit_code == 0
    assert "is complete" in complete.stderr


def test_options_that_differ_from_the_run_are_named(trained, bptt):
    before = sorted(path.name for path in trained.iterdir())
    result = bptt("train", "text", "--out", trained, "--hidden", "16", "--rows", "4", "--set", "lr=0.5")
    assert result.exit_code == 2
    assert "--hidden 16 (there: 8)" in result.stderr
    assert "--lr 0.5 (there: 0.003)" in result.stderr
    assert "--rows" not in result.stderr
    assert sorted(path.name for path in trained.iterdir()) == before


def test_without_a_folder_each_run_has_its_own(here, text, bptt):
    for name in ("runs/text-text", "runs/text-text-2"):
        assert f"bptt evaluate {name}" in bptt("train", "text", "--data", text, *SMALL[:-2], "--epochs", "1").stdout


@pytest.mark.parametrize(
    ("how", "name"),
    [
        (["--unit", "byte"], "bytes"),
        (["--unit", "word"], "words"),
        (["--unit", "subword", "--vocabulary", "270"], "bits/char"),
        (["--unit", "word", "--embed", "8", "--tie"], "tied"),
    ],
)
def test_every_unit_trains_and_writes(here, text, bptt, how, name):
    result = bptt("train", "text", "--data", text, "--out", "run", *SMALL[:-2], "--epochs", "1", *how)
    assert result.exit_code == 0, result.stderr
    assert name in result.stdout
    assert len(bptt("generate", "run", "-n", "20", "--seed", "1").stdout) > 10


def test_held_out_parts_from_files_of_their_own(here, text, bptt):
    valid, test = write_text(here / "valid.txt", 60), write_text(here / "test.txt", 80)
    result = bptt("train", "text", "--data", text, "--valid", valid, "--test", test, "--out", "run", *SMALL)
    assert result.exit_code == 0, result.stderr
    assert f"On the test part, {len(test.read_text()) - 1}" in result.stdout
    figures = json.loads(bptt("evaluate", "run", "--part", "valid", "--json").stdout)
    assert figures["count"] == len(valid.read_text()) - 1


def test_nothing_held_out(here, text, bptt):
    result = bptt("train", "text", "--data", text, "--valid", "0", "--out", "run", *SMALL)
    assert result.exit_code == 0, result.stderr
    assert "held out" in result.stdout
    assert bptt("evaluate", "run").exit_code == 2
    assert bptt("evaluate", "run", "--data", text).exit_code == 0


def test_the_time_allowed_ends_a_run(here, text, bptt):
    result = bptt("train", "text", "--data", text, "--out", "run", *SMALL, "--epochs", "100000", "--minutes", "0.01")
    assert result.exit_code == 0, result.stderr
    assert "--minutes" in result.stdout


def test_a_configuration_from_a_file_then_set_then_options(here, text, bptt):
    (here / "settings.toml").write_text(f'data = "{text}"\nhidden = 4\nrows = 3\nepochs = 1\ncell = "gru"\n')
    result = bptt(
        "train", "text", "--out", "run", "--config", "settings.toml",
        "--set", "hidden=5", "--set", "rows=2", "--rows", "4", "--through", "full",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    settings = read_config("run")["config"]["settings"]
    assert (settings["hidden"], settings["rows"], settings["cell"], settings["through"]) == (5, 4, "gru", "full")


@pytest.mark.slow
def test_shakespeare_in_ten_minutes(here, real_data):
    """As a user does it, in a process of its own: the defaults, on as many cores as torch takes."""
    data = real_data("tinyshakespeare/input.txt")
    program = [sys.executable, "-m", "bptt"]
    done = subprocess.run(
        [*program, "train", "text", "--data", data, "--out", "run", "--minutes", "10"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = subprocess.run([*program, "evaluate", "run", "--json"], capture_output=True, text=True, check=True).stdout
    figures = json.loads(said)
    assert figures["unit"] == "character"
    assert figures["count"] == 55_769  # the last 5 %
    assert figures["nats"] <= 1.60


def test_a_text_that_changed_since_is_not_split_afresh(here, text, bptt):
    own = here / "own.txt"
    own.write_text(Path(text).read_text())
    assert bptt("train", "text", "--data", own, "--out", "changed", *SMALL).exit_code == 0
    assert bptt("evaluate", "changed").exit_code == 0
    own.write_text(Path(text).read_text()[: len(Path(text).read_text()) // 2])
    result = bptt("evaluate", "changed")
    assert result.exit_code == 2
    assert "has changed since this run learned from it" in result.stderr


def test_variational_dropout_and_dropped_weights_train_write_and_go_on(bptt, here):
    text = write_text(here / "text.txt")
    how = ["--layers", "2", "--variational", "--weight-drop", "0.3", "--dropout", "0.2"]
    result = bptt("train", "text", "--data", text, *SMALL, *how, "--out", "run")
    assert result.exit_code == 0, result.stderr
    assert "variational dropout 0.2, weight drop 0.3" in result.output
    assert any("parametrizations.weight_hh_l1" in name for name in load_weights(here / "run", "last"))
    assert bptt("generate", "run", "-n", "5").exit_code == 0
    assert bptt("train", "text", "--out", "run", "--epochs", "3").exit_code == 0
