"""A table file as named columns of cells, before anything is known about what they mean."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bptt.data.files import find_files
from bptt.data.text import known_format
from bptt.nearest import nearest

if TYPE_CHECKING:
    import polars as pl

MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "NAN", "NULL", "null", "None", "none", "-", "?")
_SEPARATORS = (";", "\t", "|", ",")  # a comma last: it may also stand inside cells


def read_cells(
    path: Path, encoding: str, separator: str | None, unnamed: Sequence[str] = ()
) -> tuple[pl.DataFrame, str | None]:
    """The cells of a CSV (also gzipped) as text, missing ones None, and its separator; or a Parquet file as typed.

    Of several files that ``path`` names (`find_files`), with the same columns: their rows in that order.
    ``unnamed``: what the columns are called of a file without a line of names, as many numbers a line with blanks between.
    """
    polars = _require()
    found = [
        (Path(shard.name), *_read(Path(shard.name), shard.content(), encoding, separator, unnamed))
        for shard in find_files(path)
    ]
    first, frame, separator = found[0]
    for file, other, own in found[1:]:
        if other.columns != frame.columns or own != separator:
            how = "" if other.columns != frame.columns else f" parted by {own!r}, not {separator!r}"
            raise ValueError(
                f"the files of {path} have other columns: {file} has {listed(other.columns)}{how}; {first} has "
                f"{listed(frame.columns)}"
            )
    try:
        return polars.concat([each for _, each, _ in found], how="vertical_relaxed"), separator
    except polars.exceptions.PolarsError as error:
        raise ValueError(f"the files of {path} have columns of other kinds: {_first_line(error)}") from None


def _read(
    path: Path, data: bytes, encoding: str, separator: str | None, unnamed: Sequence[str]
) -> tuple[pl.DataFrame, str | None]:
    polars = _require()
    if data.startswith(b"PAR1") or path.suffix == ".parquet":
        try:
            frame = polars.read_parquet(io.BytesIO(data))
        except polars.exceptions.PolarsError as error:
            raise ValueError(f"{path} cannot be read as a Parquet table: {_first_line(error)}") from None
        return _without_missing(path, frame), None
    text = _text(path, data, encoding)
    lines = list(islice((line for line in io.StringIO(text) if line.strip()), 2))
    if not lines:
        raise ValueError(f"{path} holds only blank lines; expected a table with a line of column names")
    if unnamed and len(first := lines[0].split()) == len(unnamed) and all(map(is_number, first)):
        text = "\n".join("\t".join(line.split()) for line in ["\t".join(unnamed), *text.splitlines()] if line.strip())
        lines, separator = ["\t".join(unnamed)], "\t"
    separator = separator or _separator(lines)
    names = [name.strip() for name in next(csv.reader(lines[:1], delimiter=separator))]
    _check_header(path, names)
    try:
        frame = polars.read_csv(
            io.BytesIO(text.lstrip("\r\n").encode()), separator=separator, infer_schema=False, has_header=True
        )
    except polars.exceptions.PolarsError as error:
        raise ValueError(_ragged(path, text, separator, len(names)) or f"{path}: {_first_line(error)}") from None
    frame.columns = names
    return _without_missing(path, frame), separator


def find_column(name: str, columns: Sequence[str], what: str) -> str:
    """``name`` if it is a column; else raises with those that exist."""
    if name in columns:
        return name
    raise ValueError(f"there is no {what} column {name!r}{nearest(name, columns)}; the columns are: {listed(columns)}")


def listed(names: Sequence[str]) -> str:
    """The names in one line, the first dozen where there are many."""
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:12])}, ... ({len(names)} in all)"


def numbers(cells: pl.Series, separator: str | None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The cells as float64 (NaN where missing), and which of them are there but are no finite numbers."""
    polars = _require()
    if not (cells.dtype.is_numeric() or cells.dtype in (polars.String, polars.Boolean)):
        return np.full(len(cells), np.nan), np.asarray(cells.is_not_null().to_numpy())
    made = cells.cast(polars.Float64, strict=False)
    if cells.dtype == polars.String and separator == ";":
        comma = cells.str.replace(",", ".", literal=True).cast(polars.Float64, strict=False)
        if made.null_count() > comma.null_count():  # "3,7" in a file parted by ";" is a decimal comma
            made = comma
    values = np.array(made.to_numpy(), dtype=np.float64)
    there = cells.is_not_null().to_numpy()
    if cells.dtype.is_float():
        return values, np.isinf(values)
    return values, there & ~np.isfinite(values)


def _without_missing(path: Path, frame: pl.DataFrame) -> pl.DataFrame:
    """The table with None for every way of writing that a value is missing, and without blanks around cells."""
    polars = _require()
    if frame.height == 0:
        raise ValueError(f"{path} has column names ({listed(frame.columns)}) but no rows")
    cells = polars.col(polars.String).str.strip_chars()
    return frame.with_columns(polars.when(cells.is_in(MISSING)).then(None).otherwise(cells).name.keep())


def _text(path: Path, data: bytes, encoding: str) -> str:
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged gzip data: {_first_line(error)}") from None
    elif kind := known_format(data):
        raise ValueError(f"{path} is {kind}; expected a CSV (also .csv.gz) or Parquet table")
    if b"\0" in data[:4096] and not encoding.lower().startswith(("utf-16", "utf16", "utf-32", "utf32")):
        raise ValueError(f"{path} is a binary file (byte {data.index(0)} is NUL); expected a CSV or Parquet table")
    try:
        text = data.decode(encoding)
    except LookupError:
        raise ValueError(f"{encoding!r} is not an encoding that Python knows; try utf-8, latin-1 or cp1252") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not {encoding} text: byte 0x{error.object[error.start]:02x} at offset {error.start} "
            f"({error.reason}). If it was written in another encoding name it, as in --encoding latin-1 (or cp1252)"
        ) from None
    return text.removeprefix("\ufeff")


def _separator(lines: list[str]) -> str:
    """The mark that stands most often in the names and in the first row alike, outside quotes."""
    outside = ["".join(line.split('"')[::2]) for line in lines]
    counts = {mark: min(line.count(mark) for line in outside) for mark in _SEPARATORS}
    return max(_SEPARATORS, key=counts.__getitem__) if any(counts.values()) else ","


def _check_header(path: Path, names: list[str]) -> None:
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise ValueError(f"{path} has more than one column called {twice[0]!r}; give every column a name of its own")
    if all(is_number(name) for name in names):
        raise ValueError(f"the first line of {path} holds numbers ({', '.join(names[:4])}); expected the column names")


def is_number(text: str) -> bool:
    """Whether a cell spells a number, as Python reads one."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ragged(path: Path, text: str, separator: str, columns: int) -> str | None:
    lines = csv.reader(io.StringIO(text), delimiter=separator)
    for fields in lines:
        if len(fields) > columns:
            return f"{path}, line {lines.line_num}: {len(fields)} cells, but the first line names {columns} columns"
    return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _require() -> Any:
    try:
        import polars
    except ImportError as error:
        raise ImportError('polars is needed to read tables: pip install "bptt[tables]"') from error
    return polars
