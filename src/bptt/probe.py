"""What a run takes with its tape: measured on the first steps of a sequence, leaving no trace."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor, nn

from bptt import outside, state as states
from bptt.call import Caller
from bptt.data.piece import Piece
from bptt.data.reader import Reader, nbytes
from bptt.learned import learned
from bptt.loss import CrossEntropy, SquaredError, summed
from bptt.memory import EVENTS, Counting, give_back, kept_bytes
from bptt.state import State
from bptt.through.plan import Taken

# What has been measured stays true of a module as long as it is given input of the same form.
_known: weakref.WeakKeyDictionary[nn.Module, dict[Hashable, tuple[int, int, int]]] = weakref.WeakKeyDictionary()
# What the profiler recorded: for a call of one step, and a step of the longest call.
_events: weakref.WeakKeyDictionary[nn.Module, tuple[float, float]] = weakref.WeakKeyDictionary()
_cuts: weakref.WeakKeyDictionary[Reader, Tensor | None] = weakref.WeakKeyDictionary()
_losses: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_numbers = itertools.count()
_STRETCH = 1024


def probe(call: Caller, reader: Reader, loss: Any, initial: State, steps: int) -> Taken | None:
    """The answer to the action ``Probe(steps)``; see `bptt.through.plan.Taken`.

    Where rows begin and end so that the module is called for parts of a run, the steps that are cut into most parts are taken
    (of a stream, of what has been read).
    """
    steps = reader.upto(steps)
    start, parts = _busiest(call, reader, steps)
    if not countable(call.model, steps, parts):
        return None
    piece = reader.read(start, start + steps)
    known = _known.setdefault(call.model, {})
    key = _form(call, loss, piece, initial)
    if key not in known:
        known[key] = _measure(Caller(_alone(call.model)), reader, loss, initial, start, start + steps)
    peak, state, waiting = known[key]
    return Taken(peak, state, missing_gradients(call.model, loss), -(-nbytes(piece) // steps) if reader.holds else 0, waiting)


def countable(model: nn.Module, steps: int, parts: int) -> bool:
    """Whether a run can be counted without the record of it taking more than what is counted."""
    a_call, a_step = _events.get(model, (0.0, 0.0))
    return max(steps * a_step, parts * a_call) <= EVENTS


def _busiest(call: Caller, reader: Reader, steps: int) -> tuple[int, int]:
    """Where the ``steps`` steps begin that are cut into most parts, and how many these are."""
    if reader not in _cuts:
        _cuts[reader] = _all_cuts(call, reader)
    cuts = _cuts[reader]
    if cuts is None or len(cuts) <= steps:
        return 0, 1 if cuts is None else 1 + int(cuts.sum())
    sums = torch.nn.functional.pad(cuts.cumsum(0), (1, 0))
    inside = sums[steps:] - sums[:-steps]
    return int(inside.argmax()), 1 + int(inside.max())


def _all_cuts(call: Caller, reader: Reader) -> Tensor | None:
    """Before which steps a call is cut, ``[T]``; first steps without flags are taken to speak for all,
    where all would have to be read.
    """
    known, found = reader.known(), list[Tensor]()
    for start in range(0, known, _STRETCH):
        stop = min(start + _STRETCH, known)
        cuts = call.cuts(*reader.flags(start, stop))
        if cuts is None and not start and not reader.tells_flags:
            return None
        found.append(torch.zeros(stop - start, dtype=torch.bool) if cuts is None else cuts.cpu())
    return torch.cat(found)


def missing_gradients(model: nn.Module, loss: Any) -> int:
    """The bytes of the gradients that the first backward pass will make."""
    return sum(p.nbytes for p in learned(model, loss) if p.grad is None)


def _measure(call: Caller, reader: Reader, loss: Any, initial: State, start: int, stop: int) -> tuple[int, int, int]:
    """The most that is allocated; the bytes of one state kept, its random state where one is drawn included; what waits."""
    where = f"steps {start}..{stop}"
    wanted = [p for p in call.model.parameters() if p.requires_grad]
    random = call.randomness()
    with call.other_buffers():
        if initial is None:
            with torch.no_grad():
                _, initial = call(reader.read(0, 1), None, "step 0")
        before = states.inlet(initial)
        outside.begin()
        give_back()  # what the probes before left free would lie beside what this one takes
        counting = Counting(call.devices)
        try:
            roots, after = _run(call, loss, reader.read(start, stop), before, where)
            counting.taped(roots)
            inputs = wanted + [leaf for leaf in states.leaves(before) if leaf.requires_grad]
            if roots and inputs:
                torch.autograd.grad(roots, inputs, [torch.ones_like(root) for root in roots], allow_unused=True)
        finally:
            peak = counting.stop()
        a_call, _ = _events.get(call.model, (counting.events, 0.0))
        _events[call.model] = a_call, counting.events / (stop - start)
        drew = random != call.randomness()
        state = kept_bytes(after, random if drew else None)
    random.put_back()
    return peak, state, counting.waiting


def _run(call: Caller, loss: Any, piece: Piece, before: State, where: str) -> tuple[list[Tensor], State]:
    """What the error starts from, and the state; the output is let go of here, as it is in a window."""
    with torch.enable_grad():
        y, after = call(piece, before, where)
        made = summed(loss, y, piece, where)
    return [root for root in (made, *states.leaves(after)) if root.requires_grad], after


def _alone(model: nn.Module) -> nn.Module:
    """Without the wrapper that would speak with other processes."""
    return model.module if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)) else model


def _form(call: Caller, loss: Any, piece: Piece, initial: State) -> Hashable:
    """All that the memory of a run depends on, as far as it can be told from outside."""
    learning = tuple(p.requires_grad for p in call.model.parameters())
    modes = tuple(module.training for module in call.model.modules())
    parts = tuple(tuple((name, leaf.shape, leaf.dtype) for name, leaf in states.named_leaves(part)) for part in piece)
    given = tuple((name, leaf.shape, leaf.dtype) for name, leaf in states.named_leaves(initial))
    cuts = call.cuts(piece.mask, piece.reset)
    return parts, given, _identity(loss), learning, modes, torch.get_num_threads(), 0 if cuts is None else int(cuts.sum())


def _identity(loss: Any) -> Hashable:
    """What no other loss has: two of one name may take very different memory."""
    if type(loss) in (CrossEntropy, SquaredError):
        return repr(loss)
    owner = getattr(loss, "__self__", loss)  # a bound method is made anew each time
    try:
        if owner not in _losses:
            _losses[owner] = next(_numbers)
        return _losses[owner], getattr(loss, "__qualname__", "")
    except TypeError:  # neither hashed nor referred to
        return next(_numbers)
