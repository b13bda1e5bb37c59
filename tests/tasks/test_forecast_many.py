"""One forecaster for many series: nothing leaks from later rows, of whichever series, and every series has its answers."""

import json

import numpy as np
import pytest

from bptt.tasks.config import settle
from bptt.tasks.follow import answers
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.fitted import Fitted
from bptt.tasks.forecast.task import ForecastTask
from bptt.tasks.forecast.trained import TrainedForecast

SHOPS = {"north": (0, 200, 10.0), "south": (0, 190, 1000.0), "new": (150, 200, 50.0)}


def shops(path, changed_from=None, only=tuple(SHOPS)):
    """Daily sales with a week in them, in scales of their own; from the day ``changed_from`` on they are otherwise."""
    lines = []
    for number, name in enumerate(only):
        begin, end, scale = SHOPS[name]
        rng = np.random.default_rng(number)
        for day in range(begin, end):
            value = scale * (3 + np.sin(day * 2 * np.pi / 7) + rng.normal(0, 0.1))
            if changed_from is not None and day >= changed_from:
                value *= 1 + rng.random()
            lines.append((day, f"{np.datetime64('2001-01-01') + day},{name},{value:.4f}"))
    path.write_text("day,shop,sold\n" + "\n".join(line for _, line in sorted(lines)) + "\n")
    return path


HOW = {
    "series": "shop", "target": ["sold"], "hidden": 8, "epochs": 1, "history": 14, "horizon": 2, "valid": 20, "test": 30,
    "dropout": 0.0, "norm": "window",
}  # fmt: skip


def task_of(path, **how):
    return ForecastTask(settle(ForecastSettings, options={"data": str(path), **HOW, **how}))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    path = shops(folder / "a.csv")
    task_of(path).fit(folder / "run", progress=False)
    return folder / "run", path


@pytest.mark.parametrize("lags", [0, 7])
def test_the_future_of_no_series_changes_the_past_of_any(tmp_path, lags):
    made = {}
    for name, changed_from in (("as it was", None), ("otherwise", 180)):
        task = task_of(shops(tmp_path / f"{name}.csv", changed_from), lags=lags)
        folder = tmp_path / f"run {name}"
        task.fit(folder, progress=False)
        trained = TrainedForecast(folder)
        held = trained._held_out(trained._panel(None, {}), None, "test")
        assert set(held) == set(SHOPS)
        found = {series: trained._forecasts(each) for series, each in held.items()}
        made[name] = task, found, {series: each.table for series, each in held.items()}
    (before, found, tables), (after, again, _) = made.values()
    fitted, refitted = before.fitted(), after.fitted()
    assert fitted == refitted
    for name, weights in before.model.state_dict().items():
        assert weights.equal(after.model.state_dict()[name]), name
    for name, (origins, quantiles) in found.items():
        untouched = tables[name].times[origins] < np.datetime64("2001-01-01") + 180
        assert untouched.any()
        np.testing.assert_array_equal(quantiles[untouched], again[name][1][untouched])
        assert not np.array_equal(quantiles, again[name][1])


def test_a_series_that_begins_in_the_test_part_is_measured_but_not_learned(run):
    folder, path = run
    task = task_of(path)
    assert (task.learned, len(task.what.series)) == (2, 3)
    assert "1 of the series are too short to learn from" in dict(task.describe()[::-1]).get("", "")
    own = task.what.series["new"]
    assert own.cut.learned(task.panel.tables["new"]) == 0
    first = task.panel.tables["new"].values[:14, 0]
    assert own.scaler.center[0] == pytest.approx(first.mean())
    report = TrainedForecast(folder).evaluate()
    found = report.figures["targets"]["sold"]
    assert found["series"] == 3
    assert {"this model", "persistence", "a week ago", "exponential smoothing, every week"} <= set(found["scores"])
    assert set(report.headline) == {"sMAPE", "MASE"}
    by_hand = np.mean([each["this model"] for each in found["smape_by_series"].values()])
    assert found["scores"]["this model"]["smape"] == pytest.approx(by_hand)


def test_one_answer_after_another_is_that_of_the_whole(run, tmp_path):
    folder, path = run
    trained = TrainedForecast(folder)
    whole = trained.predict().columns()
    assert whole["shop"] == [name for name in SHOPS for _ in range(2)] or set(whole["shop"]) == set(SHOPS)
    header, *lines = path.read_text().splitlines()
    last = {}
    with pytest.raises(ValueError, match="every row says which series"):
        trained.follow().step({"day": "2001-01-01", "sold": 1})
    with pytest.raises(ValueError, match="shop 'east' was not trained on"):
        trained.follow().step({"day": "2001-01-01", "shop": "east", "sold": 1})
    follower = trained.follow()
    for answer in answers(follower, [header, *lines]):
        last[answer["shop"]] = answer
    windowed = TrainedForecast(folder)
    for name in SHOPS:
        assert last[name]["time"] == [t for t, s in zip(whole["time"], whole["shop"], strict=True) if s == name]
    assert windowed.what.to_json() == json.loads(json.dumps(windowed.what.to_json()))
    assert Fitted.from_json(windowed.what.to_json()).to_json() == windowed.what.to_json()


def test_a_file_of_other_series_is_measured_and_forecast(run, tmp_path):
    folder, _ = run
    trained = TrainedForecast(folder)
    other = tmp_path / "b.csv"
    other.write_text(shops(tmp_path / "c.csv", only=("north", "south")).read_text().replace("north", "east"))
    columns = trained.predict(str(other)).columns()
    assert set(columns["shop"]) == {"east", "south"}
    assert trained.evaluate(str(other)).figures["targets"]["sold"]["series"] == 2
    lines = trained.predict(str(other)).file("csv").decode().splitlines()
    assert lines[0].startswith("shop,time,sold,sold_q0.05")
    short = tmp_path / "short.csv"
    short.write_text("\n".join(other.read_text().splitlines()[:8]) + "\n")
    with pytest.raises(ValueError, match=r"series 'east' of .* each forecast reads the 14 before it"):
        trained.predict(str(short))


