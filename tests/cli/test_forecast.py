import csv
import json

import numpy as np
import pytest

from bptt.train import load_weights

HOW = ["--hidden", "8", "--epochs", "2", "--history", "14", "--valid", "40", "--test", "40"]


@pytest.fixture
def series(here):
    rng = np.random.default_rng(0)
    values = 10 + 3 * np.sin(np.arange(300) * 2 * np.pi / 7) + rng.normal(0, 0.3, 300)
    stamps = np.datetime64("2001-01-01") + np.arange(300)
    path = here / "level.csv"
    path.write_text("day,level\n" + "".join(f"{s},{v:.4f}\n" for s, v in zip(stamps, values, strict=True)))
    return path


def test_from_a_table_to_a_forecast_with_a_picture(here, series, bptt):
    trained = bptt("train", "forecast", "--data", series, "--horizon", "3", *HOW)
    assert trained.exit_code == 0, trained.stderr
    for what in ("300 rows", "every 1d", "persistence", "a week ago", "this model", "in the 90% interval", "MAE is"):
        assert what in trained.stdout
    run = here / "runs" / "forecast-level"
    for picture in ("loss.png", "backtest.png"):
        assert (run / picture).read_bytes().startswith(b"\x89PNG")

    figures = json.loads(bptt("evaluate", run, "--json").stdout)["targets"]["level"]
    assert figures["count"] == 38 * 3
    assert len(figures["mae_by_step"]) == 3

    made = bptt("predict", run, "--out", "out/next.csv", "--plot", "out/next.png")
    assert made.exit_code == 0, made.stderr
    rows = list(csv.DictReader((here / "out" / "next.csv").read_text().splitlines()))
    assert [row["time"] for row in rows] == ["2001-10-28", "2001-10-29", "2001-10-30"]
    for row in rows:
        assert float(row["level_q0.05"]) < float(row["level"]) == float(row["level_q0.5"]) < float(row["level_q0.95"])
    assert (here / "out" / "next.png").read_bytes().startswith(b"\x89PNG")
    assert list(csv.DictReader(bptt("predict", run).stdout.splitlines())) == rows


def test_it_goes_on_and_ends_as_if_it_had_not_stopped(here, series, bptt):
    straight = ["--data", series, "--schedule", "constant", *HOW]
    assert bptt("train", "forecast", "--out", "whole", *straight, "--epochs", "3").exit_code == 0
    assert bptt("train", "forecast", "--out", "parts", *straight, "--epochs", "1").exit_code == 0
    assert bptt("train", "forecast", "--out", "parts", "--epochs", "3").exit_code == 0
    first, second = load_weights("whole", "last"), load_weights("parts", "last")
    assert all(first[name].equal(second[name]) for name in first)


def test_a_picture_of_an_unknown_kind_is_refused(here, series, bptt):
    assert bptt("train", "forecast", "--data", series, "--out", "run", *HOW).exit_code == 0
    result = bptt("predict", "run", "--plot", "next.bmp")
    assert result.exit_code == 2
    assert "next.bmp" in result.stderr
    refused = bptt("generate", "run")
    assert refused.exit_code == 2
    assert "bptt generate does not serve a run of task 'forecast', as run holds: bptt predict run" in refused.stderr


def test_rows_that_are_only_numbered(here, bptt):
    (here / "n.csv").write_text("level\n" + "".join(f"{i % 5}.5\n" for i in range(200)))
    result = bptt("train", "forecast", "--data", "n.csv", "--out", "run", *HOW)
    assert result.exit_code == 0, result.stderr
    assert bptt("predict", "run").stdout.splitlines()[1].startswith("200,")


def test_days_without_weekends_are_taken_as_they_follow(here, bptt):
    days = [d for d in np.datetime64("2001-01-01") + np.arange(300) if np.is_busday(d)]
    (here / "price.csv").write_text("day,price\n" + "".join(f"{d},{100 + i % 7}\n" for i, d in enumerate(days)))
    result = bptt("train", "forecast", "--data", "price.csv", "--out", "run", *HOW)
    assert result.exit_code == 0, result.stderr
    assert "rows are taken as they follow" in result.stdout
    assert bptt("predict", "run", "--plot", "p.png").stdout.splitlines()[1].startswith("+1,")


def test_known_columns_that_end_too_early_are_asked_for(here, bptt):
    days = np.datetime64("2001-01-01") + np.arange(200)
    rows = [f"{d},{i % 7},{i % 2}" for i, d in enumerate(days)]
    (here / "sales.csv").write_text("day,sales,open\n" + "\n".join(rows) + "\n")
    how = ["--target", "sales", "--known", "open", "--out", "run", *HOW]
    assert bptt("train", "forecast", "--data", "sales.csv", *how).exit_code == 0
    result = bptt("predict", "run")
    assert result.exit_code == 2
    assert "needs open" in result.stderr
    (here / "more.csv").write_text("day,sales,open\n" + "\n".join(rows) + "\n2001-07-20,,1\n")
    assert bptt("predict", "run", "--data", "more.csv").stdout.splitlines()[1].startswith("2001-07-20,")


def test_several_seeds_and_what_they_reach_together(here, series, bptt):
    made = bptt("train", "forecast", "--data", series, "--out", "many", "--seeds", "2", *HOW)
    assert made.exit_code == 0, made.stderr
    assert "median" in made.stdout
    found = json.loads((here / "many" / "seeds.json").read_text())
    assert set(found["seeds"]) == {"0", "1"}
    assert set(found["median"]) == {"MAE", "RMSE", "MASE"}


def test_many_series_from_the_command_line(here, bptt):
    rows = [f"{np.datetime64('2001-01-01') + day},{name},{size * (3 + day % 7)}" for day in range(120) for name, size in
            (("a", 1), ("b", 50))]  # fmt: skip
    (here / "shops.csv").write_text("day,shop,sold\n" + "\n".join(rows) + "\n")
    how = ["--series", "shop", "--target", "sold", "--horizon", "2", "--hidden", "4", "--epochs", "1", "--history", "14"]
    made = bptt("train", "forecast", "--data", "shops.csv", "--out", "run", *how)
    assert made.exit_code == 0, made.stderr
    assert "mean over 2 series" in made.stdout
    assert "sMAPE" in made.stdout
    answered = bptt("predict", "run", "--plot", "next.png")
    rows = list(csv.DictReader(answered.stdout.splitlines()))
    assert [(row["shop"], row["time"]) for row in rows] == [
        ("a", "2001-05-01"), ("a", "2001-05-02"), ("b", "2001-05-01"), ("b", "2001-05-02")
    ]  # fmt: skip
    assert (here / "next.png").read_bytes().startswith(b"\x89PNG")
    refused = bptt("train", "forecast", "--data", "shops.csv", "--target", "sold", "--out", "other")
    assert refused.exit_code == 2
    assert "--series COLUMN" in refused.stderr
    assert not (here / "other").exists()
