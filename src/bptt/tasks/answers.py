"""Answers of a model as rows of a file, in the order in which they were asked for."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

KINDS = ("csv", "tsv", "jsonl", "parquet", "txt")
"""The kinds of files that answers are written as; of a text file a line each, the first column alone."""


def kind_of(out: Path | None) -> str:
    """The kind of file, by the suffix of its name; CSV where there is none.

    **Raises** ``ValueError`` for a kind that answers are not written as.
    """
    kind = "csv" if out is None else out.suffix.lower().removeprefix(".") or "csv"
    if kind not in KINDS:
        raise ValueError(f"answers are written as .{', .'.join(KINDS)}, got --out {out}")
    return kind


def as_file(columns: Mapping[str, Sequence[Any]], kind: str) -> bytes:
    """Columns of one length as the contents of a file of that kind (Parquet needs polars).

    Lists stand as they are in JSON lines, and as JSON in the cells of the others. **Raises** ``ValueError`` for another kind.
    """
    if kind == "txt":
        first = next(iter(columns.values()))
        return "".join(" ".join(str(_flat(value)).splitlines()) + "\n" for value in first).encode()
    if kind == "jsonl":
        lines = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    flat = {name: [_flat(value) for value in column] for name, column in columns.items()}
    if kind == "parquet":
        import polars

        made = io.BytesIO()
        polars.DataFrame(flat).write_parquet(made)
        return made.getvalue()
    if kind not in KINDS:
        raise ValueError(f"answers are written as .{', .'.join(KINDS)}, got .{kind}")
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t" if kind == "tsv" else ",", lineterminator="\n")
    writer.writerow(flat)
    writer.writerows(zip(*flat.values(), strict=True))
    return text.getvalue().encode()


def _flat(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
