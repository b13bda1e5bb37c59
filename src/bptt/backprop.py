"""The executor: carries a strategy's plan out on a stateful module and hands back windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bptt import state as states
from bptt.call import Caller, counted
from bptt.data.reader import reader
from bptt.randomness import Randomness
from bptt.state import State
from bptt.through import Full, Strategy
from bptt.through.plan import Action, Back, Drop, HandBack, Keep, Load, Run

Loss = Callable[[Any, Any], Tensor]
Reduction = Literal["sum", "mean", "rows"]


@dataclass(frozen=True)
class Window:
    """What has been done since the last window: steps ``start <= t < stop``; their gradient now stands in ``p.grad``.

    ``loss`` is the sum over steps and rows (no history), ``count`` the targets it sums over, ``state`` the carried state
    at ``stop`` (no history).
    """

    loss: Tensor
    count: int
    start: int
    stop: int
    state: State

    @property
    def steps(self) -> int:
        return self.stop - self.start

    @property
    def mean(self) -> float:
        """Loss per target; NaN where nothing counted."""
        return float(self.loss) / self.count if self.count else float("nan")


def backprop(
    model: nn.Module,
    loss: Loss,
    sequence: Any,
    *,
    through: Strategy | None = None,
    state: State = None,
    reduction: Reduction = "sum",
    resume: dict[str, Any] | None = None,
) -> Backprop:
    """Runs ``model`` over ``sequence`` and carries the error back through time, window by window.

        for window in bptt.backprop(model, loss, (x, target), through=bptt.Truncated(k1=20, k2=60)):
            bptt.clip_norm(model, 0.25)
            optimizer.step(); optimizer.zero_grad()

    - ``model``: any module with ``y, state = model(x, state)``, time first, and any nested state. If its forward takes
      ``mask`` or ``reset`` it is given them; if not, they are seen to from outside.
    - ``loss(y, target)``: the *sum* over steps and rows, as a tensor without dimensions. With a mask it is given the counted
      steps alone, ``y[mask]`` and ``target[mask]``. A method ``loss.count(target)`` may say how many targets it sums over.
    - ``sequence``: ``(x, target[, mask[, reset]])``, something that slices in time, or an iterable of pieces; see
      `bptt.data.reader`.
    - ``through``: the strategy, `Full` unless given.
    - ``state``: the initial state; if it carries a graph (the final state of an encoder), the error goes on into it.
    - ``reduction``: ``p.grad`` is the gradient of the window's loss sum, of its mean over targets (``"mean"``), or of its mean
      over rows (``"rows"``: summed over time).
    - ``resume``: what `Backprop.state_dict` gave; goes on after that window, as if it had never stopped.

    Gradients add to those that stand in ``p.grad``, as with ``tensor.backward()``. Between windows the optimizer may step.

    **Raises** ``TypeError`` or ``ValueError`` at once for what cannot be run: a loss that is a mean, a sequence whose parts do
    not fit, a layer that needs the whole sequence under a strategy that cuts it.
    """
    return Backprop(model, loss, sequence, through or Full(), state, reduction, resume)


def evaluate(model: nn.Module, loss: Loss, sequence: Any, *, state: State = None, chunk: int = 256) -> Window:
    """The loss over a whole sequence, without gradients and in evaluation mode, ``chunk`` steps at a time.

    The answer does not depend on ``chunk``, which bounds the memory. See `backprop` for the arguments.
    """
    call, source = Caller(model), reader(sequence)
    training = model.training
    total = torch.zeros((), dtype=torch.float64)
    count = stop = 0
    model.eval()
    try:
        with torch.no_grad():
            while (end := source.upto(math.inf if call.whole is not None else stop + chunk)) > stop:
                piece = source.read(stop, end)
                y, state = call(piece, state, f"steps {stop}..{end}")
                made, targets, _ = counted(loss, y, piece)
                total += made.to("cpu", torch.float64)
                count += targets
                source.forget(end)
                stop = end
    finally:
        model.train(training)
    return Window(total, count, 0, stop, states.detach(state))


class Backprop(Iterator[Window]):
    """An iterator over windows; see `backprop`."""

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        sequence: Any,
        through: Strategy,
        state: State,
        reduction: Reduction,
        resume: dict[str, Any] | None,
    ) -> None:
        if not isinstance(through, Strategy):
            raise TypeError(f"through must be a strategy such as bptt.Truncated(k1=20), got {through!r}")
        if reduction not in ("sum", "mean", "rows"):
            raise ValueError(f"reduction must be 'sum', 'mean' or 'rows', got {reduction!r}")
        if getattr(loss, "reduction", "sum") != "sum":
            raise ValueError(
                f"{type(loss).__name__} has reduction={loss.reduction!r}, but a loss must be the sum over steps and rows: "  # type: ignore[attr-defined]
                f"{type(loss).__name__}(reduction='sum')"
            )
        self._call = Caller(model)
        self._loss, self._reduction = loss, reduction
        self._reader = reader(sequence)
        self._plan = through.plan(self._reader.upto)
        self._initial = state
        self._present: State = state
        self._kept: dict[int, tuple[State, Randomness]] = {}
        self._tapes: list[_Tape] = []
        self._live: Randomness | None = None
        self._error: list[Tensor | None] | None = None
        self._window = _Sums()
        self._rows = 0
        self._reached_initial = False
        self._done = 0
        self._position = 0
        if resume is not None:
            self._resume(resume)

    def __next__(self) -> Window:
        for action in self._plan:
            if isinstance(action, HandBack):
                return self._hand_back(action)
            self._carry_out(action)
        raise StopIteration

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on after the last window: nested dicts, lists, tuples, tensors and numbers."""
        return {
            "windows": self._done,
            "position": self._position,
            "present": states.leaves(self._present),
            "kept": [
                {"at": at, "state": states.leaves(kept), "random": random.state_dict()}
                for at, (kept, random) in self._kept.items()
            ],
        }

    def _carry_out(self, action: Action) -> None:
        match action:
            case Run():
                self._run(action)
            case Back():
                self._back(action)
            case Keep(at):
                self._kept[at] = (self._present, self._call.randomness())
            case Load(at):
                self._present = self._kept[at][0]
            case Drop(at):
                del self._kept[at]
                self._reader.forget(min(self._kept, default=at))

    def _run(self, run: Run) -> None:
        piece = self._reader.read(run.start, run.stop)
        self._call.check_span(run, self._reader.upto)
        if run.replay:
            self._live = self._live or self._call.randomness()
            self._kept[run.start][1].put_back()
        elif self._live is not None:
            self._live.put_back()
            self._live = None
        present = self._present
        joined = bool(self._tapes)
        if run.tape and joined:
            present = states.inlet(present)
        elif run.tape and run.start == 0 and present is self._initial:
            self._enter_initial()
        elif present is not None:
            present = states.detach(present)
        with torch.set_grad_enabled(run.tape):
            y, after = self._call(piece, present, f"steps {run.start}..{run.stop}")
            made = None
            if run.count:
                made, count, rows = counted(self._loss, y, piece)
                self._window.add(made, count)
                self._rows = rows
        if run.tape:
            self._tapes.append(_Tape(run.start, run.stop, present if joined else None, after, made))
        self._present = states.detach(after)

    def _back(self, back: Back) -> None:
        tape = self._tapes.pop()
        roots: list[Tensor] = []
        errors: list[Tensor | None] = []
        if tape.loss is not None and tape.loss.requires_grad:
            roots.append(tape.loss)
            errors.append(self._seed(tape.loss))
        for leaf, error in zip(states.leaves(tape.after), self._error or (), strict=False):
            if error is not None and leaf.requires_grad:
                roots.append(leaf)
                errors.append(error if back.gain == 1 else error * back.gain)
        if roots:
            torch.autograd.backward(roots, errors)
        elif tape.loss is not None and not self._call.trainable:
            raise ValueError("the loss depends on no parameter that requires a gradient: there is nothing to train")
        self._error = None if tape.before is None else [leaf.grad for leaf in states.leaves(tape.before)]

    def _seed(self, loss: Tensor) -> Tensor | None:
        if self._reduction == "sum":
            return None
        share = self._window.count if self._reduction == "mean" else self._rows
        return torch.full_like(loss, 1 / max(share, 1))

    def _hand_back(self, action: HandBack) -> Window:
        sums, self._window = self._window, _Sums()
        self._error = None
        self._done += 1
        self._position = action.stop
        if not self._kept:
            self._reader.forget(action.stop)
        assert sums.loss is not None
        return Window(sums.loss, sums.count, action.start, action.stop, self._present)

    def _enter_initial(self) -> None:
        """The error of this window goes on into the graph that made the initial state: possible once."""
        carried = [name for name, leaf in states.named_leaves(self._initial) if leaf.grad_fn is not None]
        if carried and self._reached_initial:
            raise ValueError(
                f"{carried[0]} carries a graph, and a second window reaches back to it, whose optimizer step may have changed "
                "the weights that made it: use through=bptt.Full(), or detach the initial state"
            )
        self._reached_initial = True

    def _resume(self, saved: dict[str, Any]) -> None:
        while self._done < saved["windows"]:
            action = next(self._plan, None)
            if action is None:
                raise ValueError(f"the sequence ends before step {saved['position']}, where this state was saved")
            if isinstance(action, HandBack):
                self._done, self._position = self._done + 1, action.stop
        if self._position != saved["position"]:
            raise ValueError(
                f"the state was saved after step {saved['position']}, but window {self._done} of this strategy and sequence "
                f"ends after step {self._position}: resume with the same ones"
            )
        first = self._reader.read(max(self._position - 1, 0), max(self._position, 1))
        self._present = self._call.rebuild(saved["present"], first)
        for item in saved["kept"]:
            kept = self._call.rebuild(item["state"], first)
            self._kept[item["at"]] = (kept, Randomness.from_state_dict(item["random"]))


@dataclass
class _Tape:
    """A taped run: the state before it as leaves whose ``grad`` is the error there, or ``None`` where no run will take it."""

    start: int
    stop: int
    before: State
    after: State
    loss: Tensor | None


class _Sums:
    def __init__(self) -> None:
        self.loss: Tensor | None = None
        self.count = 0

    def add(self, loss: Tensor, count: int) -> None:
        loss = loss.detach()
        self.loss = loss if self.loss is None else self.loss + loss
        self.count += count
