"""A table in several files, or in an object store, is read as one."""

import fsspec
import polars
import pytest

from bptt import tasks
from bptt.data import read_table
from bptt.data.labelled import read_labelled
from bptt.data.units import read_units


@pytest.fixture
def store():
    system = fsspec.filesystem("memory")
    yield lambda name, content: system.pipe(f"/tables/{name}", content)
    system.rm("/tables", recursive=True)


LINES = [f"{i},{i / 4},{i % 3}" for i in range(30)]


def text(first, last, names="time,level,wind"):
    return "\n".join([names, *LINES[first:last]]) + "\n"


def test_files_of_one_table_follow_each_other_by_name(tmp_path, store):
    (tmp_path / "whole.csv").write_text(text(0, 30))
    (tmp_path / "parts").mkdir()
    for number, (first, last) in enumerate([(0, 7), (7, 8), (8, 30)]):
        (tmp_path / "parts" / f"{number}.csv").write_text(text(first, last))
        store(f"{number}.csv", text(first, last).encode())
        (tmp_path / f"{number}.parquet").write_bytes(b"")
        polars.read_csv(tmp_path / "parts" / f"{number}.csv").write_parquet(tmp_path / f"{number}.parquet")
    expected = read_table(tmp_path / "whole.csv", targets=["level"], past=["wind"])
    for given in (tmp_path / "parts", tmp_path / "parts" / "*.csv", "memory://tables/*.csv", tmp_path / "*.parquet"):
        made = read_table(given, targets=["level"], past=["wind"])
        assert made.values.tolist() == expected.values.tolist()


def test_files_of_other_columns_are_told(tmp_path):
    (tmp_path / "a.csv").write_text(text(0, 9))
    (tmp_path / "b.csv").write_text(text(9, 20, "time,depth,wind"))
    with pytest.raises(ValueError, match=r"have other columns: .*b.csv has time, depth, wind; .*a.csv has time, level, wind"):
        read_table(tmp_path, targets=["level"])
    (tmp_path / "b.csv").write_text(text(9, 20).replace(",", ";"))
    with pytest.raises(ValueError, match=r"b.csv has time, level, wind parted by ';', not ','"):
        read_table(tmp_path, targets=["level"])
    polars.DataFrame({"a": [1]}).write_parquet(tmp_path / "a.parquet")
    polars.DataFrame({"a": [[1]]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"the files of .* have columns of other kinds"):
        read_table(tmp_path / "*.parquet")


def test_units_of_several_files(tmp_path):
    for number in range(2):
        (tmp_path / f"{number}.csv").write_text(f"unit,cycle,s\n{number},1,2\n{number},2,3\n")
    assert read_units(tmp_path / "*.csv").names == ("0", "1")


@pytest.mark.parametrize("names", ["text\tlabel\n", ""])
def test_texts_of_several_files(tmp_path, store, names):
    for number, rows in enumerate((["good\tyes", "bad\tno"], ["fine\tyes"], ["so so\tno"])):
        content = names + "".join(f"{row}\n" for row in rows)
        (tmp_path / f"{number}.tsv").write_text(content)
        store(f"{number}.tsv", content.encode())
    for given in (tmp_path, "memory://tables/*.tsv"):
        made = read_labelled(given, **({} if names else {"text": "1", "label": "2"}))
        assert made.texts == ("good", "bad", "fine", "so so")
        assert made.labels == ("yes", "no", "yes", "no")
    (tmp_path / "3.tsv").write_text("one cell\n")
    with pytest.raises(ValueError, match=r"other columns: .*3.tsv has 1 without names; .*0.tsv has 2 without names"):
        read_labelled(tmp_path)


def test_tables_of_texts(tmp_path):
    for number in range(2):
        polars.DataFrame({"text": [f"text {number}"], "label": ["a"]}).write_parquet(tmp_path / f"{number}.parquet")
    assert read_labelled(tmp_path / "*.parquet").texts == ("text 0", "text 1")
    polars.DataFrame({"text": ["x"], "kind": ["a"]}).write_parquet(tmp_path / "2.parquet")
    with pytest.raises(ValueError, match=r"2.parquet has text, kind; .*0.parquet has text, label"):
        read_labelled(tmp_path)


def test_a_run_on_several_files_is_measured_and_gone_on_with(store, tmp_path):
    for number in range(4):
        rows = "".join(f"text number {i} {'up' if i % 2 else 'down'}\t{i % 2}\n" for i in range(number * 10, number * 10 + 10))
        store(f"{number}.tsv", f"text\tlabel\n{rows}".encode())
    how = {"data": "memory://tables/*.tsv", "hidden": 3, "rows": 4, "valid": 0.2, "progress": False}
    made = tasks.train("classify", tmp_path / "run", **how, epochs=1)
    assert made.evaluate().figures["count"] == 8
    tasks.train("classify", tmp_path / "run", **how, epochs=2)
