"""What was held out is found again by its time stamps, or refused: a row that was learned is never measured on."""

import numpy as np
import pytest

from bptt.tasks.forecast.cut import Cut
from bptt.tasks.forecast.trained import TrainedForecast
from bptt.tasks.task import NothingHeldOut
from tests.tasks.test_forecast_task import task_of, write_series


@pytest.fixture
def run(tmp_path):
    """A run on 420 days, 320 of them to learn from, 50 for validation, 50 for test; its table may be changed."""
    table = write_series(tmp_path / "a.csv")
    task_of(table, epochs=1).fit(tmp_path / "run", progress=False)
    return TrainedForecast(tmp_path / "run"), table


def scores(report):
    return report.figures["targets"]["level"]["scores"]


def keep(table, rows):
    """Only these rows of the table, a slice."""
    header, *lines = table.read_text().splitlines()
    table.write_text("\n".join([header, *lines[rows]]) + "\n")


def test_newer_rows_leave_the_held_out_part_where_it_was(run):
    trained, table = run
    before = trained.evaluate()
    write_series(table, rows=700)
    old = np.loadtxt(table, delimiter=",", skiprows=1, usecols=1)
    write_series(table, rows=420)
    header, *lines = table.read_text().splitlines()
    more = [f"{np.datetime64('2001-01-01') + i},{old[i]}" for i in range(420, 700)]
    table.write_text("\n".join([header, *lines, *more]) + "\n")
    assert scores(trained.evaluate()) == scores(before)
    assert scores(trained.evaluate(part="valid")) != scores(before)


def test_old_rows_that_were_dropped_leave_the_held_out_part_where_it_was(run):
    trained, table = run
    before = trained.evaluate()
    keep(table, slice(200, None))
    assert scores(trained.evaluate())["this model"] == scores(before)["this model"]


def test_a_held_out_part_that_is_not_whole_is_refused(run):
    trained, table = run
    keep(table, slice(0, 400))
    with pytest.raises(
        ValueError, match=r"has changed.* 50 rows from 2002-01-06 to 2002-02-24 that were held out as test.*--data FILE"
    ):
        trained.evaluate()
    assert trained.evaluate(part="valid").figures["targets"]["level"]["count"] == 50


def test_a_table_of_other_values_is_measured_and_told(run):
    trained, table = run
    assert not any("changed" in remark for remark in trained.evaluate().remarks)
    write_series(table, seed=9)
    assert any("has changed since" in remark for remark in trained.evaluate().remarks)


def test_a_table_that_goes_on_is_measured_after_what_was_learned_alone(run, tmp_path):
    trained, _ = run
    newer = write_series(tmp_path / "b.csv")
    lines = newer.read_text() + "".join(f"{np.datetime64('2001-01-01') + i},{10 + i % 7}\n" for i in range(420, 440))
    newer.write_text(lines)
    report = trained.evaluate(str(newer))
    assert report.figures["targets"]["level"]["count"] == 70
    assert "from 2002-01-06 on, which was not learned" in report.figures["part"]
    assert trained.evaluate(str(newer), part="test").figures["targets"]["level"]["count"] == 50


def test_the_same_table_elsewhere_is_the_held_out_part(run, tmp_path):
    trained, table = run
    here = scores(trained.evaluate())
    table.rename(tmp_path / "moved.csv")
    assert scores(trained.evaluate(str(tmp_path / "moved.csv"))) == here
    with pytest.raises(FileNotFoundError, match=r"a\.csv, is no longer there.*--data FILE"):
        trained.evaluate()


def test_a_part_of_another_table_is_refused(run, tmp_path):
    trained, _ = run
    other = write_series(tmp_path / "b.csv", seed=5)
    assert trained.evaluate(str(other)).figures["targets"]["level"]["count"] == 420 - 14
    with pytest.raises(ValueError, match="--part test was held out of another table"):
        trained.evaluate(str(other), part="test")


def test_rows_that_are_only_numbered_must_be_those_that_were_learned(tmp_path):
    table = tmp_path / "n.csv"
    values = np.random.default_rng(0).normal(size=300)
    table.write_text("level\n" + "".join(f"{v}\n" for v in values))
    task_of(table, epochs=1).fit(tmp_path / "run", progress=False)
    trained = TrainedForecast(tmp_path / "run")
    assert trained.evaluate().figures["targets"]["level"]["count"] == 50
    keep(table, slice(1, None))
    with pytest.raises(ValueError, match="has changed"):
        trained.evaluate()


def test_where_all_was_learned_only_newer_rows_can_be_measured_on(tmp_path):
    table = write_series(tmp_path / "a.csv")
    task_of(table, epochs=1, valid=0, test=0).fit(tmp_path / "run", progress=False)
    trained = TrainedForecast(tmp_path / "run")
    with pytest.raises(NothingHeldOut, match="held out nothing"):
        trained.evaluate()
    with pytest.raises(NothingHeldOut, match="learned from every row"):
        trained.evaluate(str(table))


def test_a_cut_comes_back_from_json(tmp_path):
    task = task_of(write_series(tmp_path / "a.csv"))
    cut = task.what.series[""].cut
    assert Cut.from_json(cut.to_json()) == cut
    assert cut.find(task.panel.first, "test") == (370, 420)
    assert cut.knows(task.panel.first)


def test_a_forecast_needs_no_more_rows_than_it_reads(run, tmp_path):
    trained, _ = run
    newer = write_series(tmp_path / "b.csv", rows=14)
    assert trained.predict(str(newer)).file("csv").decode().splitlines()[1].startswith("2001-01-15,")
    keep(newer, slice(0, 13))
    with pytest.raises(ValueError, match="13 rows, but each forecast reads the 14 before it"):
        trained.predict(str(newer))


def test_how_missing_values_are_read_must_fit_the_network(run, tmp_path):
    trained, _ = run
    holes = write_series(tmp_path / "b.csv", rows=40)
    text = holes.read_text().splitlines()
    text[30] = text[30].split(",")[0] + ","
    holes.write_text("\n".join(text) + "\n")
    with pytest.raises(ValueError, match="--missing forward"):
        trained.predict(str(holes))
    assert len(trained.predict(str(holes), missing="forward").file("csv").decode().splitlines()) == 2
    with pytest.raises(ValueError, match="only one of the two may be mask"):
        trained.predict(str(holes), missing="mask")


def test_unevenly_spaced_rows_are_called_so(run, tmp_path):
    trained, _ = run
    table = tmp_path / "u.csv"
    table.write_text(
        "day,level\n" + "".join(f"2001-01-{d:02},{d}\n" for d in (1, 2, 4, 7, 8, 9, 11, 15, 16, 17, 20, 21, 25, 26, 27))
    )
    with pytest.raises(ValueError, match="are unevenly spaced, but the model was trained on rows 1d apart"):
        trained.predict(str(table))
