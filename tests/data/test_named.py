import gzip
import hashlib
import zipfile

import pytest

from bptt.data import named as names
from bptt.data.named import Archive, File, Named, find, named
from bptt.tasks.classify.config import ClassifySettings
from bptt.tasks.config import settle
from bptt.tasks.registry import tasks


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A data set at an address that is a file, and an empty place for what is fetched."""
    there = tmp_path / "there"
    there.mkdir()
    files = {}
    for setting, content in (("data", b"text\tlabel\na\t1\n"), ("valid", b"text\tlabel\nb\t0\n")):
        (there / f"{setting}.tsv").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        files[setting] = File((there / f"{setting}.tsv").as_uri(), len(content), digest)
    monkeypatch.setitem(named, "tiny", Named("classify", "two rows", "none", files))
    monkeypatch.setenv("BPTT_DATA", str(tmp_path / "kept"))
    return there


def test_it_is_fetched_once_with_its_licence_told(served, tmp_path):
    said = []
    found = find("tiny", say=said.append)
    assert found == {"data": tmp_path / "kept" / "tiny" / "data.tsv", "valid": tmp_path / "kept" / "tiny" / "valid.tsv"}
    assert found["data"].read_bytes() == b"text\tlabel\na\t1\n"
    assert "licence: none" in said[0]
    assert sorted(path.name for path in (tmp_path / "kept" / "tiny").iterdir()) == ["data.tsv", "valid.tsv"]
    for path in served.iterdir():
        path.unlink()
    assert find("tiny", say=said.append) == found
    assert len(said) == 3


def test_a_copy_at_hand_is_taken(served, tmp_path):
    assert find("tiny", served)["valid"] == served / "valid.tsv"
    (served / "valid.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"there has no valid\.tsv, which --data tiny needs: put there file://"):
        find("tiny", served)
    assert not (tmp_path / "kept").exists()


def test_out_of_reach_says_what_to_put_where(served, tmp_path):
    (served / "valid.tsv").unlink()
    with pytest.raises(OSError, match=r"valid\.tsv cannot be fetched.*data\.tsv and .* into .*kept.tiny.*--data-dir FOLDER"):
        find("tiny", say=lambda line: None)


def test_what_is_not_the_file_is_refused(served, tmp_path):
    (served / "valid.tsv").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"7 bytes with SHA-256 .*, expected 15 bytes"):
        find("tiny", say=lambda line: None)
    assert not (tmp_path / "kept" / "tiny" / "valid.tsv").exists()
    with pytest.raises(ValueError, match="is not the file it should be"):
        find("tiny", served)


def test_settings_take_the_parts_of_data_by_name_unless_others_are_given(served, tmp_path):
    kept = tmp_path / "kept" / "tiny"
    settings = settle(ClassifySettings, options={"data": "tiny"})
    assert (settings.data, settings.valid, settings.test) == (str(kept / "data.tsv"), str(kept / "valid.tsv"), 0.0)
    assert settle(ClassifySettings, options={"data": "tiny", "valid": 0.2}).valid == 0.2
    copied = settle(ClassifySettings, options={"data": "tiny", "data_dir": str(served)})
    assert (copied.data, copied.data_dir) == (str(served / "data.tsv"), None)


def test_a_file_of_that_name_comes_first_and_a_copy_needs_a_name(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").write_text("")
    assert settle(ClassifySettings, options={"data": "tiny"}).data == str(tmp_path / "tiny")
    with pytest.raises(ValueError, match=r"--data-dir is where a copy of public data is: name them, as in --data sst2"):
        settle(ClassifySettings, options={"data": "mine.tsv", "data_dir": str(served)})
    monkeypatch.setitem(named, "other", Named("text", "", "", named["tiny"].files))
    with pytest.raises(ValueError, match="data for another task: bptt train text --data other"):
        settle(ClassifySettings, options={"data": "other"})


@pytest.mark.parametrize("name", [name for name in names.named if name != "tiny"])
def test_the_table_names_settings_that_exist_and_whole_checksums(name):
    known = named[name]
    settings = tasks[known.task].load_settings()
    assert settings.task == known.task
    assert "data" in known.files
    assert known.files.keys() <= settings.files
    assert known.settings.keys() <= settings.model_fields.keys()
    assert all(file.url.startswith("https://") and len(bytes.fromhex(file.sha256)) == 32 for file in known.files.values())


COPIES = {
    "shakespeare": "tinyshakespeare", "ptb": "ptb", "etth1": "ett", "melbourne": "weather", "jsb": "poly-music",
    "nottingham": "poly-music", "cmapss": "cmapss", "sst2": "sst2", "multi30k": "multi30k",
}  # fmt: skip


@pytest.mark.parametrize("name", COPIES)
def test_the_development_copies_are_those_of_the_table(real_data, name):
    assert find(name, real_data(COPIES[name])).keys() == named[name].files.keys()


def test_a_packed_copy_serves_and_is_checked(served, tmp_path):
    copy = tmp_path / "packed"
    copy.mkdir()
    for path in served.iterdir():
        (copy / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert {path.suffix for path in find("tiny", copy).values()} == {".gz"}
    (copy / "data.tsv.gz").write_bytes(gzip.compress(b"other"))
    with pytest.raises(ValueError, match="is not the file it should be"):
        find("tiny", copy)
    (copy / "data.tsv.gz").write_bytes(b"other")
    with pytest.raises(ValueError, match="is no gzip data"):
        find("tiny", copy)


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """A zip archive of two recordings and a page beside them, at an address that is a file."""
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as made:
        for name, content in (
            ("a-1/README.md", b"?"),
            ("a-1/sounds/", b""),
            ("a-1/sounds/b.wav", b"22"),
            ("a-1/sounds/a.wav", b"1"),
        ):
            made.writestr(name, content)
    digest = hashlib.sha256(b"a.wav 1\n1b.wav 2\n22").hexdigest()
    file = Archive((tmp_path / "all.zip").as_uri(), 3, digest, "sounds")
    monkeypatch.setitem(named, "tones", Named("transcribe", "two recordings", "none", {"data": file}))
    monkeypatch.setenv("BPTT_DATA", str(tmp_path / "kept"))
    return tmp_path


def test_an_archive_is_unpacked_once_and_known_by_its_files(packed):
    found = find("tones", say=lambda line: None)["data"]
    assert found == packed / "kept" / "tones" / "sounds"
    assert {path.name: path.read_bytes() for path in found.iterdir()} == {"a.wav": b"1", "b.wav": b"22"}
    assert [path.name for path in found.parent.iterdir()] == ["sounds"]
    (packed / "all.zip").unlink()
    assert find("tones", say=lambda line: None)["data"] == found
    assert find("tones", found.parent)["data"] == found
    (found / "b.wav").write_bytes(b"23")
    with pytest.raises(ValueError, match="sounds is not the file it should be: 3 bytes"):
        find("tones", say=lambda line: None)
    with pytest.raises(FileNotFoundError, match=r"has no sounds, which --data tones needs: put there .*all\.zip, unpacked"):
        find("tones", packed)


@pytest.mark.parametrize("content", [b"no zip", b"PK\x03\x04 cut", None])
def test_what_is_no_such_archive_is_refused_and_leaves_nothing(packed, content):
    if content is None:
        with zipfile.ZipFile(packed / "all.zip", "w") as made:
            made.writestr("a-1/other/a.wav", b"1")
    else:
        (packed / "all.zip").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"all\.zip is not what it should be: it (is no whole zip archive|has no folder sounds)"
    ):
        find("tones", say=lambda line: None)
    assert not [*(packed / "kept").rglob("*.wav")]
