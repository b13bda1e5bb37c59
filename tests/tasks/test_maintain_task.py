import math

import numpy as np
import pytest
import torch

from bptt.tasks.config import settle
from bptt.tasks.maintain.alarm import alarm_at, best_age, best_alarm
from bptt.tasks.maintain.config import MaintainSettings
from bptt.tasks.maintain.fitted import Fitted
from bptt.tasks.maintain.parts import read_parts
from bptt.tasks.maintain.score import nasa, score
from bptt.tasks.maintain.task import MaintainTask


def worn(path, units=30, seed=0, ends=None):
    """Machines that wear: a sensor rises towards the failure, one is noise, one never moves."""
    rng = np.random.default_rng(seed)
    left = []
    with path.open("w") as file:
        file.write("unit,cycle,wear,noise,still\n")
        for unit in range(units):
            life = int(rng.integers(20, 50))
            stop = life if ends is None else int(rng.integers(10, life))
            left.append(life - stop)
            for cycle in range(1, stop + 1):
                file.write(f"u{unit},{cycle},{math.exp(-(life - cycle) / 10):.4f},{rng.normal():.4f},3\n")
    if ends is not None:
        ends.write_text("".join(f"{each}\n" for each in left))
    return path


def settings_of(path, **how):
    options = {"data": str(path), "hidden": 8, "epochs": 2, "rows": 4, "cap": 25.0, "lead": 3.0, "failure": 50.0, **how}
    return settle(MaintainSettings, options=options)


def test_it_beats_what_takes_no_network(tmp_path):
    given = settings_of(
        worn(tmp_path / "a.csv"), epochs=60, lr=0.02, dropout=0.0, noise=0.02,
        test=str(worn(tmp_path / "t.csv", seed=1, ends=tmp_path / "ends.txt")), truth=str(tmp_path / "ends.txt"),
    )  # fmt: skip
    task = MaintainTask(given)
    assert task.what.constant == ("still",)
    task.fit(tmp_path / "run", progress=False)
    report = task.open(tmp_path / "run").evaluate()
    scores = report.figures["scores"]
    assert report.figures["units"] == report.figures["count"] == 30
    assert report.headline == {"RMSE": scores["this model"]["rmse"], "MAE": scores["this model"]["mae"],
                               "NASA score": scores["this model"]["nasa"]}  # fmt: skip
    assert scores["this model"]["rmse"] < 0.7 * min(scores[label]["rmse"] for label in scores if label != "this model")
    assert report.figures["alarm"]["cost"] < report.figures["age"]["cost"]
    assert task.pictures(tmp_path / "run", report)[-1].stat().st_size > 10_000


def test_what_comes_later_changes_no_prediction(tmp_path):
    task = MaintainTask(settings_of(worn(tmp_path / "a.csv")))
    task.fit(tmp_path / "run", progress=False)
    trained = task.open(tmp_path / "run")
    units = task.parts.train.take([0, 1, 2])
    whole = trained.lives(units)
    changed = [values.copy() for values in units.values]
    for values in changed:
        values[10:] = np.random.default_rng(3).normal(size=values[10:].shape)
    other = trained.lives(type(units)(units.unit, units.cycle, units.sensors, units.names, units.cycles, tuple(changed)))
    for before, after in zip(whole, other, strict=True):
        np.testing.assert_array_equal(before[:10], after[:10])
        assert not np.array_equal(before, after)


def test_a_unit_is_judged_alone_as_beside_others(tmp_path):
    task = MaintainTask(settings_of(worn(tmp_path / "a.csv")))
    task.fit(tmp_path / "run", progress=False)
    trained, units = task.open(tmp_path / "run"), task.parts.valid
    together = trained.lives(units)
    for number, one in enumerate(together):
        np.testing.assert_allclose(trained.lives(units.take([number]))[0], one, atol=1e-4)


def test_everything_is_fitted_to_the_units_learned_from(tmp_path):
    parts = read_parts(settings_of(worn(tmp_path / "a.csv"), valid=0.2, test=0.2))
    assert [len(parts.train), len(parts.valid), len(parts.test)] == [18, 6, 6]
    names = [set(part.names) for part in (parts.train, parts.valid, parts.test)]
    assert len(set.union(*names)) == 30
    what = Fitted.fit(parts.train, 25)
    own = np.concatenate(parts.train.values)
    np.testing.assert_allclose(what.scaler.center, own[:, :2].mean(0))
    assert Fitted.from_json(what.to_json()) == what
    assert what.sequences(parts.train).piece([0]).target.max() == 1
    assert Fitted.fit(parts.train, 0).cap == max(float(left.max()) for left in parts.train.remaining)


