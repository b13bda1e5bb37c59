from __future__ import annotations

import codecs
import gzip
import io
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from bptt.data import (
    Bytes,
    Characters,
    Subwords,
    UnknownCharacter,
    Words,
    encode,
    encode_file,
    fit_vocabulary,
    read_text,
    split,
)

TEXT = "Über  naïve 中文 words,\r\n\r\n\tand  it's\n 12345  emoji 🙂🙂 \n\n the end the end"


@pytest.fixture
def file(tmp_path):
    def write(content, name="a.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(min_size=1, alphabet=st.characters(exclude_characters="\0\ufeff", codec="utf-8")),
    chunk=st.integers(1, 9),
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "utf-8-sig"])
def test_any_chunk_gives_the_same_text(file, text, chunk, encoding):
    path = file(text.encode(encoding))
    assert "".join(read_text(path, encoding, chunk=chunk)) == text


def test_byte_order_mark_goes_and_line_ends_stay(file):
    path = file(codecs.BOM_UTF8 + b"a\r\nb\rc\n")
    for encoding in ("utf-8", "utf-8-sig"):
        assert "".join(read_text(path, encoding, chunk=2)) == "a\r\nb\rc\n"
    assert encode_file(path, Bytes()).tobytes() == b"a\r\nb\rc\n"


def test_progress_counts_bytes(file):
    seen = []
    list(read_text(file("é" * 5), chunk=4, progress=lambda done, total: seen.append((done, total))))
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_the_undecodable_byte_is_located(file):
    whole = "中文🙂".encode() * 7
    for chunk in (1, 2, 3, 5, 1 << 20):
        for encoding, mark in (("utf-8", b""), ("utf-8-sig", codecs.BOM_UTF8)):
            path = file(mark + whole + b"\xe9 t" + whole)
            offset = len(mark) + len(whole)
            with pytest.raises(ValueError, match=f"byte 0xe9 at offset {offset} .*--encoding latin-1"):
                list(read_text(path, encoding, chunk=chunk))
        with pytest.raises(ValueError, match=f"byte 0xe4 at offset {len(whole)} .*unexpected end"):
            list(read_text(file(whole + b"\xe4"), chunk=chunk))
    assert "".join(read_text(file("é".encode("latin-1")), "latin-1")) == "é"


