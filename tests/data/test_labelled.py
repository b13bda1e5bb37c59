import gzip
import json

import polars
import pytest

from bptt.data.labelled import read_labelled

ROWS = [("a fine film", "pos"), ("dull , dull", "neg"), ('say "no" to it', "neg"), ("", "pos"), ("a \t tab\nand\nlines", "pos")]
PLAIN = ROWS[:4]


def quoted(cell):
    return '"' + cell.replace('"', '""') + '"'


def lines(rows, separator, name=("text", "label"), quote=quoted):
    return "".join(separator.join(map(quote, row)) + "\n" for row in [name, *rows])


WAYS = {
    "a.tsv": lambda path: path.write_text(lines(PLAIN, "\t", quote=str)),
    "quoted.tsv": lambda path: path.write_text(lines(ROWS, "\t")),
    "a.csv": lambda path: path.write_text(lines(ROWS, ",")),
    "semicolon.csv": lambda path: path.write_text(lines(ROWS, ";")),
    "windows.csv": lambda path: path.write_bytes(lines(PLAIN, ",").replace("\n", "\r\n").encode("utf-8-sig")),
    "a.csv.gz": lambda path: path.write_bytes(gzip.compress(lines(ROWS, ",").encode())),
    "a.jsonl": lambda path: path.write_text("".join(json.dumps({"label": b, "text": a}) + "\n" for a, b in ROWS)),
    "a.parquet": lambda path: polars.DataFrame(ROWS, schema=["text", "label"], orient="row").write_parquet(path),
}


@pytest.mark.parametrize("name", WAYS)
def test_every_format_gives_the_same_rows(tmp_path, name):
    WAYS[name](tmp_path / name)
    found = read_labelled(tmp_path / name)
    expected = PLAIN if name in ("a.tsv", "windows.csv") else ROWS
    assert list(zip(found.texts, found.labels, strict=True)) == expected
    assert (found.text_column, found.label_column, found.header) == ("text", "label", True)