def test_the_alarm_counts_from_its_first_cycle():
    left = [np.arange(9.0, -1, -1), np.arange(4.0, -1, -1)]
    made = [left[0] + 1, np.full(5, 20.0)]
    found = alarm_at(5, made, left, lead=2, failure=50)
    assert (found.missed, found.wasted, found.cost) == (1, 4.0, (4 + 50) / 2)
    assert alarm_at(2, made, left, lead=2, failure=50).missed == 2  # raised with one cycle left
    best = best_alarm(made, left, lead=2, failure=50)
    assert (best.level, best.cost) == (20, min(alarm_at(level, made, left, 2, 50).cost for level in range(21)))
    age = best_age([np.arange(1.0, 11), np.arange(1.0, 6)], left, lead=2, failure=50)
    assert (age.level, age.missed, age.wasted) == (3, 0, (7 + 2) / 2)


def test_scores_are_those_of_their_definitions():
    assert math.isclose(nasa(np.array([-13.0, 10.0])), 2 * (math.e - 1))
    left = [np.array([2.0, 1, 0]), np.array([30.0, 29])]
    made = {"this model": [np.array([2.0, 2, 1]), np.array([25.0, 20])], "other": [np.zeros(3), np.zeros(2)]}
    ends = score("it", made, left, cap=25, ends=True).figures["scores"]["this model"]
    assert math.isclose(ends["rmse"], math.sqrt((1 + 25) / 2))
    every = score("it", made, left, cap=25, ends=False).figures["scores"]["this model"]
    assert math.isclose(every["rmse"], math.sqrt((0 + 1 + 1 + 0 + 25) / 5))


def test_a_run_goes_on_to_the_same_bits(tmp_path):
    path = worn(tmp_path / "a.csv")
    whole, half = tmp_path / "whole", tmp_path / "half"
    MaintainTask(settings_of(path, epochs=4, schedule="constant"), whole).fit(whole, progress=False)
    MaintainTask(settings_of(path, epochs=2, schedule="constant"), half).fit(half, progress=False)
    MaintainTask(settings_of(path, epochs=4, schedule="constant"), half).fit(half, progress=False)
    one, other = (MaintainTask.open(folder, "last").model.state_dict() for folder in (whole, half))
    for name, weights in one.items():
        assert torch.equal(weights, other[name]), name


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"valid": 0.5, "test": 0.5}, "leaves none to learn from"),
        ({"truth": "ends.txt"}, "--truth says what remained of the units of a file"),
        ({"sensor": ["still"]}, "no sensor ever changes"),
    ],
)
def test_what_cannot_be_learned_is_said(tmp_path, how, said):
    with pytest.raises(ValueError, match=said):
        MaintainTask(settings_of(worn(tmp_path / "a.csv", units=4), **how))


def test_a_changed_table_is_noticed_and_another_is_measured(tmp_path):
    path = worn(tmp_path / "a.csv")
    task = MaintainTask(settings_of(path))
    task.fit(tmp_path / "run", progress=False)
    trained = task.open(tmp_path / "run")
    assert trained.evaluate(str(worn(tmp_path / "b.csv", units=5, seed=4))).figures["units"] == 5
    worn(path, seed=2)
    with pytest.raises(ValueError, match="has changed since this run learned from it"):
        trained.evaluate()
    other = tmp_path / "c.csv"
    other.write_text((tmp_path / "b.csv").read_text().replace("wear", "tear"))
    with pytest.raises(ValueError, match="no sensor column 'wear'"):
        trained.evaluate(str(other))


def test_every_unit_has_its_answer_in_order(tmp_path):
    task = MaintainTask(settings_of(worn(tmp_path / "a.csv")))
    task.fit(tmp_path / "run", progress=False)
    trained = task.open(tmp_path / "run")
    present = worn(tmp_path / "now.csv", units=6, seed=4, ends=tmp_path / "ends.txt")
    found = trained.predict(str(present), alarm=10.0)
    lines = found.file("csv").decode().splitlines()
    assert lines[0] == "unit,cycle,left,alarm"
    assert [line.split(",")[0] for line in lines[1:]] == [f"u{n}" for n in range(6)]
    for left, line in zip(found.left, lines[1:], strict=True):
        assert line.endswith(str(left <= 10.0))
    without = tmp_path / "less.csv"
    without.write_text("".join(line.rsplit(",", 1)[0] + "\n" for line in present.read_text().splitlines()))
    assert trained.predict(str(without)).left == found.left  # a sensor that never moved is not asked for
    with pytest.raises(ValueError, match="say which units"):
        trained.predict()
