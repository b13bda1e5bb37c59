"""Checks of what executes: a strategy against its definition over all C[t,k], a backend against the reference."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from bptt import kernels
from bptt.evaluation import evaluate
from bptt.executor import backprop
from bptt.nn import Recurrent
from bptt.observe.chain import Chain, Errors
from bptt.observe.comparison import Subject, apart
from bptt.through import Strategy, Truncated

EXACT = ("Full", "Checkpointed", "RTRL")
"""Strategies whose gradient is the whole one."""
_ROUNDED = 0.02  # over a few steps; below single precision (half, bfloat16) a network of some size comes near it


def strategy(s: Subject, through: Strategy) -> None:
    """Every loss counts once, and the gradient is that of the strategy's definition, where it is one of those known here."""
    model = copy.deepcopy(s.model)
    windows, total, at = [], 0.0, 0
    for window in backprop(model, s.loss, s.piece, through=through):
        if window.start != at:
            s.wrong("windows leave steps out", f"{through}, step {at}", f"the next window begins at {window.start}")
        at = window.stop
        total += float(window.loss)
        windows.append(_taken(model))
    if at != s.steps:
        s.wrong("windows leave steps out", f"{through}, step {at}", f"the sequence has {s.steps} steps")
    known = float(evaluate(s.model, s.loss, s.piece).loss)
    if not s.compare(f"{through}: the loss", abs(total - known) / max(abs(known), 1e-8), s.fine):
        s.wrong(
            "not every loss counts once", str(through), f"its windows sum to {total:.6g}, the sequence's loss is {known:.6g}"
        )
    table = _contributions(s)
    full = [sum((row for rows in table for row in rows.values()), torch.zeros_like(windows[0]))]
    expected = full
    if isinstance(through, Truncated):
        expected = _truncated(table, through, windows[0])
    elif type(through).__name__ not in EXACT:
        got = torch.stack(windows).sum(0)
        off = float(torch.linalg.vector_norm(got - full[0]) / torch.linalg.vector_norm(full[0]).clamp_min(1e-12))
        s.notes.append(f"{through}: the sum of its gradients is {off:.1%} off the whole one, in norm")
        return
    elif len(windows) != 1:
        windows = [torch.stack(windows).sum(0)]
    for index, (got, want) in enumerate(zip(windows, expected, strict=True)):
        difference = apart(got, want)
        if not s.compare(f"{through}: the gradient of window {index}", difference, s.fine):
            s.wrong("the gradient is not the strategy's", f"{through}, window {index}", _where(s, got - want, difference))


def backend(s: Subject, name: str, of: Subject | None = None) -> None:
    """Loss, output, state and gradients on a kernel, and on the reference; with ``of``, of that subject, told to ``s``."""
    kernels.check_name(name)
    of = of or s
    layers = [part for part in of.model.modules() if isinstance(part, Recurrent)]
    if not layers:
        if of is s:
            s.notes.append(f"backend={name!r}: {s.name} has no layer of bptt.nn")
        return
    told = name if of is s else f"{name}, {str(layers[0].weight_hh_l0.dtype).removeprefix('torch.')}"
    found = []
    for chosen in ("reference", name):
        model = copy.deepcopy(of.model).eval()
        for part in model.modules():
            if isinstance(part, Recurrent):
                part.backend = chosen
        try:
            loss, y, after = of.run(of.piece, None, model)
        except ValueError as error:
            s.wrong("the backend does not serve", name, str(error))
            return
        loss.backward()  # type: ignore[no-untyped-call]
        found.append((loss, y, after, _by_name(model)))
    (loss, y, after, expected), (got_loss, got_y, got_after, got) = found
    for what, a, b in (("loss", got_loss, loss), ("output", got_y, y), ("final state", got_after, after)):
        if not s.compare(f"{told}: the {what}", apart(a, b), of.fine):
            s.wrong("the backend differs from the reference", f"{told}, {what}", f"by {apart(a, b):.1e}, relative")
    worst = {key: apart(got[key], expected[key]) for key in expected}
    s.compare(f"{told}: the gradients", max(worst.values(), default=0.0), of.fine)
    for key, difference in worst.items():
        if difference > of.fine:
            s.wrong("the backend differs from the reference", f"{told}, gradient of {key}", f"by {difference:.1e}, relative")


def precision(s: Subject, own: Subject, name: str) -> None:
    """Output and gradients in the precision ``name`` that the module is used in, and in double."""
    found = []
    for subject in (own, s):
        model = copy.deepcopy(subject.model).eval()
        loss, y, _ = subject.run(subject.piece, None, model)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        found.append((y, _by_name(model)))
    (y, got), (exact, expected) = found
    worst = {f"gradient of {key}": apart(got[key], expected[key]) for key in got.keys() & expected.keys()}
    worst["output"] = apart(y, exact)
    s.compare(f"{name} and double precision", max(worst.values()), _ROUNDED)
    for what in sorted(key for key, difference in worst.items() if not difference <= _ROUNDED):
        s.wrong("it differs from its own in double precision", f"{name}, {what}", f"by {worst[what]:.1e}, relative")


def _contributions(s: Subject) -> list[dict[int, Tensor]]:
    """C[t,k], by t and k, each as one vector."""
    chain = Chain(s.model, s.loss, s.piece, None, s.steps)
    table = []
    for t in range(s.steps):
        errors: Errors | None = None
        found: dict[int, Tensor] = {}
        for k in range(t, -1, -1):
            errors, grads = chain.back(k, errors, loss=k == t, weights=True)
            found[k] = torch.cat([g.flatten() for g in grads])
        table.append(found)
    return table


def _truncated(table: list[dict[int, Tensor]], through: Truncated, like: Tensor) -> list[Tensor]:
    steps, k1, k2 = len(table), through.k1, through.k2 or through.k1
    found, start = [], 0
    while start < steps:
        stop = min(start + k1, steps)
        kept = [table[t][k] for t in range(start, stop) for k in range(max(0, stop - k2), t + 1)]
        found.append(sum(kept, torch.zeros_like(like)))
        start = stop
    return found


def _taken(model: nn.Module) -> Tensor:
    weights = [p for p in model.parameters() if p.requires_grad]
    vector = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in weights])
    for p in weights:
        p.grad = None
    return vector


def _by_name(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _where(s: Subject, difference: Tensor, size: float) -> str:
    sizes = [p.numel() for p in s.model.parameters() if p.requires_grad]
    names = [name for name, p in s.model.named_parameters() if p.requires_grad]
    by = {name: float(part.abs().max()) for name, part in zip(names, torch.split(difference, sizes), strict=True)}
    worst = max(by, key=lambda name: by[name])
    return f"off by {size:.1e}, relative, most in {worst}"
