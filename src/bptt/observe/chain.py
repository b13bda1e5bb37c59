"""A chain: the model run step by step, each step with a graph of its own, so that the error at every step can be read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bptt import state as states
from bptt.call import Caller, check_history, evaluating
from bptt.data.piece import Piece
from bptt.data.reader import reader
from bptt.executor import Loss
from bptt.kernels.errors_only import errors_only
from bptt.loss import check_loss, counted
from bptt.observe.parts import Part, differentiable, named_by_layers, parts_of
from bptt.observe.side import close, side_by_side
from bptt.state import State

Errors = list[Tensor | None]
_CHECKED = 8  # steps at the beginning, and as many over the whole, that must be side by side what they are alone


@dataclass(frozen=True)
class Link:
    """One step: the state before it as leaves of its graph, the state after it, and its loss; and what went in."""

    before: list[Tensor]
    after: list[Tensor]
    loss: Tensor
    piece: Piece
    state: State


@dataclass(frozen=True)
class Broken:
    """The step that first met a number that is not finite, and all that went in and came out."""

    step: int
    piece: Piece
    before: State
    after: State
    y: Any
    loss: Tensor


class Chain:
    """``links[k]`` is step k (from 0). The forward pass is run once; what it drew at random stays as it was.

    Cost: a forward pass in calls of one step; memory as a full backward pass. It ends before a step that is not finite, which
    is then ``broken``.
    """

    def __init__(self, model: nn.Module, loss: Loss, sequence: Any, state: State, limit: int) -> None:
        check_loss(loss)
        states.check_known(state, "the initial state")
        check_history()
        self.call = Caller(model)
        self.name = type(model).__name__
        if self.call.whole is not None:
            raise ValueError(
                f"a bidirectional layer ({self.call.whole}) has no state that is carried from step to step: observe a network "
                "that runs forward in time"
            )
        source = reader(sequence)
        steps = source.upto(limit)
        if steps < 2:
            raise ValueError(f"the sequence has {steps} step{'s' * (steps != 1)}: to see a lag it takes at least 2")
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.links: list[Link] = []
        self.counts: list[int] = []
        self.broken: Broken | None = None
        self._weights: list[Tensor] = list(self.parameters.values())
        random = self.call.randomness()
        try:
            with self.call.other_buffers(), torch.enable_grad(), _single_steps():
                self.parts = self._parts(model, source.read(0, 1))
                for step in range(steps):
                    state = self._forward(loss, source.read(step, step + 1), state, step)
                    if len(self) == step:
                        break
                    source.forget(step + 1)
                self._side = side_by_side(self.call, loss, self.links, self.rows)
                self._explicit = None if self._side is None else self._side.explicit(self._weights)
                if self._explicit is not None and not self._is_right(self._explicit[0]):
                    self._side = self._explicit = None
        finally:
            random.put_back()

    def __len__(self) -> int:
        return len(self.links)

    def back(
        self, step: int, errors: Errors | None, *, loss: bool = False, weights: bool = False
    ) -> tuple[Errors, list[Tensor]]:
        """The error before ``step``, from that after it and (where ``loss``) its own loss; and its part of the gradient.

        The gradient is that by the weights as this step used them, zero where it did not; none unless ``weights``.
        """
        link = self.links[step]
        if not weights:
            with errors_only():
                return _grad(*self._roots([step], [errors], loss), link.before), []
        found = _grad(*self._roots([step], [errors], loss), link.before + self._weights)
        before, by = found[: len(link.before)], found[len(link.before) :]
        return before, self._filled(by)

    def alone(self) -> None:
        """From now on every step is looked at by itself: some are not what they are side by side."""
        self._side = self._explicit = None

    def explicit(self) -> tuple[list[Errors], list[Tensor]]:
        """In one pass, for all steps at once: the error of each step's own loss just before it, and Σ_t C[t,t].

        **Raises** ``ValueError`` where no loss depends on anything that can be followed.
        """
        if not any(link.loss.requires_grad for link in self.links):
            raise ValueError(
                f"the loss depends on no parameter and no state of {self.name}: there is no gradient to follow. Perhaps y is "
                "made with .detach(), .item(), NumPy or torch.no_grad() on the way"
            )
        if self._explicit is not None:
            own, by = self._explicit
            first, by_first = self.back(0, None, loss=True, weights=True)
            return [first, *own], [a if b is None else a + b for a, b in zip(by_first, by, strict=True)]
        inlets = [leaf for link in self.links for leaf in link.before]
        steps = range(len(self))
        found = _grad(*self._roots(steps, [None] * len(self), True), inlets + self._weights)
        at = iter(found)
        return [[next(at) for _ in link.before] for link in self.links], self._filled(found[len(inlets) :])

    def implicit(self, errors: list[Errors | None]) -> list[Tensor]:
        """In one pass, Σ_{k<t} C[t,k], from the error ``errors[k]`` of all later losses after each step k."""
        if self._side is not None:
            by = self._side.implicit(self._weights, errors[1:])
            _, by_first = self.back(0, errors[0], weights=True)
            return [a if b is None else a + b for a, b in zip(by_first, by, strict=True)]
        return self._filled(_grad(*self._roots(range(len(self)), errors, False), self._weights))

    def _is_right(self, own: list[Errors]) -> bool:
        """Whether some steps, each by itself, get the error of their own loss that they get side by side."""
        for k in {*range(1, min(len(self), _CHECKED)), *range(1, len(self), len(self) // _CHECKED + 1), len(self) - 1} - {0}:
            for a, b in zip(own[k - 1], self.back(k, None, loss=True)[0], strict=True):
                if (a is None) != (b is None) or (a is not None and b is not None and not close(a, b)):
                    return False
        return True

    def _roots(self, steps: Iterable[int], errors: list[Errors | None], loss: bool) -> tuple[list[Tensor], list[Tensor]]:
        roots: list[Tensor] = []
        seeds: list[Tensor] = []
        for step, given in zip(steps, errors, strict=True):
            link = self.links[step]
            if loss and link.loss.requires_grad:
                roots.append(link.loss)
                seeds.append(torch.ones_like(link.loss))
            for leaf, error in zip(link.after, given or [], strict=False):
                if error is not None and leaf.requires_grad:
                    roots.append(leaf)
                    seeds.append(error)
        return roots, seeds

    def _filled(self, by: Errors) -> list[Tensor]:
        return [torch.zeros_like(w) if g is None else g for w, g in zip(self._weights, by, strict=True)]

    def norms(self, errors: Errors) -> NDArray[np.float64]:
        """The norm of the error in every part of the state ``[P]``."""
        found = []
        for part in self.parts:
            error = errors[part.leaf]
            chosen = error if error is None or part.layer is None else error[part.layer]
            found.append(0.0 if chosen is None else float(torch.linalg.vector_norm(chosen)))
        return np.array(found)

    def _parts(self, model: nn.Module, first: Piece) -> tuple[Part, ...]:
        with named_by_layers(model) as known:
            structure = self.call.structure(first)
        rows = states.leaves(first.x)[0].shape[1]
        self.rows = rows
        parts = parts_of(structure, rows, known)
        if not parts:
            raise ValueError(
                f"{self.name} carries no state that a gradient can travel through: y, state = model(x, state) returned "
                f"{'no tensor' if not states.leaves(structure) else 'only whole numbers'} as state, so nothing goes back "
                "through time"
            )
        return parts

    def _forward(self, loss: Loss, piece: Piece, state: State, step: int) -> State:
        where = f"step {step}"
        before = None if state is None else states.inlet(state)
        y, after = self.call(piece, before, where)
        made, count = counted(loss, y, piece, where)
        if not _finite([leaf.detach() for leaf in (made, *differentiable(after))]):
            self.broken = Broken(step, piece, states.detach(state), states.detach(after), states.detach(y), made.detach())
            return None
        self.links.append(Link([] if before is None else differentiable(before), differentiable(after), made, piece, before))
        self.counts.append(count)
        return after


@contextmanager
def _single_steps() -> Iterator[None]:
    """Without oneDNN's recurrent kernels: made for long stretches, they take more than twice the time for single steps."""
    settings: Any = torch.backends.mkldnn
    before = settings.enabled
    settings.enabled = False
    try:
        yield
    finally:
        settings.enabled = before


def _finite(leaves: list[Tensor]) -> bool:
    # The sum is the quick answer; finite numbers can overflow in it, so a bad one is looked into.
    quick = torch.stack([leaf.sum().real for leaf in leaves]).sum() if len({leaf.dtype for leaf in leaves}) == 1 else None
    if quick is not None and math.isfinite(quick.item()):
        return True
    return all(bool(torch.isfinite(leaf).all()) for leaf in leaves)


def _grad(roots: list[Tensor], seeds: list[Tensor], inputs: list[Tensor]) -> Errors:
    if not roots or not inputs:
        return [None] * len(inputs)
    return list(torch.autograd.grad(roots, inputs, seeds, retain_graph=True, allow_unused=True))


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards modes, buffers and random numbers are as before."""
    call = Caller(model)
    random = call.randomness()
    try:
        with call.other_buffers(), evaluating(model):
            yield
    finally:
        random.put_back()
