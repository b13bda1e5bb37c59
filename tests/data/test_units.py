import numpy as np
import pytest

from bptt.data.units import read_ends, read_units

ROWS = "pump,day,heat,load\na,1,10,5\nb,1,20,5\na,2,11,5\nb,3,22,5\na,3,12,5\n"


def table(path, text=ROWS):
    path.write_text(text)
    return path


def test_units_are_gathered_from_rows_in_any_mixture(tmp_path):
    units = read_units(table(tmp_path / "a.csv"), unit="pump", cycle="day", ends="failure")
    assert units.names == ("a", "b")
    assert units.sensors == ("heat", "load")
    assert [each.tolist() for each in units.cycles] == [[1, 2, 3], [1, 3]]
    assert [each.tolist() for each in units.values] == [[[10, 5], [11, 5], [12, 5]], [[20, 5], [22, 5]]]
    assert [each.tolist() for each in units.remaining] == [[2, 1, 0], [2, 0]]
    assert units.take([1]).names == ("b",)


def test_nobody_knows_how_long_a_unit_went_on_unless_it_is_said(tmp_path):
    path = table(tmp_path / "a.csv")
    units = read_units(path, unit="pump", cycle="day")
    assert units.remaining is None
    (tmp_path / "ends.txt").write_text("7\n9 \n")
    assert [each.tolist() for each in read_ends(tmp_path / "ends.txt", units).remaining] == [[9, 8, 7], [11, 9]]
    left = read_units(path, unit="pump", cycle="day", remaining="load")
    assert left.sensors == ("heat",)
    assert left.remaining[1].tolist() == [5, 5]


def test_nasa_files_have_no_line_of_names(tmp_path):
    rows = [[unit, cycle, *range(24)] for unit in (1, 2) for cycle in (1, 2)]
    path = table(tmp_path / "train_FD001.txt", "".join(" ".join(map(str, row)) + "  \n" for row in rows))
    units = read_units(path)
    assert units.names == ("1", "2")
    assert units.sensors[:4] == ("setting_1", "setting_2", "setting_3", "sensor_1")
    np.testing.assert_array_equal(units.values[1], [range(24)] * 2)


@pytest.mark.parametrize(
    ("text", "how", "said"),
    [
        (ROWS, {}, "which column is the unit"),
        (ROWS, {"unit": "pump"}, "which column is the cycle"),
        (ROWS, {"unit": "pumps", "cycle": "day"}, "no unit column 'pumps'"),
        (ROWS, {"sensors": ["pump"]}, "'pump' cannot be a sensor as well"),
        (ROWS.replace("11", "warm"), {}, "row 3: the cell of 'heat' is 'warm', no finite number"),
        (ROWS.replace("11", ""), {}, "row 3: the cell of 'heat' is missing"),
        (ROWS.replace("a,2", ",2"), {}, "row 3: no 'pump'"),
        (ROWS.replace("a,2", "a,1"), {}, "row 3: unit a has day 1 twice"),
        (ROWS.replace("a,3", "a,0"), {}, "row 5: unit a has day 0 after 2"),
        ("pump,day\na,1\n", {}, "no column beside 'pump' and 'day'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, how, said):
    if how or "which" not in said:
        how = {"unit": "pump", "cycle": "day", **how} if "which column is the cycle" not in said else how
    with pytest.raises(ValueError, match=said):
        read_units(table(tmp_path / "a.csv", text), **how)


@pytest.mark.parametrize(("text", "said"), [("1\n", "1 numbers for 2 units"), ("1\nx\n", "line 2: 'x' is no number")])
def test_ends_are_one_for_each_unit(tmp_path, text, said):
    units = read_units(table(tmp_path / "a.csv"), unit="pump", cycle="day")
    with pytest.raises(ValueError, match=said):
        read_ends(table(tmp_path / "ends.txt", text), units)
