"""Calls of recurrent layers, one step each, as one call of as many rows: what is asked of each row then takes one product."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bptt.state import form, leaves, map_leaves

Call = tuple[str, nn.Module, tuple[Any, ...], dict[str, Any]]
"""A module's name, the module, and what it was called with."""
Calls = tuple[list[Call], Tensor | None]
"""The calls of one step, and where its rows exist ``[1, B]``."""

_NAMES = {"input": "x", "hx": "state"}


def together(steps: Iterable[Calls]) -> list[Calls]:
    """Steps whose calls are alike as one step of all their rows; the others as they are."""
    alike: dict[Any, list[Calls]] = {}
    for i, (calls, mask) in enumerate(steps):
        known = [_form(call) for call in calls]
        alike.setdefault(i if None in known else (*known, mask is None), []).append((calls, mask))
    return [group[0] if len(group) == 1 else _joined(group) for group in alike.values()]


def copied(calls: Iterable[Call]) -> list[Call]:
    """Calls whose tensors stay what they are now, whatever the module does with its own."""
    return [
        (name, module, map_leaves(Tensor.clone, args), {key: map_leaves(Tensor.clone, value) for key, value in named.items()})
        for name, module, args, named in calls
    ]


def _joined(group: Sequence[Calls]) -> Calls:
    masks = [mask for _, mask in group if mask is not None]
    calls = [_side_by_side(same) for same in zip(*(calls for calls, _ in group), strict=True)]
    return calls, torch.cat(masks, 1) if masks else None


def _given(call: Call) -> dict[str, Any]:
    _, _, args, named = call
    given = dict(zip(("x", "state"), args, strict=False)) | {_NAMES.get(name, name): value for name, value in named.items()}
    return {name: value for name, value in given.items() if value is not None}


def _form(call: Call) -> Any:
    """What calls that can be joined have in common; ``None`` where this one cannot be."""
    name, module, _, _ = call
    given = _given(call)
    x, cell = given.get("x"), isinstance(module, nn.RNNCellBase)
    if not isinstance(x, Tensor) or "state" not in given or x.ndim != (2 if cell else 3):
        return None
    if not cell and x.shape[1 if module.batch_first else 0] != 1:
        return None
    return name, tuple((key, form(value)) for key, value in given.items())


def _side_by_side(calls: Sequence[Call]) -> Call:
    name, module, _, _ = calls[0]
    given = [_given(call) for call in calls]
    cell = isinstance(module, nn.RNNCellBase)
    first = 0 if cell or module.batch_first else 1
    joined = {}
    for key, like in given[0].items():
        dim = (0 if cell else 1) if key == "state" else first
        columns = zip(*(leaves(each[key]) for each in given), strict=True)
        parts = iter([torch.cat(column, dim) for column in columns])
        joined[key] = map_leaves(lambda _, parts=parts: next(parts), like)  # type: ignore[misc]
    return name, module, (), joined
