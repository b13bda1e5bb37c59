"""Nested states: tuples, lists, dicts, named tuples and dataclasses of tensors, at any depth; ``None`` is the initial state."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

State = Any
_PLAIN = (type(None), bool, int, float, complex, str)


def map_leaves(change: Callable[[Tensor], Tensor], state: State) -> State:
    """The same structure with ``change`` applied to every tensor; whatever is no tensor stays as it is."""
    if isinstance(state, Tensor):
        return change(state)
    if type(state) is tuple:
        return tuple([map_leaves(change, item) for item in state])
    return _map(lambda leaf: change(leaf) if isinstance(leaf, Tensor) else leaf, state)


def _map(change: Callable[[Any], Any], state: State) -> State:
    if isinstance(state, Tensor):
        return change(state)
    if isinstance(state, tuple):
        items = [_map(change, item) for item in state]
        return type(state)(*items) if hasattr(state, "_fields") else tuple(items)
    if isinstance(state, list):
        return [_map(change, item) for item in state]
    if isinstance(state, dict):
        made = copy.copy(state)
        for key, item in state.items():
            made[key] = _map(change, item)
        return made
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        names = [field.name for field in dataclasses.fields(state) if field.init]
        return dataclasses.replace(state, **{name: _map(change, getattr(state, name)) for name in names})
    return change(state)


def _named(state: State, name: str) -> Iterator[tuple[str, Any]]:
    """Every leaf, tensor or not, with the name a user would write for it."""
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        for field in state._fields:
            yield from _named(getattr(state, field), f"{name}.{field}")
    elif isinstance(state, (tuple, list)):
        for index, item in enumerate(state):
            yield from _named(item, f"{name}[{index}]")
    elif isinstance(state, dict):
        for key, item in state.items():
            yield from _named(item, f"{name}[{key!r}]")
    elif dataclasses.is_dataclass(state) and not isinstance(state, (type, Tensor)):
        for each in dataclasses.fields(state):
            if each.init:
                yield from _named(getattr(state, each.name), f"{name}.{each.name}")
    else:
        yield name, state


def named_leaves(state: State, name: str = "state") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the state with the name a user would write for it: ``state[0]``, ``state['h']``, ``state.c``."""
    return ((label, leaf) for label, leaf in _named(state, name) if isinstance(leaf, Tensor))


def leaves(state: State) -> list[Tensor]:
    """Every tensor of the state, in a fixed order."""
    if isinstance(state, Tensor):
        return [state]
    if type(state) is tuple:
        return [leaf for item in state for leaf in leaves(item)]
    return [leaf for _, leaf in named_leaves(state)]


def detach(state: State) -> State:
    """The state's values, with no history."""
    return map_leaves(Tensor.detach, state)


def inlet(state: State) -> State:
    """The state's values as new leaves of a graph: after a backward pass their ``grad`` is the error at this boundary."""

    def leaf(t: Tensor) -> Tensor:
        return t.detach().requires_grad_() if t.is_floating_point() or t.is_complex() else t.detach()

    return map_leaves(leaf, state)


def dump(state: State) -> dict[str, Any]:
    """Every leaf by its name, copied, tensor or not: what `restore` needs beside a state of the same structure."""
    return {name: leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for name, leaf in _named(state, "state")}


def restore(template: State, dumped: dict[str, Any]) -> State:
    """The state that was dumped, in the structure and on the devices of ``template``.

    **Raises** ``ValueError`` where it does not fit, naming the leaf.
    """
    names = dict(_named(template, "state"))
    if set(names) != set(dumped):
        raise ValueError(f"the saved state has {', '.join(dumped)}; the model's has {', '.join(names)}")
    for name, old in names.items():
        new = dumped[name]
        if isinstance(old, Tensor) != isinstance(new, Tensor) or (isinstance(old, Tensor) and old.shape != new.shape):
            raise ValueError(f"the saved {name} is {_kind(new)}, the model's {_kind(old)}")
    order = iter(names)

    def put(leaf: Any) -> Any:
        new = dumped[next(order)]
        return new.to(leaf.device) if isinstance(leaf, Tensor) else new

    return _map(put, template)


