"""Text files of any size, one or many, read in chunks and checked on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from bptt.data.decoded import Decoded, known_format as known_format
from bptt.data.files import Shards, are_tables, check_file as check_file, find_files
from bptt.data.parquet import Columns
from bptt.data.texts import CHUNK as CHUNK, Deal, Texts, alone

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes there are; of Parquet, rows."""


def read_text(
    path: str | Path,
    encoding: str = "utf-8",
    *,
    column: str | None = None,
    chunk: int = CHUNK,
    progress: Progress | None = None,
) -> Iterator[str]:
    """The text of a file in chunks of about ``chunk`` bytes, exactly as it stands; of many files (`find_files`) end to end.

    A character whose bytes lie on both sides of a chunk's or a file's border comes whole. Byte order marks are taken off;
    line ends are not translated ("\\r\\n" stays two characters). Of Parquet ``column`` is read, each row a text that a line
    end follows. The files are found and the beginning is checked at the call; what comes later when it is reached.

    Raises:
        FileNotFoundError: no file there.
        ValueError: an empty file; NUL bytes (a binary file); a byte that is not text in this encoding (which byte,
            where, and what to try); an unknown encoding; a column that Parquet lacks; and as `find_files` does.
        ImportError: Parquet without polars; an address whose package is not installed.
    """
    return whole(open_texts(path, encoding, column), chunk, progress)


def open_texts(
    given: str | Path, encoding: str = "utf-8", column: str | None = None, deal: Deal = alone, shards: Shards | None = None
) -> Texts:
    """The text of what ``given`` names, whose files are ``shards`` where they have been found; **raises** as `read_text`."""
    shards = shards or find_files(given)
    if are_tables(shards):
        return Columns(str(given), shards, column, deal)
    if column is not None:
        raise ValueError(f"--column {column} is for Parquet; {shards[0].name} is read as text, whole")
    made = Decoded(str(given), shards, encoding)
    made.check_head()
    return made


def whole(texts: Texts, chunk: int = CHUNK, progress: Progress | None = None) -> Iterator[str]:
    """All of the text, in chunks; **raises** ``ValueError`` where there is none."""
    empty = True
    for piece in texts.chunks(size=chunk):
        empty = False
        yield piece.text
        if progress is not None:
            progress(piece.done, texts.size)
    if empty:
        raise ValueError(f"{texts.name} is empty apart from a byte order mark; expected a text file")
