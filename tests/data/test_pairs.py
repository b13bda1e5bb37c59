"""Pairs of texts from files: which rows they are, and what is refused with its row and the cure."""

import gzip
import json

import pytest

from bptt.data.pairs import Names, read_pairs

NAMES = Names(source=("source", "text"), target=("target", "translation"))


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_two_files_go_line_by_line_and_keep_empty_lines(tmp_path):
    a = write(tmp_path / "a.en", "one\r\n\ntwo\x0bhalves\u2028still two\n")
    b = tmp_path / "b.de.gz"
    b.write_bytes(gzip.compress(b"eins\nleer\nzwei"))
    found = read_pairs(a, b, names=NAMES)
    assert found.sources == ("one", "", "two\x0bhalves\u2028still two")
    assert found.targets == ("eins", "leer", "zwei")


def test_files_that_do_not_go_together_are_told_with_both_counts(tmp_path):
    a, b = write(tmp_path / "a.en", "one\n" * 1200), write(tmp_path / "b.de", "eins\n" * 3)
    with pytest.raises(ValueError, match=r"a\.en has 1,200 lines and .*b\.de has 3.*find where one begins to lag"):
        read_pairs(a, b, names=NAMES)
    with pytest.raises(FileNotFoundError):
        read_pairs(a, tmp_path / "none.de", names=NAMES)
    with pytest.raises(ValueError, match=r"x\.tsv is a table, .* leave out --target"):
        read_pairs(write(tmp_path / "x.tsv", "a\tb\n"), b, names=NAMES)
    with pytest.raises(ValueError, match="a text a line: give what belongs to each in a second file, --target FILE"):
        read_pairs(a, names=NAMES)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "source\ttarget\none\teins\ntwo\tzwei\n"),
        ("a.txt", "one\teins\ntwo\tzwei\n"),
        ("a.tsv", "en\tde\none\teins\ntwo\tzwei\n"),
        ("a.csv", "id,target,text\n1,eins,one\n2,zwei,two\n"),
        ("a.jsonl", '{"text": "one", "translation": "eins"}\n{"translation": "zwei", "text": "two"}\n'),
    ],
    ids=["named", "unnamed", "languages", "among others", "json lines"],
)
def test_columns_of_a_table_are_found(tmp_path, name, text):
    found = read_pairs(write(tmp_path / name, text), names=NAMES)
    assert (found.sources, found.targets) == (("one", "two"), ("eins", "zwei"))


def test_the_first_pair_of_a_table_without_names_is_a_pair(tmp_path):
    path = write(tmp_path / "a.tsv", "A man sleeps.\tEin Mann schläft.\nA dog.\tEin Hund.\n")
    found = read_pairs(path, names=NAMES)
    assert found.sources == ("A man sleeps.", "A dog.")
    assert (found.source_column, found.target_column) == ("1", "2")
    turned = read_pairs(path, names=NAMES, source="2", target="1")
    assert turned.targets == found.sources


def test_columns_that_are_not_clear_are_asked_for(tmp_path):
    path = write(tmp_path / "a.csv", "id,left,right\n1,one,eins\n")
    with pytest.raises(ValueError, match=r"say which column of .* holds the texts, --text-column NAME; .*: 1, 2, 3"):
        read_pairs(path, names=NAMES)
    with pytest.raises(ValueError, match=r"no column 'rigth' of targets.*--target-column NAME"):
        read_pairs(path, names=NAMES, source="left", target="rigth")
    assert read_pairs(path, names=NAMES, source="left", target="right").targets == ("eins",)
    with pytest.raises(ValueError, match="as the column of texts and of targets: they are two"):
        read_pairs(path, names=NAMES, source="left", target="left")
    with pytest.raises(ValueError, match="one column only"):
        read_pairs(write(tmp_path / "b.csv", "text\none\n"), names=NAMES)


def test_what_is_no_text_is_told_by_its_row(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "one", "target": "eins"}\n{"text": 2, "target": "zwei"}\n')
    with pytest.raises(ValueError, match=r"row 2: column 'text' holds '2', a int and no text; .*--text-column"):
        read_pairs(path, names=NAMES)
    with pytest.raises(ValueError, match=r"line 2, is not utf-8 text.*--encoding latin-1"):
        read_pairs(write(tmp_path / "a.en", "one\nna\xefve\n", "latin-1"), write(tmp_path / "a.de", "x\ny\n"), names=NAMES)
    with pytest.raises(ValueError, match="line 2: 3 cells, but the first line has 2"):
        read_pairs(write(tmp_path / "c.csv", "text,target\na,b,c\n"), names=NAMES)


def test_texts_alone_are_lines_or_a_column(tmp_path):
    plain = write(tmp_path / "new.txt", "one, two\n\nthree\n")
    assert read_pairs(plain, names=NAMES, targets=False).sources == ("one, two", "", "three")
    assert read_pairs(plain, names=NAMES, targets=False).targets is None
    both = write(tmp_path / "new.jsonl", json.dumps({"text": "one", "target": None}) + "\n")
    assert read_pairs(both, names=NAMES, targets=False).sources == ("one",)
    with pytest.raises(ValueError, match="a text a line and has no column 'text': leave out --text-column"):
        read_pairs(plain, names=NAMES, source="text", targets=False)
