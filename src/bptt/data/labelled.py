"""Texts with labels, one a row of a TSV, CSV, JSON Lines or Parquet file, every row read or refused by its number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bptt.data.cells import listed
from bptt.data.rows import Rows, check_names, table
from bptt.nearest import nearest

TEXT_NAMES = ("text", "sentence", "review", "content", "document", "tweet", "comment", "message", "body", "phrase")
LABEL_NAMES = ("label", "sentiment", "class", "category", "target", "polarity", "stars", "rating", "y")
_LONGER = 3  # times: of two columns without a known name, the one so much longer is the text


@dataclass(frozen=True)
class Labelled:
    """The rows of a file in their order: ``texts``, and their ``labels`` where there is such a column.

    A text that is missing is empty. ``text_column`` and ``label_column`` are the columns they were found in.
    """

    path: str
    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    text_column: str
    label_column: str | None
    header: bool = True
    """Whether the file names its columns; where it does not they are called 1, 2, …"""

    def __len__(self) -> int:
        return len(self.texts)


def read_labelled(
    path: str | Path,
    *,
    text: str | None = None,
    label: str | None = None,
    labels: bool = True,
    encoding: str = "utf-8",
    separator: str | None = None,
) -> Labelled:
    """Read texts and labels from TSV or CSV (also gzipped), JSON Lines (``.jsonl``, ``.ndjson``) or Parquet.

    ``text`` and ``label`` name the columns; without them, those of a usual name (text, sentence, review, …; label, sentiment,
    class, …), or of two columns the one whose cells are much longer and the other. ``labels=False`` asks for no label column.
    The first line of a TSV or CSV is data, and columns are called 1, 2, …, where its cells are no such names and one of them
    stands in its column again, as labels do; of a single column, where it is no such name.

    A label is any text or number; numbers that are whole are the same label however they are written (1, 1.0).

    **Raises** ``FileNotFoundError``, ``IsADirectoryError``; ``ValueError`` for a column that is not there or not clear, a row
    that does not fit, a cell that holds no text, a row without a label, an empty file, or another encoding; each with its row,
    from 1 without the header, or its line.
    """
    path = Path(path)
    asked = {name for name in (text, label) if name is not None and not name.isdecimal()}
    names, rows, header = _rows(path, encoding, separator, asked)
    if not rows:
        raise ValueError(f"{path} has columns ({listed(names)}) but no rows")
    text_at, label_at = _columns(path, names, header, rows, text, label, labels)
    texts = tuple(_text(path, names[text_at], i, row[text_at]) for i, row in enumerate(rows, 1))
    found = (
        None if label_at is None else tuple(_label(path, names[label_at], i, row[label_at]) for i, row in enumerate(rows, 1))
    )
    return Labelled(str(path), texts, found, names[text_at], None if label_at is None else names[label_at], header)


def _rows(path: Path, encoding: str, separator: str | None, asked: set[str]) -> tuple[list[str], Rows, bool]:
    """The names of the columns, the cells of each row, and whether the file has the names."""
    named, rows = table(path, encoding, separator, "rows of texts and labels")
    if named is not None:
        return named, rows, True
    names = [name.strip() for name in rows[0]]
    if not _is_header(names, rows[1:], asked):
        return [str(i) for i in range(1, len(names) + 1)], rows, False
    check_names(path, names)
    return names, rows[1:], True


def _is_header(first: list[str], rows: Rows, asked: set[str]) -> bool:
    usual = sum(name.casefold() in (*TEXT_NAMES, *LABEL_NAMES) for name in first)
    if usual > 1 or any(name in asked for name in first):
        return True
    again = any(name and any(row[i].strip() == name for row in rows) for i, name in enumerate(first))
    return not again and (usual == 1 or len(first) > 1)


def _columns(
    path: Path, names: list[str], header: bool, rows: Rows, text: str | None, label: str | None, labels: bool
) -> tuple[int, int | None]:
    if len(names) == 1 and labels:
        raise ValueError(f"{path} has one column only, {names[0]!r}; expected a column of texts and one of labels")
    if len(names) == 1 and not labels and not header and (text is None or not text.isdecimal()):
        return 0, None  # texts alone, a line each
    at: dict[str, int | None] = {}
    for role, given in (("text", text), ("label", label if labels else None)):
        if given is not None and given not in names:
            first = "" if header else ", which has no line of names and numbers them from 1"
            raise ValueError(
                f"{path} has no column {given!r} of {role}s{first}{nearest(given, names)}; its columns are {listed(names)}: "
                f"name the one of {role}s, --{role}-column NAME"
            )
        at[role] = None if given is None else names.index(given)
    if text is not None and at["text"] == at["label"]:
        raise ValueError(f"{text!r} is named as the column of texts and of labels: they are two")
    for role, known in (("text", TEXT_NAMES), ("label", LABEL_NAMES)):
        if at[role] is None and (labels or role == "text"):
            usual = [i for i, name in enumerate(names) if name.casefold() in known and i not in at.values()]
            at[role] = usual[0] if len(usual) == 1 else None
    free = [i for i in range(len(names)) if i not in at.values()]
    if len(names) == 1 and at["text"] is None:
        at["text"] = 0
    elif len(names) == 2 and len(free) == 1 and at["text"] is None:
        at["text"] = free[0]
    elif len(names) == 2 and len(free) == 1 and labels and at["label"] is None:
        at["label"] = free[0]
    elif len(names) == 2 and len(free) == 2:
        sizes = [sum(len(str(row[i] or "")) for row in rows) for i in free]
        longer = max((0, 1), key=sizes.__getitem__)
        if sizes[longer] >= _LONGER * sizes[1 - longer]:
            at["text"], at["label"] = free[longer], free[1 - longer] if labels else None
    for role in ("text", "label"):
        if at[role] is None and (labels or role == "text"):
            raise ValueError(
                f"say which column of {path} holds the {role}s, --{role}-column NAME; the columns are: {listed(names)}"
            )
    assert at["text"] is not None
    return at["text"], at["label"]


def _text(path: Path, column: str, row: int, cell: Any) -> str:
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise ValueError(
            f"{path}, row {row}: column {column!r} holds {str(cell)[:40]!r}, a {type(cell).__name__} and no text; give the "
            "column of texts, --text-column NAME"
        )
    return cell


def _label(path: Path, column: str, row: int, cell: Any) -> str:
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell == cell and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, (int, float)) and cell == cell:
        return str(cell)
    if isinstance(cell, str) and cell.strip():
        name = cell.strip()
        return name.partition(".")[0] if re.fullmatch(r"-?\d+\.0+", name) else name
    what = "is empty" if cell is None or cell != cell or isinstance(cell, str) else f"holds a {type(cell).__name__}"
    raise ValueError(f"{path}, row {row}: column {column!r} {what}; give every row a label, or leave the row out")
