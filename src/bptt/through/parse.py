"""Strategies by name, as the command line and saved configurations write them."""

from __future__ import annotations

import ast
import dataclasses

from bptt.nearest import nearest
from bptt.through.adaptive import Adaptive
from bptt.through.base import Strategy
from bptt.through.checkpointed import Checkpointed
from bptt.through.full import Full
from bptt.through.online import RTRL, UORO, SnAp
from bptt.through.randomized import Randomized
from bptt.through.truncated import Truncated

strategies: dict[str, type[Strategy]] = {
    kind.__name__.lower(): kind for kind in (Full, Truncated, Checkpointed, Randomized, Adaptive, RTRL, SnAp, UORO)
}


def parse(text: str) -> Strategy:
    """The strategy that ``text`` names: ``full``, ``truncated:k1=32,k2=128``; the inverse of ``str(strategy)``.

    **Raises** ``ValueError`` for a name or a setting that does not exist, listing those that do.
    """
    name, _, inside = text.strip().partition(":")
    kind = strategies.get(name.strip().lower())
    if kind is None:
        raise ValueError(f"no strategy is called {name!r}{nearest(name, strategies)}: one of {', '.join(strategies)}")
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    settings: dict[str, object] = {}
    for item in filter(None, (part.strip() for part in inside.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or key not in known:
            takes = ", ".join(f"{field}=" for field in known) or "no settings"
            raise ValueError(f"{name} does not take {item!r}{nearest(key, known)}: it takes {takes}")
        if key in settings:
            raise ValueError(f"{name} is given {key}= twice")
        settings[key] = _literal(value)
    required = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]  # type: ignore[arg-type]
    missing = ",".join(f"{field}=…" for field in required if field not in settings)
    if missing:
        raise ValueError(f"{name} needs {missing}, as in {name}:{missing.replace('…', '32')}")
    return kind(**settings)


def _literal(value: str) -> object:
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
