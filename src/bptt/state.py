"""Nested states: any tuple, list, dict, named tuple or dataclass of tensors, at any depth; ``None`` is the initial state."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

State = Any


def map_leaves(change: Callable[[Tensor], Tensor], state: State) -> State:
    """The same structure with ``change`` applied to every tensor; whatever is no tensor stays as it is."""
    if isinstance(state, Tensor):
        return change(state)
    if isinstance(state, tuple):
        items = [map_leaves(change, item) for item in state]
        return type(state)(*items) if hasattr(state, "_fields") else tuple(items)
    if isinstance(state, list):
        return [map_leaves(change, item) for item in state]
    if isinstance(state, Mapping):
        return type(state)((key, map_leaves(change, item)) for key, item in state.items())  # type: ignore[call-arg]
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        fields = [field.name for field in dataclasses.fields(state) if field.init]
        return dataclasses.replace(state, **{name: map_leaves(change, getattr(state, name)) for name in fields})
    return state


def named_leaves(state: State, name: str = "state") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the state with the name a user would write for it: ``state[0]``, ``state['h']``, ``state.c``."""
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, tuple) and hasattr(state, "_fields"):
        for field in state._fields:
            yield from named_leaves(getattr(state, field), f"{name}.{field}")
    elif isinstance(state, (tuple, list)):
        for index, item in enumerate(state):
            yield from named_leaves(item, f"{name}[{index}]")
    elif isinstance(state, Mapping):
        for key, item in state.items():
            yield from named_leaves(item, f"{name}[{key!r}]")
    elif dataclasses.is_dataclass(state) and not isinstance(state, type):
        for field in dataclasses.fields(state):
            yield from named_leaves(getattr(state, field.name), f"{name}.{field.name}")


def leaves(state: State) -> list[Tensor]:
    """Every tensor of the state, in a fixed order."""
    if isinstance(state, Tensor):
        return [state]
    if type(state) is tuple:
        return [leaf for item in state for leaf in leaves(item)]
    return [leaf for _, leaf in named_leaves(state)]


def zip_leaves(change: Callable[[str, Tensor, Tensor], Tensor], first: State, second: State) -> State:
    """The structure of ``first`` with ``change(name, a, b)`` of the matching tensors of both."""
    others = iter(leaves(second))
    names = iter(named_leaves(first))
    return map_leaves(lambda a: change(next(names)[0], a, next(others)), first)


def detach(state: State) -> State:
    """The state's values, with no history."""
    return map_leaves(Tensor.detach, state)


def differentiable(leaf: Tensor) -> bool:
    """Whether an error can travel through this tensor."""
    return leaf.is_floating_point() or leaf.is_complex()


def inlet(state: State) -> State:
    """The state's values as new leaves of a graph: after a backward pass their ``grad`` is the error at this boundary."""
    return map_leaves(lambda t: t.detach().requires_grad_() if differentiable(t) else t.detach(), state)


def check_same(expected: State, got: State, where: str) -> None:
    """Refuses a state whose structure, shapes or dtypes changed, naming the leaf.

    **Raises** ``ValueError``.
    """
    before, after = list(named_leaves(expected)), list(named_leaves(got))
    for (name, old), (other, new) in zip(before, after, strict=False):
        if name != other:
            raise ValueError(f"{where}: the state changed its structure: expected {name}, got {other}")
        if old.shape != new.shape or old.dtype != new.dtype:
            raise ValueError(
                f"{where}: {name} is {_kind(new)}, expected {_kind(old)}: a state keeps its shape and dtype over time"
            )
    if len(before) != len(after):
        longer, word = (before, "lacks") if len(before) > len(after) else (after, "has an unexpected")
        name = longer[min(len(before), len(after))][0]
        raise ValueError(f"{where}: the state {word} {name} (expected {len(before)} tensors, got {len(after)})")


def _kind(leaf: Tensor) -> str:
    return f"{str(leaf.dtype).removeprefix('torch.')}{list(leaf.shape)}"


def batch_dim(name: str, leaf: Tensor, rows: int) -> int | None:
    """Which dimension of a state tensor counts the rows of the batch; ``None`` for a scalar, which all rows share.

    The only dimension of that size, or, of several, the first of a matrix ``[B, H]``.

    **Raises** ``ValueError`` where that cannot be told.
    """
    if leaf.ndim == 0:
        return None
    candidates = [dim for dim, size in enumerate(leaf.shape) if size == rows]
    if len(candidates) == 1 or (candidates and leaf.ndim <= 2):
        return candidates[0]
    found = "several dimensions" if candidates else "no dimension"
    raise ValueError(
        f"{name} is {_kind(leaf)}: {found} of size {rows}, so its rows cannot be told apart to reset or hold them: "
        "let the module's forward take `reset` and `mask` itself"
    )


def choose_rows(rows: Tensor, chosen: State, otherwise: State, dims: Callable[[str, Tensor], int | None]) -> State:
    """Row by row, the state ``chosen`` where ``rows`` [B] is true, else ``otherwise``; ``dims`` finds the batch dimension."""

    def pick(name: str, a: Tensor, b: Tensor) -> Tensor:
        dim = dims(name, a)
        if dim is None:
            return a
        shape = [1] * a.ndim
        shape[dim] = -1
        return torch.where(rows.reshape(shape), a, b)

    return zip_leaves(pick, chosen, otherwise)


def zeros(state: State) -> State:
    """A state of the same structure, all zero."""
    return map_leaves(torch.zeros_like, state)


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Steps ``start..stop`` over which the same rows exist; ``fresh`` rows start afresh before it, ``present`` rows take part.

    ``None`` stands for *no row* in ``fresh`` and for *all rows* in ``present``.
    """

    start: int
    stop: int
    fresh: Tensor | None
    present: Tensor | None


def stretches(steps: int, mask: Tensor | None, reset: Tensor | None) -> list[Stretch]:
    """Cuts ``steps`` wherever a row begins, ends or starts afresh, so that code without masks can serve each stretch.

    ``mask`` and ``reset`` are bool ``[T, B]`` or ``None``.
    """
    cuts = {0, steps}
    if reset is not None:
        cuts.update(reset.any(1).nonzero().flatten().tolist())
    if mask is not None and steps > 1:
        cuts.update(((mask[1:] != mask[:-1]).any(1).nonzero().flatten() + 1).tolist())
    borders = sorted(cuts)
    found = []
    for start, stop in itertools.pairwise(borders):
        fresh = reset[start] if reset is not None and bool(reset[start].any()) else None
        present = mask[start] if mask is not None and not bool(mask[start].all()) else None
        found.append(Stretch(start, stop, fresh, present))
    return found
