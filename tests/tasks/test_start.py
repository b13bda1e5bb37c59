"""A forecast that begins with the weights of another run reads its numbers in that run's scale."""

import numpy as np
import pytest

from bptt.train import FolderError, load_weights
from tests.tasks.test_forecast_task import task_of, write_series


@pytest.fixture
def first(tmp_path):
    task = task_of(write_series(tmp_path / "a.csv"), epochs=1)
    task.fit(tmp_path / "first", progress=False)
    return task, tmp_path / "first"


def test_weights_and_scaling_are_those_of_the_first_run_and_all_else_is_fitted_anew(first, tmp_path):
    before, folder = first
    other = write_series(tmp_path / "b.csv", rows=400, seed=3)
    task = task_of(other, epochs=1, start=str(folder))
    weights = load_weights(folder)
    assert all(weights[name].equal(value) for name, value in task.model.state_dict().items())
    assert task.model.training
    own, old = task.what.series[""], before.what.series[""]
    assert own.scaler == old.scaler
    assert own.naive != old.naive
    assert own.cut.knows(task.panel.first)
    task.fit(tmp_path / "second", progress=False)
    again = type(task)(task.settings, tmp_path / "second")
    assert again.fitted() == task.fitted()
    assert again.source.fingerprint() == task.source.fingerprint()


def test_other_columns_or_sizes_are_refused(first, tmp_path):
    _, folder = first
    stamps = np.datetime64("2001-01-01") + np.arange(420)
    other = tmp_path / "c.csv"
    other.write_text("day,depth\n" + "".join(f"{s},{i % 7}\n" for i, s in enumerate(stamps)))
    with pytest.raises(ValueError, match=r"--start .*first: its targets .*'level'.* are not those of the new run, .*'depth'"):
        task_of(other, start=str(folder))
    with pytest.raises(FolderError, match=r"in the checkpoint and .* by the settings of the new run"):
        task_of(tmp_path / "a.csv", start=str(folder), hidden=9)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        task_of(tmp_path / "a.csv", start=str(tmp_path / "none"))
