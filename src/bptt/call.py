"""Calling any stateful module on a piece: masks and resets given to it or seen to from outside, its state checked."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import Tensor, nn

from bptt import state as states
from bptt.data.piece import Piece
from bptt.randomness import Randomness
from bptt.state import State
from bptt.through.plan import Run, Upto


class Caller:
    """``y, state = model(x, state)`` for any module; knows what its forward takes."""

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        core = _unwrapped(model)
        if isinstance(core, nn.RNNBase) and core.batch_first:
            raise ValueError(f"{type(core).__name__} has batch_first=True, but a sequence has time first, [T, B, ...]")
        if getattr(core, "batch_first", False) is True and hasattr(core, "hidden_size"):
            raise ValueError(f"{type(core).__name__} has batch_first=True, but a sequence has time first, [T, B, ...]")
        self._model, self._core = model, core
        self._takes = {name for name in ("mask", "reset") if _accepts(core, name)}
        self.whole = next((name for name, part in core.named_modules() if getattr(part, "bidirectional", False) is True), None)
        self._expected: State = None
        self.trainable = any(parameter.requires_grad for parameter in model.parameters())
        found = {parameter.device for parameter in model.parameters() if parameter.device.type not in ("cpu", "meta")}
        self._devices = tuple(sorted(found, key=str))

    def randomness(self) -> Randomness:
        """The present random state of the devices that the model lives on."""
        return Randomness.now(self._devices)

    def check_span(self, run: Run, upto: Upto) -> None:
        """Refuses a part of a sequence for a module that needs the whole."""
        if self.whole is not None and (run.start > 0 or upto(math.inf) > run.stop):
            name = f" ({self.whole})" if self.whole else ""
            raise ValueError(
                f"a bidirectional layer{name} needs the whole sequence, and this strategy runs {run.start}..{run.stop} of it: "
                "use through=bptt.Full()"
            )

    def __call__(self, piece: Piece, state: State, where: str) -> tuple[Any, State]:
        outside = [name for name in ("mask", "reset") if getattr(piece, name) is not None and name not in self._takes]
        inside = {name: getattr(piece, name) for name in self._takes if getattr(piece, name) is not None}
        if outside:
            y, after = self._by_stretches(piece, state, where, outside, inside)
        else:
            y, after = self._one(piece.x, state, where, inside)
        if self._expected is None:
            self._expected = states.map_leaves(lambda t: torch.empty_like(t, device="meta"), after)
        states.check_same(self._expected, after, where)
        return y, after

    def _one(self, x: Any, state: State, where: str, flags: dict[str, Tensor]) -> tuple[Any, State]:
        result = self._model(x, state, **flags)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                f"{where}: {type(self._core).__name__} returned {_described(result)}, expected the pair (y, state): a stateful "
                "module is called as y, state = model(x, state)"
            )
        return result

    def _by_stretches(
        self, piece: Piece, state: State, where: str, outside: list[str], inside: dict[str, Tensor]
    ) -> tuple[Any, State]:
        """Cuts the piece wherever rows begin, end or start afresh, and sets their states from outside."""
        mask = piece.mask if "mask" in outside else None
        reset = piece.reset if "reset" in outside else None
        x = piece.x
        if mask is not None:
            # What stands at steps that do not exist (NaN, say) must not reach the gradient as 0 * NaN.
            x = states.map_leaves(lambda t: t.masked_fill(~mask.reshape(mask.shape + (1,) * (t.ndim - 2)), 0), x)
        first = states.leaves(piece.x)[0]
        steps, rows = first.shape[:2]
        outputs = []
        for stretch in states.stretches(steps, mask, reset):
            a, b = stretch.start, stretch.stop
            if stretch.fresh is not None and state is not None:
                state = states.choose_rows(stretch.fresh, self._fresh(state, rows), state, self._dims(rows))
            part = states.map_leaves(lambda t, a=a, b=b: t[a:b], x)  # type: ignore[misc]
            y, after = self._one(part, state, where, {name: flags[a:b] for name, flags in inside.items()})
            if stretch.present is not None:
                before = self._fresh(after, rows) if state is None else state
                after = states.choose_rows(stretch.present, after, before, self._dims(rows))
            outputs.append(y)
            state = after
        return _joined(outputs), state

    def _fresh(self, like: State, rows: int) -> State:
        """The state of a row that has not begun: what the module says, else zero, as in torch."""
        initial = getattr(self._core, "initial_state", None)
        return states.zeros(like) if initial is None else initial(rows)

    def _dims(self, rows: int) -> Any:
        if isinstance(self._core, nn.RNNBase):
            return lambda _name, _leaf: 1
        return lambda name, leaf: states.batch_dim(name, leaf, rows)

    def rebuild(self, saved: list[Tensor], piece: Piece) -> State:
        """The module's state with these tensors; its structure is found by one step, whose values are thrown away."""
        if not saved:
            return None
        random = self.randomness()
        training = self._model.training
        self._model.eval()
        with torch.no_grad():
            _, shape = self._one(states.map_leaves(lambda t: t[:1], piece.x), None, "resuming", {})
        self._model.train(training)
        random.put_back()
        if len(states.leaves(shape)) != len(saved):
            raise ValueError(f"the saved state has {len(saved)} tensors, the model's {len(states.leaves(shape))}")
        device = states.leaves(shape)[0].device
        tensors = iter(saved)
        rebuilt = states.map_leaves(lambda _: next(tensors).to(device), shape)
        states.check_same(shape, rebuilt, "the saved state")
        return rebuilt


def counted(loss: Any, y: Any, piece: Piece) -> tuple[Tensor, int, int]:
    """The loss of a piece, the number of targets it sums over, and the number of rows."""
    target, mask = piece.target, piece.mask
    shape = states.leaves(piece.x)[0].shape[:2]
    if mask is not None and not bool(mask.all()):
        y, target = (states.map_leaves(lambda t: t[mask], part) for part in (y, target))
        positions = int(mask.sum())
    else:
        positions = math.prod(shape)
    made = loss(y, target)
    if not isinstance(made, Tensor) or made.ndim:
        raise TypeError(
            f"loss(y, target) returned {_described(made)}, expected a tensor without dimensions: the sum over steps and rows, "
            "as with reduction='sum'"
        )
    count = loss.count(target) if hasattr(loss, "count") else positions
    return made, int(count), shape[1] if len(shape) > 1 else 1


def _accepts(module: nn.Module, name: str) -> bool:
    return name in inspect.signature(module.forward).parameters


def _unwrapped(model: nn.Module) -> nn.Module:
    """The user's module inside torch.compile's and the data-parallel wrappers."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _joined(outputs: list[Any]) -> Any:
    if len(outputs) == 1:
        return outputs[0]
    parts = iter([torch.cat(column) for column in zip(*map(states.leaves, outputs), strict=True)])
    return states.map_leaves(lambda _: next(parts), outputs[0])


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else type(value).__name__
