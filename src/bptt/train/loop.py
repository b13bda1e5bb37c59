"""The loop: window by window through every sequence of every epoch, until the budget is spent."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from bptt.executor import Backprop, backprop
from bptt.memory import large_apart
from bptt.observe.every import Observer
from bptt.train.agreed import agreed
from bptt.train.checkpoint import Checkpoint
from bptt.train.divergence import in_training, in_validation
from bptt.train.exchange import Exchange, Told
from bptt.train.feed import length_of, windows_of, with_end
from bptt.train.interrupt import Interrupted, Interruption
from bptt.train.keeping import Keeping
from bptt.train.ledger import Ledger, aside, seed_all, seed_of
from bptt.train.optimize import Moment as ScheduleMoment, make_schedule
from bptt.train.pace import Pace
from bptt.train.progress import Display
from bptt.train.settings import Budget
from bptt.train.telling import Telling
from bptt.window import Window

if TYPE_CHECKING:
    from bptt.train.run import Run


class Loop:
    """One call of `Run.fit`, between taking the folder and giving it back."""

    def __init__(self, run: Run, budget: Budget, display: Display, interruption: Interruption) -> None:
        self.run, self.budget, self.display, self.interruption = run, budget, display, interruption
        self.at = Ledger()
        self._parameters = list(run.model.parameters())
        self._trained = [p for group in run.optimizer.param_groups for p in group["params"]]
        self.pace = Pace(budget, budget.total_updates(windows_of(run.source, run.through)))
        self.telling = Telling(run, self.at, self.pace, display)
        self.schedule: LRScheduler | None
        self._stepped: ScheduleMoment | None
        self.schedule, self._stepped = make_schedule(
            run.schedule, run.optimizer, self.pace.updates, self._time_spent if budget.seconds else None
        ) or (None, None)
        if self._stepped == "validation" and run.validation is None:
            raise ValueError("the schedule waits for a validation loss: give validation=, or choose another schedule")
        self._observer: Observer | None = None
        self.sequence: Any = None  # the one under way, and its windows
        self.windows: Backprop | None = None
        self._exchange = Exchange(run.processes, run.model, self._trained, run.reduction)
        self._told = Told(0.0, 0)
        self.keeping = Keeping(self)

    def start(self, newest: Checkpoint | None) -> str | None:
        """Begins, or goes on from ``newest``; why no update is to follow, or ``None``."""
        run = self.run
        self.telling.open(None if newest is None else newest.train["lines"])
        if newest is None:
            self.telling.rewind(0, 0)
            self._begin()
        else:
            self.keeping.resume(newest)
        reason = self.stopped()
        if newest is not None and reason is None:
            self.telling.rewind(newest.train["lines"], newest.update)
        for parameter in self._parameters:
            parameter.grad = None
        self._observer = run.make_observer(self.at.update)
        self.pace.begin(self.at)
        self.keeping.begin()
        return reason

    def _begin(self) -> None:
        """The same weights in all processes, and in each random numbers of its own."""
        run, processes = self.run, self.run.processes
        if processes.size > 1:
            processes.take_over([value for value in run.model.state_dict().values() if isinstance(value, Tensor)])
        seed = run.seed
        if seed is None and processes.size > 1:
            seed = processes.first(torch.initial_seed)
            if processes.leads:
                return
        if seed is not None:
            seed_all(seed_of(seed, processes.rank))

    def train(self) -> str:
        """Runs until the budget is spent, and says by what."""
        run, at = self.run, self.at
        large_apart(False)  # else what one update frees is handed back, and the next one fetches it again, page by page
        while True:
            epoch = at.epoch
            for given in run.feed.epoch(epoch, start=at.sequence):
                sequence = with_end(given)
                windows = self._open(sequence)
                seen = at.sequence
                for window in windows:
                    self._step(window)
                    self._advance(window, sequence)
                    reason = self._after_update(epoch_over=at.epoch > epoch)
                    if reason is not None:
                        return reason
                if (at.epoch, at.sequence) == (epoch, seen):
                    raise ValueError(f"sequence {seen} of epoch {epoch} has no steps: leave out empty sequences")
                if at.epoch > epoch:
                    break
            if at.epoch == epoch:
                raise ValueError(
                    f"data.epoch({epoch}) ended after {at.sequence} sequences, but data.sequences is {run.source.sequences}"
                )

    def stopped(self) -> str | None:
        """Why no update is to follow, or ``None``."""
        at, validation = self.at, self.run.validation
        if validation is not None and validation.patience is not None and at.stale >= validation.patience:
            return "patience"
        return self.budget.spent(at.epoch, at.update, at.seconds)

    def close(self) -> None:
        """Closes what is open; the folder may be given back."""
        self.telling.close()

    def rows(self) -> int:
        """How many rows of the sequence under way are this process's; told of several processes alone."""
        return getattr(self.run.feed, "own", 0)

    def _open(self, sequence: Any) -> Backprop:
        run = self.run
        self.sequence = sequence
        self.windows = backprop(
            run.model,
            run.loss,
            sequence,
            through=agreed(run.through.of_sequence(self.at.epoch * run.source.sequences + self.at.sequence), run.processes),
            reduction=run.reduction if run.processes.size == 1 else "sum",
            resume=self.keeping.place(sequence),
            check_finite=False,  # it is refused with more to say
        )
        self.keeping.put_back_random()
        return self.windows

    def _step(self, window: Window) -> None:
        run, at = self.run, self.at
        self._told = told = self._exchange(window, self.rows(), self.interruption.signal, self.pace.seconds())
        loss, norm = told.loss, run.clip(self._trained)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            where = next((each for each in run.processes.every(window.not_finite) if each is not None), None)
            window = dataclasses.replace(window, not_finite=where)
            raise in_training(run, at, self.telling, window, loss, norm, self.keeping.update, self._seen_at_the_end())
        if told.count:  # without a target there is no gradient, and momentum alone should not move the weights
            run.optimizer.step()
        for parameter in self._parameters:
            parameter.grad = None
        if self._observer is not None:
            self._observer.saw(norm)
        telling = self.telling
        telling.lr, telling.norm, telling.loss = float(run.optimizer.param_groups[0]["lr"]), norm, loss / max(told.count, 1)
        if told.count:
            self._reschedule("update")
        at.update += 1
        at.steps += window.steps
        at.targets += told.count
        at.loss += loss
        at.count += told.count
        self.pace.saw(told.count)

    def _seen_at_the_end(self) -> str:
        """What a look at the gradient finds where the training breaks down, if looks were asked for."""
        look = None
        if self._observer is not None:
            with self.pace.pause(), aside(self.run.model):
                look = self._observer.last(self.at.update)
        if look is None:
            return ""
        self.telling.observation(look)
        said = zip(look.line["kinds"], look.line["warnings"], strict=True)
        return ". ".join(text.removesuffix(".") for kind, text in said if kind not in ("clipping", "truncation"))

    def _advance(self, window: Window, sequence: Any) -> None:
        """Where to go on after this window, if this sitting ends here."""
        at = self.at
        if window.stop != length_of(sequence):
            return
        self.windows = None
        at.sequence += 1
        if at.sequence >= self.run.source.sequences:
            at.epoch, at.sequence = at.epoch + 1, 0

    def _after_update(self, epoch_over: bool) -> str | None:
        """All that lies between two updates; why no other one follows, or ``None``."""
        run, at = self.run, self.at
        at.seconds = self.pace.seconds() if self._told.seconds is None else self._told.seconds
        if at.update % run.logs.every == 0 or epoch_over:
            self.telling.training(epoch_over)
        if self._observer is not None and self._observer.due(at.update):
            with self.pace.pause(), aside(run.model):
                look = self._observer.look(at.update)
            self.telling.observation(look)
        if epoch_over:
            self._reschedule("epoch")
        improved = False
        if run.validation is not None:
            due = epoch_over if run.validation.every is None else at.update % run.validation.every == 0
            improved = due and self._validate(epoch_over, steers=True)
        if epoch_over:
            self.telling.call_back("epoch", epoch_over)
        self.telling.progress()
        reason = self.stopped()
        if reason is not None:
            self._finish(epoch_over)
        elif self.asked_to_stop is not None:
            self.interrupted(self.asked_to_stop)
        elif improved or self.keeping.due():
            self.keeping.save()
        return reason

    def _finish(self, epoch_over: bool) -> None:
        """The last update is validated and saved; lines that only an end brings come after what is saved.

        So a run that is asked for more goes on as if it had never ended: the extra validation may name the best weights, but
        steers neither the schedule nor the patience.
        """
        at, saved = self.at, self.telling.log.saved()
        before = at.loss, at.count
        if at.count:
            self.telling.training(epoch_over)
        if self.run.validation is not None and at.validated != at.update:
            self._validate(epoch_over, steers=False)
        at.loss, at.count = before
        if self._observer is not None and (why := self._observer.unseen(at.update)) is not None:
            self.display.say(why)
        self.keeping.save(lines=saved)

    def interrupted(self, signal: int) -> None:
        """Saves and ends, as the signal asks.

        **Raises** `Interrupted`, always.
        """
        at = self.at
        self.keeping.save()
        raise Interrupted(
            signal, f"interrupted after update {at.update} (epoch {at.epoch + 1}), and saved: {self.run.how_to_go_on}"
        )

    @property
    def asked_to_stop(self) -> int | None:
        """The signal that this process was sent, or, of several, that one of them had been sent by the newest update."""
        return self.interruption.signal if self.run.processes.size == 1 else self._told.signal

    def _validate(self, epoch_over: bool, steers: bool) -> bool:
        """Validates; whether it is the best so far."""
        run, at = self.run, self.at
        assert run.validation is not None
        with self.pace.pause(), aside(run.model):
            score = run.evaluate(run.validation.data)
            metrics = self._metrics(run.validation.metrics)
        if not math.isfinite(score.mean):
            raise in_validation(run, at, self.telling, score.mean, self.keeping.update)
        decides = score.mean if run.validation.by is None else float(metrics[run.validation.by])
        improved = run.validation.better(decides, at.best)
        if improved:
            at.best, at.best_update = decides, at.update
        if steers:
            at.stale = 0 if run.validation.better(decides, at.least) else at.stale + 1
            at.least = decides if at.stale == 0 else at.least
            self._reschedule("validation", score.mean)
        at.validated = at.update
        self.telling.validation(score.mean, score.count, metrics, improved, epoch_over)
        return improved

    def _time_spent(self) -> float:
        assert self.budget.seconds is not None
        return self.at.seconds / self.budget.seconds

    def _metrics(self, measure: Callable[[nn.Module], Mapping[str, float]] | None) -> Mapping[str, float]:
        return {} if measure is None else self.run.processes.first(lambda: dict(measure(self.run.model)))

    def _reschedule(self, moment: ScheduleMoment, validation: float | None = None) -> None:
        if self.schedule is None or self._stepped != moment:
            return
        if isinstance(self.schedule, ReduceLROnPlateau):
            assert validation is not None
            self.schedule.step(validation)
        else:
            self.schedule.step()
