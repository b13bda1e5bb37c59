"""Many series in one file: each is the table that its own rows make, and all are cut at the same times."""

import numpy as np
import pytest

from bptt.data import Joined, Panel, Windows, read_panel, read_table


def long(path, begins=(0, 0), ends=(10, 8), seed=0):
    """Daily values of series a and b, their rows mixed."""
    rng = np.random.default_rng(seed)
    rows = [
        (day, name, rng.normal())
        for name, begin, end in zip("ab", begins, ends, strict=True)
        for day in range(begin, end)
    ]  # fmt: skip
    rows.sort()
    lines = [f"{np.datetime64('2020-01-01') + day},{name},{value:.4f}" for day, name, value in rows]
    path.write_text("day,shop,sold\n" + "\n".join(lines) + "\n")
    return path


def test_each_series_is_the_table_of_its_own_rows(tmp_path):
    path = long(tmp_path / "a.csv")
    panel = read_panel(path, series="shop", targets=["sold"])
    assert panel.column == "shop"
    for name, table in panel.tables.items():
        alone = tmp_path / f"alone-{name}.csv"
        alone.write_text("day,sold\n" + "".join(
            line.replace(f",{name},", ",") + "\n" for line in path.read_text().splitlines() if f",{name}," in line
        ))  # fmt: skip
        assert read_table(alone).fingerprint() == table.fingerprint()
    assert "2 series (shop) of 8 to 10 rows, 2020-01-01 to 2020-01-10, every 1d; target sold" in panel.describe()


