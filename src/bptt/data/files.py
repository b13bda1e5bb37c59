"""What a user names as data, a file, a folder, a pattern or an address, as files in one order, read from any byte on."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_END = 1 << 12  # bytes
_AHEAD = 8 << 20  # bytes that are asked for at once of a file on another machine that is read in order
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+(::[\w+.-]+)*://")
_SLASH = re.compile(r"(?<=\w{2}):/(?!/)")
_HERE = ("file://", "local://")
_TABLES = (".parquet", ".pq")


@dataclass(frozen=True)
class Shard:
    """One file: its ``name``, a path or an address, and its ``size`` in bytes."""

    name: str
    size: int
    system: Any = field(default=None, repr=False, compare=False)
    """What fsspec reads an address with; ``None`` for a file of this machine."""

    @property
    def remote(self) -> bool:
        """Whether it is read through fsspec."""
        return self.system is not None

    def mark(self) -> str:
        """What tells a file of this machine from another of its size at little cost: a hash of its first and last bytes."""
        if self.remote:
            return ""
        ends = self.read(0, _END), self.read(max(0, self.size - _END), self.size)
        return hashlib.blake2b(b"".join(ends), digest_size=8).hexdigest()

    @property
    def base(self) -> str:
        """The last part of its name."""
        return _base(self.name) if self.remote else Path(self.name).name

    def read(self, start: int, stop: int) -> bytes:
        """The bytes ``start <= i < stop``; **raises** ``OSError`` where they cannot be had."""
        if self.remote:
            with _reaching(self.name):
                return bytes(self.system.cat_file(self.name, start=start, end=stop))
        with Path(self.name).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def blocks(self, start: int, stop: int, size: int) -> Iterator[bytes]:
        """The bytes ``start <= i < stop`` in order, ``size`` at a time, until the file ends."""
        if self.remote and stop - start <= size:
            yield self.read(start, stop)
            return
        with contextlib.ExitStack() as stack:
            with _reaching(self.name):
                if self.remote:
                    file = stack.enter_context(self.system.open(self.name, "rb", block_size=_AHEAD))
                else:
                    file = stack.enter_context(Path(self.name).open("rb"))
                file.seek(start)
            while start < stop:
                with _reaching(self.name):
                    data = bytes(file.read(min(size, stop - start)))
                if not data:
                    return
                start += len(data)
                yield data

    def content(self) -> bytes:
        """All of it."""
        return self.read(0, self.size)

    def copy_to(self, path: Path) -> None:
        """Writes a copy of an address there."""
        with _reaching(self.name):
            self.system.get_file(self.name, str(path))


Shards = tuple[Shard, ...]


def find_files(given: str | Path) -> Shards:
    """The files that ``given`` names, sorted by name, numbers in names as numbers (``part-2`` before ``part-10``).

    A file; a folder; a pattern (``shards/*.txt``, ``**`` for folders within); or an address of any of these
    (``s3://bucket/part-*.parquet``) for which fsspec has a file system. Hidden files (``.…``, ``_…``) are left out, unless the
    pattern begins so.

    **Raises** ``FileNotFoundError``, ``IsADirectoryError`` where no file is; ``ValueError`` for an empty file, for a folder
    whose files are not of one kind, for Parquet beside text, and for an unknown protocol; ``ImportError`` naming the package
    that it needs; ``OSError`` where it cannot be reached.
    """
    text = _text(given)
    if is_address(text):
        found = _at_address(text)
    else:
        found = _here(Path(text.partition("://")[2] if text.startswith(_HERE) else text))
    for shard in found:
        if shard.size == 0:
            raise ValueError(f"{shard.name} is empty (0 bytes){': leave it out' if len(found) > 1 else ''}")
    tables = [shard for shard in found if _suffix(shard.base) in _TABLES]
    if tables and len(tables) < len(found):
        other = next(shard for shard in found if shard not in tables)
        raise ValueError(f"{text} names Parquet ({tables[0].base}) and other files ({other.base}): name those of one kind")
    return tuple(sorted(found, key=lambda shard: _order(shard.name)))


def is_address(text: str | Path) -> bool:
    """Whether it is read through fsspec: ``s3://…``, ``memory://…``, ``simplecache::s3://…``."""
    return _ADDRESS.match(_text(text)) is not None and not str(text).startswith(_HERE)


def is_there(given: str | Path) -> bool:
    """Whether anything is where ``given`` says."""
    text = str(given)
    if not is_address(text) and Path(text).exists():
        return True
    try:
        return bool(find_files(given))
    except FileNotFoundError:
        return False
    except ValueError:
        return True


def short_names(shards: Sequence[Shard]) -> list[str]:
    """The names without the folders that all of them share: alike on hosts that keep the same files in different places."""
    parts = [shard.name.split("/") for shard in shards]
    least = min(len(each) for each in parts) - 1
    same = next((i for i in range(least) if len({each[i] for each in parts}) > 1), least)
    return ["/".join(each[same:]) for each in parts]


def are_tables(shards: Sequence[Shard]) -> bool:
    """Whether the files are Parquet, by their names; of a single one, also by its first bytes."""
    return _suffix(shards[0].base) in _TABLES or (len(shards) == 1 and shards[0].read(0, 4) == b"PAR1")


def check_file(path: Path) -> int:
    """The size of a file in bytes; raises one clear line when it is missing, a directory, a pipe or device, or empty."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; expected a file")
    if not path.exists():
        folder = path.absolute().parent
        why = "" if folder.is_dir() else f" (there is no directory {folder} either)"
        raise FileNotFoundError(f"there is no file {path}{why}")
    if not path.is_file():
        what = "a pipe" if path.is_fifo() else "a device" if path.is_char_device() or path.is_block_device() else "a socket"
        raise ValueError(f"{path} is {what}, but data is read more than once: write it to a file first, and give that")
    size = path.stat().st_size
    if size == 0:
        raise ValueError(f"{path} is empty (0 bytes)")
    return size


def _text(given: str | Path) -> str:
    """What was given; a ``Path`` has taken one of the two slashes of an address."""
    return str(given) if isinstance(given, str) else _SLASH.sub("://", str(given))


def _here(path: Path) -> list[Shard]:
    if path.is_dir():
        return [Shard(str(each), each.stat().st_size) for each in _of_folder(path)]
    if path.exists() or not glob.has_magic(str(path)):
        return [Shard(str(path), check_file(path))]
    found = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute pattern
    files = [each for each in found if each.is_file() and _shown(each.name, path.name)]
    if not files:
        raise FileNotFoundError(f"no file matches {path}")
    return [Shard(str(each), each.stat().st_size) for each in files]


def _of_folder(folder: Path) -> list[Path]:
    inside = [each for each in folder.iterdir() if _shown(each.name)]
    _check_alike(str(folder), [each.name for each in inside if each.is_file()], [each.name for each in inside if each.is_dir()])
    return [each for each in inside if each.is_file()]


def _check_alike(folder: str, files: list[str], folders: list[str]) -> None:
    if folders:
        raise ValueError(f"{folder} holds folders ({min(folders)}): name the files, as in '{folder}/**/*.txt'")
    if not files:
        raise IsADirectoryError(f"{folder} is a directory without files in it")
    kinds = {_suffix(name): name for name in sorted(files, reverse=True)}
    if len(kinds) > 1:
        (one, first), (_, second) = sorted(kinds.items(), reverse=True)[:2]
        raise ValueError(
            f"{folder} holds files of several kinds ({first}, {second}): name those you mean, as in '{folder}/*{one}'"
        )


def _at_address(text: str) -> list[Shard]:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(text)
    except ImportError as error:
        packages = _packages(text, str(error))
        raise ImportError(f"{text} cannot be read without {packages}: pip install {packages}") from None
    except ValueError as error:
        raise ValueError(
            f"{text} is no address that fsspec reads ({error}); for example s3://, gs://, az://, https://"
        ) from None
    with _reaching(text):
        pattern, folder = glob.has_magic(path), system.isdir(path)
        if pattern:
            infos = [info for info in system.glob(path, detail=True).values() if info["type"] == "file"]
            infos = [info for info in infos if _shown(_base(info["name"]), _base(path))]
        elif folder:
            infos = [info for info in system.ls(path, detail=True) if _base(info["name"]) and _shown(_base(info["name"]))]
        else:
            infos = [system.info(path)]
    if pattern and not infos:
        raise FileNotFoundError(f"no file matches {text}")
    if folder and not pattern:
        names = {kind: [_base(i["name"]) for i in infos if i["type"] == kind] for kind in ("file", "directory")}
        _check_alike(text.rstrip("/"), names["file"], names["directory"])
    for info in infos:
        if info.get("size") is None:
            raise ValueError(f"{info['name']} does not say how large it is, so it cannot be read in parts: copy it here first")
    return [Shard(_named(system, info["name"]), int(info["size"]), system) for info in infos]


def _named(system: Any, path: str) -> str:
    """With its protocol, where the file system takes that off again."""
    name = str(system.unstrip_protocol(path))
    return name if system._strip_protocol(name) == system._strip_protocol(path) else path


def _packages(text: str, said: str) -> str:
    """What fsspec lacks for an address: what it names between quotes, else the package of the protocol."""
    from fsspec.registry import known_implementations

    protocol = re.split("::|://", text)[0]
    known = str(known_implementations.get(protocol, {}).get("class", protocol))
    return " ".join(re.findall(r'"([\w-]+)"', said)) or known.split(".")[0]


@contextlib.contextmanager
def _reaching(name: str) -> Iterator[None]:
    """Whatever a file system raises becomes one line about ``name``."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {name}") from None
    except Exception as error:
        raise OSError(f"{name} cannot be read: {type(error).__name__}: {error}") from error


def _shown(name: str, pattern: str = "") -> bool:
    """Whether a file is not hidden, or a pattern asks for such."""
    return name[0] not in "._" or name[0] == pattern[:1]


def _base(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def _order(name: str) -> tuple[list[tuple[int, str]], str]:
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(re.split(r"(\d+)", name))], name
