"""Which recordings there are, and what is said of them: found by themselves or refused with the row."""

import json

import pytest

from bptt.data.recordings import read_recordings


@pytest.fixture
def folder(tmp_path):
    for name in ("b.wav", "a.wav", "c.flac", "sub/d.wav"):
        path = tmp_path / "sounds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF")
    return tmp_path


def test_manifests_of_every_format_say_the_same(folder):
    rows = [("sounds/b.wav", "two", "ann"), ("sounds/a.wav", "one, and", "bob"), ("sounds/sub/d.wav", "three", "ann")]
    (folder / "m.csv").write_text("path,speaker,transcript\n" + "".join(f'{a},{c},"{b}"\n' for a, b, c in rows))
    (folder / "m.tsv").write_text("speaker\ttext\tfile\n" + "".join(f"{c}\t{b}\t{a}\n" for a, b, c in rows))
    (folder / "m.jsonl").write_text(
        "".join(json.dumps({"audio_filepath": a, "sentence": b, "speaker": c}) + "\n" for a, b, c in rows)
    )
    for name in ("m.csv", "m.tsv", "m.jsonl"):
        found = read_recordings(folder / name)
        assert found.files == tuple(folder / a for a, _, _ in rows)
        assert found.names == tuple(a for a, _, _ in rows)
        assert found.texts == ("two", "one, and", "three")
        assert found.fields == {"speaker": ("ann", "bob", "ann")}


def test_columns_without_names_are_told_by_what_they_hold(folder):
    (folder / "m.tsv").write_text("two\tsounds/b.wav\none\tsounds/a.wav\n")
    found = read_recordings(folder / "m.tsv")
    assert (found.texts, found.file_column, found.text_column) == (("two", "one"), "2", "1")


def test_columns_may_be_named_and_transcripts_left_out(folder):
    (folder / "m.csv").write_text("where,said,also\nsounds/b.wav,two,x\n")
    with pytest.raises(ValueError, match=r"which column of .*m.csv holds the transcripts, --text-column NAME; the columns are"):
        read_recordings(folder / "m.csv")
    assert read_recordings(folder / "m.csv", text="said").texts == ("two",)
    assert read_recordings(folder / "m.csv", texts=False).texts is None
    with pytest.raises(ValueError, match=r"no column 'sad' of transcripts.*'said'"):
        read_recordings(folder / "m.csv", text="sad")
    with pytest.raises(ValueError, match="no column 'x' of files"):
        read_recordings(folder / "m.csv", file="x", text="said")


def test_a_missing_recording_is_refused_with_its_row(folder):
    (folder / "m.csv").write_text("file,text\nsounds/a.wav,one\nsounds/gone.wav,two\n")
    with pytest.raises(FileNotFoundError, match=r"m.csv, row 2: .*gone.wav is not there; paths are relative to"):
        read_recordings(folder / "m.csv")
    (folder / "m.csv").write_text("file,text\nsounds/a.wav,one\n,two\n")
    with pytest.raises(ValueError, match="row 2: no file is named"):
        read_recordings(folder / "m.csv")
    (folder / "m.csv").write_text("file,text\n")
    with pytest.raises(ValueError, match="but no rows"):
        read_recordings(folder / "m.csv")


def test_a_folder_has_texts_beside_its_recordings_or_in_their_names(folder):
    with pytest.raises(FileNotFoundError, match=r"a.wav has no transcript beside it, a.txt \(4 such recordings\).*--names"):
        read_recordings(folder / "sounds")
    for name, text in (("a", "one"), ("b", "two\n"), ("c", "three\nfour"), ("sub/d", "")):
        (folder / "sounds" / f"{name}.txt").write_text(text)
    found = read_recordings(folder / "sounds")
    assert dict(zip(found.names, found.texts, strict=True)) == {
        "a.wav": "one", "b.wav": "two", "c.flac": "three four", "sub/d.wav": "",
    }  # fmt: skip
    assert read_recordings(folder / "sounds", texts=False).names == found.names
    for path in list((folder / "sounds").rglob("*")):
        if path.is_file():
            path.unlink()
    with pytest.raises(ValueError, match="holds no recordings"):
        read_recordings(folder / "sounds")


def test_names_tell_transcripts_and_more(tmp_path):
    for name in ("7_ann_0.wav", "12_bob_x_3.wav"):
        (tmp_path / name).write_bytes(b"RIFF")
    found = read_recordings(tmp_path, names="{transcript}_{speaker}_{index}")
    assert found.texts == ("12", "7")
    assert found.fields == {"speaker": ("bob", "ann"), "index": ("x_3", "0")}
    with pytest.raises(ValueError, match=r"expected fields in braces.*\{transcript\}"):
        read_recordings(tmp_path, names="{speaker}_{index}")
    (tmp_path / "strange.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"strange.wav is not named as --names .* says \(1 such files\)"):
        read_recordings(tmp_path, names="{transcript}_{speaker}_{index}")


def test_one_recording_has_no_transcript(folder):
    assert read_recordings(folder / "sounds/a.wav", texts=False).files == (folder / "sounds/a.wav",)
    with pytest.raises(ValueError, match="is one recording; expected a manifest"):
        read_recordings(folder / "sounds/a.wav")
    with pytest.raises(FileNotFoundError):
        read_recordings(folder / "sounds/none.wav", texts=False)
