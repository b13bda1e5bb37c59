"""The loop: window by window through every sequence of every epoch, until the budget is spent."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from bptt.executor import Backprop, backprop
from bptt.train.checkpoint import Checkpoint, weights_from
from bptt.train.feed import length_of, windows_of, with_end
from bptt.train.interrupt import Interrupted, Interruption
from bptt.train.ledger import Ledger, random_state, seed_all, set_random_state
from bptt.train.log import Line, Log, Scalars
from bptt.train.moment import Event, Moment
from bptt.train.optimize import Moment as ScheduleMoment, make_schedule
from bptt.train.pace import Pace
from bptt.train.progress import Display, Status, clock
from bptt.train.settings import Budget
from bptt.window import Window

if TYPE_CHECKING:
    from bptt.train.run import Run


class Diverged(ValueError):
    """The loss or its gradient is no longer a finite number; the weights are those before the bad update."""


class Loop:
    """One call of `Run.fit`, between taking the folder and giving it back."""

    def __init__(self, run: Run, budget: Budget, display: Display, interruption: Interruption) -> None:
        self.run, self.budget, self.display, self.interruption = run, budget, display, interruption
        self.at = Ledger()
        self.log = Log()
        self._scalars: Scalars | None = None
        self._parameters = list(run.model.parameters())
        self._trained = [p for group in run.optimizer.param_groups for p in group["params"]]
        self.pace = Pace(budget, budget.total_updates(windows_of(run.source, run.through)))
        self._schedule: LRScheduler | None
        self._stepped: ScheduleMoment | None
        self._schedule, self._stepped = make_schedule(run.schedule, run.optimizer, self.pace.updates) or (None, None)
        if self._stepped == "validation" and run.validation is None:
            raise ValueError("the schedule waits for a validation loss: give validation=, or choose another schedule")
        self._windows: Backprop | None = None  # of the sequence under way
        self._within: dict[str, Any] | None = None
        self._random: dict[str, Any] | None = None
        self._norm = self._last_loss = math.nan
        self._resumed_at = 0
        self._lr = float(run.optimizer.param_groups[0]["lr"])
        self._saved_update, self._saved_at = -1, 0.0

    def start(self, newest: Checkpoint | None) -> str | None:
        """Begins, or goes on from ``newest``; why no update is to follow, or ``None``."""
        run = self.run
        self.log = Log(run.store.log)
        if newest is None:
            self.log.rewind(0)
            if run.seed is not None:
                seed_all(run.seed)
        else:
            self._resume(newest)
        reason = self.stopped()
        if newest is not None and reason is None:
            self.log.rewind(newest.train["lines"])
        for parameter in self._parameters:
            parameter.grad = None
        self._saved_at = time.perf_counter()
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
        self._saved_update = self._resumed_at = checkpoint.update
        self._lr = float(run.optimizer.param_groups[0]["lr"])
        run.store.write_record(run.record)
        run.store.name_best(self.at.best_update, self.at.best)
        if saved["updates"] != self.pace.updates and run.needs_total:
            self.display.say(f"the schedule now runs over {self.pace.updates} updates instead of {saved['updates']}")
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
        self.log.close()
        if self._scalars is not None:
            self._scalars.close()

    def _open(self, sequence: Any) -> Backprop:
        run = self.run
        windows = backprop(run.model, run.loss, sequence, through=run.through, reduction=run.reduction, resume=self._within)
        if self._random is not None:
            set_random_state(self._random)  # opening a sequence in its middle may have drawn numbers
            self._random = None
        self._windows, self._within = windows, None
        return windows

    def _step(self, window: Window) -> None:
        run, at = self.run, self.at
        loss, norm = float(window.loss), run.clip(self._trained)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._diverged(window, loss, norm)
        run.optimizer.step()
        for parameter in self._parameters:
            parameter.grad = None
        self._lr, self._norm = float(run.optimizer.param_groups[0]["lr"]), norm
        self._last_loss = loss / max(window.count, 1)
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
            self._log_line(epoch_over)
        if epoch_over:
            self._reschedule("epoch")
        improved = False
        if run.validation is not None:
            due = epoch_over if run.validation.every is None else at.update % run.validation.every == 0
            improved = due and self._validate(epoch_over, steers=True)
        if epoch_over:
            self._call_back("epoch", self.log.lines[-1] if self.log.lines else {}, epoch_over)
        if self.display.due():
            self.display.show(self._status())
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
        at, saved = self.at, self.log.saved()
        before = at.loss, at.count
        if at.count:
            self._log_line(epoch_over)
        if self.run.validation is not None and at.validated != at.update:
            self._validate(epoch_over, steers=False)
        at.loss, at.count = before
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
                "lines": self.log.saved() if lines is None else lines,
                "updates": self.pace.updates,
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
        with self.pace.pause(), self._aside():
            score = run.evaluate(run.validation.data)
            metrics = run.validation.metrics(run.model) if run.validation.metrics is not None else {}
        if not math.isfinite(score.mean):
            raise Diverged(
                f"the validation loss is {score.mean} after update {at.update} (gradient norm {self._norm:.3g}): "
                + self._advice("the validation data")
            )
        improved = at.best is None or score.mean < at.best
        if improved:
            at.best, at.best_update = score.mean, at.update
        if steers:
            at.stale = 0 if at.least is None or score.mean < at.least else at.stale + 1
            at.least = score.mean if at.stale == 0 else at.least
            self._reschedule("validation", score.mean)
        at.validated = at.update
        line = {**self._place(epoch_over), "validation": score.mean, "count": score.count}
        line |= {name: float(value) for name, value in metrics.items()}
        self._tell({**line, "best": improved, "seconds": round(at.seconds, 3)})
        extra = "".join(f"  {name} {float(value):.4g}" for name, value in metrics.items())
        star = "  (best so far)" if improved else ""
        self.display.say(f"{clock(at.seconds)}  update {at.update}  validation {score.mean:.4f}{extra}{star}")
        self._call_back("validation", self.log.lines[-1], epoch_over)
        return improved

    def _log_line(self, epoch_over: bool) -> None:
        at = self.at
        self._tell(
            {
                **self._place(epoch_over),
                "steps": at.steps,
                "loss": at.loss / at.count if at.count else math.nan,
                "grad_norm": self._norm,
                "lr": self._lr,
                "tokens_per_second": round(self.pace.rate(), 1),
                "seconds": round(at.seconds, 3),
            }
        )
        at.loss, at.count = 0.0, 0
        self.pace.mark()
        self._call_back("log", self.log.lines[-1], epoch_over)

    def _place(self, epoch_over: bool) -> Line:
        return {"update": self.at.update, "epoch": self.at.epoch - epoch_over}

    def _tell(self, line: Line) -> None:
        self.log.write(line)
        if self._scalars is None:
            self._scalars = self.run.make_scalars(self._resumed_at)
        self._scalars.write(line)

    def _call_back(self, event: Event, line: Line, epoch_over: bool) -> None:
        if not self.run.callbacks:
            return
        with self.pace.pause(), self._aside():
            moment = Moment(event, self.run.model, self.at.update, self.at.epoch - epoch_over, line)
            for callback in self.run.callbacks:
                if (text := callback(moment)) is not None:
                    self.display.say(text)

    def _reschedule(self, moment: ScheduleMoment, validation: float | None = None) -> None:
        if self._schedule is None or self._stepped != moment:
            return
        if isinstance(self._schedule, ReduceLROnPlateau):
            assert validation is not None
            self._schedule.step(validation)
        else:
            self._schedule.step()

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """What is done inside draws random numbers of its own: training goes on as if it had not been done."""
        before = random_state(self.run.model)
        training = [module for module in self.run.model.modules() if module.training]
        try:
            yield
        finally:
            set_random_state(before)
            self.run.model.eval()
            for module in training:
                module.training = True

    def _status(self) -> Status:
        at, pace = self.at, self.pace
        done, left, rate = pace.done(at), pace.left(at), pace.rate()
        return Status(at.update, at.epoch, done, self._last_loss, self._norm, self._lr, rate, at.best, at.seconds, left)

    def _diverged(self, window: Window, loss: float, norm: float) -> None:
        at = self.at
        what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient norm is {norm} (the loss {loss:.4g})"
        raise Diverged(
            f"{what} at update {at.update + 1} (epoch {at.epoch + 1}, steps {window.start}..{window.stop} of sequence "
            f"{at.sequence}); gradient norm {norm:.3g}, one update before {self._norm:.3g}; last finite loss per target "
            f"{self._last_loss:.4g}. The weights are those before this update. " + self._advice("the data")
        )

    def _advice(self, data: str) -> str:
        kept = "" if self._saved_update < 0 else f"The last good checkpoint is {self.run.store.where(self._saved_update)}. "
        clip = "a lower clip" if self.run.clip.norm is not None else "clip=1.0"
        return f"{kept}Try a lower learning rate than {self._lr:g}, or {clip}, and look for NaN or huge values in {data}"


def environment() -> dict[str, Any]:
    """What the last bits of a computation may depend on."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads()}
