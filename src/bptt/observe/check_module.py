"""Checks of a module and a loss that need no gradient: form, randomness, sums, what the state carries, rows, flags."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from bptt import state as states
from bptt.data.piece import Piece
from bptt.loss import counted
from bptt.observe.comparison import Subject, apart
from bptt.observe.parts import differentiable
from bptt.state import State


def form(s: Subject) -> None:
    """It can be called, gives a finite loss, and has a state."""
    try:
        with torch.no_grad():
            loss, _, after = s.run(s.piece)
    except (TypeError, ValueError, RuntimeError) as error:
        s.wrong("the call", "", " ".join(str(error).split()))
        s.stopped = "the module cannot be called"
        return
    if not bool(torch.isfinite(loss)):
        s.wrong("the loss is not finite", "", f"it is {float(loss)}: bptt.observe.gradient_flow tells where that begins")
        s.stopped = "the loss is not finite"
    elif not differentiable(after):
        s.wrong("no state", "", f"{s.name} returns a state without numbers to differentiate: nothing passes from step to step")
        s.stopped = "there is no state"


def same_again(s: Subject) -> None:
    """Two runs give the same."""
    with torch.no_grad():
        _, a, _ = s.run(s.piece)
        random = torch.get_rng_state()
        _, b, _ = s.run(s.piece)
        torch.set_rng_state(random)
        _, c, _ = s.run(s.piece)
        _, _, first = s.run(s.part(0, 1))
        onward = []
        for _ in range(2):  # a state given, as well as none
            torch.set_rng_state(random)
            onward.append(s.run(s.part(1, s.steps), states.detach(first))[1])
    if s.compare("two runs of the same input", max(apart(a, b), apart(b, c), apart(*onward)), s.fine):
        return
    if apart(b, c) <= s.fine and apart(*onward) <= s.fine:
        detail = "it draws random numbers though it is in evaluation mode: draw them only where self.training is true"
    else:
        detail = (
            "the output differs though input, state and random numbers are the same: it keeps something from call to call "
            "outside the state it returns"
        )
    s.wrong("two runs differ", "evaluation mode", detail)
    s.stopped = "its numbers differ from run to run"


def loss_is_a_sum(s: Subject) -> None:
    """The loss of a whole is the sum of the losses of its steps, and of its rows."""
    with torch.no_grad():
        loss, y, _ = s.run(s.piece)
        cuts = {
            "steps": (s.steps, lambda t, i: t[i : i + 1]),
            "rows": (s.rows, lambda t, i: t[:, i : i + 1]),
        }
        for over, (count, cut) in cuts.items():
            total = torch.zeros_like(loss)
            for i in range(count):
                part = states.map_leaves(lambda t, i=i, cut=cut: cut(t, i), (y, *s.piece))  # type: ignore[misc]
                if part[3] is None or bool(part[3].any()):
                    total = total + counted(s.loss, part[0], Piece(*part[1:]), over)[0]
            if not s.compare(f"the loss and its sum over {over}", apart(total, loss), max(s.fine, 1e-9)):
                s.wrong(
                    f"the loss is no sum over {over}",
                    "",
                    f"the whole gives {float(loss):.6g}, its {over} together {float(total):.6g}: return a sum, as with "
                    "reduction='sum'",
                )


def steps_one_by_one(s: Subject) -> None:
    """One call over all steps, and one call a step with the state handed on."""
    with torch.no_grad():
        _, y, after = s.run(s.piece)
        _, outputs, last = s.one_by_one()
        fresh = [s.run(s.part(k, k + 1))[1] for k in range(s.steps)]
    by_step = [apart(out, states.map_leaves(lambda t, k=k: t[k : k + 1], y)) for k, out in enumerate(outputs)]  # type: ignore[misc]
    if s.compare("one call and calls of one step", max(*by_step, apart(last, after)), s.fine):
        return
    wrong = next((k for k, d in enumerate(by_step) if d > s.fine), s.steps)
    if max(apart(a, b) for a, b in zip(outputs, fresh, strict=True)) <= s.fine:
        detail = "calls that are given a state do as those without one: the state given is not used"
    elif wrong == s.steps:
        detail = "the outputs agree, the last state does not"
    else:
        detail = (
            f"step by step the output is another one, by {by_step[wrong]:.1e}: something passes from step to step that is not "
            "in the state returned, or the state returned is not that after the last step"
        )
    s.wrong("the state does not carry all", f"from step {wrong}", detail)


def rows_alone(s: Subject) -> None:
    """A row alone, and the same row among others."""
    if s.rows < 2:
        return
    alone = Piece(*(states.map_leaves(lambda t: t[:, :1], part) for part in s.piece))
    with torch.no_grad():
        _, y, _ = s.run(s.piece)
        _, one, _ = s.run(alone)
    difference = apart(one, states.map_leaves(lambda t: t[:, :1], y))
    if not s.compare("a row alone and among others", difference, max(s.fine, 1e-9)):
        s.wrong("rows are not independent", "row 0", f"its output changes by {difference:.1e} with the other rows of the batch")


def flags(s: Subject) -> None:
    """Masks and resets: as the module sees to them, and as they are seen to from outside."""
    mask = torch.ones(s.steps, s.rows, dtype=torch.bool)
    mask[-1, 0] = mask[s.steps // 2, -1] = False
    reset = torch.zeros(s.steps, s.rows, dtype=torch.bool)
    reset[s.steps // 2, 0] = reset[-1, -1] = True
    taken = set(inspect.signature(s.model.forward).parameters) & {"mask", "reset"}
    for name in ("mask", "reset"):
        try:
            inside, outside = _both(s, s.piece, name, mask if name == "mask" else reset)
        except ValueError as error:
            if name not in taken:
                s.notes.append(f"{name} cannot be seen to from outside: {error}")
                continue
            # One row alone leaves no doubt which numbers of the state are its own.
            alone = Piece(*(states.map_leaves(lambda t: t[:, :1], part) for part in s.piece))
            inside, outside = _both(s, alone, name, (mask if name == "mask" else reset)[:, :1])
        if name not in taken:
            continue
        for what, a, b in zip(("loss", "output", "final state", "gradient"), inside, outside, strict=True):
            if not s.compare(f"{name}: {what}, inside and from outside", apart(a, b), max(s.fine, 1e-9) * 10):
                held = (
                    "rows whose step does not exist keep their state" if name == "mask" else "a row that is reset begins afresh"
                )
                s.wrong(
                    f"{name} is not seen to",
                    what,
                    f"differs by {apart(a, b):.1e} from what it must be: {held}; or leave `{name}` out of forward, and it "
                    "is seen to from outside",
                )
                break


def _both(s: Subject, piece: Piece, name: str, flag: Tensor) -> Any:
    given = Piece(piece.x, piece.target, flag if name == "mask" else None, flag if name == "reset" else None)
    return tuple(_gradient(s, given, model) for model in (s.model, _Plain(s.model)))


class _Plain(nn.Module):
    """Hides what the module's forward takes beside (x, state)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        if hasattr(model, "initial_state"):
            self.initial_state = model.initial_state

    def forward(self, x: Any, state: State = None) -> Any:
        return self.model(x, state)


def _gradient(s: Subject, piece: Piece, model: nn.Module) -> tuple[Tensor, Any, State, list[Tensor]]:
    loss, y, after = s.run(piece, None, model)
    weights = [p for p in s.model.parameters() if p.requires_grad]
    there = piece.mask
    seen = y if there is None else states.map_leaves(lambda t: t[there], y)
    if not weights or not loss.requires_grad:
        return loss, seen, after, []
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return loss, seen, after, [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]
