"""A column of texts in Parquet files, as one text: each row and a line end, file after file."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from bptt.data.files import Shard, Shards
from bptt.data.texts import CHUNK, Chunk, Deal, Place, alone
from bptt.nearest import nearest

_COPIES = 64  # files of other machines that are kept at once in a temporary folder
_BATCH = 8 << 20  # characters that are read at once: to reach a row, those before it in its group are skipped one by one
_USUAL = "text"


class Columns:
    """`bptt.data.texts.Texts` of Parquet files; a place is the number of rows before it, and of characters in its row.

    ``column``: the only one of texts, or that called ``text``, unless named. A file of another machine is copied to a temporary
    folder when its rows are needed, at most 64 at once. Needs polars, the extra ``tables``.

    **Raises** ``ValueError`` for a file that is no table, a column that is not there (with those that are), a row without text.
    """

    anywhere = True
    first: Place = (0, 0)

    def __init__(self, name: str, shards: Shards, column: str | None = None, deal: Deal = alone) -> None:
        self.name, self.shards = name, shards
        self._copies = _Copies()
        self._column = _chosen(shards[0], self._described(shards[0])[1], column)
        dealt = deal(lambda rank, size: [self._rows_of(shard) for shard in shards[rank::size]])
        rows = [dealt[i % len(dealt)][i // len(dealt)] for i in range(len(shards))]
        self._starts = [0, *accumulate(rows)]
        self.size = self._starts[-1]

    def chunks(self, first: Place | None = None, stop: Place | None = None, size: int = CHUNK) -> Iterator[Chunk]:
        (row, skip), (last, more) = first or self.first, stop or (self.size, 0)
        count = 64
        while (row, skip) < (last, more):
            number = bisect_right(self._starts, row) - 1
            until = min(self._starts[number + 1], last + (more > 0), row + count)
            rows = self._read(number, row, until)
            starts = [0, *accumulate(map(len, rows))]
            text = "".join(rows)
            ends = starts[last - row] + more if row <= last < until else len(text)
            for i in range(skip, ends, size):
                yield Chunk(text[i : min(i + size, ends)], until, partial(_place, row, starts, i))
            count = max(1, (until - row) * _BATCH // max(len(text), 1))
            row, skip = until, 0

    def text(self, first: Place, stop: Place) -> str:
        row, (last, more) = first[0], stop
        rows: list[str] = []
        while row < last + (more > 0):
            number = bisect_right(self._starts, row) - 1
            until = min(self._starts[number + 1], last + (more > 0))
            rows += self._read(number, row, until)
            row = until
        if more:
            rows[-1] = rows[-1][:more]
        return "".join(rows)[first[1] :]

    def begin(self, near: int) -> Place:
        return near, 0

    def _read(self, number: int, first: int, last: int) -> list[str]:
        shard, start = self.shards[number], first - self._starts[number]
        scan = _polars().scan_parquet(self._copies.path(shard)).select(self._column).slice(start, last - first)
        rows = _tried(shard, scan.collect)[self._column].to_list()
        if len(rows) != last - first:
            raise ValueError(f"{shard.name} became shorter while it was read: no row {start + len(rows) + 1}")
        if None in rows:
            raise ValueError(
                f"{shard.name}, row {start + rows.index(None) + 1}, has no text in {self._column!r}: leave such rows out"
            )
        return [f"{row}\n" for row in rows]

    def _rows_of(self, shard: Shard) -> int:
        rows, columns = self._described(shard)
        if self._column not in columns:
            raise ValueError(
                f"{shard.name} has no column {self._column!r} of texts, which {self.shards[0].name} has; its columns of texts "
                f"are: {', '.join(columns) or 'none'}"
            )
        return rows

    def _described(self, shard: Shard) -> tuple[int, list[str]]:
        """How many rows a file has, and its columns of texts."""
        polars = _polars()
        with tempfile.TemporaryDirectory(prefix="bptt-parquet-") as folder:
            path = _end_of(shard, Path(folder) / "end.parquet") if shard.remote else Path(shard.name)
            scan = polars.scan_parquet(path)
            kinds = _tried(shard, scan.collect_schema)
            rows = _tried(shard, scan.select(polars.len()).collect).item()
        return int(rows), [name for name, kind in kinds.items() if kind == polars.String]


class _Copies:
    """Local paths of files; copies of those of other machines, the least lately used removed first."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._there: OrderedDict[str, Path] = OrderedDict()
        self._made = 0

    def path(self, shard: Shard) -> Path:
        if not shard.remote:
            return Path(shard.name)
        if shard.name not in self._there:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="bptt-parquet-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            if len(self._there) >= _COPIES:
                self._there.popitem(last=False)[1].unlink()
            self._made += 1
            path = self._folder / f"{self._made}.parquet"
            shard.copy_to(path)
            self._there[shard.name] = path
        self._there.move_to_end(shard.name)
        return self._there[shard.name]


def _end_of(shard: Shard, path: Path) -> Path:
    """A file of the same size with the last part alone, which describes the table; the rest is a hole."""
    tail = shard.read(max(0, shard.size - 8), shard.size)
    described = 8 + int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or described > shard.size:
        raise ValueError(f"{shard.name} cannot be read as a Parquet table: it does not end as one")
    with path.open("wb") as file:
        file.write(b"PAR1")
        file.seek(shard.size - described)
        file.write(shard.read(shard.size - described, shard.size))
    os.truncate(path, shard.size)
    return path


def _place(row: int, starts: list[int], begin: int, k: int) -> Place:
    number = bisect_right(starts, begin + k) - 1
    return row + number, begin + k - starts[number]


def _chosen(shard: Shard, columns: list[str], wanted: str | None) -> str:
    if not columns:
        raise ValueError(f"{shard.name} has no column of texts")
    if wanted is None and _USUAL not in columns and len(columns) > 1:
        raise ValueError(
            f"{shard.name} has several columns of texts: say which, --column (to measure: --text-column) {' or '.join(columns)}"
        )
    if wanted is not None and wanted not in columns:
        raise ValueError(
            f"{shard.name} has no column {wanted!r} of texts{nearest(wanted, columns)}; those it has: {', '.join(columns)}"
        )
    return wanted or (_USUAL if _USUAL in columns else columns[0])


def _tried(shard: Shard, call: Any) -> Any:
    try:
        return call()
    except _polars().exceptions.PolarsError as error:
        raise ValueError(f"{shard.name} cannot be read as a Parquet table: {str(error).splitlines()[0]}") from None


def _polars() -> Any:
    try:
        import polars
    except ImportError as error:
        raise ImportError('polars is needed to read Parquet: pip install "bptt[tables]"') from error
    return polars
