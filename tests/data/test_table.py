from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bptt.data import read_table

DAILY = "date,a,b\n2020-01-01,1,10\n2020-01-02,2,20\n2020-01-03,3,30\n2020-01-04,4,40\n"


@pytest.fixture
def file(tmp_path):
    def write(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def days(*present, values=None):
    values = values or present
    return "day,v\n" + "".join(f"2020-01-{d:02},{v}\n" for d, v in zip(present, values, strict=True))


def test_a_plain_table(file):
    table = read_table(file(DAILY), targets=["b"], past=["a"])
    assert table.columns == ("b", "a")
    assert table.values.tolist() == [[10, 1], [20, 2], [30, 3], [40, 4]]
    assert table.observed.all()
    assert table.times.astype("datetime64[D]").astype(str).tolist() == [f"2020-01-0{d}" for d in (1, 2, 3, 4)]
    assert str(table.frequency) == "1d"
    assert table.stamps_after(2).astype("datetime64[D]").astype(str).tolist() == ["2020-01-05", "2020-01-06"]
    assert table.notes == ()
    assert table.describe() == "4 rows, 2020-01-01 to 2020-01-04, every 1d (column 'date'); target b; past a"


@pytest.mark.parametrize(
    "content",
    [
        DAILY.replace(",", ";"),
        DAILY.replace(",", "\t"),
        DAILY.replace(",", " , "),
        "\ufeff" + DAILY,
        "\n\n" + DAILY.replace("\n", "\r\n"),
        re.sub(r"(\d+)\n", r'"\1"\n', DAILY),
        DAILY.replace(",", ";").replace("10", "10,0").replace("20\n", '"20,00"\n'),
        DAILY.replace(",", ";").replace(";1;10", ";1,0;10,0"),
        gzip.compress(DAILY.encode(), mtime=0),
    ],
    ids=["semicolon", "tab", "blanks", "mark", "crlf", "quoted", "comma", "commas", "gzip"],
)
def test_ways_to_write_the_same(file, content):
    table = read_table(file(content), targets=["b"], past=["a"])
    assert table.values.tolist() == [[10, 1], [20, 2], [30, 3], [40, 4]]


def test_a_comma_in_a_name_parts_nothing(file):
    table = read_table(file("day;v, C\n2020-01-01;1,5\n2020-01-02;2\n"))
    assert table.targets == ("v, C",)
    assert table.values[:, 0].tolist() == [1.5, 2]


def test_parquet(tmp_path):
    frame = pl.DataFrame({"when": pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 1, 4), eager=True), "v": [1, 2, 3, 4]})
    frame.write_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.values[:, 0].tolist() == [1, 2, 3, 4]
    assert str(table.times[0]) == "2020-01-01T00:00:00.000000"
    zoned = frame.with_columns(pl.col("when").cast(pl.Datetime("ms")).dt.replace_time_zone("Europe/Berlin"), w=pl.lit("NA"))
    zoned.with_columns(
        pl.Series("v", [1.0, float("nan"), None, 4]), pl.Series("b", [True, False, True, True]), n=pl.Series([1, 2, 3, 4])
    ).write_parquet(tmp_path / "z.parquet")
    table = read_table(tmp_path / "z.parquet", targets=["v"], past=["b"], missing="forward")
    assert str(table.times[0]) == "2019-12-31T23:00:00.000000"
    assert table.values.tolist() == [[1, 1], [1, 0], [1, 1], [4, 1]]
    assert table.observed[:, 0].tolist() == [True, False, False, True]
    for column, message in (("w", "has no value in any of its 4 rows"), ("when", "is not a finite number")):
        with pytest.raises(ValueError, match=f"column '{column}'.*{message}"):
            read_table(tmp_path / "z.parquet", time="n" if column == "when" else None, targets=[column], missing="forward")
    with pytest.raises(ValueError, match="'b' is Boolean; expected dates, or integers"):
        read_table(tmp_path / "z.parquet", time="b", targets=["v"])
    frame.with_columns(v=pl.Series([1.0, float("inf"), 3, 4])).write_parquet(tmp_path / "i.parquet")
    with pytest.raises(ValueError, match="column 'v', row 2: 'inf' is not a finite number"):
        read_table(tmp_path / "i.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ValueError, match="cannot be read as a Parquet table"):
        read_table(tmp_path / "bad.parquet")


@pytest.mark.parametrize(
    ("cells", "first", "step"),
    [
        (["2020-01-01", "2020-01-02", "2020-01-03"], "2020-01-01", "1d"),
        (["12/31/1999", "1/1/2000", "1/2/2000"], "1999-12-31", "1d"),
        (["31/12/1999", "01/01/2000", "02/01/2000"], "1999-12-31", "1d"),
        (["01/02/2000", "02/02/2000", "03/02/2000"], "2000-02-01", "1d"),  # either reading rises: must be told
        (["31.12.1999", "1.1.2000", "2.1.2000"], "1999-12-31", "1d"),
        (["2020-01", "2020-02", "2020-03"], "2020-01-01", "1mo"),
        (["2020-01-31", "2020-02-29", "2020-03-31"], "2020-01-31", "1mo"),
        (["2020-01-15", "2021-01-15", "2022-01-15"], "2020-01-15", "1y"),
        (["2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 02:00"], "2020-01-01", "1h"),
        (["2020-01-01T00:00:00Z", "2020-01-01T00:15:00Z", "2020-01-01T00:30:00Z"], "2020-01-01", "15min"),
        (["2020-01-01T01:00:00+01:00", "2020-01-01T01:00:01+01:00", "2020-01-01T01:00:02+01:00"], "2020-01-01", "1s"),
        (["20200101", "20200108", "20200115"], "2020-01-01", "7d"),
        (["Jan 1, 2020", "Jan 2, 2020", "Jan 3, 2020"], "2020-01-01", "1d"),
    ],
)
def test_dates_are_read_as_they_are_written(file, cells, first, step):
    content = "when\tv\n" + "".join(f'"{cell}"\t{i}\n' for i, cell in enumerate(cells))
    if "/02/2000" in content:
        with pytest.raises(ValueError, match=r"may mean %m/%d/%Y .*or %d/%m/%Y"):
            read_table(file(content))
        table = read_table(file(content), time_format="%d/%m/%Y")
    else:
        table = read_table(file(content), time="when")
    assert table.times[0] == np.datetime64(first)
    assert str(table.frequency) == step
    following = table.stamps_after(1)[0]
    assert following > table.times[-1]
    assert table.frequency.places(np.append(table.times, following)).tolist() == [0, 1, 2, 3]


def test_the_only_reading_of_dates_that_rises_is_taken(file):
    table = read_table(file("t,v\n12/01/2000,1\n01/02/2000,2\n02/02/2000,3\n"))
    assert table.times.astype("datetime64[D]").astype(str).tolist() == ["2000-01-12", "2000-02-01", "2000-02-02"]


def test_month_ends_go_on_as_month_ends(file):
    table = read_table(file("m,v\n2020-01-31,1\n2020-02-29,2\n2020-04-30,3\n"), gaps="fill")
    assert table.times.astype("datetime64[D]").astype(str).tolist() == [
        "2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30",
    ]  # fmt: skip
    assert table.stamps_after(1).astype("datetime64[D]").astype(str).tolist() == ["2020-05-31"]


def test_time_in_several_columns_and_in_none(file):
    parts = "no,year,month,day,hour,v\n1,2020,2,29,23,5\n2,2020,3,1,0,6\n3,2020,3,1,1,7\n"
    table = read_table(file(parts), targets=["v"])
    assert str(table.times[0]) == "2020-02-29T23:00:00.000000"
    assert str(table.frequency) == "1h"
    assert read_table(file(parts), targets=["v"], time=["year", "month", "day", "hour"]).times.tolist() == table.times.tolist()
    with pytest.raises(ValueError, match="column 'month', row 2: 'May' is not a whole number of the date"):
        read_table(file(parts.replace(",3,1,0", ",May,1,0")), targets=["v"])
    with pytest.raises(ValueError, match=r"row 2: .*'month': 13.* is not a date"):
        read_table(file(parts.replace(",3,1,0", ",13,1,0")), targets=["v"])
    bare = read_table(file("v\n3\n1\n2\n"))
    assert bare.times.tolist() == [0, 1, 2]
    assert "no time column" in bare.describe()
    assert bare.stamps_after(2).tolist() == [3, 4]
    counted = read_table(file("cycle,v\n5,1\n6,2\n8,3\n"), time="cycle", targets=["v"], gaps="fill")
    assert counted.times.tolist() == [5, 6, 7, 8]
    with pytest.raises(ValueError, match="durations need dates"):
        counted.split(test="2d")


def test_gaps_are_filled_and_told(file):
    path = file(days(*range(1, 12), *range(13, 32)))
    table = read_table(path)
    assert len(table) == 31
    assert table.gaps.astype("datetime64[D]").astype(str).tolist() == ["2020-01-12"]
    assert not table.observed[11, 0]
    assert table.observed.sum() == 30
    assert table.values[11, 0] == 11
    assert table.notes == ("1 absent time stamp filled with the value before: 2020-01-12",)
    assert read_table(path, missing="interpolate").values[11, 0] == 12
    assert np.isnan(read_table(path, missing="mask").values[11, 0])
    kept = read_table(path, gaps="keep")
    assert len(kept) == 30
    assert kept.frequency is None
    assert len(kept.gaps) == 0
    with pytest.raises(ValueError, match=r"1d apart, but 2020-01-11 is followed by 2020-01-13.*--gaps fill"):
        read_table(path, gaps="error")


def test_trading_days_are_no_gaps(file):
    path = file(days(*(d for d in range(1, 32) if d % 7 not in (4, 5))))
    table = read_table(path)
    assert table.frequency is None
    assert len(table) == 23
    assert "rows are taken as they follow" in table.notes[0]
    with pytest.raises(ValueError, match="unevenly spaced"):
        table.stamps_after(1)
    assert len(read_table(path, gaps="fill")) == 31


def test_off_the_grid_is_not_filled(file):
    path = file("t,v\n2020-01-01 00:00,1\n2020-01-01 01:00,2\n2020-01-01 02:00,3\n2020-01-01 03:07,4\n")
    assert read_table(path).frequency is None
    with pytest.raises(ValueError, match="do not lie on a grid of 1h"):
        read_table(path, gaps="fill")


def test_missing_values_are_refused_or_treated(file):
    path = file(days(1, 2, 3, 4, 5, 6, values=["NA", 2, "", 8, "?", "nan"]))
    with pytest.raises(ValueError, match=r"column 'v' lacks 4 of 6 values \(first in row 1\).*--missing forward"):
        read_table(path)
    forward = read_table(path, missing="forward")
    assert forward.values[:, 0].tolist() == [2, 2, 8, 8, 8]
    assert forward.observed[:, 0].tolist() == [True, False, True, False, False]
    assert forward.notes == (
        "4 missing values filled forward (67 % of all)",
        "1 row left out before every column has its first value (2020-01-02)",
    )
    assert read_table(path, missing="interpolate").values[:, 0].tolist() == [2, 5, 8, 8, 8]
    zero = read_table(path, missing="zero")
    assert zero.values[:, 0].tolist() == [0 if np.isnan(v) else v for v in read_table(path, missing="mask").values[:, 0]]
    assert zero.observed.all()
    assert "taken for zeros" in zero.notes[0]
    mask = read_table(path, missing="mask")
    assert np.isnan(mask.values[:, 0]).tolist() == [True, False, True, False, True, True]


def test_a_column_of_texts_is_read_by_what_it_says(file):
    path = file("day,v,wind\n2020-01-01,1,NW\n2020-01-02,2,cv\n2020-01-03,3,\n2020-01-04,4,NW\n")
    table = read_table(path, targets=["v"], past=["wind=NW"], known=["wind=cv"], missing="mask")
    assert table.columns == ("v", "wind=NW", "wind=cv")
    np.testing.assert_array_equal(table.values[:, 1:], [[1, 0], [0, 1], [np.nan, np.nan], [1, 0]])
    with pytest.raises(ValueError, match="no past column 'winds=NW'"):
        read_table(path, targets=["v"], past=["winds=NW"])
    with pytest.raises(ValueError, match=r"column 'wind', row 1: 'NW' is not a finite number.*--past wind=NW"):
        read_table(path, targets=["v"], past=["wind"])


def test_trailing_rows_of_known_covariates_are_the_future(file):
    content = "day,v,holiday\n" + "".join(f"2020-01-0{d},{d if d < 5 else ''},{d % 2}\n" for d in range(1, 8))
    table = read_table(file(content), targets=["v"], known=["holiday"])
    assert table.future == 3
    assert table.split(test=1) == ((0, 3), (3, 3), (3, 4))
    assert table.stamps_after(1)[0] == np.datetime64("2020-01-05")
    with pytest.raises(ValueError, match=r"column 'holiday' lacks 1 of 7"):
        read_table(file(content.replace("07,,1", "07,,")), targets=["v"], known=["holiday"])


def test_constant_columns_are_told(file):
    assert read_table(file(days(1, 2, 3, values=[4, 4, 4]))).notes[0].startswith("column 'v' is constant (4)")


def test_split_by_fraction_rows_and_duration(file):
    table = read_table(file("d,v\n" + "".join(f"{np.datetime64('2019-01-01') + i},{i}\n" for i in range(1461))))
    assert table.split() == ((0, 1461), (1461, 1461), (1461, 1461))
    assert table.split(valid=0.1, test=0.2) == ((0, 1023), (1023, 1169), (1169, 1461))
    assert table.split(valid="0.1", test="0.2") == table.split(valid=0.1, test=0.2)
    assert table.split(test=np.int64(365)) == table.split(test="365") == table.split(test="365d") == table.split(test="1y")
    train, valid, test = table.split(valid="1y", test="2y")  # 2020 is a leap year
    assert [b - a for a, b in (train, valid, test)] == [365, 366, 730]
    assert table.times[test[0]] == np.datetime64("2021-01-01")
    assert table.split(test="6mo").test[0] == table.split(test=184).test[0]
    assert table.split(test="2w").test[0] == 1461 - 14
    assert table.split(test="24h").test[0] == 1460


@pytest.mark.parametrize(
    ("amounts", "message"),
    [
        ({"test": 4}, "test=4 is 4 rows, but 4 rows are there"),
        ({"test": 0}, "test=0 is 0 rows"),
        ({"test": 3, "valid": 1}, "valid=1 is 1 rows, but 1 rows"),
        ({"test": 1.5}, "test=1.5: expected a fraction"),
        ({"test": -1}, "test=-1 is -1 rows"),
        ({"test": "soon"}, "'soon' is not a duration.*2y"),
        ({"test": "1.5y"}, "whole numbers"),
        ({"valid": "9y"}, "valid='9y' is 4 rows"),
    ],
)
def test_splits_that_cannot_be(file, amounts, message):
    with pytest.raises(ValueError, match=message):
        read_table(file(DAILY), targets=["a"]).split(**amounts)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (DAILY, {"targets": ["B"]}, r"no target column 'B' \(did you mean 'b'\?\); the columns are: date, a, b$"),
        (DAILY, {"targets": ["temperature"]}, "no target column 'temperature'; the columns are: date, a, b$"),
        (DAILY, {"time": "dates", "targets": ["a"]}, r"no time column 'dates' \(did you mean 'date'\?\)"),
        (DAILY, {}, "say which column to forecast, as in --target a; columns of numbers: a, b"),
        (DAILY, {"targets": ["a"], "past": ["a"]}, "column 'a' has more than one role"),
        (DAILY, {"targets": ["date"]}, "'2020-01-01' is not a finite number"),
        (DAILY, {"targets": ["a"], "missing": "none"}, "missing='none': expected one of error, forward"),
        (DAILY, {"targets": ["a"], "gaps": "no"}, "gaps='no': expected one of auto"),
        (DAILY, {"targets": ["a"], "encoding": "utf9"}, "'utf9' is not an encoding"),
        (DAILY, {"targets": ["a"], "time_format": "%d.%m.%Y"}, "row 1: '2020-01-01' cannot be read with the format"),
        (DAILY.replace("-03", "-33"), {"targets": ["a"]}, r"column 'date', row 3: '2020-01-33' is not a date of the form %Y"),
        (DAILY.replace("2020-01-03", ""), {"targets": ["a"]}, "column 'date', row 3: the time is missing"),
        (DAILY.replace("3,30", "x3,30"), {"targets": ["a"]}, "column 'a', row 3: 'x3' is not a finite number$"),
        (days(1, 2, 3, values=[1, "inf", 3]), {}, "column 'v', row 2: 'inf' is not a finite number"),
        (days(1, 2, 3, values=["", "NA", ""]), {"targets": ["v"]}, "column 'v' .*has no value in any of its 3 rows"),
        (days(1, 3, 2), {}, r"row 3 \(2020-01-02\) is earlier than row 2 \(2020-01-03\); sort the rows by 'day'"),
        (days(3, 2, 1), {}, "newest row comes first"),
        (days(1, 2, 2, 3), {}, "rows 2 and 3 have the same time stamp 2020-01-02"),
        ("a,b\n1,2\n", {"time": "a", "targets": ["c"]}, "no .* column 'c'"),
        ("d,e,v\n2020-01-01,2020-01-02,1\n", {}, "more than one column holds dates: d, e; .*--time d"),
        ("d,v\n2020-01-01,x\n", {}, "no column of numbers to forecast"),
        ("v,v\n1,2\n", {}, "more than one column called 'v'"),
        ("1,2\n3,4\n", {}, r"holds numbers \(1, 2\); expected the column names"),
        ("d,v\n", {}, r"column names \(d, v\) but no rows"),
        ("\n \n", {}, "only blank lines"),
        ("", {}, r"is empty \(0 bytes\)"),
        ("d,v\n2020-01-01,1\n2020-01-02,1,5\n", {}, "line 3: 3 cells, but the first line names 2 columns"),
        (b"d,v\n2020-01-01,\xe9\n", {}, "not utf-8 text: byte 0xe9 at offset 15 .*--encoding latin-1"),
        (b"d,v\n\0\0", {}, "binary file .byte 4 is NUL"),
        (b"PK\x03\x04 ", {}, "is a zip archive .*expected a CSV"),
        (gzip.compress(DAILY.encode(), mtime=0)[:-9], {}, "damaged gzip data"),
        ("t,v\nnever,1\nsoon,2\n", {"time": "t"}, "column 't', row 1: 'never' cannot be read as a date.*--time-format"),
        ("t,v\n1.5,1\n2.5,2\n", {"time": "t", "targets": ["v"]}, "'1.5' cannot be read as a date"),
    ],
)
def test_bad_input_is_named(file, content, options, message):
    with pytest.raises(ValueError, match=message):
        read_table(file(content), **options)


