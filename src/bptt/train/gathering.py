"""The place in a sequence that several processes have reached, each with its rows, as one; and taken apart again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bptt.call import Caller
from bptt.data.piece import Piece
from bptt.state import leaves, map_leaves, named_leaves
from bptt.train.shards import own_rows

Dims = dict[str, int | None]
"""Which dimension of each part of a state counts the rows; ``None`` where all of them share it."""

_WHOLE = {"windows", "position", "present", "kept", "random", "strategy"}


@dataclass(frozen=True)
class Share:
    """What one process brings to a checkpoint: its ``rows`` of the sequence under way, and its random numbers."""

    rows: int
    within: dict[str, Any] | None
    random: dict[str, Any]


def row_dims(model: nn.Module, piece: Piece) -> Dims:
    """Where the rows are in the model's state: the dimensions that grow from one row of ``piece`` to two."""
    call = Caller(model)
    one, two = (map_leaves(lambda t, n=n: t[:1, [0] * n], piece.x) for n in (1, 2))  # type: ignore[misc]
    few, more = (dict(named_leaves(call.structure(Piece(x, None)))) for x in (one, two))
    return {name: _grown(list(leaf.shape), list(more[name].shape)) for name, leaf in few.items()}


def merged(shares: Sequence[Share], dims: Dims) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The place in the sequence as one process with all rows would have it, and what each process has of its own."""
    own = {"random": [share.random for share in shares]}
    first = shares[0].within
    if first is None:
        return None, own
    places = [share.within or {} for share in shares]
    there = [place for share, place in zip(shares, places, strict=True) if share.rows]
    whole = {
        **{key: first[key] for key in _WHOLE},
        "present": _joined([place["present"] for place in there], dims),
        "kept": [
            {
                **kept,
                "state": _joined([place["kept"][i]["state"] for place in there], dims),
                "drew": any(place["kept"][i]["drew"] for place in places),
            }
            for i, kept in enumerate(first["kept"])
        ],
    }
    own["within"] = [
        {
            "random": place["random"],
            "kept": [kept["random"] for kept in place["kept"]],
            "more": {key: value for key, value in place.items() if key not in _WHOLE},
        }
        for place in places
    ]
    return whole, own


def taken_apart(
    whole: dict[str, Any], own: dict[str, Any] | None, dims: Dims, rank: int, size: int, through: str
) -> dict[str, Any]:
    """The rows of process ``rank`` of ``size`` of a place that `merged`, or a process that was alone, gave.

    **Raises** ``ValueError`` where it holds what cannot be dealt out to another number of processes.
    """
    places = (own or {}).get("within")
    before = 1 if places is None else len(places)
    more = {key: value for key, value in whole.items() if key not in _WHOLE} if places is None else places[0]["more"]
    if before != size and more:
        raise ValueError(
            f"{through} was left in mid-sequence by {before} process{'es' * (before > 1)}, and what it carries forward cannot "
            f"be dealt out to {size}: go on with {before}"
        )
    mine = {} if places is None else places[min(rank, before - 1)]
    kept = [{**each, "state": _rows(each["state"], dims, rank, size)} for each in whole["kept"]]
    if mine:
        kept = [{**each, "random": random} for each, random in zip(kept, mine["kept"], strict=True)]
    made = {**whole, "present": _rows(whole["present"], dims, rank, size), "kept": kept}
    return made | ({"random": mine["random"], **mine["more"]} if mine else {})


def first_step(sequence: Any) -> Piece:
    """The first step of a sequence, however it is read."""
    if isinstance(sequence, tuple | list):
        piece = Piece(*sequence)
    elif hasattr(sequence, "__len__") and hasattr(sequence, "__getitem__"):
        piece = Piece(*sequence[0:1])
    else:
        piece = next(each for each in (Piece(*given) for given in sequence) if len(leaves(each.x)[0]))
    return piece._replace(x=map_leaves(lambda t: t[:1], piece.x))


def _grown(one: list[int], two: list[int]) -> int | None:
    return next((dim for dim, (a, b) in enumerate(zip(one, two, strict=True)) if a != b), None)


def _joined(parts: list[dict[str, Any] | None], dims: Dims) -> dict[str, Any] | None:
    first = parts[0]
    if first is None:
        return None
    return {name: _cat([(part or {})[name] for part in parts], dims.get(name)) for name in first}


def _cat(parts: list[Any], dim: int | None) -> Any:
    return parts[0] if dim is None or not isinstance(parts[0], Tensor) else torch.cat([part.cpu() for part in parts], dim)


def _rows(state: dict[str, Any] | None, dims: Dims, rank: int, size: int) -> dict[str, Any] | None:
    if state is None:
        return None

    def part(name: str, leaf: Any) -> Any:
        dim = dims.get(name)
        if dim is None or not isinstance(leaf, Tensor):
            return leaf
        where = own_rows(leaf.shape[dim], rank, size)
        return leaf.narrow(dim, where.start, where.stop - where.start).clone()

    return {name: part(name, leaf) for name, leaf in state.items()}
