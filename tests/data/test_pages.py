"""A text in many files, read page by page: the tokens, at any place, are those of the one text in memory."""

import re
import tracemalloc
from functools import cache
from itertools import pairwise
from pathlib import Path

import fsspec
import numpy as np
import polars
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from bptt.data import Bytes, Characters, Stream, Subwords, UnknownCharacter, Words, encode_file, fit_vocabulary, read_text
from bptt.data.encode import encoder
from bptt.data.outline import Outline, counted, outlined, settled_before, settled_of
from bptt.data.pages import Pages
from bptt.data.text import open_texts
from bptt.data.vocabulary import ids_type

TEXT = "Über  naïve 中文 words,\r\n\r\n\tand  it's\n 12345  emoji 🙂🙂 \n\n the end\u3000the end of it all " * 3
UNITS = ("character", "byte", "word", "subword")
SOME = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@cache
def vocabulary(unit):
    made = {"character": lambda: Characters.fit([TEXT]), "byte": Bytes, "word": lambda: Words.fit([TEXT])}
    return made.get(unit, lambda: Subwords.fit([TEXT], 300))()


def crew(size):
    """Several processes, one after the other."""
    return lambda work: [work(rank, size) for rank in range(size)]


def paged(given, unit, page, size=1, encoding="utf-8", column=None):
    texts = open_texts(given, encoding, column, crew(size))
    encode = encoder(vocabulary(unit), texts.name, encoding)
    outline = outlined(texts, unit, crew(size), page)
    if outline.tokens is None:
        outline = counted(texts, outline, encode, crew(size))
    return Pages(texts, outline, encode, ids_type(vocabulary(unit).size))


def written(folder, pieces, suffix=".txt"):
    for old in folder.iterdir():
        old.unlink()
    for number, piece in enumerate(pieces):
        (folder / f"{number}{suffix}").write_bytes(piece)
    return folder


cuts = st.lists(st.integers(1, len(TEXT.encode()) - 1), unique=True, max_size=9).map(sorted)


@SOME
@given(cuts=cuts, page=st.integers(1, 90), size=st.integers(1, 4), data=st.data())
@pytest.mark.parametrize("unit", UNITS)
def test_files_cut_anywhere_are_the_one_text(tmp_path, unit, cuts, page, size, data):
    whole = TEXT.encode()
    folder = written(tmp_path, [whole[a:b] for a, b in pairwise([0, *cuts, len(whole)])])
    expected = vocabulary(unit).encode(TEXT)
    assert "".join(read_text(folder, chunk=page)) == TEXT
    np.testing.assert_array_equal(encode_file(folder, vocabulary(unit)), expected)
    tokens = paged(folder, unit, page, size)
    assert (len(tokens), tokens.dtype) == (len(expected), expected.dtype)
    np.testing.assert_array_equal(np.asarray(tokens), expected)
    a, b = sorted(data.draw(st.tuples(st.integers(0, len(expected)), st.integers(0, len(expected)))))
    np.testing.assert_array_equal(np.asarray(tokens[a:b]), expected[a:b])
    index = data.draw(st.lists(st.integers(-len(expected), len(expected) - 1), min_size=1, max_size=12))
    np.testing.assert_array_equal(tokens[np.reshape(index, (-1, 1))], expected[np.reshape(index, (-1, 1))])
    if b > a:
        assert tokens[a:b][-1] == expected[b - 1]


@SOME
@given(
    texts=st.lists(st.text(alphabet="aé中🙂 \n\r", max_size=30), min_size=1, max_size=8).filter(
        lambda found: len("".join(found)) > 1
    ),
    each=st.integers(1, 4),
    page=st.integers(1, 40),
    size=st.integers(1, 3),
)
@pytest.mark.parametrize("unit", ["byte", "word", "subword"])
def test_rows_of_tables_are_texts_that_end_in_a_line_end(tmp_path, unit, texts, each, page, size):
    written(tmp_path, [])
    for number, start in enumerate(range(0, len(texts), each)):
        polars.DataFrame({"id": 1, "text": texts[start : start + each]}).write_parquet(tmp_path / f"{number}.parquet")
    expected = vocabulary(unit).encode("".join(f"{text}\n" for text in texts))
    np.testing.assert_array_equal(encode_file(tmp_path, vocabulary(unit)), expected)
    np.testing.assert_array_equal(np.asarray(paged(tmp_path, unit, page, size)), expected)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "latin-1", "shift_jis", "utf-16-le", "iso2022_jp"])