def test_a_series_a_row_with_what_came_later_in_a_file_of_its_own(tmp_path):
    rng = np.random.default_rng(0)
    values = [s * (2 + np.sin(np.arange(80) * np.pi / 3) + rng.normal(0, 0.05, 80)) for s in (1, 30, 500)]
    for name, a, b in (("train", 0, 74), ("test", 74, 80)):
        rows = [f"S{n}," + ",".join(f"{v:.4f}" for v in each[a : b - n * (name == "train")]) for n, each in enumerate(values)]
        width = max(row.count(",") for row in rows)
        head = ",".join(f"V{i}" for i in range(width + 1))
        body = "\n".join(row + "," * (width - row.count(",")) for row in rows)
        (tmp_path / f"{name}.csv").write_text(f"{head}\n{body}\n")
    task = ForecastTask(settle(ForecastSettings, options={
        "data": str(tmp_path / "train.csv"), "later": str(tmp_path / "test.csv"), "wide": True, "season": [6], "horizon": 6,
        "history": 24, "lags": 6, "valid": 6, "hidden": 8, "epochs": 8, "lr": 0.02, "norm": "window", "apart": True,
    }))  # fmt: skip
    assert {name: parts.test[1] - parts.test[0] for name, parts in task.parts.items()} == {"S0": 6, "S1": 6, "S2": 6}
    task.fit(tmp_path / "run", progress=False)
    trained = task.open(tmp_path / "run")
    scores = trained.evaluate().figures["targets"]["value"]["scores"]
    assert scores["this model"]["smape"] < scores["persistence"]["smape"]
    assert {"6 rows ago", "exponential smoothing, every 6 rows"} <= set(scores)
    assert task.pictures(tmp_path / "run", trained.evaluate())[-1].stat().st_size > 10_000
    with pytest.raises(ValueError, match="a row for each series"):
        trained.follow()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"series": None}, "say which column names the series, --series COLUMN"),
        ({"history": 300}, "no series of .* has the 302 rows to learn from"),
        ({"until": "2000-02-01"}, "--until 2000-02-01 leaves nothing: the rows begin at 2001-01-01"),
        ({"lags": 14}, "--lags 14 values need a longer --history, which is 14"),
        ({"until": "soon"}, "--until: expected a number of rows, or a time"),
        ({"season": [1]}, "a season has two rows or more"),
    ],
)
def test_what_cannot_be_learned_is_said(tmp_path, how, said):
    with pytest.raises(ValueError, match=said):
        task_of(shops(tmp_path / "a.csv"), **how)


def test_what_grows_in_proportion_is_read_as_logarithms(tmp_path):
    path = shops(tmp_path / "a.csv")
    task = task_of(path, scale="log", lags=7, norm="none")
    own = task.what.series["north"]
    learned = task.panel.tables["north"].values[: own.cut.learned(task.panel.tables["north"]), 0]
    assert own.scaler.center[0] == pytest.approx(np.log(learned).mean())
    np.testing.assert_allclose(own.scaler.inverse(own.scaler.transform(np.full((1, len(own.scaler.center)), 2.0)))[0], 2.0)
    task.fit(tmp_path / "run", progress=False)
    trained = TrainedForecast(tmp_path / "run")
    columns = trained.predict().columns()
    scale = {name: 3 * each for name, (_, _, each) in SHOPS.items()}
    assert all(0.4 < value / scale[name] < 2.5 for name, value in zip(columns["shop"], columns["sold"], strict=True))
    with pytest.raises(ValueError, match="--point mean would be the mean of logarithms"):
        task_of(path, scale="log", point="mean")
    below = tmp_path / "b.csv"
    below.write_text(path.read_text().replace("2001-01-05,south,", "2001-01-05,south,-"))
    with pytest.raises(ValueError, match=r"series 'south', sold is -\d+.* at 2001-01-05, and --scale log takes logarithms"):
        task_of(below, scale="log")


@pytest.mark.parametrize("transform", ["return", "volatility"])
def test_returns_are_forecast_beside_a_random_walk(tmp_path, transform):
    rng = np.random.default_rng(0)
    prices = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, 400)))
    path = tmp_path / "p.csv"
    path.write_text("day,price\n" + "".join(f"{np.datetime64('2001-01-01') + i},{p:.5f}\n" for i, p in enumerate(prices)))
    task = ForecastTask(settle(ForecastSettings, options={
        "data": str(path), "transform": transform, "hidden": 4, "epochs": 1, "history": 20, "valid": 50, "test": 150,
    }))  # fmt: skip
    wanted = 100 * np.diff(np.log(np.round(prices, 5)))
    np.testing.assert_allclose(task.panel.first.values[:, 0], wanted if transform == "return" else np.abs(wanted))
    task.fit(tmp_path / "run", progress=False)
    trained = task.open(tmp_path / "run")
    found = trained.evaluate().figures["targets"]["price"]
    assert ("random walk" in found["scores"]) == (transform == "return")
    if transform == "return":
        assert found["scores"]["random walk"]["mae"] == pytest.approx(np.abs(wanted[-150:]).mean())
    with pytest.raises(ValueError, match="takes values as they are"):
        trained.follow()
    path.write_text(path.read_text().replace("2001-01-03,", "2001-01-03,-"))
    with pytest.raises(ValueError, match=f"at 2001-01-03, and --transform {transform} takes logarithms"):
        ForecastTask(task.settings)
