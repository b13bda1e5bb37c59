"""What may be named as data: files, folders, patterns and addresses, in one order; what cannot be is told in a line."""

import sys

import fsspec
import polars
import pytest

from bptt.data.files import are_tables, find_files, is_address, is_there, short_names


@pytest.fixture
def shards(tmp_path):
    for name, content in (
        ("part-10.txt", "ten"),
        ("part-2.txt", "two"),
        ("part-1.txt", "one"),
        (".hidden", "x"),
        (".part-3.txt", "x"),
        ("_part-4.txt", "x"),
        ("_SUCCESS", ""),
    ):
        (tmp_path / name).write_text(content)
    return tmp_path


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    for number in (10, 2, 1):
        system.pipe(f"/shards/part-{number}.txt", b"abc" * number)
    system.pipe("/shards/_SUCCESS", b"")
    system.pipe("/shards/.part-3.txt", b"x")
    system.pipe("/shards/_part-4.txt", b"x")
    yield "memory://shards"
    system.rm("/shards", recursive=True)


def names(given):
    return [shard.base for shard in find_files(given)]


def test_files_come_in_the_order_of_their_numbers(shards):
    expected = ["part-1.txt", "part-2.txt", "part-10.txt"]
    assert names(shards) == names(shards / "part-*.txt") == names(f"file://{shards}/p*") == expected
    assert short_names(find_files(shards)) == expected
    assert names(shards / "part-2.txt") == ["part-2.txt"]
    assert [shard.size for shard in find_files(shards)] == [3, 3, 3]


def test_hidden_files_are_left_out_alike_everywhere(shards, memory):
    for given in (str(shards), memory):
        shown = ["part-1.txt", "part-2.txt", "part-10.txt"]
        assert names(given) == names(f"{given}/*.txt") == names(f"{given}/*art*.txt") == shown
        assert names(f"{given}/_p*") == ["_part-4.txt"]
        assert names(f"{given}/.p*") == [".part-3.txt"]
        assert names(f"{given}/_part-4.txt") == ["_part-4.txt"]


def test_files_of_one_size_are_told_apart_by_their_ends(tmp_path):
    for number, content in enumerate(("a" * 9999 + "b", "a" * 10000, "b" + "a" * 9999, "a" * 10000)):
        (tmp_path / f"{number}.txt").write_text(content)
    last, plain, first, same = (shard.mark() for shard in find_files(tmp_path))
    assert len({last, plain, first}) == 3
    assert plain == same


def test_a_file_whose_name_is_a_pattern_is_that_file(shards):
    (shards / "part-[1].txt").write_text("odd")
    assert names(shards / "part-[1].txt") == ["part-[1].txt"]


def test_files_of_folders_within_are_told_apart(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text(name)
    assert short_names(find_files(tmp_path / "**/*.txt")) == ["a/x.txt", "b/x.txt"]
    with pytest.raises(ValueError, match=r"holds folders \(a\): name the files, as in '.*/\*\*/\*.txt'"):
        find_files(tmp_path)


def test_addresses_are_read_through_fsspec(memory):
    expected = ["part-1.txt", "part-2.txt", "part-10.txt"]
    assert names(memory) == names(f"{memory}/part-*.txt") == names(f"simplecache::{memory}/part-*.txt") == expected
    (first,) = find_files(f"{memory}/part-2.txt")
    assert (first.remote, first.size, first.read(2, 5)) == (True, 6, b"cab")
    assert list(first.blocks(1, 6, 2)) == [b"bc", b"ab", b"c"]
    assert list(first.blocks(1, 3, 2)) == [b"bc"]


@pytest.mark.parametrize("given", ["s3://b/x-*.txt", "memory://a", "simplecache::s3://b", "https://a.b/c", "hf://datasets/x"])
def test_addresses_are_known(given):
    assert is_address(given)


@pytest.mark.parametrize("given", ["a.txt", "/a/b*.txt", "C:\\\\a.txt", "file:///a", "a:b", "ab::c.txt"])
def test_paths_are_known(given):
    assert not is_address(given)


def test_what_is_there_is_known(shards, memory):
    assert [is_there(f"{memory}/{name}") for name in ("part-1.txt", "part-*", "none", "n*")] == [True, True, False, False]
    assert [is_there(shards / name) for name in (".", "part-1.txt", "part-*", "none", "n*")] == [True, True, True, False, False]


def test_a_table_is_known_by_its_name_or_its_beginning(tmp_path):
    polars.DataFrame({"text": ["a"]}).write_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.txt").write_bytes((tmp_path / "a.parquet").read_bytes())
    (tmp_path / "c.txt").write_text("abc")
    assert [are_tables(find_files(tmp_path / name)) for name in ("a.parquet", "b.txt", "c.txt")] == [True, True, False]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ("none.txt", FileNotFoundError, "there is no file"),
        ("n*.txt", FileNotFoundError, r"no file matches .*n\*.txt"),
        ("empty", IsADirectoryError, "empty is a directory without files"),
        ("part-*", ValueError, r"part-3.txt is empty \(0 bytes\): leave it out"),
        ("kinds", ValueError, r"kinds holds files of several kinds \(b.txt, a.csv\): .* as in '.*kinds/\*.txt'"),
        ("kinds/*[tc]", ValueError, r"names Parquet \(c.parquet\) and other files \(b.txt\)"),
        ("nowhere://a", ValueError, "is no address that fsspec reads"),
        ("memory://nothing/there", FileNotFoundError, "there is no file memory://nothing/there"),
        ("memory://nothing/*", FileNotFoundError, r"no file matches memory://nothing/\*"),
    ],
)
def test_what_cannot_be_read_is_told(shards, given, error, said):
    (shards / "part-3.txt").write_text("")
    (shards / "empty").mkdir()
    (shards / "kinds").mkdir()
    for name in ("a.csv", "b.txt") + (("c.parquet",) if "*" in given else ()):
        (shards / "kinds" / name).write_text("x")
    with pytest.raises(error, match=said):
        find_files(given if "://" in given else shards / given.replace("*[tc]", "[bc].*"))


@pytest.mark.parametrize(
    ("address", "packages"), [("s3://b/x", "s3fs"), ("gs://b/x", "gcsfs"), ("https://a.b/c", "requests aiohttp")]
)
def test_a_package_that_an_address_needs_is_named(monkeypatch, address, packages):
    for name in ("s3fs", "gcsfs", "aiohttp", "requests"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("http", "s3", "gcs"):
        monkeypatch.delitem(sys.modules, f"fsspec.implementations.{name}", raising=False)
    with pytest.raises(ImportError, match=f"{address} cannot be read without {packages}: pip install {packages}"):
        find_files(address)


def test_a_store_that_fails_is_named_with_its_reason(memory, monkeypatch):
    (shard,) = find_files(f"{memory}/part-2.txt")

    def fails(*_, **__):
        raise RuntimeError("token expired")

    monkeypatch.setattr(type(shard.system), "cat_file", fails)
    with pytest.raises(OSError, match=r"memory://.*part-2.txt cannot be read: RuntimeError: token expired"):
        shard.read(0, 2)