@pytest.mark.parametrize("page", [1, 5, 1000])
def test_files_with_marks_of_their_own_and_other_encodings(tmp_path, encoding, page):
    texts = ["one two\n", "three four", " five\n"] if encoding == "latin-1" else ["one 中文\n", "three 中", "文 five\n"]
    written(tmp_path, [text.encode(encoding) for text in texts])
    known = Words.fit(texts)
    opened = open_texts(tmp_path, encoding)
    encode = encoder(known, opened.name, encoding)
    outline = counted(opened, outlined(opened, "word", crew(2), page), encode, crew(2))
    assert "".join(read_text(tmp_path, encoding, chunk=page)) == "".join(texts)
    np.testing.assert_array_equal(
        np.asarray(Pages(opened, outline, encode, ids_type(known.size))), known.encode("".join(texts))
    )


def test_a_mark_is_taken_off_at_the_beginning_of_a_file_and_nowhere_else(tmp_path):
    folder = written(tmp_path, ["\ufeffabcde\ufeffcd".encode(), "\ufeffef".encode()])
    assert "".join(read_text(folder, chunk=4)) == "abcde\ufeffcdef"
    for page in (1, 2, 3):
        for size in (1, 2, 3):
            assert np.asarray(paged(folder, "byte", page, size)).tobytes() == "abcde\ufeffcdef".encode()


def test_utf_16_of_either_order_file_by_file(tmp_path):
    written(
        tmp_path, [b"\xfe\xff" + "ab".encode("utf-16-be"), b"\xff\xfe" + "cd".encode("utf-16-le"), "ef".encode("utf-16-le")]
    )
    assert "".join(read_text(tmp_path, "utf-16")) == "abcdef"
    with pytest.raises(ValueError, match=r"2.txt is not utf-16 text .*utf-16-le"):
        list(read_text(tmp_path / "2.txt", "utf-16"))


@pytest.mark.parametrize("unit", ["word", "subword"])
@pytest.mark.parametrize("page", [1, 16, 1000])
def test_the_place_before_a_character_is_where_tokens_part(tmp_path, unit, page):
    folder = written(tmp_path, [TEXT.encode()[:50], TEXT.encode()[50:]])
    texts = open_texts(folder)
    outline = outlined(texts, unit, page=page)
    for wanted in range(len(TEXT) + 1):
        before, number, inside = settled_before(texts, outline, unit, wanted)
        assert before == (settled_of(unit)(TEXT[:wanted]) if wanted < len(TEXT) else len(TEXT))
        assert int(outline.lengths[number]) + inside == before


def test_a_stream_over_files_is_that_over_an_array(tmp_path):
    folder = written(tmp_path, [TEXT.encode()[a : a + 37] for a in range(0, len(TEXT.encode()), 37)])
    tokens, array = paged(folder, "subword", 8), vocabulary("subword").encode(TEXT)
    for rows in (1, 3, 7):
        a, b = Stream(tokens, rows), Stream(array, rows)
        assert a.fingerprint() == b.fingerprint()
        for mine, other in zip(a.pieces(5), b.pieces(5), strict=True):
            assert mine.x.equal(other.x)
            assert mine.target.equal(other.target)


class Counting:
    """How often a text was encoded, and which files were read."""

    def __init__(self, monkeypatch):
        self.encoded, self.files = 0, set()
        read = Path.open

        def opened(path, *args, **more):
            self.files.add(path.name)
            return read(path, *args, **more)

        monkeypatch.setattr(Path, "open", opened)


def test_reading_in_order_encodes_every_page_once_and_reads_own_rows_alone(tmp_path, monkeypatch):
    lines = [f"line {i} of it\n" for i in range(4000)]
    folder = written(tmp_path, ["".join(lines[i : i + 100]).encode() for i in range(0, 4000, 100)])
    texts = open_texts(folder)
    known = Words.fit(lines)
    made = []

    def encode(text, before):
        made.append(before)
        return known.encode(text)

    outline = counted(texts, outlined(texts, "word", page=200), encode)
    made.clear()
    stream = Stream(Pages(texts, outline, encode, ids_type(known.size)), rows=4)
    for _ in stream.pieces(16):
        pass
    assert len(made) <= len(outline.places) - 1 + 4, "a page in which two rows meet is read twice at most"
    made.clear()
    watch = Counting(monkeypatch)
    part = Stream(Pages(texts, outline, encode, ids_type(known.size)), rows=4).part(2, 3)
    for _ in part.pieces(16):
        pass
    assert len(made) <= (len(outline.places) - 1) / 4 + 2
    assert {int(name.split(".")[0]) for name in watch.files} <= set(range(19, 31))


def test_memory_does_not_grow_with_the_text(tmp_path):
    def peak(files):
        folder = written(tmp_path, [("some words of it all, " * 2000 + "\n").encode()] * files)
        stream = Stream(paged(folder, "byte", 4096), rows=4)
        tracemalloc.start()
        for _ in stream.pieces(64):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(2), peak(12)
    assert many < 1.2 * few + 20_000
    assert many < 12 * 44_001


def test_an_outline_is_kept_as_json(tmp_path):
    tokens = paged(written(tmp_path, [TEXT.encode()]), "word", 10)
    again = Outline.from_json(tokens.outline.to_json())
    assert again.places == tokens.outline.places
    assert again.lengths.tolist() == tokens.outline.lengths.tolist()
    assert again.tokens.tolist() == tokens.outline.tokens.tolist()


