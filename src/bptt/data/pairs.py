"""Pairs of texts: two files that go line by line, or two columns of a table; every row read or refused by its number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bptt.data.cells import listed
from bptt.data.rows import Rows, check_names, decoded, table
from bptt.data.text import check_file
from bptt.nearest import nearest

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z]{2,4})?")


@dataclass(frozen=True)
class Names:
    """What the two columns of a table are usually called, and by which options they are named."""

    source: tuple[str, ...]
    target: tuple[str, ...]


@dataclass(frozen=True)
class Pairs:
    """The rows of a file in their order: ``sources``, and their ``targets`` where there are any; what is missing is empty.

    ``source_column`` and ``target_column`` are the columns of a table that they were found in.
    """

    path: str
    sources: tuple[str, ...]
    targets: tuple[str, ...] | None
    source_column: str | None = None
    target_column: str | None = None

    def __len__(self) -> int:
        return len(self.sources)


def is_table(path: str | Path) -> bool:
    """Whether a file's name says that it is a table, rather than a text a line."""
    path = Path(path)
    return (Path(path.stem).suffix if path.suffix == ".gz" else path.suffix).lower() in _TABLES


def read_pairs(
    path: str | Path,
    target_path: str | Path | None = None,
    *,
    names: Names,
    source: str | None = None,
    target: str | None = None,
    targets: bool = True,
    encoding: str = "utf-8",
    separator: str | None = None,
) -> Pairs:
    """Read pairs of texts: from two files with a text a line (also gzipped), or two columns of TSV, CSV, JSONL or Parquet.

    A table is what is called so (``.tsv``, ``.csv``, …) and, without ``target_path``, a file whose first line holds a tab.
    ``source`` and ``target`` name its columns; without them those of usual ``names``, or the only two. The first line of a TSV
    or CSV names the columns where such a name, or two codes of languages (``en``, ``de``), stand in it; else they are called
    1, 2, …. ``targets=False`` asks for sources alone.

    **Raises** ``FileNotFoundError``, ``IsADirectoryError``; ``ValueError`` for files of unequally many lines (with both
    counts), a column that is not there or not clear, a row that does not fit, a cell that holds no text, another encoding.
    """
    path = Path(path)
    if target_path is not None:
        for each in (path, Path(target_path)):
            if is_table(each):
                raise ValueError(
                    f"{each} is a table, which has both texts in its rows: leave out --target, or give two files of lines"
                )
        made = Pairs(str(path), lines(path, encoding), lines(Path(target_path), encoding))
        assert made.targets is not None
        if len(made.sources) != len(made.targets):
            raise ValueError(
                f"{path} has {len(made.sources):,} lines and {target_path} has {len(made.targets):,}, and each belongs to the "
                "other's of its number: find where one begins to lag behind, and mend it there"
            )
        return made
    check_file(path)
    if not is_table(path):
        content = decoded(path, encoding)
        if "\t" not in content.lstrip("\r\n").partition("\n")[0] and not content.startswith("{"):
            if targets:
                raise ValueError(
                    f"{path} holds a text a line: give what belongs to each in a second file, --target FILE, or both in the "
                    "columns of a table (.tsv, .csv, .jsonl, .parquet)"
                )
            if source is not None:
                raise ValueError(f"{path} holds a text a line and has no column {source!r}: leave out --text-column")
            return Pairs(str(path), _parted(content), None)
    named, rows = table(path, encoding, separator, "rows of two texts" if targets else "rows of texts")
    if named is None:
        named, rows = _named(path, rows, names, {each for each in (source, target) if each is not None})
    if not rows:
        raise ValueError(f"{path} has columns ({listed(named)}) but no rows")
    at = _columns(path, named, names, source, target, targets)
    texts = [
        tuple(_text(path, named[place], number, row[place], option) for number, row in enumerate(rows, 1))
        for place, option in zip(at, ("--text-column", "--target-column"), strict=False)
    ]
    return Pairs(str(path), texts[0], texts[1] if targets else None, named[at[0]], named[at[1]] if targets else None)


def lines(path: Path, encoding: str) -> tuple[str, ...]:
    """The lines of a text file, empty ones too.

    **Raises** as `read_pairs` does.
    """
    check_file(path)
    return _parted(decoded(path, encoding))


def _parted(content: str) -> tuple[str, ...]:
    """Parted at line feeds alone: other marks that end lines may stand within a text."""
    return tuple(line.removesuffix("\r") for line in content.removesuffix("\n").split("\n"))


def _named(path: Path, rows: Rows, names: Names, asked: set[str]) -> tuple[list[str], Rows]:
    first = [str(cell).strip() for cell in rows[0]]
    usual = sum(cell.casefold() in (*names.source, *names.target) for cell in first)
    languages = len(first) == 2 and all(map(_LANGUAGE.fullmatch, first)) and first[0] != first[1]
    alone = len(first) == 1 and usual
    if usual > 1 or alone or languages or asked.intersection(first):
        check_names(path, first)
        return first, rows[1:]
    return [str(i) for i in range(1, len(first) + 1)], rows


def _columns(
    path: Path, named: Sequence[str], names: Names, source: str | None, target: str | None, targets: bool
) -> tuple[int, ...]:
    wanted = [("texts", source, names.source, "--text-column")]
    if targets:
        wanted.append(("targets", target, names.target, "--target-column"))
    at: list[int | None] = []
    for role, given, usual, option in wanted:
        if given is not None and given not in named:
            raise ValueError(
                f"{path} has no column {given!r} of {role}{nearest(given, named)}; its columns are {listed(named)}: "
                f"name the one of {role}, {option} NAME"
            )
        found = [i for i, name in enumerate(named) if name.casefold() in usual and i not in at]
        at.append(named.index(given) if given is not None else found[0] if len(found) == 1 else None)
    if targets and source is not None and source == target:
        raise ValueError(f"{source!r} is named as the column of texts and of targets: they are two")
    if len(named) == 1 and targets:
        raise ValueError(f"{path} has one column only, {named[0]!r}; expected one of texts and one of targets")
    if len(named) <= 2:  # the others' places follow; without names a table has its texts first
        free = [i for i in range(len(named)) if i not in at]
        at = [free.pop(0) if place is None and free else place for place in at]
    for place, (role, _, _, option) in zip(at, wanted, strict=True):
        if place is None:
            raise ValueError(f"say which column of {path} holds the {role}, {option} NAME; the columns are: {listed(named)}")
    return tuple(place for place in at if place is not None)


def _text(path: Path, column: str, row: int, cell: Any, option: str) -> str:
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise ValueError(
            f"{path}, row {row}: column {column!r} holds {str(cell)[:40]!r}, a {type(cell).__name__} and no text; name the "
            f"column, {option} NAME"
        )
    return cell
