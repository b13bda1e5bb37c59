"""Results as what JSON can hold."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from bptt.through import Strategy


def plain(value: Any) -> Any:
    """Lists, dicts, numbers and text; a number that is not finite becomes ``None``, which JSON has in its place."""
    if isinstance(value, Strategy):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value if isinstance(value, (bool, int, str, type(None))) else str(value)


def as_dict(result: Any) -> dict[str, Any]:
    """A dataclass's fields, made plain."""
    return {field.name: plain(getattr(result, field.name)) for field in dataclasses.fields(result)}


def write_json(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Writes ``content`` to a file of its own, in a new folder where there is none."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