def test_a_file_without_a_line_of_names_loses_no_row(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("a fine film\t1\ndull\t0\nwell made\t1\n")
    found = read_labelled(path)
    assert found.texts == ("a fine film", "dull", "well made")
    assert (found.labels, found.text_column, found.label_column, found.header) == (("1", "0", "1"), "1", "2", False)
    assert read_labelled(path, text="1", label="2") == found


def test_a_first_line_of_data_that_looks_like_a_name_is_data(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("a fine film\ty\ndull\tn\nwell made\ty\n")
    assert read_labelled(path).labels == ("y", "n", "y")
    path.write_text("said\ty\nsome dull film\tn\n a film well made\tn\n")
    assert read_labelled(path).labels == ("n", "n")
    path.write_text("text\tlabel\ntext\tspam\nlonger text\tham\n")
    assert read_labelled(path).texts == ("text", "longer text")


def test_texts_alone_a_line_each(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one, two\n\nthree\n")
    assert read_labelled(path, labels=False).texts == ("one, two", "", "three")
    assert read_labelled(path, text="sentence", labels=False).texts == ("one, two", "", "three")
    path.write_text("sentence\none\n")
    assert read_labelled(path, labels=False).texts == ("one",)


def test_quotes_in_a_file_parted_by_tabs_are_characters_unless_they_hold_cells(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"so" they say\t1\nnot "so\t0\n')
    assert read_labelled(path).texts == ('"so" they say', 'not "so')
    path.write_text('text\tlabel\n"so they\t1\nsay"\t0\n')
    with pytest.raises(ValueError, match="3 rows if its quotes are characters, and 2 if cells stand between them"):
        read_labelled(path)


@pytest.mark.parametrize(
    ("names", "text", "label"),
    [
        (("id", "review", "stars"), "review", "stars"),
        (("Sentence", "Label"), "Sentence", "Label"),
        (("said", "class"), "said", "class"),
        (("what", "kind"), "what", "kind"),
    ],
)
def test_columns_are_found_where_they_are_clear(tmp_path, names, text, label):
    rows = [(*["7"] * (len(names) - 2), f"a rather long text, number {i}", "ab"[i % 2]) for i in range(6)]
    (tmp_path / "a.csv").write_text(lines(rows, ",", names))
    found = read_labelled(tmp_path / "a.csv")
    assert (found.text_column, found.label_column) == (text, label)
    assert found.texts[2] == "a rather long text, number 2"


def test_labels_that_are_numbers_are_the_same_however_they_are_written(tmp_path):
    polars.DataFrame({"text": ["a", "b", "c"], "label": [1.0, 0.0, 0.5]}).write_parquet(tmp_path / "a.parquet")
    assert read_labelled(tmp_path / "a.parquet").labels == ("1", "0", "0.5")
    (tmp_path / "a.csv").write_text("text,label\na,1\nb,1.0\nc, x \n")
    assert read_labelled(tmp_path / "a.csv").labels == ("1", "1", "x")
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": true}\n{"text": null, "label": 2}\n')
    found = read_labelled(tmp_path / "a.jsonl")
    assert (found.texts, found.labels) == (("a", ""), ("true", "2"))


BAD = {
    "empty.csv": (b"", {}, r"is empty"),
    "blank.csv": (b"\n \n", {}, "only blank lines"),
    "header.csv": (b"text,label\n", {}, r"columns \(text, label\) but no rows"),
    "latin.csv": (b"text,label\nfine,1\ncaf\xe9,0\n", {}, r"line 3, is not utf-8.*0xe9 at offset 21.*--encoding latin-1"),
    "binary.csv": (b"text,label\na\0b,1\n", {}, "binary file: byte 12 is NUL"),
    "wide.csv": ("text,label\na,1\n".encode("utf-16"), {}, "--encoding utf-16"),
    "no label.csv": (b"text,label\na,1\nb,\n", {}, "row 2: column 'label' is empty; give every row a label"),
    "ragged.csv": (b"text,label\na,1\nb, c,0\n", {}, "line 3: 3 cells, but the first line has 2; put texts that hold ','"),
    "quote.csv": (b'text,label\n"a"b,1\n', {}, "line 2: .*a quote within quotes is written twice"),
    "twice.csv": (b"text,text\na,b\n", {}, "more than one column called 'text'"),
    "unclear.csv": (b"id,said,kind\n1,a,x\n2,b,y\n", {}, "--text-column NAME; the columns are: id, said, kind"),
    "unclear label.csv": (b"id,text,kind\n1,a,x\n2,b,y\n", {}, "--label-column NAME"),
    "alike.csv": (b"this,that\nab,cd\nef,gh\n", {}, "--text-column NAME"),
    "other.csv": (
        b"text,label\na,1\n",
        {"text": "texts"},
        r"no column 'texts' of texts .did you mean 'text'.*--text-column NAME",
    ),
    "unnamed.tsv": (b"a b\t1\nb c\t1\n", {"text": "text"}, "no column 'text' of texts, which has no line of names"),
    "same.csv": (b"text,label\na,1\n", {"text": "text", "label": "text"}, "they are two"),
    "one.csv": (b"text\na\nb\n", {}, "one column only, 'text'"),
    "array.json": (b'[{"text": "a"}]', {}, "one JSON array"),
    "broken.jsonl": (b'{"text": "a", "label": 1}\n{"text"\n', {}, "line 2: not JSON"),
    "list.jsonl": (b'{"text": "a", "label": 1}\n[1]\n', {}, "line 2: expected an object"),
    "number.jsonl": (
        b'{"text": "a", "label": 1}\n{"text": 5, "label": 1}\n',
        {},
        "row 2: column 'text' holds '5', a int and no",
    ),
    "nested.jsonl": (b'{"text": "a", "label": [1]}\n', {}, "row 1: column 'label' holds a list"),
    "missing.jsonl": (b'{"text": "a", "label": 1}\n{"text": "b"}\n', {}, "row 2: column 'label' is empty"),
    "no.parquet": (b"PAR1 and then nothing", {}, "cannot be read as a Parquet"),
    "zipped.csv": (b"PK\x03\x04....", {}, "zip archive"),
    "damaged.csv.gz": (gzip.compress(b"text,label\na,1\n")[:-9], {}, "damaged gzip"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_refused_with_its_row_and_the_cure(tmp_path, name):
    content, how, said = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_labelled(tmp_path / name, **how)
