"""Little data, little time, numbers beyond all bounds: what is told, and what can be done about it."""

import numpy as np
import pytest

from bptt.tasks.forecast.score import measured, score as score_forecast
from tests.cli.conftest import SMALL

HOW = ["--hidden", "4", "--epochs", "1", "--history", "7", "--out", "run"]


def test_a_text_shorter_than_the_rows_is_measured(trained, here, bptt):
    (here / "short.txt").write_text("no")
    result = bptt("evaluate", trained, "--data", "short.txt")
    assert result.exit_code == 0, result.stderr
    assert "On short.txt, 1 characters" in result.stdout


def test_a_limit_of_time_can_be_lifted(here, text, bptt):
    assert bptt("train", "text", "--data", text, "--out", "run", *SMALL, "--minutes", "0.00001").exit_code == 0
    spent = bptt("train", "text", "--out", "run", "--epochs", "2")
    assert "--minutes 0 sets no limit" in spent.stdout
    lifted = bptt("train", "text", "--out", "run", "--minutes", "0")
    assert "2 whole epochs" in lifted.stdout
    assert "--minutes" not in lifted.stdout


def test_a_model_gone_astray_is_called_so_in_a_narrow_table(here, text, bptt):
    how = ["--optimizer", "sgd", "--lr", "1e8", "--clip", "0", "--schedule", "constant", "--epochs", "1"]
    result = bptt("train", "text", "--data", text, "--out", "run", *SMALL[:-2], *how)
    assert result.exit_code == 0, result.stderr
    assert "worse than holding every character equally likely" in result.stdout
    assert "lower --lr" in result.stdout
    assert max(map(len, result.stdout.split("On the ")[1].split("The model")[0].splitlines())) < 70


def remarks(truth, model, plain):
    made = np.full((4, 1, 1, 1), model)
    found = measured(np.full((4, 1, 1), truth), made, made[..., 0], plain, np.ones(1), np.ones(1), {})
    return " ".join(score_forecast("x", ["level"], found, [0.5]).remarks)


def test_a_forecaster_far_worse_than_all_is_called_so():
    plain = {"a": np.full((4, 1, 1), 2.0), "b": np.full((4, 1, 1), 3.0)}
    assert "lower --lr" in remarks(1.0, 6.0, plain)
    assert "lower --lr" not in remarks(1.0, 4.0, plain)
    assert "1e+12% ABOVE" in remarks(1.0, 1e10, plain)
    assert "no error at all" in remarks(2.0, 2.0, plain)
    assert "%" not in remarks(2.0, 2.5, plain)


@pytest.mark.parametrize(
    ("values", "how", "said"),
    [
        (["1e308", "-1e308"], [], "the column 'level' holds a number of the size 1e+308, expected at most 1e+36"),
        (["", ""], ["--missing", "mask"], "t.csv has no value in any of its 90 rows"),
    ],
)
def test_columns_that_cannot_be_learned_are_named(here, bptt, values, how, said):
    (here / "t.csv").write_text("n,level,more\n" + "".join(f"{i},{values[i % 2]},1\n" for i in range(90)))
    result = bptt("train", "forecast", "--data", "t.csv", "--target", "level", *HOW, *how)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (here / "run").exists()


def test_where_nothing_was_held_out_that_is_said(here, bptt):
    (here / "t.csv").write_text("level\n" + "".join(f"{i % 7}\n" for i in range(90)))
    trained = bptt("train", "forecast", "--data", "t.csv", "--valid", "0", "--test", "0", *HOW)
    assert trained.exit_code == 0, trained.stderr
    result = bptt("evaluate", "run")
    assert result.exit_code == 2
    assert "this run held out nothing to measure it on" in result.stderr


def test_a_column_empty_where_it_is_learned_from_is_named(here, bptt):
    (here / "t.csv").write_text("n,level\n" + "".join(f"{i},{i if i > 80 else ''}\n" for i in range(90)))
    result = bptt("train", "forecast", "--data", "t.csv", "--target", "level", *HOW, "--missing", "mask")
    assert result.exit_code == 2
    assert "the column 'level'" in result.stderr
    assert "is empty in the 63 rows to learn from" in result.stderr
