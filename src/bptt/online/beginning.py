"""The influence that a strategy asks for, on a module seen at its first step."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from bptt.call import Caller
from bptt.data.piece import Piece
from bptt.online.influence import Dense, Influence
from bptt.online.pattern import Pattern, Probe, probe_pattern, reached
from bptt.online.rank_one import RankOne
from bptt.online.sparse import Sparse
from bptt.state import State
from bptt.through.online import RTRL, UORO, ForwardInTime, SnAp

ROOM = 1 << 30
"""Bytes beyond which a module is refused unless the strategy is told to go on."""


def begin(
    strategy: ForwardInTime, model: nn.Module, call: Caller, piece: Piece, template: State, parameters: Mapping[str, Tensor]
) -> Influence:
    """An influence of zero for ``parameters``, by name; ``piece`` is one step, ``template`` a state of the module's form.

    **Raises** ``ValueError`` for a module too large for the strategy, with the memory that it would take.
    """
    names, tensors = list(parameters), list(parameters.values())
    probe = Probe(model, call, piece, template, tensors)
    layout = probe.layout()
    if isinstance(strategy, UORO):
        return RankOne(layout, names, strategy.seed)
    elementwise = isinstance(strategy, RTRL) and _declared(model) == layout.size
    reaching = sum(tensors[place].numel() * (1 + tensors[place].is_complex()) for place in probe.reaching(layout))
    if isinstance(strategy, SnAp) or elementwise:
        _check_room(strategy, layout.size * reaching, f"finding which of {layout.size} numbers {reaching:,} parameters reach")
        pattern = probe_pattern(probe, layout, fill_silent=probe.symbols or elementwise)
        if not elementwise or _by_itself(pattern):
            steps = strategy.n if isinstance(strategy, SnAp) else layout.size
            masks = reached(pattern, steps)
            _check_room(strategy, Sparse.bytes(layout, masks), f"what {reaching:,} parameters reach in {steps} steps")
            return Sparse(layout, names, pattern, masks)
    _check_room(
        strategy,
        (layout.rows + 1) * layout.size * reaching * layout.dtype.itemsize,
        f"the influence of {reaching:,} parameters on {layout.rows} × {layout.size} numbers of state",
        probing=layout.size * reaching,
    )
    return Dense(layout, names)


def _declared(model: nn.Module) -> int | None:
    """The numbers in a row's state, where one layer declares that each has a recurrence of its own."""
    found = [part.elementwise_state for part in model.modules() if hasattr(part, "elementwise_state")]
    return found[0] if len(found) == 1 and isinstance(found[0], int) else None


def _by_itself(pattern: Pattern) -> bool:
    """Whether each number of the state depends on itself alone, or on the other half of a complex number."""
    return int(pattern.by_state.sum(1).max()) <= 2


def _check_room(strategy: ForwardInTime, needed: int, what: str, probing: int = 0) -> None:
    force = isinstance(strategy, (RTRL, SnAp)) and strategy.force
    if needed <= ROOM or force:
        return
    name = type(strategy).__name__
    others = "bptt.SnAp(1) or bptt.UORO()" if isinstance(strategy, RTRL) and probing <= ROOM else "bptt.UORO()"
    raise ValueError(
        f"{name} would take {needed / 2**30:.3g} GiB for {what}, and more than {ROOM / 2**30:.3g} GiB is refused: "
        f"use through={others}, or {name}(force=True) where there is room"
    )
