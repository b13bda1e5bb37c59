import json

import numpy as np
import pytest

from bptt.tasks.config import settle
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.fitted import Fitted
from bptt.tasks.forecast.task import ForecastTask


def write_series(path, rows=420, changed_from=None, seed=0):
    """Daily values with a week in them; from ``changed_from`` on they are shuffled, as a future that was otherwise."""
    rng = np.random.default_rng(seed)
    values = 10 + 3 * np.sin(np.arange(rows) * 2 * np.pi / 7) + rng.normal(0, 0.3, rows)
    if changed_from is not None:
        values[changed_from:] = rng.permutation(values[changed_from:]) * 3
    stamps = np.datetime64("2001-01-01") + np.arange(rows)
    path.write_text("day,level\n" + "".join(f"{s},{v:.6f}\n" for s, v in zip(stamps, values, strict=True)))
    return path


def task_of(path, **how):
    options = {"data": str(path), "hidden": 8, "epochs": 2, "history": 14, "valid": 50, "test": 50, "dropout": 0.0, **how}
    return ForecastTask(settle(ForecastSettings, options=options))


@pytest.mark.parametrize("horizon", [1, 3])
def test_the_future_does_not_change_the_past(tmp_path, horizon):
    """Everything fitted, every training step, and every forecast from before the change is bit for bit the same."""
    runs = {}
    for name, changed_from in (("as it was", None), ("shuffled", 370 + 20)):
        task = task_of(write_series(tmp_path / f"{name}.csv", changed_from=changed_from), horizon=horizon)
        folder = tmp_path / f"run {name}"
        task.fit(folder, progress=False)
        trained = task.open(folder)
        origins, quantiles = trained._forecasts(trained._held_out(trained._panel(None, {}), None, "test")[""])
        runs[name] = task, origins, quantiles
    (before, origins, made), (after, _, remade) = runs.values()
    assert before.fitted() == after.fitted()
    for name, weights in before.model.state_dict().items():
        assert weights.equal(after.model.state_dict()[name]), name
    untouched = origins < 390
    assert untouched.sum() >= 20
    np.testing.assert_array_equal(made[untouched], remade[untouched])
    assert not np.array_equal(made, remade)


def test_the_test_part_is_what_was_asked_for_and_every_row_of_it_is_forecast(tmp_path):
    task = task_of(write_series(tmp_path / "a.csv"))
    task.fit(tmp_path / "run", progress=False)
    report = task.open(tmp_path / "run").evaluate()
    assert report.figures["targets"]["level"]["count"] == 50
    assert set(report.figures["targets"]["level"]["scores"]) == {
        "this model", "persistence", "persistence, as wide as of late", "a week ago", "mean of the time of week",
        "exponential smoothing", "exponential smoothing, every week",
    }  # fmt: skip


def test_it_beats_persistence_where_there_is_something_to_learn(tmp_path):
    task = task_of(write_series(tmp_path / "a.csv"), epochs=12, lr=0.02)
    task.fit(tmp_path / "run", progress=False)
    scores = task.open(tmp_path / "run").evaluate().figures["targets"]["level"]["scores"]
    assert scores["this model"]["mae"] < 0.5 * scores["persistence"]["mae"]


def test_a_forecast_beyond_the_end_has_its_time_stamps_and_its_quantiles_in_order(tmp_path):
    task = task_of(write_series(tmp_path / "a.csv"), horizon=4)
    task.fit(tmp_path / "run", progress=False)
    outlook = task.open(tmp_path / "run").predict()
    lines = outlook.file("csv").decode().splitlines()
    assert lines[0] == "time,level,level_q0.05,level_q0.25,level_q0.5,level_q0.75,level_q0.95"
    assert [line.split(",")[0] for line in lines[1:]] == ["2002-02-25", "2002-02-26", "2002-02-27", "2002-02-28"]
    assert (np.diff(outlook.quantiles, axis=-1) > 0).all()


def test_a_forecast_goes_on_from_newer_data(tmp_path):
    task = task_of(write_series(tmp_path / "a.csv"))
    task.fit(tmp_path / "run", progress=False)
    trained = task.open(tmp_path / "run")
    newer = write_series(tmp_path / "b.csv", rows=100, seed=5)
    assert trained.predict(str(newer)).file("csv").decode().splitlines()[1].startswith("2001-04-11")
    assert trained.evaluate(str(newer)).figures["targets"]["level"]["count"] == 86


def test_rows_of_another_step_are_refused(tmp_path):
    task = task_of(write_series(tmp_path / "a.csv"))
    task.fit(tmp_path / "run", progress=False)
    (tmp_path / "m.csv").write_text("day,level\n" + "".join(f"200{y}-{m:02}-01,{m}\n" for y in range(5) for m in range(1, 13)))
    with pytest.raises(ValueError, match=r"1mo apart.*rows 1d apart"):
        task.open(tmp_path / "run").predict(str(tmp_path / "m.csv"))


def test_covariates_missing_values_and_several_targets(tmp_path):
    rng = np.random.default_rng(0)
    lines = [f"2001-{1 + i // 28:02}-{1 + i % 28:02},{rng.normal():.3f},{'' if i % 17 == 3 else i},{i % 2}" for i in range(300)]
    path = tmp_path / "a.csv"
    path.write_text("day,a,b,holiday\n" + "\n".join(lines) + "\n")
    task = task_of(path, target=["a", "b"], known=["holiday"], missing="mask", gaps="keep", history=7, valid=30, test=30)
    task.fit(tmp_path / "run", progress=False)
    report = task.open(tmp_path / "run").evaluate()
    assert set(report.figures["targets"]) == {"a", "b"}
    assert report.figures["targets"]["b"]["count"] < report.figures["targets"]["a"]["count"] == 30


def test_what_was_fitted_comes_back_from_json(tmp_path):
    task = task_of(write_series(tmp_path / "a.csv", rows=900))
    kept = task.fitted()
    assert kept == json.loads(json.dumps(kept))
    assert Fitted.from_json(kept).to_json() == kept
    assert kept["seasons"] == {"week": 7, "year": 365}


@pytest.mark.slow
def test_melbourne_below_persistence_and_every_seasonal_baseline(tmp_path, real_data):
    data = real_data("weather/daily-min-temperatures.csv")
    task = ForecastTask(settle(ForecastSettings, options={"data": str(data), "test": "2y"}))
    task.fit(tmp_path / "run", progress=False)
    scores = task.open(tmp_path / "run").evaluate().figures["targets"]["Temp"]["scores"]
    model = scores.pop("this model")["mae"]
    assert model < 1.75
    assert model < 0.9 * min(plain["mae"] for plain in scores.values())
