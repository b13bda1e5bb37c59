"""The executor: carries a strategy's plan out on a stateful module and hands back windows."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bptt import state as states
from bptt.call import Caller
from bptt.data.reader import reader
from bptt.kept import Aside, Kept, Place, Tape
from bptt.loss import check_loss, counted
from bptt.randomness import Randomness
from bptt.state import State
from bptt.through import Full, Strategy
from bptt.through.online import ForwardInTime
from bptt.through.plan import Action, Back, Drop, HandBack, Keep, Load, Run
from bptt.window import Sums, Window

Loss = Callable[[Any, Any], Tensor]
Reduction = Literal["sum", "mean", "rows"]


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
      ``mask`` or ``reset`` it is given them; if not, they are seen to from outside: a row that starts afresh then has the state
      that the module's method ``initial_state(rows)`` gives, else zero.
    - ``loss(y, target)``: the *sum* over steps and rows, as a tensor without dimensions. With a mask it is given the counted
      steps alone, ``y[mask]`` and ``target[mask]``. A method ``loss.count(target)`` may say how many targets it sums over.
    - ``sequence``: ``(x, target[, mask[, reset]])``, something that slices in time, or an iterable of pieces; see
      `bptt.data.reader`.
    - ``through``: the strategy, `Full` unless given.
    - ``state``: the initial state; if it carries a graph (the final state of an encoder), the error goes on into it.
    - ``reduction``: ``p.grad`` is the gradient of the window's loss sum, of its mean over targets (``"mean"``), or of its mean
      over rows (``"rows"``: summed over time).
    - ``resume``: what `Backprop.state_dict` gave; goes on after that window, as if it had never stopped. Weights, optimizer
      and sequence are the caller's to bring back; a stream begins again from its start.

    Gradients add to those that stand in ``p.grad``, as with ``tensor.backward()``. Between windows the optimizer may step.

    **Raises** ``TypeError`` or ``ValueError`` for what cannot be run: at once for a loss known to be a mean or a sequence
    whose parts do not fit, with the first window for a module that does not keep to the form above.
    """
    if isinstance(through, ForwardInTime):
        from bptt.forward import Forward  # it is a Backprop, and so comes after it

        return Forward(model, loss, sequence, through, state, reduction, resume)
    return Backprop(model, loss, sequence, through or Full(), state, reduction, resume)


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
        check_loss(loss)
        states.check_known(state, "the initial state")
        self._call = Caller(model)
        self._loss, self._reduction = loss, reduction
        self._reader = reader(sequence)
        self._plan = through.plan(self._reader.upto)
        self._initial = state
        self._present: State = state
        self._kept: dict[int, Kept] = {}
        self._tapes: list[Tape] = []
        self._error: list[Tensor | None] = []
        self._aside: Aside | None = None
        self._sums = Sums()
        self._entered = False
        self._at = Place(0, 0, state, {})
        self._broken: str | None = None
        if resume is not None:
            self._resume(resume)

    def __next__(self) -> Window:
        if self._broken is not None:
            raise RuntimeError(
                f"this pass stopped in mid-window ({self._broken}): begin again, from the last window with "
                "bptt.backprop(..., resume=saved), where saved = this.state_dict()"
            )
        if torch.is_inference_mode_enabled():
            raise RuntimeError("torch.inference_mode() keeps no history, so no error can be carried back: leave it out")
        try:
            for action in self._plan:
                if isinstance(action, HandBack):
                    return self._hand_back(action)
                self._carry_out(action)
        except BaseException as error:
            self._broken = type(error).__name__
            self._put_aside(None)
            raise
        raise StopIteration

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on after the last window handed back: nested dicts and lists of tensors, numbers and text.

        The random state is the present one. Weights and optimizer are not in it.
        """
        place = self._at
        return {
            "windows": place.windows,
            "position": place.position,
            "present": self._saved(place.present),
            "kept": [
                {"at": at, "state": self._saved(kept.state), "random": kept.random.state_dict(), "drew": kept.drew}
                for at, kept in place.kept.items()
            ],
            "random": self._call.randomness().state_dict(),
        }

    def _carry_out(self, action: Action) -> None:
        match action:
            case Run(replay=()):
                self._put_aside(None)
                self._run(action)
                if action.start in self._kept:
                    kept = self._kept[action.start]
                    kept.drew = kept.random != self._call.randomness()
            case Run():
                self._run_again(action)
            case Back():
                self._back(action)
            case Keep(at):
                self._kept[at] = Kept(self._present, self._call.randomness())
            case Load(at):
                self._present = self._kept[at].state
            case Drop(at):
                del self._kept[at]
                self._reader.forget(min(self._kept, default=at))

    def _run(self, run: Run) -> None:
        where = f"steps {run.start}..{run.stop}"
        self._call.check_span(run.start, run.stop, self._reader.upto)
        joined = run.tape and bool(self._tapes)
        present = self._present
        if joined:
            present = states.inlet(present)
        elif run.tape and present is self._initial:
            self._enter_initial()
        elif present is not None:
            present = states.detach(present)
        with torch.set_grad_enabled(run.tape):
            piece = self._reader.read(run.start, run.stop)
            y, after = self._call(piece, present, where)
            made = None
            if run.count:
                made, count = counted(self._loss, y, piece, where)
                self._sums.add(made, count, piece)
                if run.tape and count and not made.requires_grad and any(leaf.requires_grad for leaf in states.leaves(y)):
                    raise ValueError(
                        f"{where}: the loss has no connection to y: it must be made by torch operations on y, without .item(), "
                        ".detach() or NumPy on the way"
                    )
        if run.tape:
            self._tapes.append(Tape(run.start, present if joined else None, after, made))
        self._present = states.detach(after)

    def _run_again(self, run: Run) -> None:
        """A replay: in one stretch, unless the first runs drew random numbers, which come again only with the same cuts."""
        starts = run.replay if any(self._kept[at].drew for at in run.replay) else run.replay[:1]
        for start, stop in itertools.pairwise([*starts, run.stop]):
            self._put_aside(self._kept[start].random if len(starts) > 1 or self._kept[start].drew else None, again=True)
            self._run(dataclasses.replace(run, start=start, stop=stop))

    def _put_aside(self, random: Randomness | None, again: bool = False) -> None:
        """Before a replay: sets the random numbers and buffers of the present aside; after the last one, puts them back."""
        if again and self._aside is None:
            self._aside = Aside(self._call)
        if again and random is not None:
            random.put_back()
        if not again and self._aside is not None:
            self._aside.put_back()
            self._aside = None

    def _back(self, back: Back) -> None:
        """Reverses the tapes of one run, newest first; a replay may have made several."""
        gain = back.gain
        while True:
            tape = self._tapes.pop()
            self._reverse(tape, gain)
            if tape.start <= back.start:
                return
            gain = 1.0

    def _reverse(self, tape: Tape, gain: float) -> None:
        roots: list[Tensor] = []
        errors: list[Tensor | None] = []
        if tape.loss is not None and tape.loss.requires_grad:
            roots.append(tape.loss)
            errors.append(self._seed(tape.loss))
        for leaf, error in zip(states.leaves(tape.after), self._error, strict=False):
            if error is not None and leaf.requires_grad:
                roots.append(leaf)
                errors.append(error if gain == 1 else error * gain)
        if roots:
            try:
                torch.autograd.backward(roots, errors)
            except RuntimeError as error:
                if "second time" not in str(error):
                    raise
                raise ValueError(
                    "the graph reaches beyond this window: x, target, or a tensor kept inside the model carries history that "
                    "an earlier window has used up; detach it, make it part of the model, or use through=bptt.Full()"
                ) from error
        elif tape.loss is not None and not self._call.trainable:
            raise ValueError("the loss depends on no parameter that requires a gradient: there is nothing to train")
        self._error = [] if tape.before is None else [leaf.grad for leaf in states.leaves(tape.before)]

    def _seed(self, loss: Tensor) -> Tensor | None:
        if self._reduction == "sum":
            return None
        share = self._sums.count if self._reduction == "mean" else self._sums.rows
        return torch.full_like(loss, 1 / max(share, 1))

    def _hand_back(self, action: HandBack) -> Window:
        sums, self._sums = self._sums, Sums()
        if sums.loss is None:
            raise ValueError(f"the plan hands back {action.start}..{action.stop} without having run a step of it")
        self._error = []
        if not self._kept:
            self._reader.forget(action.stop)
        self._at = Place(self._at.windows + 1, action.stop, self._present, dict(self._kept))
        return Window(sums.loss, sums.count, action.start, action.stop, self._present)

    def _enter_initial(self) -> None:
        """The error of this window goes on into the graph that made the initial state: possible once."""
        carried = [name for name, leaf in states.named_leaves(self._initial) if leaf.grad_fn is not None]
        if carried and self._entered:
            raise ValueError(
                f"{carried[0]} carries a graph, and a second window reaches back to it, whose optimizer step may have changed "
                "the weights that made it: use through=bptt.Full(), or detach the initial state"
            )
        self._entered = True

    def _saved(self, state: State) -> dict[str, Any] | None:
        """``None`` stands for the initial state."""
        return None if state is self._initial else states.dump(state)

    def _resume(self, saved: dict[str, Any]) -> None:
        place, kept = self._at, set[int]()
        while place.windows < saved["windows"]:
            match next(self._plan, None):
                case Keep(at):
                    kept.add(at)
                case Drop(at):
                    kept.remove(at)
                    self._reader.forget(min(kept, default=at))
                case HandBack(_, stop):
                    place = Place(place.windows + 1, stop, None, {})
                    if not kept:
                        self._reader.forget(stop)
                case None:
                    raise ValueError(f"the sequence ends before step {saved['position']}, where this state was saved")
        if place.position != saved["position"] or kept != {item["at"] for item in saved["kept"]}:
            raise ValueError(
                f"the state was saved after step {saved['position']}, but window {place.windows} of this strategy and sequence "
                f"ends after step {place.position}: resume with the same ones"
            )
        template = self._initial
        if template is None and self._reader.upto(place.position + 1) > place.position:
            template = self._call.structure(self._reader.read(place.position, place.position + 1))

        def restored(leaves: dict[str, Any] | None) -> State:
            return self._initial if leaves is None or template is None else states.restore(template, leaves)

        self._present = restored(saved["present"])
        for item in saved["kept"]:
            random = Randomness.from_state_dict(item["random"])
            self._kept[item["at"]] = Kept(restored(item["state"]), random, item["drew"])
        Randomness.from_state_dict(saved["random"]).put_back()
        self._at = Place(place.windows, place.position, self._present, dict(self._kept))
