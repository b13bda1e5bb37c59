"""`bptt.check`: whether a module, a loss, a strategy or a backend gives the right gradient, and where not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bptt import state as states
from bptt.call import Caller, evaluating
from bptt.data.piece import Piece
from bptt.data.reader import reader
from bptt.executor import Loss
from bptt.loss import check_loss
from bptt.observe import check_execution as execution, check_gradient as gradients, check_module as modules
from bptt.observe.comparison import Comparison, Finding, Subject
from bptt.through import Strategy
from bptt.through.base import whole


@dataclass(frozen=True)
class Check:
    """What `check` found. True where nothing is wrong: ``assert bptt.check(model, loss, sequence)``.

    ``steps`` and ``rows``: how many were looked at, from the first. ``findings``: what is wrong, each with its place.
    ``compared``: everything that was compared, with the largest relative difference. ``notes``: what was left out, or is no
    error but worth knowing.
    """

    model: str
    steps: int
    rows: int
    findings: tuple[Finding, ...]
    compared: tuple[Comparison, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.findings

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        head = f"{self.model}: " + ("nothing wrong" if self.ok else f"{len(self.findings)} wrong")
        head += f" in {self.steps} steps of {self.rows} row{'s' * (self.rows != 1)}"
        lines = [head, *(f"  WRONG  {finding}" for finding in self.findings)]
        lines += [f"  right  {each}" for each in self.compared if each.right]
        return "\n".join([*lines, *(f"  note   {note}" for note in self.notes)])


def check(
    model: nn.Module,
    loss: Loss,
    sequence: Any,
    *,
    through: Strategy | None = None,
    backend: str | None = None,
    steps: int = 6,
    rows: int = 3,
    seed: int = 0,
) -> Check:
    """Whether the gradient of a module is right, by finite differences and by running it in other ways; and where it is not.

        assert bptt.check(MyCell(3, 4), bptt.SquaredError(), (x, target))

    On a copy in double precision and evaluation mode, over the first ``steps`` and ``rows`` of ``sequence``, it compares

    - two runs (randomness), the loss of the whole with the sum over steps and over rows, one call with calls of one step (what
      the state does not carry), one row with all rows;
    - the gradient by every parameter and by the state with central differences; where they differ, step by step, with the
      parameter changed at one step alone;
    - masks and resets that the module's forward takes with those seen to from outside;
    - its output and gradient in its own precision with those in double, to a per cent;
    - with ``through``: the loss and the gradient of a strategy with its definition, of all C[t,k], where that is `Full`,
      `Checkpointed`, `RTRL` or `Truncated`; of others only how far it is from the whole one is noted;
    - with ``backend``: every recurrent layer on that kernel with the reference.

    Cost: some hundred forward passes over the stretch. Not for a module whose forward is random in evaluation mode, of which
    only that is said; and no proof: a gradient that is wrong only
    for other inputs is not seen.

    **Raises** ``TypeError`` or ``ValueError`` for a loss known to be a mean, a sequence whose parts do not fit, a bidirectional
    layer, and ``clip_step``, which bends the gradient on purpose.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if through is not None and not isinstance(through, Strategy):
        raise TypeError(f"through must be a strategy such as bptt.Truncated(k1=20), got {through!r}")
    check_loss(loss)
    if (layer := Caller(model).whole) is not None:
        raise ValueError(
            f"a bidirectional layer ({layer}) has no state that is carried from step to step: check a network that runs "
            "forward in time"
        )
    for name, part in model.named_modules():
        if getattr(part, "clip_step", None) is not None:
            raise ValueError(
                f"clip_step={part.clip_step:g} of {name or type(model).__name__} bends the gradient on purpose, so that it is "
                "not the true one: check the same network with clip_step=None"
            )
    steps, rows = whole("steps", steps, 2), whole("rows", rows)
    source = reader(sequence)
    end = source.upto(steps)
    if end < 2:
        raise ValueError(
            f"the sequence has {end} step{'s' * (end != 1)}: to see what passes from step to step takes at least 2"
        )
    piece = Piece(*(states.map_leaves(lambda t: t[:, :rows].clone(), part) for part in source.read(0, end)))
    random = torch.get_rng_state()
    try:
        return _check(model, loss, piece, through, backend, seed)
    finally:
        torch.set_rng_state(random)


def _check(model: nn.Module, loss: Loss, piece: Piece, through: Strategy | None, backend: str | None, seed: int) -> Check:
    name = type(model).__name__
    subject, notes = _subject(model, loss, piece, seed)
    stages: list[Callable[[Subject], None]] = [
        modules.form, modules.same_again, modules.loss_is_a_sum, modules.steps_one_by_one, modules.rows_alone,
        gradients.by_state, gradients.by_parameter, modules.flags,
    ]  # fmt: skip
    if through is not None:
        stages.append(lambda s: execution.strategy(s, through))
    if backend is not None:
        stages.append(lambda s: execution.backend(s, backend))
    own = next((p.dtype for p in model.parameters()), torch.float64)
    if own != torch.float64 and subject.piece is not piece:
        # What a kernel does in double precision says nothing of what it does in the precision that is used.
        used = Piece(*(states.map_leaves(lambda t: t.to(own) if t.is_floating_point() else t, part) for part in piece))
        single = Subject(copy.deepcopy(model), loss, used, 1e-2, 5e-2, subject.generator)
        stages.append(lambda s: execution.precision(s, single, str(own).removeprefix("torch.")))
        if backend is not None:
            stages.append(lambda s: execution.backend(s, backend, single))
    with evaluating(subject.model):
        for stage in stages:
            stage(subject)
            if subject.stopped:
                notes.append(f"what comes after this was not looked at: {subject.stopped}")
                break
    return Check(
        name, subject.steps, subject.rows, tuple(subject.findings), tuple(subject.compared), (*notes, *subject.notes)
    )  # fmt: skip


def _subject(model: nn.Module, loss: Loss, piece: Piece, seed: int) -> tuple[Subject, list[str]]:
    """The copy that is checked: in double precision, or as it is where it cannot be run so."""
    generator = torch.Generator().manual_seed(seed)
    try:
        single, double = copy.deepcopy(model), copy.deepcopy(model).double()
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{type(model).__name__} cannot be copied, and a check must not touch the original: {error}") from None
    wide = Piece(*(states.map_leaves(_double, part) for part in piece))
    if any(p.dtype == torch.float64 for p in model.parameters()):
        return Subject(double, loss, wide, 1e-6, 1e-5, generator), []
    try:
        with torch.no_grad(), evaluating(double):
            Caller(double)(wide, None, "the stretch under check")
    except TypeError:
        pass  # in any precision: the first stage says it
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        return Subject(single, loss, piece, 1e-2, 5e-2, generator), [
            f"checked in single precision, and so coarsely, as it does not run in double: {reason}"
        ]
    return Subject(double, loss, wide, 1e-6, 1e-5, generator), []


def _double(leaf: Tensor) -> Tensor:
    return leaf.double() if leaf.is_floating_point() else leaf
