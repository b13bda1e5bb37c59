"""Amounts of memory as users write them: ``512MiB``, ``2GB``, or a number of bytes."""

from __future__ import annotations

import re
from typing import Any

_UNITS = {"b": 1} | {
    letter.lower() + tail: base**power for power, letter in enumerate("KMGT", 1) for tail, base in (("b", 1000), ("ib", 1024))
}


class Bytes(int):
    """A number of bytes that is written in the largest binary unit that gives a whole number."""

    def __str__(self) -> str:
        number, unit = int(self), "B"
        for larger in ("KiB", "MiB", "GiB", "TiB"):
            if number % 1024 or not number:
                break
            number, unit = number // 1024, larger
        return f"{number}{unit}"

    def __repr__(self) -> str:
        return repr(str(self))


def as_bytes(name: str, value: Any) -> Bytes:
    """``value`` in bytes, at least 1.

    **Raises** ``ValueError`` naming it, where it is neither a whole number nor a number with a unit.
    """
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", value)
        unit = _UNITS.get(match[2].lower() or "b") if match and not re.fullmatch("[KMGT]b", match[2]) else None
        number = int(float(match[1]) * unit) if match and unit else 0
    else:
        number = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if number < 1:
        raise ValueError(
            f"{name} must be an amount of memory such as '512MiB', '2GB' or a whole number of bytes, got {value!r}; units "
            "are B, KB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (of 1024)"
        )
    return Bytes(number)


def shown(number: float) -> str:
    """A number of bytes for people: three figures and a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:,.0f} TiB"
