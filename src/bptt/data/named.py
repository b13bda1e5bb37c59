"""Public data by name: fetched once, checked by checksum, kept in a folder of the user; or taken from a copy at hand."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import urllib.request
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from bptt.data.catalog import File as File, Named as Named, named as named

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
            if not _there(place, file).is_file():
                raise FileNotFoundError(f"{place} has no {file.name}, which --data {name} needs: put there {file.url}")
    else:
        place = home() / name
        if any(not (place / file.name).is_file() for file in known.files.values()):
            say(f"fetching {name}: {known.what}; licence: {known.licence}; into {place}")
        for file in known.files.values():
            if not (place / file.name).is_file():
                say(f"  {file.url} ({file.size:,} bytes)")
                _fetch(name, file, place)
    found = {setting: _there(place, file) for setting, file in known.files.items()}
    for setting, path in found.items():
        _check(known.files[setting], _content(path, known.files[setting]), str(path))
    return found


def _there(place: Path, file: File) -> Path:
    """Where the file is, or a copy of it that was packed by gzip."""
    packed = place / f"{file.name}.gz"
    return packed if packed.is_file() and not (place / file.name).is_file() else place / file.name


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
    _check(file, content, file.url)
    place.mkdir(parents=True, exist_ok=True)
    made = place / f".fetching-{os.getpid()}-{file.name}"
    try:
        made.write_bytes(content)
        made.replace(place / file.name)
    finally:
        made.unlink(missing_ok=True)


def _check(file: File, content: bytes, where: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise ValueError(
            f"{where} is not the file it should be: {len(content):,} bytes with SHA-256 {found}, expected {file.size:,} bytes "
            f"with {file.sha256}; remove it and fetch it again, from {file.url}"
        )