def test_files_that_are_no_text_are_named(file, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.txt$"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(FileNotFoundError, match=r"no directory .*no either"):
        read_text(tmp_path / "no" / "none.txt")
    with pytest.raises(IsADirectoryError, match="is a directory"):
        read_text(tmp_path)
    with pytest.raises(ValueError, match=r"is empty \(0 bytes\)"):
        read_text(file(b""))
    with pytest.raises(ValueError, match="empty apart from a byte order mark"):
        list(read_text(file(codecs.BOM_UTF8)))
    with pytest.raises(ValueError, match=r"binary file: byte 3 .* is NUL.*--encoding binary"):
        read_text(file(b"abc\0def"))
    with pytest.raises(ValueError, match="binary file: byte 5003 "):
        list(read_text(file(b"a" * 5003 + b"\0"), chunk=64))
    with pytest.raises(ValueError, match=r"gzip data.*unpack"):
        read_text(file(gzip.compress(b"abc", mtime=0)))
    with pytest.raises(ValueError, match="a PDF document"):
        list(read_text(file(b"%PDF-1.4 \xe2\xe3")))
    with pytest.raises(ValueError, match="--encoding utf-16"):
        read_text(file("abc".encode("utf-16")))
    for name in ("utf9", "base64"):
        with pytest.raises(ValueError, match=f"'{name}' is not a text encoding"):
            read_text(file("abc"), name)


def test_files_are_checked_at_the_call_before_anything_is_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none.txt")  # never iterated


UNITS = [Bytes(), Characters.fit([TEXT]), Words.fit([TEXT]), Subwords.fit([TEXT * 20], size=300)]


@pytest.mark.parametrize("vocabulary", UNITS, ids=lambda v: v.unit)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_chunks_never_change_a_token(file, vocabulary, encoding):
    path = file(TEXT.encode(encoding))
    whole = vocabulary.encode(TEXT)
    for chunk in (1, 2, 3, 4, 5, 7, 11, 64, 1000):
        ids = encode_file(path, vocabulary, encoding, chunk=chunk)
        assert ids.dtype == whole.dtype
        assert ids.tolist() == whole.tolist()


@pytest.mark.parametrize("vocabulary", UNITS[1:], ids=lambda v: v.unit)
def test_many_tokens_go_to_a_mapped_file(file, vocabulary, monkeypatch):
    monkeypatch.setattr(encode, "SPILL", 10)
    ids = encode_file(file(TEXT), vocabulary, chunk=8)
    assert isinstance(ids, np.memmap)
    assert not ids.flags.writeable
    assert ids.tolist() == vocabulary.encode(TEXT).tolist()


def test_a_failure_in_mid_file_leaves_no_open_file(file, monkeypatch):
    monkeypatch.setattr(encode, "SPILL", 10)
    opened = []
    monkeypatch.setattr(encode.tempfile, "TemporaryFile", lambda **_: opened.append(io.BytesIO()) or opened[0])
    with pytest.raises(UnknownCharacter):
        encode_file(file("a" * 99 + "é"), Characters("a"), chunk=8)
    assert opened[0].closed


def test_bytes_map_the_file_itself(file):
    path = file(TEXT)
    ids = encode_file(path, Bytes())
    assert isinstance(ids, np.memmap)
    assert not ids.flags.writeable
    assert ids.tobytes() == TEXT.encode()
    with pytest.raises(ValueError, match="offset 1 "):
        encode_file(file(b"a\xff"), Bytes())
    assert encode_file(file(b"\0\xff"), Bytes(), "binary").tolist() == [0, 255]
    assert encode_file(file(b"\xe9"), Bytes(), "latin-1").tobytes() == "é".encode()
    with pytest.raises(ValueError, match="tokens are words: add --unit byte"):
        encode_file(path, Words.fit(["a"]), "binary")


def test_unknown_characters_are_placed_in_the_file(file):
    with pytest.raises(UnknownCharacter, match=r"b\.txt holds 'é' .*at character 9,"):
        encode_file(file("a" * 9 + "é", "b.txt"), Characters("a"), chunk=2)


def test_fitting_by_name(file):
    path = file(TEXT)
    assert fit_vocabulary("byte", path) == Bytes()
    assert fit_vocabulary("character", path) == Characters.fit([TEXT])
    assert fit_vocabulary("word", path, size=5).size == 5
    assert fit_vocabulary("word", path, min_count=2) == Words.fit([TEXT], min_count=2)
    assert fit_vocabulary("subword", path, size=260).size == 260
    with pytest.raises(ValueError, match="no unit 'letter'; choose one of byte, character, word, subword"):
        fit_vocabulary("letter", path)
    with pytest.raises(ValueError, match="size=5: a vocabulary of characters"):
        fit_vocabulary("character", path, size=5)
    with pytest.raises(ValueError, match="min_count=2 is for words"):
        fit_vocabulary("subword", path, min_count=2)
    with pytest.raises(FileNotFoundError):
        fit_vocabulary("byte", path.with_name("none"))


def test_split_is_in_order_and_loses_nothing():
    tokens = np.arange(103, dtype=np.uint8)
    parts = split(tokens, valid=0.1, test=0.2)
    assert [len(part) for part in parts] == [72, 10, 21]
    assert np.concatenate(parts).tolist() == tokens.tolist()
    assert all(np.shares_memory(part, tokens) for part in parts)
    assert len(split(tokens).valid) == 5
    assert len(split(tokens).test) == 0


@pytest.mark.parametrize(
    ("valid", "test", "message"),
    [
        (-0.1, 0, "valid=-0.1"),
        (0, 1.0, "test=1.0"),
        (0.6, 0.4, "leave nothing to train on"),
        (0.01, 0, "'valid' would hold 0"),
        (0.5, 0.49, "'train' would hold 0"),
    ],
)
def test_a_split_that_cannot_be_is_refused(valid, test, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        split(np.arange(10), valid=valid, test=test)
