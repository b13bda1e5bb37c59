"""The executor: carries a strategy's plan out on a stateful module and hands back windows."""

from __future__ import annotations

import dataclasses
import weakref
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import nn

from bptt import state as states
from bptt.ask import Answers
from bptt.call import check_history
from bptt.carry import Carrier, Loss as Loss, Reduction as Reduction
from bptt.kept import Aside, Kept, Place
from bptt.loss import check_loss
from bptt.memory import Room, large_apart
from bptt.outlook import Outlook
from bptt.probe import missing_gradients, probe
from bptt.randomness import Randomness
from bptt.state import State
from bptt.suspect import NotFinite, exploded, finite, gradients, overflown
from bptt.through import Full, Strategy
from bptt.through.online import ForwardInTime
from bptt.through.plan import Action, Draw, Drop, HandBack, Keep, Outline, Probe, Taken, Weigh
from bptt.window import Sums, Window


def backprop(
    model: nn.Module,
    loss: Loss,
    sequence: Any,
    *,
    through: Strategy | None = None,
    state: State = None,
    reduction: Reduction = "sum",
    resume: dict[str, Any] | None = None,
    check_finite: bool = True,
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

    - ``check_finite``: refuse a loss that is infinite or no number, naming the first step where that appeared, and an error or
      a gradient that overflows on its way back; where false, ``window.not_finite`` names the first such loss.

    Gradients add to those that stand in ``p.grad``, as with ``tensor.backward()``. Between windows the optimizer may step.

    **Raises** ``TypeError`` or ``ValueError`` for what cannot be run: at once for a loss known to be a mean or a sequence
    whose parts do not fit, with the first window for a module that does not keep to the form above, or a loss that is no sum.
    """
    made: Backprop
    if isinstance(through, ForwardInTime):
        from bptt.forward import Forward  # it is a Backprop, and so comes after it

        made = Forward(model, loss, sequence, through, state, reduction, resume)
    else:
        made = Backprop(model, loss, sequence, Full() if through is None else through, state, reduction, resume)
    made._check_finite = check_finite
    return made


class Backprop(Carrier, Iterator[Window]):
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
        super().__init__(model, loss, sequence, state, reduction, Answers(through), getattr(through, "disk", None))
        plan = through.plan(self._reader.upto)
        self._plan: Generator[Action, Any, None] = plan if isinstance(plan, Generator) else (action for action in plan)
        self._answer: Any = None
        self._ahead: Action | None = None
        self._started = False
        self._together: weakref.finalize[..., Any] | None = None
        self._outlook = Outlook(str(through))
        self._at = Place(0, 0, state, {}, self._answers.moment())
        self._broken: str | None = None
        self._refused: Exception | None = None
        if resume is not None:
            self._resume(resume)

    def __next__(self) -> Window:
        if self._refused is not None:
            raise self._refused
        if self._broken is not None:
            raise RuntimeError(
                f"this pass stopped in mid-window ({self._broken}): begin again, from the last window with "
                "bptt.backprop(..., resume=saved), where saved = this.state_dict()"
            )
        check_history()
        self._started = True
        try:
            while (action := self._next()) is not None:
                if isinstance(action, HandBack):
                    return self._hand_back(action)
                self._carry_out(action)
        except BaseException as error:
            self._broken = type(error).__name__
            self._return()
            self._stop_counting()
            self._end()
            raise
        self._end()
        raise StopIteration

    def _end(self) -> None:
        self._kept.close()
        if self._together is not None:
            self._together()

    @property
    def plan(self) -> Outlook:
        """What will be done, as far as it is known, and what it took; with a budget of memory, probes run first."""
        if self._refused is not None and not self._at.windows:
            raise self._refused
        if not self._started and self._ahead is None:
            self._ahead = self._next()
        return self._outlook

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
            "strategy": self._answers.state_dict(place.strategy),
        }

    def _next(self) -> Action | None:
        """The plan's next action that is to be carried out; questions are answered on the way."""
        if self._ahead is not None:
            action, self._ahead = self._ahead, None
            return action
        while True:
            answer, self._answer = self._answer, None
            try:
                action = self._plan.send(answer)
                if isinstance(action, (Probe, Draw, Weigh)):
                    self._answer = self._answers.to(action, self._probe)
                    continue
            except StopIteration:
                return None
            except Exception as error:
                self._refused = error  # the plan is over: it is refused each time it is asked for
                raise
            if not self._outlook.told(action):
                return action
            if isinstance(action, Outline):
                if action.budget is not None and action.predicted is not None:
                    self._room = Room(action.budget, action.predicted, action.segment, action.once)
                self._outlook.gradients = missing_gradients(self._call.model, self._loss)

    def _probe(self, steps: int) -> Taken | None:
        if self._together is None:
            self._together = weakref.finalize(self, large_apart, False)  # also where the pass is given up
            large_apart(True)
        return probe(self._call, self._reader, self._loss, self._initial, steps)

    def _hand_back(self, action: HandBack) -> Window:
        self._return()
        self._outlook.saw(self._taped, self._kept.most, self._reader.held())
        if self._check_finite and not finite([*gradients(self._call.model, self._loss), *states.leaves(self._present)]):
            self._refuse_overflow(action)
        sums, self._sums = self._sums, Sums()
        if sums.loss is None:
            raise ValueError(f"the plan hands back {action.start}..{action.stop} without having run a step of it")
        self._error, self._since, self._begin = [], None, action.stop
        if not self._kept:
            self._reader.forget(action.stop)
        self._at = Place(self._at.windows + 1, action.stop, self._present, self._kept.snapshot(), self._answers.moment())
        found, self._not_finite = self._not_finite, None
        return Window(sums.loss, sums.count, action.start, action.stop, self._present, found)

    def _refuse_overflow(self, window: HandBack) -> None:
        """Says what is not finite; a state may hold infinities from its beginning."""
        where = f"steps {window.start}..{window.stop}"
        if not finite(gradients(self._call.model, self._loss)):
            raise NotFinite(exploded(f"the gradient of {where}"))
        before = self._at.present
        name = overflown(before, self._present)
        if name is None and before is not None:
            return  # what is infinite was so before
        if not self._reader.holds:  # else what has been read may be gone
            state = before
            with Aside(self._call), torch.no_grad():
                for step in range(window.start, window.stop):
                    _, state = self._call(self._reader.read(step, step + 1), state, f"step {step}")
                    before = state if before is None else before
                    if (name := overflown(before, state)) is not None:
                        where = f"step {step}"
                        break
        if name is None:
            return
        raise NotFinite(
            f"{where}: {name} is not finite, though every loss is: look at the data there, or keep within bounds what it sums"
        )

    def _saved(self, state: State) -> dict[str, Any] | None:
        """``None`` stands for the initial state."""
        return None if state is self._initial else states.dump(state)

    def _resume(self, saved: dict[str, Any]) -> None:
        self._answers.load_state_dict(saved["strategy"])
        place, kept = self._at, Counter[int]()
        while place.windows < saved["windows"]:
            match self._next():
                case Keep(at):
                    kept[at] += 1
                case Drop(at):
                    kept -= Counter([at])
                    self._reader.forget(min(kept, default=at))
                case HandBack(_, stop):
                    place = dataclasses.replace(place, windows=place.windows + 1, position=stop)
                    if not kept:
                        self._reader.forget(stop)
                case None:
                    raise ValueError(f"the sequence ends before step {saved['position']}, where this state was saved")
        if place.position != saved["position"] or set(kept) != {item["at"] for item in saved["kept"]}:
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
            self._kept.put(item["at"], Kept(restored(item["state"]), random, item["drew"]))
        Randomness.from_state_dict(saved["random"]).put_back()
        self._begin, self._started = place.position, place.windows > 0
        moment = self._answers.moment()
        self._at = Place(place.windows, place.position, self._present, self._kept.snapshot(), moment)
