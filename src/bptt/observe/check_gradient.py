"""Checks of the gradient by central differences: by the state, by every parameter, and by a parameter at one step alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bptt import state as states
from bptt.call import Caller
from bptt.loss import counted
from bptt.observe.chain import Chain, Errors
from bptt.observe.comparison import Subject, along, text_of
from bptt.observe.parts import carries_error
from bptt.state import State

_DIRECTIONS = 2


def by_state(s: Subject) -> None:
    """dE/ds after the first step: a state that is cut off has a gradient of nothing where the loss does depend on it."""
    with torch.no_grad():
        _, _, first = s.run(s.part(0, 1))
    rest = s.part(1, s.steps)
    inlet = states.inlet(first)
    loss, _, _ = s.run(rest, inlet)
    named = [(name, leaf) for name, leaf in states.named_leaves(inlet) if carries_error(leaf)]
    grads: Errors = [None] * len(named)
    if loss.requires_grad:
        grads = list(torch.autograd.grad(loss, [leaf for _, leaf in named], allow_unused=True))
    worst = 0.0
    for (name, leaf), grad in zip(named, grads, strict=True):
        for _ in range(_DIRECTIONS):
            toward = s.direction(leaf)
            numeric = _difference(s, lambda h, leaf=leaf, d=toward: float(s.run(rest, _moved(inlet, leaf, h * d))[0]))  # type: ignore[misc]
            exact = along(grad, toward)
            difference = _relative(exact, numeric, 1e-3)
            worst = max(worst, difference)
            if difference <= s.coarse:
                continue
            if exact == 0:
                s.wrong(
                    "the state is cut off",
                    name,
                    f"the loss depends on it ({numeric:.6g} along a direction), and autograd gives no error for it: look "
                    "inside for .detach(), .data, .item(), NumPy or torch.no_grad()",
                )
            else:
                s.wrong("the error of the state is wrong", name, text_of((exact, numeric)))
            break
    s.compare("the gradient by the state", worst, s.coarse)


def by_parameter(s: Subject) -> None:
    """dE/dW of one call over all steps, for every parameter."""
    weights = {name: p for name, p in s.model.named_parameters() if p.requires_grad}
    loss, _, _ = s.run(s.piece)
    if not weights:
        s.notes.append("no parameter requires a gradient")
        return
    grads: Errors = [None] * len(weights)
    if loss.requires_grad:
        grads = list(torch.autograd.grad(loss, list(weights.values()), allow_unused=True))
    scale = max([float(torch.linalg.vector_norm(g)) for g in grads if g is not None], default=0.0)
    wrong: dict[str, tuple[Tensor, float, float]] = {}
    worst = 0.0
    for (name, weight), grad in zip(weights.items(), grads, strict=True):
        for _ in range(_DIRECTIONS):
            toward = s.direction(weight)
            numeric = _difference(s, lambda h, w=weight, d=toward: _with(w, h * d, lambda: float(s.run(s.piece)[0])))  # type: ignore[misc]
            exact = along(grad, toward)
            difference = _relative(exact, numeric, 1e-3 * scale)
            worst = max(worst, difference)
            if difference > s.coarse:
                wrong[name] = (toward, exact, numeric)
                break
    s.compare("the gradient by the parameters", worst, s.coarse)
    if not wrong and not scale > 0:
        s.wrong(
            "no gradient",
            "every parameter",
            "it is exactly zero, and so are finite differences: something on the way has a derivative of zero everywhere "
            "(round, sign, argmax), or all units are dead or saturated",
        )
    if wrong:
        _tell(s, wrong, scale)


def _tell(s: Subject, wrong: dict[str, tuple[Tensor, float, float]], scale: float) -> None:
    """Says of each parameter at which steps its gradient is wrong."""
    chain = None
    try:
        chain = Chain(s.model, s.loss, s.piece, None, s.steps)
    except ValueError as error:
        s.notes.append(f"which steps are wrong was not looked at: {error}")
    for name, (toward, exact, numeric) in wrong.items():
        where = ""
        if chain is not None:
            steps = [k for k in range(s.steps) if not _right_at(s, chain, name, toward, k, scale)]
            where = f", step{'s' * (len(steps) > 1)} {', '.join(map(str, steps))}" if steps else ", no single step"
        if exact == 0:
            detail = (
                f"the loss depends on it ({numeric:.6g} along a direction), and autograd gives no gradient: look for "
                ".detach(), .data, .item(), NumPy or torch.no_grad() on its way"
            )
        else:
            detail = text_of((exact, numeric))
        if where == ", no single step":
            detail += "; each step alone is right, so it is wrong only where several steps run in one call"
        s.wrong("the gradient is wrong", name + where, detail)


def _right_at(s: Subject, chain: Chain, name: str, toward: Tensor, step: int, scale: float) -> bool:
    """Whether the gradient by the parameter as used at ``step`` alone is what finite differences give."""
    errors: Errors | None = None
    for k in range(len(chain) - 1, step, -1):
        errors, _ = chain.back(k, errors, loss=True)
    _, grads = chain.back(step, errors, loss=True, weights=True)
    exact = along(grads[list(chain.parameters).index(name)], toward)
    numeric = _difference(s, lambda h: _one_step(s, chain.parameters[name], h * toward, step))
    return _relative(exact, numeric, 1e-3 * scale) <= s.coarse


def _one_step(s: Subject, weight: Tensor, change: Tensor, step: int) -> float:
    """The loss with a weight changed while ``step`` runs."""
    call, total = Caller(s.model), 0.0
    state: State = None
    for k in range(s.steps):
        state, made = _with(weight, change if k == step else None, partial(_step, s, call, k, state))
        total += made
    return total


def _step(s: Subject, call: Caller, k: int, state: State) -> tuple[State, float]:
    piece = s.part(k, k + 1)
    y, after = call(piece, state, f"step {k}")
    return after, float(counted(s.loss, y, piece, f"step {k}")[0])


def _difference(s: Subject, value: Callable[[float], float]) -> float:
    with torch.no_grad():
        return (value(s.eps) - value(-s.eps)) / (2 * s.eps)


def _with(weight: Tensor, change: Tensor | None, run: Callable[[], Any]) -> Any:
    if change is None:
        return run()
    kept = weight.detach().clone()
    try:
        weight.data.add_(change)
        return run()
    finally:
        weight.data.copy_(kept)


def _moved(state: State, which: Tensor, change: Tensor) -> State:
    return states.map_leaves(lambda leaf: leaf.detach() + change if leaf is which else leaf.detach(), state)


def _relative(a: float, b: float, least: float) -> float:
    difference = abs(a - b)
    return difference / max(abs(a), abs(b), least, 1e-8) if difference == difference else float("inf")
