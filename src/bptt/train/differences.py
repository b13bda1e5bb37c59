"""What two records of a run disagree in, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def differences_of(
    there: Mapping[str, Any], here: Mapping[str, Any], where: tuple[str, str] = ("in the folder", "now")
) -> list[str]:
    """What two records disagree in, in words; ``config["session"]`` and the version of bptt may differ."""
    first, second = where
    tasks = [record["config"].get("task") for record in (there, here)]
    if tasks[0] != tasks[1]:
        return [f"task: {tasks[0]!r} {first}, {tasks[1]!r} {second}"]
    old, new = (_flat(record) for record in (there, here))
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name, _ABSENT) != new.get(name, _ABSENT)]
    lines = [f"{name}: {_shown(old, name)} {first}, {_shown(new, name)} {second}" for name in names]
    return lines if len(lines) <= 8 else [*lines[:7], f"… and {len(lines) - 7} more"]


_ABSENT = object()


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        path = f"{name}.{key}" if name else key
        if path not in ("format", "bptt", "config.session"):
            flat |= _flat(item, path)
    return flat


def _shown(flat: Mapping[str, Any], name: str) -> str:
    return json.dumps(flat[name]) if name in flat else "absent"