def test_no_file_and_no_list(file, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(IsADirectoryError):
        read_table(tmp_path)
    with pytest.raises(TypeError, match=r"target='a': expected a list .*\['a'\]"):
        read_table(file(DAILY), targets="a")


def test_without_polars_the_extra_is_named(file, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(ImportError, match=r'polars is needed to read tables: pip install "bptt\[tables\]"'):
        read_table(file(DAILY))


def test_fingerprint_tells_tables_apart(file):
    one = read_table(file(DAILY), targets=["a"], past=["b"])
    assert one.fingerprint() == read_table(file(DAILY), targets=["a"], past=["b"]).fingerprint()
    assert one.fingerprint() != read_table(file(DAILY), targets=["a"], known=["b"]).fingerprint()
    assert one.fingerprint() != read_table(file(DAILY.replace("4,40", "4,41")), targets=["a"], past=["b"]).fingerprint()


DATA = Path(__file__).parents[2] / "../shared/data"


@pytest.mark.skipif(not (DATA / "weather").is_dir(), reason="the development data are not beside the repository")
def test_melbourne_needs_no_option():
    table = read_table(DATA / "weather/daily-min-temperatures.csv")
    assert len(table) == 3652
    assert table.notes == ("2 absent time stamps filled with the value before: 1984-12-31, 1988-12-31",)
    assert table.times[table.split(test="2y").test[0]] == np.datetime64("1989-01-01")
