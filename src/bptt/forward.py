"""The executor of the strategies that go forward in time: one step after the other, and no history."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bptt import state as states
from bptt.data.piece import Piece
from bptt.executor import Backprop, Loss, Reduction
from bptt.learned import learned
from bptt.loss import targets
from bptt.memory import operations
from bptt.online import Influence, begin
from bptt.online.step import Step, many_errors
from bptt.state import State
from bptt.suspect import leaking
from bptt.through.online import ForwardInTime
from bptt.through.plan import HandBack, Run
from bptt.window import Window

_LOOKED_AT = 4  # steps in which a leak of history shows


class Forward(Backprop):
    """An iterator over windows whose gradients were gathered forward in time; see `bptt.backprop` and `bptt.RTRL`."""

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        sequence: Any,
        through: ForwardInTime,
        state: State,
        reduction: Reduction,
        resume: dict[str, Any] | None,
    ) -> None:
        for name, leaf in states.named_leaves(state):
            if leaf.requires_grad:
                raise ValueError(
                    f"the initial {name} requires a gradient, and {type(through).__name__} carries none back to it: detach it, "
                    "let the module make it from parameters of its own, or use bptt.Full()"
                )
        self._model, self._strategy = model, through
        self._influence: Influence | None = None
        self._saved_influence: dict[str, Tensor] | None = None
        self._learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._of_the_loss = learned(model, loss)[len(self._learning) :]
        self._gradient: dict[int, Tensor] = {}
        self._leaks: list[set[Any]] | None = [set()]
        super().__init__(model, loss, sequence, through, state, reduction, resume)

    def state_dict(self) -> dict[str, Any]:
        saved = {**super().state_dict(), "through": str(self._strategy)}
        if self._influence is not None:
            saved["influence"] = {name: tensor.clone() for name, tensor in self._influence.tensors().items()}
        elif self._saved_influence is not None:
            saved["influence"] = self._saved_influence
        return saved

    def _run(self, run: Run) -> None:
        with torch.enable_grad():
            for t in range(run.start, run.stop):
                self._step(t)
                self._reader.forget(t + 1)

    def _step(self, t: int) -> None:
        where = f"step {t}"
        self._call.check_span(t, t + 1, self._reader.upto)
        piece = self._reader.read(t, t + 1)
        for name, leaf in (*states.named_leaves(piece.x, "x"), *states.named_leaves(piece.target, "target")):
            if leaf.requires_grad:
                raise ValueError(
                    f"{where}: {name} requires a gradient, and {type(self._strategy).__name__} carries none back to it: "
                    "detach it, or use bptt.Full()"
                )
        if not self._call.trainable:
            raise ValueError("no parameter requires a gradient: there is nothing to train")
        influence = self._begun(piece)
        layout = influence.layout
        before, given = None, self._present
        if given is not None:
            before = layout.flatten(given).detach().requires_grad_()
            given = layout.build(before, given)
        with many_errors():
            y, after = self._call(piece, given, where)
        made = self._made(Run(t, t + 1), y, piece, where)
        self._sums.add(made, targets(self._loss, piece), piece)
        if self._leaks is not None:
            self._check_leak([made, *states.leaves(after)], piece, where)
        if made.requires_grad:
            self._gather(made, before, influence)
        influence.advance(Step(before, layout.flatten(after), list(self._learning.values())))
        self._present = states.detach(after)

    def _check_leak(self, roots: list[Tensor], piece: Piece, where: str) -> None:
        """Refuses a graph that reaches into the step before; the first steps tell."""
        assert self._leaks is not None
        # Those without predecessors gather the gradients of parameters, which all steps share.
        now = {node for node in operations(roots) if node.next_functions}
        if self._leaks[-1] & now:
            raise ValueError(
                f"the graph of {where} reaches into the step before: {leaking(self._model, piece)} carries history; detach it, "
                "or make it part of the state"
            )
        self._leaks = [*self._leaks, now] if len(self._leaks) < _LOOKED_AT else None

    def _begun(self, piece: Piece) -> Influence:
        if self._influence is None:
            bare = Piece(piece.x, piece.target)
            template = self._call.structure(bare) if self._present is None else self._present
            self._influence = begin(self._strategy, self._model, self._call, bare, template, self._learning)
            if self._saved_influence is not None:
                self._influence.restore(self._saved_influence)
                self._saved_influence = None
        return self._influence

    def _gather(self, made: Tensor, before: Tensor | None, influence: Influence) -> None:
        """The gradient of this step's loss: by the weights of this step, and through the state by those of all before it."""
        leaves = [*self._learning.values(), *self._of_the_loss]
        wanted = leaves if before is None else [*leaves, before]
        found = torch.autograd.grad(made, wanted, retain_graph=True, allow_unused=True)
        for place, direct in enumerate(found[: len(leaves)]):
            if direct is not None:
                self._add(place, direct, leaves[place])
        if before is not None and found[-1] is not None:
            for place, earlier in influence.gradient(found[-1]).items():
                self._add(place, _like(leaves[place], earlier), leaves[place])

    def _add(self, place: int, part: Tensor, leaf: Tensor) -> None:
        held, part = self._gradient.get(place), (part.to_dense() if part.is_sparse else part).to(leaf.dtype)
        self._gradient[place] = part if held is None else held + part

    def _hand_back(self, action: HandBack) -> Window:
        leaves = [*self._learning.values(), *self._of_the_loss]
        share = {"sum": 1, "mean": max(self._sums.count, 1), "rows": max(self._sums.rows, 1)}[self._reduction]
        for place, gradient in self._gradient.items():
            leaf, gradient = leaves[place], gradient / share
            leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient
        self._gradient = {}
        return super()._hand_back(action)

    def _resume(self, saved: dict[str, Any]) -> None:
        if saved.get("through") != str(self._strategy):
            raise ValueError(
                f"the state was saved by through={saved.get('through', 'another strategy')}, and this is {self._strategy}: "
                "resume with the same one"
            )
        super()._resume(saved)
        self._saved_influence = saved.get("influence")


def _like(leaf: Tensor, real: Tensor) -> Tensor:
    """The numbers of a gradient in the shape of its parameter, where two of them make one complex number."""
    return torch.view_as_complex(real.reshape(*leaf.shape, 2)) if leaf.is_complex() else real.reshape(leaf.shape)
