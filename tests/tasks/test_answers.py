import csv
import io
import json
from pathlib import Path

import pytest

from bptt.tasks.answers import KINDS, as_file, kind_of

COLUMNS = {"name": ["a", 'b "quoted", and\nbroken', ""], "share": [0.25, 1.0, 0.0], "words": [[["x", 1]], [], []]}


def test_every_kind_holds_the_same_rows():
    lines = [json.loads(line) for line in as_file(COLUMNS, "jsonl").decode().splitlines()]
    assert lines == [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
    polars = pytest.importorskip("polars")
    flat = {**COLUMNS, "words": [json.dumps(each) for each in COLUMNS["words"]]}
    assert polars.read_parquet(io.BytesIO(as_file(COLUMNS, "parquet"))).to_dict(as_series=False) == flat
    for kind, separator in (("csv", ","), ("tsv", "\t")):
        rows = list(csv.DictReader(io.StringIO(as_file(COLUMNS, kind).decode(), newline=""), delimiter=separator))
        assert {name: [row[name] for row in rows] for name in COLUMNS} == {**flat, "share": ["0.25", "1.0", "0.0"]}


def test_a_text_file_holds_the_answers_alone_a_line_each():
    assert as_file(COLUMNS, "txt").decode().split("\n") == ["a", 'b "quoted", and broken', "", ""]


def test_the_kind_is_that_of_the_name():
    assert kind_of(None) == kind_of(Path("a")) == "csv"
    assert [kind_of(Path(f"a.{kind.upper()}")) for kind in KINDS] == list(KINDS)
    with pytest.raises(ValueError, match=r"written as \.csv, \.tsv, \.jsonl, \.parquet, \.txt, got --out a\.doc"):
        kind_of(Path("a.doc"))
    with pytest.raises(ValueError, match=r"got \.doc"):
        as_file(COLUMNS, "doc")
