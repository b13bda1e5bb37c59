"""Text files of any size, read in chunks and checked on the way."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path

CHUNK = 1 << 20  # bytes

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes there are."""

_KNOWN = {
    b"\x1f\x8b": "gzip data",
    b"PK\x03\x04": "a zip archive (or an office document)",
    b"\xfd7zXZ": "xz data",
    b"BZh": "bzip2 data",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"%PDF": "a PDF document",
    b"PAR1": "a Parquet table",
}


def read_text(
    path: str | Path, encoding: str = "utf-8", *, chunk: int = CHUNK, progress: Progress | None = None
) -> Iterator[str]:
    """The text of a file in chunks of about ``chunk`` bytes, exactly as it stands.

    A character whose bytes lie on both sides of a chunk's border comes whole. A byte order mark is taken off; line
    ends are not translated ("\\r\\n" stays two characters). The file is opened and its beginning checked at the call;
    what comes later is checked when it is reached.

    Raises:
        FileNotFoundError, IsADirectoryError: no file there.
        ValueError: an empty file; NUL bytes (a binary file); a byte that is not text in this encoding (which byte,
            where, and what to try); an unknown encoding.
    """
    path = Path(path)
    total = check_file(path)
    _check_encoding(encoding)
    with path.open("rb") as file:
        head = file.read(min(chunk, 4096))
    wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    if not wide and b"\0" in head:
        raise ValueError(_binary(path, head, head.index(b"\0")))
    return _chunks(path, encoding, chunk, total, wide, progress)


def _chunks(path: Path, encoding: str, chunk: int, total: int, wide: bool, progress: Progress | None) -> Iterator[str]:
    # the mark is taken off below: utf-8-sig would do it too, but counts its errors from after the mark
    name = "utf-8" if codecs.lookup(encoding).name == "utf-8-sig" else encoding
    decoder = codecs.getincrementaldecoder(name)("strict")
    done, begun, empty = 0, False, True
    with path.open("rb") as file:
        while True:
            data = file.read(chunk)
            if not wide and (nul := data.find(b"\0")) >= 0:
                raise ValueError(_binary(path, data if done == 0 else b"", done + nul))
            waiting = len(decoder.getstate()[0])
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                at = done - waiting + error.start
                raise ValueError(_undecodable(path, encoding, at, error)) from None
            done += len(data)
            if text and not begun:
                text, begun = text.removeprefix("\ufeff"), True
            if text:
                empty = False
                yield text
            if progress is not None and data:
                progress(done, total)
            if not data:
                break
    if empty:
        raise ValueError(f"{path} is empty apart from a byte order mark; expected a text file")


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


def _check_encoding(encoding: str) -> None:
    try:
        "a".encode(encoding)
    except LookupError:
        raise ValueError(
            f"{encoding!r} is not a text encoding that Python knows; for example utf-8, latin-1, cp1252, utf-16"
        ) from None


def known_format(head: bytes) -> str | None:
    """What the first bytes of a file that is no text say that it is, when they say so."""
    return next((name for magic, name in _KNOWN.items() if head.startswith(magic)), None)


def _binary(path: Path, head: bytes, at: int) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"{path} looks like UTF-16 text (byte order mark at its beginning): add --encoding utf-16"
    kind = known_format(head)
    what = f"is {kind}, not text: unpack or convert it first" if kind else f"is a binary file: byte {at} (from 0) is NUL"
    return f"{path} {what}; to train on raw bytes as they are: --unit byte --encoding binary"


def _undecodable(path: Path, encoding: str, at: int, error: UnicodeDecodeError) -> str:
    with path.open("rb") as file:
        kind = known_format(file.read(8))
    if kind:
        return f"{path} is {kind}, not text: unpack or convert it first"
    byte = error.object[error.start]
    other = "--encoding latin-1 (or cp1252)" if codecs.lookup(encoding).name != "iso8859-1" else "--encoding utf-8"
    return (
        f"{path} is not {encoding} text: byte 0x{byte:02x} at offset {at} ({error.reason}). "
        f"If it was written in another encoding name it, as in {other}"
    )