def form(state: State) -> Any:
    """Structure, shapes and dtypes as one value: equal for states of the same form, and quickly compared."""
    if isinstance(state, Tensor):
        return state.shape, state.dtype
    if type(state) is tuple:
        return tuple([form(item) for item in state])
    return {name: (leaf.shape, leaf.dtype) for name, leaf in named_leaves(state)}


def check_known(state: State, where: str) -> None:
    """Refuses a state with parts that cannot be looked into, and so be neither carried without history nor reset.

    **Raises** ``TypeError`` naming the part.
    """
    for name, leaf in _named(state, "state"):
        if not isinstance(leaf, (Tensor, *_PLAIN)):
            raise TypeError(
                f"{where}: {name} is a {type(leaf).__name__}: a state is made of tensors, numbers and text in tuples, lists, "
                " dicts, named tuples or dataclasses"
            )


def check_same(expected: State, got: State, where: str) -> None:
    """Refuses a state whose structure, shapes or dtypes are not those expected, naming the leaf.

    **Raises** ``ValueError``.
    """
    before, after = dict(named_leaves(expected)), dict(named_leaves(got))
    for name, old in before.items():
        new = after.get(name)
        if new is None:
            raise ValueError(
                f"{where}: the state lacks {name}, expected {_kind(old)}; it has {', '.join(after) or 'no tensor'}"
            )
        if old.shape != new.shape or old.dtype != new.dtype:
            raise ValueError(f"{where}: {name} is {_kind(new)}, expected {_kind(old)}")
    extra = next((name for name in after if name not in before), None)
    if extra is not None:
        raise ValueError(f"{where}: the state has an unexpected {extra}; expected {', '.join(before) or 'no tensor'}")


def _kind(leaf: Any) -> str:
    return f"{str(leaf.dtype).removeprefix('torch.')}{list(leaf.shape)}" if isinstance(leaf, Tensor) else repr(leaf)


def batch_dim(name: str, leaf: Tensor, rows: int) -> int | None:
    """Which dimension of a state tensor counts the rows of the batch; ``None`` for a scalar, which all rows share.

    The only dimension of that size, or, of several, the first of a matrix ``[B, H]``.

    **Raises** ``ValueError`` where that cannot be told.
    """
    if leaf.ndim == 0:
        return None
    candidates = [dim for dim, size in enumerate(leaf.shape) if size == rows]
    if len(candidates) == 1 or (candidates and (leaf.ndim <= 2 or rows == 1)):
        return candidates[0]
    found = "several dimensions" if candidates else "no dimension"
    raise ValueError(
        f"{name} is {_kind(leaf)}: {found} of size {rows}, so its rows cannot be told apart to reset or hold them: "
        "let the module's forward take `reset` and `mask` itself"
    )


def likely_batch_dim(name: str, leaf: Tensor, rows: int) -> int | None:
    """Which dimension of a state tensor probably counts the rows, where `batch_dim` cannot tell: of [B, ...] or [L, B, ...].

    **Raises** ``ValueError`` where no dimension has that size.
    """
    places = [dim for dim, size in enumerate(leaf.shape) if size == rows]
    if leaf.ndim and not places:
        raise ValueError(f"{name} is {_kind(leaf)}: no dimension of size {rows}, so its rows cannot be told apart")
    return 1 if leaf.ndim > 2 and 1 in places else places[0] if places else None


def choose_rows(rows: Tensor, chosen: State, otherwise: State, dims: Callable[[str, Tensor], int | None]) -> State:
    """Row by row, the state ``chosen`` where ``rows`` [B] is true, else ``otherwise``; ``dims`` finds the batch dimension.

    What all rows share, and what is no tensor, is that of ``chosen``.
    """
    check_same(chosen, otherwise, "choosing rows")
    names, others = iter(named_leaves(chosen)), dict(named_leaves(otherwise))

    def pick(a: Tensor) -> Tensor:
        name, _ = next(names)
        dim = dims(name, a)
        if dim is None:
            return a
        shape = [1] * a.ndim
        shape[dim] = -1
        return torch.where(rows.reshape(shape), a, others[name])

    return map_leaves(pick, chosen)


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
    found = []
    for start, stop in itertools.pairwise(sorted(cuts)):
        fresh = reset[start] if reset is not None and bool(reset[start].any()) else None
        present = mask[start] if mask is not None and not bool(mask[start].all()) else None
        found.append(Stretch(start, stop, fresh, present))
    return found
