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


AHEAD = [(day, None, None, 5, "N") for day in range(2, 8)]


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


@pytest.mark.parametrize("missing", ["mask", "forward", "zero"])
def test_told_rows_whose_values_never_came_are_missing(tmp_path, missing):
    lines = table()
    lines[-HORIZON - 3] = told(lines[-HORIZON - 3])
    model = trained(tmp_path, lines, missing=missing)
    rows = lines[-HISTORY - HORIZON :]
    found = list(answers(model.follow(), [NAMES, *map(told, rows), *(row for row in rows[:HISTORY] if ",,," not in row)]))
    assert len(found) == HISTORY - 1
    found[-1].pop("after")
    agree(found[-1], model.predict().columns())


def test_told_rows_before_the_first_value_are_left_out(tmp_path):
    lines = table()
    model = trained(tmp_path, lines, missing="forward")
    rows = lines[-HISTORY - HORIZON :]
    early = map(told, lines[-HISTORY - HORIZON - 2 : -HISTORY - HORIZON])
    found = list(answers(model.follow(), [NAMES, *early, *map(told, rows), *rows[:HISTORY]]))
    found[-1].pop("after")
    agree(found[-1], model.predict().columns())


def test_cells_are_read_as_those_of_a_table(tmp_path):
    lines = table()
    lines[-HORIZON:] = [line.rpartition(",")[0] + "," for line in lines[-HORIZON:]]
    model = trained(tmp_path, lines, known=["price"], past=["other", "wind=W"])
    rows = [dict(zip(NAMES.split(","), line.split(","), strict=True)) for line in lines[-HISTORY - HORIZON :]]
    nothing = {"load": "NA", "other": " ", "wind": None}
    given = [row | nothing for row in rows] + [row | {"wind": f" {row['wind']} "} for row in rows[:HISTORY]]
    found = list(answers(model.follow(), map(json.dumps, given)))
    assert len(found) == HISTORY
    found[-1].pop("after")
    agree(found[-1], model.predict().columns())


def test_series_are_told_apart(tmp_path):
    lines = [f"{name},{line}" for line in table() for name in ("north", "south")]
    (tmp_path / "both.csv").write_text("\n".join(["shop," + NAMES, *lines]) + "\n")
    model = trained(tmp_path, table(), data=str(tmp_path / "both.csv"), series="shop")
    rows = lines[-2 * (HISTORY + HORIZON) :]
    ahead = [",".join([row.split(",", 1)[0], told(row.split(",", 1)[1])]) for row in rows]
    found = list(answers(model.follow(), ["shop," + NAMES, *ahead, *rows[: 2 * HISTORY]]))
    assert [each["shop"] for each in found] == ["north", "south"] * HISTORY
    whole = model.predict().columns()
    for place, name in enumerate(("north", "south")):
        here = [n for n, shop in enumerate(whole["shop"]) if shop == name]
        np.testing.assert_allclose(found[-2 + place]["load"], [whole["load"][n] for n in here], rtol=1e-4, atol=1e-5)


def test_months(tmp_path):
    ends = np.arange("1990-02", 93, dtype="datetime64[M]").astype("datetime64[D]") - np.timedelta64(1, "D")
    lines = [f"{end},{line.partition(',')[2]}" for end, line in zip(ends, table(), strict=True)]
    model = trained(tmp_path, lines)
    rows = lines[-HISTORY - HORIZON :]
    found = list(answers(model.follow(), [NAMES, *map(told, rows), *rows[:HISTORY]]))
    assert len(found) == HISTORY - 2
    found[-1].pop("after")
    agree(found[-1], model.predict().columns())


