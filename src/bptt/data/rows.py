"""The cells of a TSV, CSV, JSON Lines or Parquet file of texts, as they stand there, every row read or refused by its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bptt.data.files import find_files
from bptt.data.text import known_format

_SEPARATORS = ("\t", ",", ";", "|")

Rows = list[Sequence[Any]]
"""Rows of cells, all of one length."""


def table(path: Path, encoding: str, separator: str | None, expected: str) -> tuple[list[str] | None, Rows]:
    """The names of the columns and the cells of each row, of one file or of all that ``path`` names (`find_files`).

    There are no names (``None``) in TSV and CSV, where only whoever reads them can tell whether the first row is made of them.
    ``expected``: what the file should hold, for whoever gave another.

    **Raises** ``FileNotFoundError``, ``IsADirectoryError``; ``ValueError`` for an empty file, a row that does not fit, another
    encoding, or another format; ``ImportError`` where Parquet needs polars.
    """
    found = [
        (Path(shard.name), *_read(Path(shard.name), shard.content(), encoding, separator, expected))
        for shard in find_files(path)
    ]
    return _joined(found, path)


def _joined(tables: list[tuple[Path, list[str] | None, Rows]], path: Path) -> tuple[list[str] | None, Rows]:
    """The rows of all files; where each begins with the same row, that one is kept once, as the names it may be."""
    first, names, rows = tables[0]
    rest = tables[1:]
    again = int(names is None and bool(rest) and all(list(other[0]) == list(rows[0]) for _, _, other in rest))
    for file, own, other in rest:
        if own != names or (names is None and len(other[0]) != len(rows[0])):
            there, here = (
                ", ".join(each or [f"{len(found[0])} without names"]) for each, found in ((own, other), (names, rows))
            )
            raise ValueError(f"the files of {path} have other columns: {file} has {there}; {first} has {here}")
    return names, [*rows, *(row for _, _, other in rest for row in other[again:])]


def _read(path: Path, data: bytes, encoding: str, separator: str | None, expected: str) -> tuple[list[str] | None, Rows]:
    if data.startswith(b"PAR1") or path.suffix == ".parquet":
        return _parquet(path, data)
    content = _decoded(path, data, encoding)
    if not content.strip():
        raise ValueError(f"{path} holds only blank lines; expected {expected}")
    if content.lstrip().startswith("[") and path.suffix == ".json":
        raise ValueError(f"{path} is one JSON array: write one object a line (JSON Lines), as in jq -c '.[]'")
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if kind in (".jsonl", ".ndjson", ".json") or (kind not in (".csv", ".tsv") and content.lstrip().startswith("{")):
        return _json_lines(path, content)
    return None, _cells(path, content, separator or _separator(content, kind))


def check_names(path: Path, names: Sequence[str]) -> None:
    """**Raises** ``ValueError`` where two columns have one name."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path} has more than one column called {twice!r}; give every column a name of its own")


def decoded(path: Path, encoding: str) -> str:
    """The text of a file, gzipped or not; **raises** ``ValueError`` where it is none, or of another encoding."""
    return _decoded(path, path.read_bytes(), encoding)


def _decoded(path: Path, data: bytes, encoding: str) -> str:
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged gzip data: {error}") from None
    elif kind := known_format(data):
        raise ValueError(f"{path} is {kind}: unpack or convert it to TSV, CSV, JSON Lines or Parquet")
    if b"\0" in data and not re.match(r"utf.?(16|32)", encoding, re.IGNORECASE):
        mark = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        what = "looks like UTF-16 text: add --encoding utf-16" if mark else f"is a binary file: byte {data.index(0)} is NUL"
        raise ValueError(f"{path} {what}")
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise ValueError(f"{encoding!r} is not an encoding that Python knows; try utf-8, latin-1 or cp1252") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}, is not {encoding} text: byte 0x{data[error.start]:02x} at offset {error.start} "
            f"({error.reason}). If it was written in another encoding name it, as in --encoding latin-1 (or cp1252)"
        ) from None


def _separator(content: str, kind: str) -> str:
    header = content.lstrip("\r\n").partition("\n")[0]
    if kind == ".tsv" or (kind == ".txt" and "\t" not in header):  # a text a line, in which commas part nothing
        return "\t"
    outside = "".join(header.split('"')[::2])
    return max(_SEPARATORS, key=outside.count) if any(mark in outside for mark in _SEPARATORS) else ","


def _cells(path: Path, content: str, separator: str) -> Rows:
    """Cells between quotes may hold separators and line ends; in a file parted by tabs quotes may also be mere characters."""
    if separator != "\t":
        return _quoted(path, content, separator)
    plain = _split(content)
    try:
        quoted = _quoted(path, content, separator)
    except ValueError:
        if plain is None:
            raise
        return plain
    if plain is not None and len(plain) != len(quoted):
        raise ValueError(
            f"{path} holds {len(plain)} rows if its quotes are characters, and {len(quoted)} if cells stand between them: "
            "write it as JSON Lines, or as CSV with texts between quotes"
        )
    return quoted


def _split(content: str) -> Rows | None:
    """Lines parted at tabs; ``None`` where not all have equally many cells."""
    lines = [line.rstrip("\r") for line in content.lstrip("\r\n").removesuffix("\n").split("\n")]
    alone = "\t" not in lines[0]  # then a blank line is a text that is empty
    cells: Rows = [line.split("\t") for line in lines if line or alone]
    return cells if all(len(row) == len(cells[0]) for row in cells) else None


def _quoted(path: Path, content: str, separator: str) -> Rows:
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
    rows: Rows = []
    try:
        for cells in reader:
            if not cells and (not rows or len(rows[0]) > 1):
                continue
            cells = cells or [""]
            if rows and len(cells) != len(rows[0]):
                raise ValueError(
                    f"{path}, line {reader.line_num}: {_count(len(cells), 'cell')}, but the first line has {len(rows[0])}; put "
                    f"texts that hold {_shown(separator)} between quotes"
                )
            rows.append(cells)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}; a quote within quotes is written twice") from None
    return rows


def _json_lines(path: Path, content: str) -> tuple[list[str], Rows]:
    objects = []
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error.msg}); expected one object a line") from None
        if not isinstance(item, dict):
            raise ValueError(f'{path}, line {number}: expected an object such as {{"text": …}}, got {line.strip()[:40]}')
        objects.append(item)
    names = list(dict.fromkeys(key for item in objects for key in item))
    return names, [[item.get(name) for name in names] for item in objects]


def _parquet(path: Path, data: bytes) -> tuple[list[str], Rows]:
    try:
        import polars
    except ImportError as error:
        raise ImportError('polars is needed to read Parquet: pip install "bptt[classify]"') from error
    try:
        frame = polars.read_parquet(io.BytesIO(data))
    except polars.exceptions.PolarsError as error:
        raise ValueError(f"{path} cannot be read as a Parquet table: {str(error).splitlines()[0]}") from None
    return list(frame.columns), list(frame.iter_rows())


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _shown(separator: str) -> str:
    return "a tab" if separator == "\t" else repr(separator)
