"""Carrying single actions of a plan out on a module: runs, replays, and the error that goes back."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bptt import state as states
from bptt.ask import Answers
from bptt.call import Caller
from bptt.data.piece import Piece
from bptt.data.reader import reader
from bptt.kept import Aside, Compact, Kept, Store, Tape
from bptt.loss import summed, targets
from bptt.memory import Counting, Heap, Room, can_count
from bptt.probe import countable
from bptt.state import State
from bptt.suspect import NotFinite, all_finite, check_is_sum, exploded, finite, first_not_finite, leaking
from bptt.through.plan import Action, Back, Drop, Keep, Lag, Load, Run
from bptt.window import Sums

Loss = Callable[[Any, Any], Tensor]
Reduction = Literal["sum", "mean", "rows"]


class Carrier:
    """The present state, the states and tapes kept, and the error under way; see `bptt.through.plan` for what it does."""

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        sequence: Any,
        state: State,
        reduction: Reduction,
        answers: Answers,
        disk: str | None,
    ) -> None:
        self._call = Caller(model)
        self._loss, self._reduction = loss, reduction
        self._reader = reader(sequence)
        self._initial = state
        self._present: State = state
        self._kept, self._compact = Store(disk), Compact()
        self._begin = 0  # of the window under way
        self._since: int | None = None  # the newest state kept while steps run for the first time
        self._loaded: int | None = None
        self._tapes: list[Tape] = []
        self._error: list[Tensor | None] = []
        self._aside: Aside | None = None
        self._sums = Sums()
        self._entered = self._checked = False
        self._check_finite = True
        self._not_finite: str | None = None
        self._counting: Counting | Heap | None = None
        self._taped = 0
        self._room: Room | None = None
        self._answers = answers

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, Run):
            if action.replay:
                self._run_again(action)
                return
            self._return()
            self._run(action)
            if self._since in self._kept and self._kept.random(self._since) != self._call.randomness():
                self._kept.mark_drawn(self._since)
        elif isinstance(action, Back):
            self._back(action)
        elif isinstance(action, Keep):
            self._keep(action.at, action.disk)
        elif isinstance(action, Load):
            self._present, self._loaded = self._kept[action.at].state, action.at
        elif isinstance(action, Lag):
            self._answers.lags.note(action.steps, self._call.model, self._error, self._loss)
        elif isinstance(action, Drop):
            self._kept.drop(action.at)
            self._reader.forget(self._kept.oldest(action.at))
        else:
            raise TypeError(f"the plan holds {action!r}, which is no action: see bptt.through.plan")

    def _keep(self, at: int, disk: bool) -> None:
        again = self._aside is not None and self._loaded is not None
        drew = again and self._kept.drew(self._loaded)
        state = self._present if self._present is self._initial else self._compact(self._present)
        self._kept.put(at, Kept(state, self._call.randomness(), drew), disk)
        if not again:
            self._since = at

    def _run(self, run: Run) -> None:
        where = f"steps {run.start}..{run.stop}"
        self._call.check_span(run.start, run.stop, self._reader.upto)
        joined = run.tape and bool(self._tapes)
        handing = joined or run.onward
        present = self._present
        if handing:
            present = states.inlet(present)
        elif run.tape and present is self._initial:
            self._enter_initial()
        elif present is not None:
            present = states.detach(present)
        with torch.set_grad_enabled(run.tape):
            piece = self._reader.read(run.start, run.stop)
            if run.tape and self._room is not None:
                steps, parts = run.stop - run.start, self._parts(piece)
                if self._room.before(steps, parts, self._kept.bytes):
                    del piece
                    self._count(steps, parts)
                    piece = self._reader.read(run.start, run.stop)
            y, after = self._call(piece, present, where)
            count = 0 if run.replay else targets(self._loss, piece)
            made = self._made(run, y, piece, where) if run.count else None
        self._sums.add(made, count, piece)
        if run.tape:
            self._tapes.append(Tape(run.start, present if handing else None, after, made))
            if self._counting is not None:
                self._counting.taped([t for t in (made, *states.leaves(after)) if t is not None])
        self._present = states.detach(after)

    def _made(self, run: Run, y: Any, piece: Piece, where: str) -> Tensor:
        made = summed(self._loss, y, piece, where)
        if not self._checked:
            self._checked = check_is_sum(self._loss, y, piece, where)
        if self._not_finite is None and not all_finite(made):
            self._not_finite = self._find_not_finite(run, y, piece, where)
            if self._check_finite:
                raise NotFinite(f"{self._not_finite}: look at the data there, or lower the learning rate or clip before it")
        connected = made.requires_grad or not run.tape or not any(leaf.requires_grad for leaf in states.leaves(y))
        if not connected and targets(self._loss, piece):
            raise ValueError(
                f"{where}: the loss has no connection to y: it must be made by torch operations on y, without .item(), "
                ".detach() or NumPy on the way"
            )
        return made

    def _find_not_finite(self, run: Run, y: Any, piece: Piece, where: str) -> str:
        """Where it began; a replay comes upon the last steps first, so those before are looked at again."""
        weight = next((name for name, p in self._call.model.named_parameters() if not all_finite(p)), None)
        if weight is not None:
            return f"step {self._begin}: the weights are not finite, {weight} is the first"
        if self._begin in self._kept and self._begin < run.start:
            state = self._kept[self._begin].state
            with Aside(self._call), torch.no_grad():
                for start, stop in itertools.pairwise([*range(self._begin, run.start, run.stop - run.start), run.start]):
                    earlier, before = self._reader.read(start, stop), f"steps {start}..{stop}"
                    reached, state = self._call(earlier, state, before)
                    if not all_finite(summed(self._loss, reached, earlier, before)):
                        return first_not_finite(self._loss, reached, earlier, start, before)
        return first_not_finite(self._loss, y, piece, run.start, where)

    def _run_again(self, run: Run) -> None:
        """A replay: in one stretch, unless the first runs drew random numbers, which come again only with the same cuts."""
        if self._aside is None:
            self._aside = Aside(self._call)
        known = [at for at in run.replay if at in self._kept]
        apart = any(map(self._kept.drew, known))
        starts = run.replay if apart else run.replay[:1]
        for start, stop in itertools.pairwise([*starts, run.stop]):
            if apart and start in self._kept:
                self._kept.random(start).put_back()
            self._run(dataclasses.replace(run, start=start, stop=stop))

    def _return(self) -> None:
        """After replays: the random numbers and buffers are those of the present again."""
        if self._aside is not None:
            self._aside.put_back()
            self._aside = None

    def _back(self, back: Back) -> None:
        """Reverses the tapes of one run, newest first; a replay may have made several."""
        gain = back.gain
        while True:
            tape = self._tapes.pop()
            if self._room is not None:
                self._room.reversing()
            self._reverse(tape, gain)
            if tape.start <= back.start:
                break
            gain = 1.0
        if self._counting is not None and not self._tapes:
            self._taped, self._counting = max(self._taped, self._counting.stop()), None
            if self._room is not None:
                self._room.counted()

    def _parts(self, piece: Piece) -> int:
        """The calls that the module gets for a piece."""
        cuts = self._call.cuts(piece.mask, piece.reset)
        return 1 if cuts is None else 1 + int(cuts.sum())

    def _count(self, steps: int, parts: int) -> None:
        """Begins to count what a run takes, unless somebody else is counting."""
        if self._counting is None and can_count():
            held = (self._present, self._error, self._sums.loss)
            tapes = 1 if self._room is None else self._room.tapes
            few = countable(self._call.model, tapes * steps, tapes * parts)
            self._counting = Counting(self._call.devices, held) if few else Heap(held)

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
                piece = self._reader.read(tape.start, tape.start + 1)
                raise ValueError(
                    f"the graph reaches beyond this window: {leaking(self._call.model, piece)} carries history that an earlier "
                    "window has used up; detach it, or make it part of the state"
                ) from error
        elif tape.loss is not None and not self._call.trainable:
            raise ValueError("the loss depends on no parameter that requires a gradient: there is nothing to train")
        self._error = [] if tape.before is None else [leaf.grad for leaf in states.leaves(tape.before)]
        if self._check_finite and not finite([error for error in self._error if error is not None]):
            raise NotFinite(exploded(f"the error that arrives before step {tape.start}"))

    def _seed(self, loss: Tensor) -> Tensor | None:
        if self._reduction == "sum":
            return None
        share = self._sums.count if self._reduction == "mean" else self._sums.rows
        return torch.full_like(loss, 1 / max(share, 1))

    def _enter_initial(self) -> None:
        """The error of this window goes on into the graph that made the initial state: possible once."""
        carried = [name for name, leaf in states.named_leaves(self._initial) if leaf.grad_fn is not None]
        if carried and self._entered:
            raise ValueError(
                f"{carried[0]} carries a graph, and a second window reaches back to it, whose optimizer step may have changed "
                "the weights that made it: use through=bptt.Full(), or detach the initial state"
            )
        self._entered = True

    def _stop_counting(self) -> None:
        if self._counting is not None:
            self._counting.stop()
            self._counting = None
