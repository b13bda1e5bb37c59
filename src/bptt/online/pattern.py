"""Which parameter and which part of the state reaches which, found by probing a module at random states and inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bptt import state as states
from bptt.call import Caller, evaluating as in_evaluation
from bptt.data.piece import Piece
from bptt.layout import Layout
from bptt.online.step import Step, many_errors
from bptt.state import State

_TOGETHER = 64  # backward passes at once
_COLUMNS = 1 << 16


class Probe:
    """Single steps of a module that leave no trace: its buffers and the random numbers are put back."""

    def __init__(self, model: nn.Module, call: Caller, piece: Piece, template: State, parameters: list[Tensor]) -> None:
        self._model = model
        self._call, self._piece, self._template, self._parameters = call, piece, template, parameters
        self._generator = torch.Generator().manual_seed(0)
        self.rows = states.leaves(piece.x)[0].shape[1]
        self.symbols = any(not (x.is_floating_point() or x.is_complex()) for x in states.leaves(piece.x))

    def layout(self) -> Layout:
        """The layout of the state, its rows together where one of them depends on another (as batch normalisation makes it)."""

        def likely(name: str, leaf: Tensor) -> int | None:
            return states.likely_batch_dim(name, leaf, self.rows)

        for dims in (self._call.dims(self.rows), likely):
            layout = Layout(self._template, self.rows, dims)
            if layout.rows == self.rows and (self.rows == 1 or self._apart(layout)):
                return layout
        return Layout(self._template, self.rows, likely, apart=False)

    def _apart(self, layout: Layout) -> bool:
        """Whether no row of the state depends on another; a dimension of which that is true serves, batch or not."""
        rows = range(layout.rows)
        for step in self.steps(layout, present=2, evaluating=0, others=False):
            vectors = torch.zeros(layout.rows, layout.rows, layout.size, dtype=layout.dtype, device=layout.device)
            vectors[rows, rows] = self._random(vectors[0])
            found = step.by_state(vectors)
            if found is not None and bool((found.abs().sum(2) != 0).fill_diagonal_(False).any()):
                return False
        return True

    def reaching(self, layout: Layout) -> set[int]:
        """The places of the parameters that reach the state in one step."""
        found = set()
        for step in self.steps(layout, present=1, evaluating=0):
            products = step.by_parameters(torch.ones(1, layout.rows, layout.size, dtype=layout.dtype, device=layout.device))
            found |= {place for place, product in enumerate(products) if product is not None}
        return found

    def steps(self, layout: Layout, present: int = 2, evaluating: int = 2, others: bool = True) -> Iterator[Step]:
        """Steps at random states and inputs in the present mode and in evaluation mode (where dropout hides nothing);
        ``others``: from the initial state, and with every row starting afresh."""
        for mode, times in ((False, present), (True, evaluating)):
            for _ in range(times):
                yield self._step(layout, mode, fresh=False, initial=False)
        if others:
            yield self._step(layout, False, fresh=False, initial=True)
            yield self._step(layout, False, fresh=True, initial=False)

    def _step(self, layout: Layout, evaluating: bool, fresh: bool, initial: bool) -> Step:
        x = states.map_leaves(lambda t: self._random(t) if t.is_floating_point() or t.is_complex() else t, self._piece.x)
        reset = torch.ones(1, self.rows, dtype=torch.bool, device=states.leaves(x)[0].device) if fresh else None
        before = self._random(layout.flatten(self._template).detach()).requires_grad_()
        state = None if initial else layout.build(before, self._template)
        random = self._call.randomness()
        mode = in_evaluation(self._model) if evaluating else nullcontext()
        with self._call.other_buffers(), mode, torch.enable_grad(), many_errors():
            _, after = self._call(Piece(x, self._piece.target, None, reset), state, "probing the module")
        random.put_back()
        return Step(None if initial else before, layout.flatten(after), self._parameters)

    @contextmanager
    def other_weights(self) -> Iterator[None]:
        """Inside, the parameters have random values: a unit that is dead for the present ones must not hide what it reaches."""
        kept = [p.detach() for p in self._parameters]
        for p, value in zip(self._parameters, kept, strict=True):
            size = value.abs().square().mean().sqrt()
            p.data = self._random(value) * torch.where(size > 0, size, 1)
        try:
            yield
        finally:
            for p, value in zip(self._parameters, kept, strict=True):
                p.data = value

    def _random(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self._generator, dtype=like.dtype).to(like.device)


@dataclass(frozen=True)
class Pattern:
    """What reaches what in one step: ``by_state [n, n]``, and for each parameter that reaches the state ``[n, P]``; bool."""

    by_state: Tensor
    by_parameter: dict[int, Tensor]


def probe_pattern(probe: Probe, layout: Layout, fill_silent: bool) -> Pattern:
    """The union over several probes. ``fill_silent``: a parameter that reached nothing reaches what its tensor does.

    The values of the parameters are no part of what reaches what: they will change, so every probe has its own.
    """
    size = layout.size
    by_state = torch.zeros(size, size, dtype=torch.bool)
    found: dict[int, Tensor] = {}
    for step in _with_other_weights(probe, layout):
        for start in range(0, size, _TOGETHER):
            stop = min(start + _TOGETHER, size)
            units = torch.zeros(stop - start, layout.rows, size, dtype=layout.dtype, device=layout.device)
            units[range(stop - start), :, range(start, stop)] = 1
            state, parameters = step.by_both(units)
            if state is not None:
                by_state[start:stop] |= (state != 0).any(1).cpu()
            for place, part in enumerate(parameters):
                if part is not None:
                    grown = found.setdefault(place, torch.zeros(size, part.shape[1], dtype=torch.bool))
                    grown[start:stop] |= (part != 0).cpu()
    if fill_silent:
        for grown in found.values():
            of_its_tensor = grown.any(1) if bool(grown.any()) else torch.ones(size, dtype=torch.bool)
            grown |= of_its_tensor[:, None] & ~grown.any(0)
    return Pattern(by_state, {place: grown for place, grown in found.items() if bool(grown.any())})


def _with_other_weights(probe: Probe, layout: Layout) -> Iterator[Step]:
    steps = probe.steps(layout)
    while True:
        with probe.other_weights():
            step = next(steps, None)
            if step is None:
                return
            yield step


def reached(pattern: Pattern, steps: int) -> dict[int, Tensor]:
    """What each parameter reaches within so many steps, ``[n, P]``."""
    return {place: _reached(pattern.by_state, direct, steps) for place, direct in pattern.by_parameter.items()}


def _reached(by_state: Tensor, direct: Tensor, steps: int) -> Tensor:
    made = []
    links = by_state.float()
    for columns in torch.split(direct, _COLUMNS, 1):
        now = columns
        for _ in range(min(steps, len(by_state)) - 1):
            grown = (links @ now.float() > 0) | columns
            if bool((grown == now).all()):
                break
            now = grown
        made.append(now)
    return torch.cat(made, 1)


def colours(sets: list[Tensor]) -> Tensor:
    """A colour for each of n states, so that no two of one column of a bool ``[n, P]`` share one: ``[n]``, from 0."""
    size = len(sets[0])
    conflict = torch.zeros(size, size, dtype=torch.bool)
    for each in sets:
        for columns in torch.split(each, _COLUMNS, 1):
            distinct = torch.unique(columns, dim=1).float()
            conflict |= distinct @ distinct.T > 0
    colour = torch.zeros(size, dtype=torch.long)
    for index in range(1, size):
        taken = set(colour[:index][conflict[index, :index]].tolist())
        colour[index] = next(c for c in range(size) if c not in taken)
    return colour
