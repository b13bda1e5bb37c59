"""The loop: window by window through every sequence of every epoch, until the budget is spent."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from bptt.executor import Backprop, backprop
from bptt.observe.every import Observer
from bptt.train.checkpoint import Checkpoint, weights_from
from bptt.train.divergence import in_training, in_validation
from bptt.train.feed import length_of, windows_of, with_end
from bptt.train.interrupt import Interrupted, Interruption
from bptt.train.ledger import Ledger, aside, random_state, seed_all, set_random_state
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
        self._schedule: LRScheduler | None
        self._stepped: ScheduleMoment | None
        self._schedule, self._stepped = make_schedule(
            run.schedule, run.optimizer, self.pace.updates, self._time_spent if budget.seconds else None
        ) or (None, None)
        if self._stepped == "validation" and run.validation is None:
            raise ValueError("the schedule waits for a validation loss: give validation=, or choose another schedule")
        self._observer: Observer | None = None
        self._windows: Backprop | None = None  # of the sequence under way
        self._within: dict[str, Any] | None = None
        self._random: dict[str, Any] | None = None
        self._saved_update, self._saved_at = -1, 0.0

    def start(self, newest: Checkpoint | None) -> str | None:
        """Begins, or goes on from ``newest``; why no update is to follow, or ``None``."""
        run = self.run
        self.telling.open(None if newest is None else newest.train["lines"])
        if newest is None:
            self.telling.rewind(0, 0)
            if run.seed is not None:
                seed_all(run.seed)
        else:
            self._resume(newest)
        reason = self.stopped()
        if newest is not None and reason is None:
            self.telling.rewind(newest.train["lines"], newest.update)
        for parameter in self._parameters:
            parameter.grad = None
        self._saved_at = time.perf_counter()
        self._observer = run.make_observer(self.at.update)
        self.pace.begin(self.at)
        return reason

    def _resume(self, checkpoint: Checkpoint) -> None:
        """Makes everything as it was at ``checkpoint``, but for the log."""
        run, saved = self.run, checkpoint.train
        run.model.load_state_dict(checkpoint.weights)
        run.optimizer.load_state_dict(saved["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(saved["schedule"])
        self.at.load_state_dict(saved["ledger"])
        self._within, self._random = saved["within"], saved["random"]
        set_random_state(self._random)
        self._saved_update = self.telling.resumed_at = checkpoint.update
        self.telling.lr = float(run.optimizer.param_groups[0]["lr"])
        run.store.write_record(run.record)
        run.store.name_best(self.at.best_update, self.at.best)
        if saved["limits"] != self._limits() and run.needs_total:
            self.display.say("the limits are others than before: the schedule now runs over those of now")
        for name, now in environment().items():
            if saved["environment"].get(name) != now:
                self.display.say(f"{name}: {now}, before {saved['environment'].get(name)}: the last bits may differ")

    def train(self) -> str:
        """Runs until the budget is spent, and says by what."""
        run, at = self.run, self.at
        while True:
            epoch = at.epoch
            for given in run.source.epoch(epoch, start=at.sequence):
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

    def _open(self, sequence: Any) -> Backprop:
        run = self.run
        windows = backprop(
            run.model,
            run.loss,
            sequence,
            through=run.through.of_sequence(self.at.epoch * run.source.sequences + self.at.sequence),
            reduction=run.reduction,
            resume=self._within,
            check_finite=False,  # it is refused with more to say
        )
        if self._random is not None:
            set_random_state(self._random)  # opening a sequence in its middle may have drawn numbers
            self._random = None
        self._windows, self._within = windows, None
        return windows

    def _step(self, window: Window) -> None:
        run, at = self.run, self.at
        loss, norm = float(window.loss), run.clip(self._trained)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise in_training(run, at, self.telling, window, loss, norm, self._saved_update)
        if window.count:  # without a target there is no gradient, and momentum alone should not move the weights
            run.optimizer.step()
        for parameter in self._parameters:
            parameter.grad = None
        if self._observer is not None:
            self._observer.saw(norm)
        telling = self.telling
        telling.lr, telling.norm, telling.loss = float(run.optimizer.param_groups[0]["lr"]), norm, loss / max(window.count, 1)
        if window.count:
            self._reschedule("update")
        at.update += 1
        at.steps += window.steps
        at.targets += window.count
        at.loss += loss
        at.count += window.count
        self.pace.saw(window.count)

    def _advance(self, window: Window, sequence: Any) -> None:
        """Where to go on after this window, if this sitting ends here."""
        at = self.at
        if window.stop != length_of(sequence):
            return
        self._windows = None
        at.sequence += 1
        if at.sequence >= self.run.source.sequences:
            at.epoch, at.sequence = at.epoch + 1, 0

    def _after_update(self, epoch_over: bool) -> str | None:
        """All that lies between two updates; why no other one follows, or ``None``."""
        run, at = self.run, self.at
        at.seconds = self.pace.seconds()
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
        elif self.interruption.signal is not None:
            self.interrupted(self.interruption.signal)
        elif improved or self._save_due():
            self.save()
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
        self.save(lines=saved)

    def interrupted(self, signal: int) -> None:
        """Saves and ends, as the signal asks.

        **Raises** `Interrupted`, always.
        """
        at = self.at
        self.save()
        raise Interrupted(
            signal, f"interrupted after update {at.update} (epoch {at.epoch + 1}), and saved: {self.run.how_to_go_on}"
        )

    def save(self, lines: int | None = None) -> None:
        """A checkpoint of the present update; nothing where there is one."""
        run, at = self.run, self.at
        if at.update == self._saved_update:
            return
        with self.pace.pause():
            train = {
                "ledger": at.state_dict(),
                "within": None if self._windows is None else self._windows.state_dict(),
                "optimizer": run.optimizer.state_dict(),
                "schedule": None if self._schedule is None else self._schedule.state_dict(),
                "random": random_state(run.model),
                "lines": self.telling.log.saved() if lines is None else lines,
                "limits": self._limits(),
                "environment": environment(),
            }
            checkpoint = Checkpoint(at.update, weights_from(run.model), train, at.best_update)
            run.store.save(checkpoint, run.record, at.best, run.saving.keep)
        self._saved_update, self._saved_at = at.update, time.perf_counter()

    def _save_due(self) -> bool:
        saving, since = self.run.saving, self.at.update - self._saved_update
        if self._saved_update < 0 or (saving.updates is not None and since >= saving.updates):
            return True
        return saving.seconds is not None and time.perf_counter() - self._saved_at >= saving.seconds

    def _validate(self, epoch_over: bool, steers: bool) -> bool:
        """Validates; whether it is the best so far."""
        run, at = self.run, self.at
        assert run.validation is not None
        with self.pace.pause(), aside(run.model):
            score = run.evaluate(run.validation.data)
            metrics = run.validation.metrics(run.model) if run.validation.metrics is not None else {}
        if not math.isfinite(score.mean):
            raise in_validation(run, at, self.telling, score.mean, self._saved_update)
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

    def _limits(self) -> list[float | None]:
        return [self.pace.updates, self.budget.seconds]

    def _reschedule(self, moment: ScheduleMoment, validation: float | None = None) -> None:
        if self._schedule is None or self._stepped != moment:
            return
        if isinstance(self._schedule, ReduceLROnPlateau):
            assert validation is not None
            self._schedule.step(validation)
        else:
            self._schedule.step()


def environment() -> dict[str, Any]:
    """What the last bits of a computation may depend on."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}
