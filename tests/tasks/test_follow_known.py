"""Following a table of which some columns are known ahead of time."""

import json

import numpy as np
import pytest

from bptt.tasks.config import settle
from bptt.tasks.follow import answers
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.task import ForecastTask

HORIZON, HISTORY, NAMES = 3, 12, "date,load,other,price,wind"


def table(rows=90, ahead=HORIZON):
    """Lines of a table of so many rows, and of the rows ahead, which hold known columns only."""
    generator = np.random.default_rng(0)
    stamps = np.arange("2020-01-01", rows + ahead, dtype="datetime64[D]")
    load = np.sin(np.arange(rows) / 3) + 0.1 * generator.normal(size=rows)
    price, wind = generator.integers(1, 9, rows + ahead), generator.choice(["N", "W"], rows + ahead)
    past = [f"{value:.4f},{-value:.3f}" for value in load] + [","] * ahead
    return [f"{stamps[i]},{past[i]},{price[i]},{wind[i]}" for i in range(rows + ahead)]


def trained(folder, lines, **options):
    (folder / "load.csv").write_text("\n".join([NAMES, *lines]) + "\n")
    given = {
        "data": str(folder / "load.csv"), "target": ["load"], "past": ["other"], "known": ["price", "wind=W"],
        "history": HISTORY, "horizon": HORIZON, "epochs": 1, "hidden": 8, "norm": "window",
    }  # fmt: skip
    task = ForecastTask(settle(ForecastSettings, options=given | options))
    task.fit(folder / "run", progress=False)
    return task.open(folder / "run")


def told(line):
    """What of a row is known ahead of its time."""
    time, _, _, price, wind = line.split(",")
    return f"{time},,,{price},{wind}"


def agree(found, whole):
    assert found.keys() == whole.keys()
    for name in whole:
        if name == "time":
            assert found[name] == whole[name]
        else:
            np.testing.assert_allclose(found[name], whole[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("beside", [True, False])
def test_rows_told_ahead(tmp_path, beside):
    lines = table()
    model = trained(tmp_path, lines)
    rows = lines[-HISTORY - HORIZON :]
    given = [told(line) for line in rows[1 : HORIZON + 1]]
    for n, line in enumerate(rows[:HISTORY]):
        known = beside or n == 0  # of later rows it was told before
        given += [told(rows[n + HORIZON])] * (n > 0) + [line if known else ",".join(line.split(",")[:3]) + ",,"]
    found = list(answers(model.follow(), [NAMES, *given]))
    assert len(found) == HISTORY
    assert found[-1].pop("after") == rows[HISTORY - 1].split(",")[0]
    agree(found[-1], model.predict().columns())


def test_what_was_told_may_be_told_again(tmp_path):
    lines = table()
    model = trained(tmp_path, lines)
    rows = lines[-HISTORY - HORIZON :]
    wrong = told(rows[-2]).replace(",,,", ",,,7")
    found = list(answers(model.follow(), [NAMES, *map(told, rows[:-2]), wrong, *map(told, rows[-2:]), *rows[:HISTORY]]))
    found[-1].pop("after")
    agree(found[-1], model.predict().columns())


def test_told_rows_whose_values_never_came_are_missing(tmp_path):
    lines = table()
    lines[-HORIZON - 3] = told(lines[-HORIZON - 3])
    model = trained(tmp_path, lines, missing="mask", past=[])
    rows = lines[-HISTORY - HORIZON :]
    found = list(answers(model.follow(), [NAMES, *map(told, rows), *(row for row in rows[:HISTORY] if ",,," not in row)]))
    assert len(found) == HISTORY - 1
    found[-1].pop("after")
    agree(found[-1], model.predict().columns())


def test_rows_without_times_come_in_the_order_they_were_told(tmp_path):
    lines = [line.partition(",")[2] for line in table()]
    (tmp_path / "load.csv").write_text("")
    rows, names = lines[-HISTORY - HORIZON :], NAMES.partition(",")[2]
    options = {
        "data": str(tmp_path / "plain.csv"), "target": ["load"], "past": ["other"], "known": ["price"], "history": HISTORY,
        "horizon": HORIZON, "epochs": 1, "hidden": 8,
    }  # fmt: skip
    (tmp_path / "plain.csv").write_text("\n".join([names, *lines]) + "\n")
    task = ForecastTask(settle(ForecastSettings, options=options))
    task.fit(tmp_path / "run", progress=False)
    model = task.open(tmp_path / "run")
    ahead = [",," + row.split(",", 2)[2] for row in rows]
    found = list(answers(model.follow(), [names, *ahead, *(row.rsplit(",", 2)[0] + ",," for row in rows[:HISTORY])]))
    whole = model.predict().columns()
    for name in whole.keys() - {"time"}:
        np.testing.assert_allclose(found[-1][name], whole[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(1, 1, 1, 5, "N")], "3 rows after 2020-01-01 needs price, wind=W of each, and 0 were told: give before it 3 more"),
        ([(2, None, None, None, "N")], "nothing tells price of 2020-01-02"),
        ([(2, None, None, 5, None)], "nothing tells wind=W of 2020-01-02"),
        ([(2, None, None, 5, "N"), (4, None, None, 5, "N")], "2020-01-04 follows 2020-01-02, but rows are 1d apart"),
        ([(d, None, None, 5, "N") for d in range(2, 8)] + [(3, 1, 1, 5, "N")], "load of 2020-01-02 is missing"),
        ([(d, None, None, 5, "N") for d in range(2, 8)] + [(2, 1, 1, 5, "N"), (1, 1, 1, 5, "N")], "no later than"),
        ([(d, None, None, 5, "N") for d in range(5, 9)] + [(2, 1, 1, 5, "N")], "2020-01-05 follows 2020-01-02"),
        ([(d, None, None, 5, "N") for d in range(2, 8)] + [(1, 1, 1, None, None)], "nothing tells price of 2020-01-01"),
    ],
)
def test_rows_that_do_not_fit(tmp_path_factory, rows, said):
    model = trained(tmp_path_factory.mktemp("known"), table(40), epochs=1)
    names = NAMES.split(",")
    lines = [json.dumps(dict(zip(names, (f"2020-01-0{row[0]}", *row[1:]), strict=True))) for row in rows]
    with pytest.raises(ValueError, match=said):
        list(answers(model.follow(), lines))


def test_an_error_leaves_everything_as_it_was(tmp_path):
    lines = table()
    model = trained(tmp_path, lines)
    one, other = model.follow(), model.follow()
    rows = [dict(zip(NAMES.split(","), line.split(","), strict=True)) for line in lines[:6]]
    ahead = [row | {"load": "", "other": ""} for row in rows]
    for each in (one, other):
        assert [each.step(row) for row in ahead[1:4]] == [None] * 3
    with pytest.raises(ValueError, match="load of 2020-01-02 is missing"):
        one.step(rows[4])
    with pytest.raises(ValueError, match="no number"):
        one.step(rows[0] | {"load": "much"})
    assert one.step(rows[0]) == other.step(rows[0])