def test_without_dates_rows_count_within_each_series(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("s,v\nx,1\ny,10\nx,2\ny,20\nx,3\n")
    panel = read_panel(path, series="s")
    assert {name: table.values[:, 0].tolist() for name, table in panel.tables.items()} == {"x": [1, 2, 3], "y": [10, 20]}
    assert panel.tables["x"].times.tolist() == [0, 1, 2]


def test_a_series_a_row_has_as_many_values_as_stand_there(tmp_path):
    path = tmp_path / "w.csv"
    path.write_text('"V1","V2","V3","V4"\n"H1",1,2,3\n"H2",4,5,\n')
    panel = read_panel(path, wide=True)
    assert {name: table.values[:, 0].tolist() for name, table in panel.tables.items()} == {"H1": [1, 2, 3], "H2": [4, 5]}
    assert panel.first.targets == ("value",)


@pytest.mark.parametrize(
    ("content", "how", "said"),
    [
        ("d,s,v\n2020-01-01,a,1\n2020-01-01,b,1\n", {}, "rows 1 and 2 have the same time.*say which column"),
        ("d,s,v\n2020-01-01,a,1\n2020-01-01,b,1\n2020-01-01,a,2\n", {"series": "s"}, "'a': rows 1 and 3 have the same"),
        ("d,s,v\n2020-01-02,a,1\n2020-01-01,b,1\n2020-01-01,a,2\n2020-01-05,a,3\n", {"series": "s"}, "row 3 .* is earlier"),
        ("d,s,v\n2020-01-01,a,1\n2020-01-02,,1\n", {"series": "s"}, "row 2: nothing says which series it belongs to"),
        ("d,s,v\n2020-01-01,a,1\n2020-01-02,b,\n", {"series": "s", "missing": "mask"}, "series 'b' has no value"),
        ("d,s,v\n2020-01-01,a,1\n2020-01-01,b,2\n2020-01-02,b,\n", {"series": "s"}, r"series 'b': .*first in row 3"),
        ("d,s,v\n2020-01-01,a,1\n2020-01-02,a,x\n2020-01-03,a,2\n", {"series": "s"}, "row 2: 'x' is not a finite number"),
        ("d,s,v\n2020-01-01,a,1\n", {"series": "shop"}, "no series column 'shop'"),
        (
            "d,s,v\n2020-01-01,a,1\n2020-01-02,a,1\n2020-01-01,b,1\n2020-01-08,b,1\n", {"series": "s"},
            "series 'a' are 1d apart, those of 'b' 7d",
        ),
        ("n,x,y\na,1,2\na,3,4\n", {"wide": True}, "rows 1 and 2 are both called 'a'"),
        ("n,x,y\na,1,2\nb,,\n", {"wide": True}, "row 2: series 'b' has no value"),
        ("n,x,y\na,1,2\nb,1,?!\n", {"wide": True}, "column 'y', row 2: '\\?!' is not a finite number"),
        ("n,x,y\na,1,2\nb,,3\n", {"wide": True}, "series 'b': .*--missing forward"),
        ("n,x\na,1\n", {"wide": True, "known": ["x"]}, "one series a row"),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused_with_its_row_and_its_series(tmp_path, content, how, said):
    path = tmp_path / "a.csv"
    path.write_text(content)
    targets = {} if how.get("wide") else {"targets": ["v"]}
    with pytest.raises(ValueError, match=said):
        read_panel(path, **targets, **how)


def test_all_are_cut_at_the_same_times(tmp_path):
    panel = read_panel(long(tmp_path / "a.csv", begins=(0, 6), ends=(10, 12)), series="shop", targets=["sold"])
    parts = panel.split(2, 3)  # of the 12 days that there are
    assert parts == {"a": ((0, 7), (7, 9), (9, 10)), "b": ((0, 1), (1, 3), (3, 6))}
    assert panel.split(None, "3d")["b"] == ((0, 3), (3, 3), (3, 6))
    undated = Panel({name: _undated(table) for name, table in panel.tables.items()}, "shop")
    assert undated.split(1, 2)["b"] == ((0, 3), (3, 4), (4, 6))
    with pytest.raises(ValueError, match="series 'b': valid=3 is 3 rows, but 3 rows are there"):
        undated.split(3, 3)


def _undated(table):
    return type(table)(table.values, table.observed, np.arange(len(table)), table.targets)


def test_rows_after_an_end_are_left_out(tmp_path):
    panel = read_panel(long(tmp_path / "a.csv"), series="shop", targets=["sold"])
    assert [len(table) for table in panel.until(5).tables.values()] == [5, 5]
    assert [len(table) for table in panel.until(np.datetime64("2020-01-09", "us")).tables.values()] == [9, 8]
    assert [len(table) for table in panel.until(9).tables.values()] == [9, 8]
    late = read_panel(long(tmp_path / "b.csv", begins=(0, 6)), series="shop", targets=["sold"])
    assert list(late.until(np.datetime64("2020-01-03", "us")).tables) == ["a"]
    with pytest.raises(ValueError, match="--until 2019-12-31 leaves nothing: the rows begin at 2020-01-01"):
        late.until(np.datetime64("2019-12-31", "us"))


def test_what_follows_is_joined_or_refused(tmp_path):
    panel = read_panel(long(tmp_path / "a.csv", ends=(6, 6)), series="shop", targets=["sold"])
    later = read_panel(long(tmp_path / "b.csv", begins=(6, 6)), series="shop", targets=["sold"])
    joined = panel.followed_by(later, "b.csv")
    assert joined.tables["a"].times.tolist() == [*panel.tables["a"].times.tolist(), *later.tables["a"].times.tolist()]
    with pytest.raises(ValueError, match="series 'a' begins at 2020-01-01, but it ended at 2020-01-06: expected the rows that"):
        panel.followed_by(panel, "a.csv")
    gap = read_panel(long(tmp_path / "c.csv", begins=(7, 6), ends=(9, 9)), series="shop", targets=["sold"])
    with pytest.raises(ValueError, match="series 'a' begins at 2020-01-08"):
        panel.followed_by(gap, "c.csv")
    with pytest.raises(ValueError, match="has 1 series for 2; series 'b' is missing there"):
        panel.followed_by(Panel({"a": later.tables["a"]}, "shop"), "b.csv")


def test_windows_of_many_series_are_those_of_each():
    series = [Windows(np.arange(n, dtype=float) + 100 * i, 3, 2) for i, n in enumerate((8, 5, 7))]
    joined = Joined(series)
    assert len(joined) == sum(map(len, series))
    numbers = np.random.default_rng(0).permutation(len(joined))
    every = [each.piece([i]) for each in series for i in range(len(each))]
    made = joined.piece(numbers)
    for row, number in enumerate(numbers):
        assert made.x[:, row].equal(every[number].x[:, 0])
        assert made.target[:, row].equal(every[number].target[:, 0])
    assert Joined(series[:1]).fingerprint() == series[0].fingerprint()
    assert joined.fingerprint() != Joined(series[::-1]).fingerprint()
    with pytest.raises(ValueError, match="other histories, horizons or columns"):
        Joined([*series, Windows(np.arange(9.0), 4, 2)])
    with pytest.raises(ValueError, match="no series"):
        Joined([])


def test_the_first_steps_of_a_history_may_have_no_targets():
    plain, warm = Windows(np.arange(9.0), 4, 1), Windows(np.arange(9.0), 4, 1, warm=2)
    assert warm.piece([0]).target.isnan()[:, 0, 0, 0].tolist() == [True, True, False, False]
    assert warm.piece([0]).target[2:].equal(plain.piece([0]).target[2:])
    assert warm.fingerprint() != plain.fingerprint()
    with pytest.raises(ValueError, match="warm=4 leaves no step of a history of 4"):
        Windows(np.arange(9.0), 4, 1, warm=4)
