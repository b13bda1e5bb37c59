"""Calling any stateful module on a piece: masks and resets given to it or seen to from outside, its state checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bptt import state as states
from bptt.data.piece import Piece
from bptt.randomness import Randomness
from bptt.state import State
from bptt.through.plan import Upto


class Caller:
    """``y, state = model(x, state)`` for any module; knows what its forward takes."""

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        self.model, self._core = model, _unwrapped(model)
        name = type(self._core).__name__
        if getattr(self._core, "batch_first", False) is True and hasattr(self._core, "hidden_size"):
            raise ValueError(f"{name} has batch_first=True, but a sequence has time first, [T, B, ...]")
        taken = _parameters(self._core)
        if taken is not None and not _binds_two(taken):
            raise TypeError(f"{name}.forward cannot be called with (x, state): a stateful module is y, state = model(x, state)")
        self._takes = {flag for flag in ("mask", "reset") if taken is not None and flag in taken.parameters}
        self._expected: State = None
        self._form: Any = None
        self.whole = _needs_whole(self._core)
        self.trainable = any(parameter.requires_grad for parameter in model.parameters())
        found = {parameter.device for parameter in model.parameters() if parameter.device.type not in ("cpu", "meta")}
        self.devices = tuple(sorted(found, key=str))

    def randomness(self) -> Randomness:
        """The present random state of the devices that the model lives on."""
        return Randomness.now(self.devices)

    def check_span(self, start: int, stop: int, upto: Upto) -> None:
        """Refuses a part of a sequence for a module that needs the whole."""
        if self.whole is not None and (start > 0 or upto(stop + 1) > stop):
            raise ValueError(
                f"a bidirectional layer ({self.whole}) needs the whole sequence, and this strategy runs {start}..{stop} of it: "
                "use through=bptt.Full(); if it never sees more than one step, say so: model.needs_whole = False"
            )

    def __call__(self, piece: Piece, state: State, where: str) -> tuple[Any, State]:
        flags = {name: getattr(piece, name) for name in ("mask", "reset") if getattr(piece, name) is not None}
        inside = {name: flags[name] for name in self._takes if name in flags}
        if "mask" in flags and "mask" not in inside:
            # Rows held from outside must be reset from outside too: the module cannot reset a row that is put back after it.
            inside = {}
        outside = {name: flag for name, flag in flags.items() if name not in inside}
        if outside:
            y, after = self._by_stretches(piece, state, where, outside, inside)
        else:
            y, after = self._one(piece.x, state, where, inside)
        if self._expected is None:
            if state is not None:
                states.check_same(after, state, f"{where}: the state given does not fit")
            self._expected = states.map_leaves(lambda t: torch.empty_like(t, device="meta"), after)
            self._form = states.form(after)
        elif states.form(after) != self._form:
            states.check_same(self._expected, after, f"{where}: the state has changed its form")
        return y, after

    def _one(self, x: Any, state: State, where: str, flags: dict[str, Tensor]) -> tuple[Any, State]:
        given = states.leaves(state)
        versions = [leaf._version for leaf in given]
        try:
            result = self.model(x, state, **flags)
        except (IndexError, TypeError, AttributeError, RuntimeError) as error:
            memory = isinstance(error, torch.OutOfMemoryError) or "allocate" in str(error)
            if state is None or self._expected is not None or memory:
                raise
            raise ValueError(f"{where}: {type(self._core).__name__} does not take the state given: {error}") from error
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                f"{where}: {type(self._core).__name__} returned {described(result)}, expected the pair (y, state): a stateful "
                "module is called as y, state = model(x, state)"
            )
        if versions != [leaf._version for leaf in given]:
            raise ValueError(
                f"{where}: {type(self._core).__name__} changed its state in place: write h = h * 0.5, not h.mul_(0.5)"
            )
        if self._expected is None:
            states.check_known(result[1], where)
        return result

    def cuts(self, mask: Tensor | None, reset: Tensor | None) -> Tensor | None:
        """Before which steps a call is cut, ``[T]``, as rows begin or end there and the module does not take flags."""
        if mask is None or "mask" in self._takes:
            mask, reset = None, None if "reset" in self._takes else reset
        found = None if reset is None else reset.any(1)
        if mask is None:
            return found
        changed = torch.nn.functional.pad((mask[1:] != mask[:-1]).any(1), (1, 0))
        return changed if found is None else changed | found

    def _by_stretches(
        self, piece: Piece, state: State, where: str, outside: dict[str, Tensor], inside: dict[str, Tensor]
    ) -> tuple[Any, State]:
        """Cuts the piece wherever rows begin, end or start afresh, and sets their states from outside."""
        mask, reset = outside.get("mask"), outside.get("reset")
        x = piece.x
        if mask is not None:
            # What stands at steps that do not exist (NaN, say) must not reach the gradient as 0 * NaN.
            x = states.map_leaves(lambda t: t.masked_fill(~mask.reshape(mask.shape + (1,) * (t.ndim - 2)), 0), x)
        steps, rows = states.leaves(piece.x)[0].shape[:2]
        dims = self.dims(rows)
        outputs = []
        for stretch in states.stretches(steps, mask, reset):
            a, b = stretch.start, stretch.stop
            if stretch.fresh is not None and state is not None:
                state = states.choose_rows(~stretch.fresh, state, self.fresh(state, rows), dims)
            part = states.map_leaves(lambda t, a=a, b=b: t[a:b], x)  # type: ignore[misc]
            y, after = self._one(part, state, where, {name: flags[a:b] for name, flags in inside.items()})
            if stretch.present is not None:
                before = self.fresh(after, rows) if state is None else state
                after = states.choose_rows(stretch.present, after, before, dims)
            outputs.append(y)
            state = after
        return _joined(outputs), state

    def fresh(self, like: State, rows: int) -> State:
        """The state of a row that has not begun: what the module says, else zero, as in torch."""
        initial = getattr(self._core, "initial_state", None)
        return initial(rows) if callable(initial) and not isinstance(initial, Tensor) else states.zeros(like)

    def dims(self, rows: int) -> Callable[[str, Tensor], int | None]:
        """Where the rows of the batch are in the tensors of the state."""
        if isinstance(self._core, nn.RNNBase):
            return lambda _name, _leaf: 1
        return lambda name, leaf: states.batch_dim(name, leaf, rows)

    def structure(self, piece: Piece) -> State:
        """A state of the module's structure, from one step whose values and random numbers leave no trace."""
        random = self.randomness()
        with evaluating(self.model), torch.no_grad():
            _, state = self._one(states.map_leaves(lambda t: t[:1], piece.x), None, "finding the state's structure", {})
        random.put_back()
        return state

    @contextmanager
    def other_buffers(self) -> Iterator[None]:
        """What runs inside changes copies of the module's buffers: a step that runs again is not counted again."""
        originals = [(part, name, b) for part in self.model.modules() for name, b in part._buffers.items() if b is not None]
        for part, name, buffer in originals:
            part._buffers[name] = buffer.clone()
        try:
            yield
        finally:
            for part, name, buffer in originals:
                part._buffers[name] = buffer


def check_history() -> None:
    """Refuses to carry errors back where torch keeps no history.

    **Raises** ``RuntimeError``.
    """
    if torch.is_inference_mode_enabled():
        raise RuntimeError("torch.inference_mode() keeps no history, so no error can be carried back: leave it out")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every module is in the mode that it was in before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def described(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else f"a {type(value).__name__}"


def _parameters(module: nn.Module) -> inspect.Signature | None:
    try:
        return inspect.signature(module.forward)
    except (TypeError, ValueError):
        return None  # compiled to something that does not tell


def _binds_two(signature: inspect.Signature) -> bool:
    try:
        signature.bind(None, None)
    except TypeError:
        return False
    return True


def _needs_whole(core: nn.Module) -> str | None:
    """The name of a layer that runs against time, unless the module says that it never needs the whole sequence."""
    if getattr(core, "needs_whole", True) is False:
        return None
    parts = core.named_modules()
    return next((name or type(part).__name__ for name, part in parts if getattr(part, "bidirectional", False) is True), None)


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
