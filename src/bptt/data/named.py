"""Public data by name: fetched once, checked by checksum, kept in a folder of the user; or taken from a copy at hand."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import sys
import urllib.request
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from bptt.data.archive import digest, unpack
from bptt.data.catalog import Archive as Archive, File as File, Named as Named, named as named

_SECONDS = 60.0  # without an answer, after which an address counts as out of reach


def find(
    name: str, folder: str | Path | None = None, say: Callable[[str], None] = lambda line: print(line, file=sys.stderr)
) -> dict[str, Path]:
    """The files of the data ``name``, by the settings that they become: of ``folder`` or ``folder/name``, where given.

    Without a folder they are fetched once into ``$BPTT_DATA``, else ``$XDG_CACHE_HOME/bptt``, else ``~/.cache/bptt``, and
    ``say`` is told what, from where, and under which licence. Every file is checked each time.

    **Raises** ``FileNotFoundError`` where a file is not in ``folder``, ``OSError`` where one cannot be fetched, both saying
    what to put where; ``ValueError`` for a file that is not what it should be.
    """
    known = named[name]
    if folder is not None:
        given = Path(folder)
        place = given / name if (given / name).is_dir() else given
        for file in known.files.values():
            if not _there(place, file).exists():
                unpacked = ", unpacked" if isinstance(file, Archive) else ""
                raise FileNotFoundError(
                    f"{place} has no {file.name}, which --data {name} needs: put there {file.url}{unpacked}"
                )
    else:
        place = home() / name
        if any(not (place / file.name).exists() for file in known.files.values()):
            say(f"fetching {name}: {known.what}; licence: {known.licence}; into {place}")
        for file in known.files.values():
            if not (place / file.name).exists():
                say(f"  {file.url} ({file.size:,} bytes)")
                _fetch(name, file, place)
    found = {setting: _there(place, file) for setting, file in known.files.items()}
    for setting, path in found.items():
        _check_there(known.files[setting], path)
    return found


def _there(place: Path, file: File) -> Path:
    """Where the file is, or a copy of it that was packed by gzip."""
    packed = place / f"{file.name}.gz"
    return packed if packed.is_file() and not (place / file.name).is_file() else place / file.name


def _check_there(file: File, path: Path) -> None:
    if isinstance(file, Archive):
        _check_same(file, *digest(path), str(path))
    else:
        _check(file, _content(path, file), str(path))


def _content(path: Path, file: File) -> bytes:
    content = path.read_bytes()
    if path.name == file.name:
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is no gzip data ({error}): remove it and fetch the file again, from {file.url}") from None


def home() -> Path:
    """The folder that fetched data are kept in."""
    if given := os.environ.get("BPTT_DATA"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bptt"


def _fetch(name: str, file: File, place: Path) -> None:
    try:
        with urllib.request.urlopen(file.url, timeout=_SECONDS) as answer:
            content = answer.read()
    except (OSError, HTTPException) as error:
        wanted = " and ".join(each.url for each in named[name].files.values())
        raise OSError(
            f"{file.url} cannot be fetched ({getattr(error, 'reason', None) or error}): put {wanted} into {place}, or say "
            "where a copy is, --data-dir FOLDER"
        ) from None
    if isinstance(file, Archive):
        _keep_unpacked(file, content, place)
        return
    _check(file, content, file.url)
    place.mkdir(parents=True, exist_ok=True)
    made = place / f".fetching-{os.getpid()}-{file.name}"
    try:
        made.write_bytes(content)
        made.replace(place / file.name)
    finally:
        made.unlink(missing_ok=True)


def _keep_unpacked(file: Archive, content: bytes, place: Path) -> None:
    made = place / f".fetching-{os.getpid()}-{file.name}"
    try:
        unpack(content, file.folder, made)
        _check_same(file, *digest(made), file.url)
        made.replace(place / file.name)
    except ValueError as error:
        raise ValueError(f"{file.url} is not what it should be: {error}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _check(file: File, content: bytes, where: str) -> None:
    _check_same(file, len(content), hashlib.sha256(content).hexdigest(), where)


def _check_same(file: File, size: int, found: str, where: str) -> None:
    if found != file.sha256:
        raise ValueError(
            f"{where} is not the file it should be: {size:,} bytes with SHA-256 {found}, expected {file.size:,} bytes "
            f"with {file.sha256}; remove it and fetch it again, from {file.url}"
        )