def test_a_file_that_changes_while_it_is_used_is_told(tmp_path):
    folder = written(tmp_path, [b"one two three\n" * 50, b"four\n" * 50])
    tokens = paged(folder, "word", 100)
    (folder / "0.txt").write_bytes(b"one-two three\n" * 50)
    with pytest.raises(ValueError, match="has changed since it was first read: page 0"):
        tokens[0]
    (folder / "1.txt").write_bytes(b"four\n" * 3)
    with pytest.raises(ValueError, match=r"1.txt became shorter while it was read: it had 250 bytes"):
        tokens[-1]


@pytest.mark.parametrize("size", [1, 2])
def test_what_is_no_text_is_told_by_file_and_byte(tmp_path, size):
    for bad, said in (
        (b"abc \xff d" + b" fine" * 9, r"1.txt is not utf-8 text: byte 0xff at offset 4 "),
        (b"abc\0d" + b" fine" * 9, r"1.txt is a binary file: byte 3 "),
        (b"\x1f\x8b\x08\0\0", "1.txt is gzip data, not text"),
    ):
        folder = written(tmp_path, [b"all is well\n" * 5, bad, b"and here\n"])
        with pytest.raises(ValueError, match=said):
            paged(folder, "word", 20, size)
    folder = written(tmp_path, [b"ab " * 20, "ab ß".encode()])
    texts = open_texts(folder)
    outline = outlined(texts, "character", crew(size), 8)
    with pytest.raises(UnknownCharacter, match=r"holds 'ß' .* at character 63"):
        counted(texts, outline, encoder(Characters(" ab"), "it", "utf-8"), crew(size))


def test_a_table_of_an_object_store_is_read_like_one_of_this_machine(tmp_path):
    rows = [f"text {i} " * 50 for i in range(90)]
    system = fsspec.filesystem("memory")
    for number in range(3):
        path = tmp_path / f"{number}.parquet"
        polars.DataFrame({"body": rows[number * 30 : number * 30 + 30]}).write_parquet(path, row_group_size=7)
        system.pipe(f"/tables/{number}.parquet", path.read_bytes())
    known = fit_vocabulary("word", "memory://tables/*.parquet")
    expected = known.encode("".join(f"{row}\n" for row in rows))
    texts = open_texts("memory://tables/*.parquet", deal=crew(2))
    assert texts.size == 90
    encode = encoder(known, "it", "utf-8")
    outline = counted(texts, outlined(texts, "word", crew(2), 500), encode, crew(2))
    np.testing.assert_array_equal(np.asarray(Pages(texts, outline, encode, ids_type(known.size))), expected)
    system.pipe("/tables/1.parquet", b"PAR1 is no table")
    with pytest.raises(ValueError, match=r"memory://.*1.parquet cannot be read as a Parquet table"):
        open_texts("memory://tables/*.parquet")
    system.rm("/tables", recursive=True)


@pytest.mark.parametrize(
    ("frames", "column", "said"),
    [
        ([{"a": ["x"], "b": ["y"]}], None, "several columns of texts: say which, --column .* a or b"),
        ([{"a": [1]}], None, "has no column of texts"),
        ([{"abc": ["x"]}], "abd", r"no column 'abd' of texts \(did you mean|no column 'abd' of texts.*those it has: abc"),
        ([{"a": ["x"]}, {"b": ["x"]}], None, r"1.parquet has no column 'a' of texts, which .*0.parquet has; .* are: b"),
        ([{"a": ["x", None]}], None, r"0.parquet, row 2, has no text in 'a': leave such rows out"),
    ],
)
def test_a_table_without_the_column_is_told(tmp_path, frames, column, said):
    for number, frame in enumerate(frames):
        polars.DataFrame(frame).write_parquet(tmp_path / f"{number}.parquet")
    with pytest.raises(ValueError, match=said):
        list(read_text(tmp_path, column=column))


def test_a_column_of_a_text_is_told(tmp_path):
    written(tmp_path, [b"abc"])
    with pytest.raises(ValueError, match=re.escape("--column x is for Parquet; ")):
        read_text(tmp_path, column="x")


@pytest.mark.parametrize("name", ["UTF-8", "utf8", "utf_8", "U8", "utf-8-sig"])
def test_an_encoding_is_the_same_however_it_is_spelled(tmp_path, name):
    written(tmp_path, [TEXT.encode()])
    one, other = open_texts(tmp_path, "utf-8"), open_texts(tmp_path, name)
    assert other.anywhere
    assert [other.begin(near) for near in range(one.size)] == [one.begin(near) for near in range(one.size)]
    np.testing.assert_array_equal(np.asarray(paged(tmp_path, "word", 20, 3, encoding=name)), vocabulary("word").encode(TEXT))