def test_rows_without_times_come_in_the_order_they_were_told(tmp_path):
    lines = [line.partition(",")[2] for line in table()]
    (tmp_path / "plain.csv").write_text("\n".join([NAMES.partition(",")[2], *lines]) + "\n")
    model = trained(tmp_path, table(), data=str(tmp_path / "plain.csv"), time=[])
    names, rows = NAMES.partition(",")[2], lines[-HISTORY - HORIZON :]
    ahead = [",," + row.split(",", 2)[2] for row in rows]
    found = list(answers(model.follow(), [names, *ahead, *(row.rsplit(",", 2)[0] + ",," for row in rows[:HISTORY])]))
    assert len(found) == HISTORY
    assert "after" in found[-1]
    np.testing.assert_allclose(found[-1]["load"], model.predict().columns()["load"], rtol=1e-4, atol=1e-5)
    prices = [row.split(",")[2] for row in rows]
    late = next(n for n in range(len(rows)) if prices[n] != prices[n + 1])
    with pytest.raises(ValueError, match="told rows begin with the next one"):
        list(answers(model.follow(), [names, *ahead[late + 1 :], rows[late]]))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [(1, 1, 1, 5, "N")],
            "3 rows after 2020-01-01 needs price, wind of each, and 0 were told: give before it 3 more that hold date, price, "
            "wind, and nothing under load, other",
        ),
        ([(2, None, None, None, "N")], "nothing tells price of 2020-01-02"),
        ([(2, None, None, 5, None)], "nothing tells wind of 2020-01-02"),
        ([(2, None, None, 5, "N"), (4, None, None, 5, "N")], "2020-01-04 follows 2020-01-02, but rows are 1d apart"),
        ([*AHEAD, (1, 1, 1, 5, "N"), (3, 1, 1, 5, "N")], "load of 2020-01-02 is missing"),
        ([*AHEAD, (2, 1, 1, 5, "N"), (1, 1, 1, 5, "N")], "2020-01-01 is no later than 2020-01-02: "),
        ([*AHEAD, (2, 1, 1, 5, "N"), (1, None, None, 5, "N")], "2020-01-01 is no later than 2020-01-02: "),
        ([*AHEAD[3:], (2, 1, 1, 5, "N")], "2020-01-05 follows 2020-01-02"),
        ([*AHEAD, (1, 1, 1, None, None)], "nothing tells price of 2020-01-01"),
        ([*AHEAD, (1, "inf", 1, 5, "N")], "load is 'inf', no finite number"),
        ([*AHEAD, (1, 1, 1, "inf", "N")], "price is 'inf', no finite number"),
    ],
)
def test_rows_that_do_not_fit(tmp_path_factory, rows, said):
    model = trained(tmp_path_factory.mktemp("known"), table(40), epochs=1)
    names = NAMES.split(",")
    lines = [json.dumps(dict(zip(names, (f"2020-01-0{row[0]}", *row[1:]), strict=True))) for row in rows]
    with pytest.raises(ValueError, match=said):
        list(answers(model.follow(), lines))


@pytest.mark.parametrize("wrong", ["Load", "price"])
def test_a_column_of_another_name_is_no_empty_one(tmp_path, wrong):
    model = trained(tmp_path, table(40))
    row = dict(zip(NAMES.split(","), ("2020-01-01", 1, 1, 5, "N"), strict=True))
    renamed = {"Load" if name == "load" and wrong == "Load" else name: cell for name, cell in row.items() if name != wrong}
    with pytest.raises(ValueError, match=f"there is no '{wrong.lower()}', only"):
        model.follow().step(renamed)


def test_an_error_leaves_everything_as_it_was(tmp_path):
    model = trained(tmp_path, table(), missing="forward")
    one, other = model.follow(), model.follow()
    rows = [dict(zip(NAMES.split(","), line.split(","), strict=True)) for line in table()[:8]]
    ahead = [row | {"load": "", "other": ""} for row in rows]
    for each in (one, other):
        assert [each.step(row) for row in ahead[1:6]] == [None] * 5
        each.step(rows[0])
    for row, said in [
        (rows[4], "1 was told"),  # after a row whose values never came
        (rows[1] | {"load": "much"}, "no number"),
        (ahead[6] | {"price": ""}, "nothing tells price"),
        (ahead[7], "fill the gap"),
    ]:
        with pytest.raises(ValueError, match=said):
            one.step(row)
    assert one.step(rows[1]) == other.step(rows[1])
