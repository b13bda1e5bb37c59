"""What a run tells while it trains: its log, TensorBoard, callbacks and the user."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bptt.observe.every import Look
from bptt.train.layout import OBSERVED
from bptt.train.ledger import Ledger, aside
from bptt.train.log import Line, Log, Scalars
from bptt.train.moment import Event, Moment
from bptt.train.pace import Pace
from bptt.train.progress import Display, Status, clock

if TYPE_CHECKING:
    from bptt.train.run import Run


class Telling:
    """Tells of one sitting of a run; ``loss``, ``norm`` and ``lr`` are those of the newest update."""

    def __init__(self, run: Run, at: Ledger, pace: Pace, display: Display) -> None:
        self.display = display
        self.log = self.observed = Log()
        self.resumed_at = 0
        self.loss = self.norm = math.nan
        self.lr = float(run.optimizer.param_groups[0]["lr"])
        self._run, self._at, self._pace = run, at, pace
        self._unit = getattr(run.loss, "unit", "")
        self._scalars: Scalars | None = None

    def open(self, kept: int | None) -> None:
        """Opens the run's log, with the lines that it holds; ``kept``: how many of them a checkpoint goes on from."""
        path = self._run.store.log
        self.log = Log(path, kept)
        if self._run.observe is not None:
            self.observed = Log(None if path is None else path.with_name(OBSERVED))

    def close(self) -> None:
        """Closes what is open."""
        self.log.close()
        self.observed.close()
        if self._scalars is not None:
            self._scalars.close()

    def rewind(self, lines: int, update: int) -> None:
        """Forgets the log after its first ``lines``, and what was observed after ``update``."""
        self.log.rewind(lines)
        self.observed.rewind(sum(line["update"] <= update for line in self.observed.lines))

    def training(self, epoch_over: bool) -> None:
        """A line on the updates since the last such line."""
        at, pace = self._at, self._pace
        self._write(
            {
                **self._place(epoch_over),
                "steps": at.steps,
                "loss": at.loss / at.count if at.count else math.nan,
                "grad_norm": self.norm,
                "lr": self.lr,
                "tokens_per_second": round(pace.rate(), 1),
                "seconds": round(at.seconds, 3),
            }
        )
        at.loss, at.count = 0.0, 0
        pace.mark()
        self.call_back("log", epoch_over)

    def validation(self, score: float, count: int, metrics: Mapping[str, float], improved: bool, epoch_over: bool) -> None:
        """A line on a validation."""
        at = self._at
        line = {**self._place(epoch_over), "validation": score, "count": count}
        line |= {name: float(value) for name, value in metrics.items()}
        self._write({**line, "best": improved, "seconds": round(at.seconds, 3)})
        unit = f" {self._unit}" if self._unit else ""
        extra = "".join(f"  {name} {float(value):.4g}" for name, value in metrics.items())
        star = "  (best so far)" if improved else ""
        self.display.say(f"{clock(at.seconds)}  update {at.update}  validation {score:.4f}{unit}{extra}{star}")
        self.call_back("validation", epoch_over)

    def observation(self, look: Look | None) -> None:
        """A line on a look at the gradient, and what it found wrong."""
        if look is None:
            return
        if look.line:
            self.observed.write(look.line)
            self._to_scalars(self.observed.lines[-1])
        for text in look.said:
            self.display.say(f"update {self._at.update}: {text}")

    def call_back(self, event: Event, epoch_over: bool) -> None:
        """Calls the user's callbacks with the newest line, and shows what they return."""
        if not self._run.callbacks:
            return
        line = self.log.lines[-1] if self.log.lines else {}
        moment = Moment(event, self._run.model, self._at.update, self._at.epoch - epoch_over, line)
        with self._pace.pause(), aside(self._run.model):
            self._run.processes.first(lambda: self._tell(moment))

    def _tell(self, moment: Moment) -> None:
        for callback in self._run.callbacks:
            if (text := callback(moment)) is not None:
                self.display.say(text)

    def progress(self) -> None:
        """Shows where the run stands, if it is time to."""
        if not self.display.due():
            return
        at, pace = self._at, self._pace
        done, left, rate = pace.done(at), pace.left(at), pace.rate()
        self.display.show(
            Status(at.update, at.epoch, done, self.loss, self.norm, self.lr, rate, at.best, at.seconds, left, self._unit)
        )

    def _place(self, epoch_over: bool) -> Line:
        return {"update": self._at.update, "epoch": self._at.epoch - epoch_over}

    def _write(self, line: Line) -> None:
        self.log.write(line)
        self._to_scalars(line)

    def _to_scalars(self, line: Line) -> None:
        if self._scalars is None:
            self._scalars = self._run.make_scalars(self.resumed_at)
        self._scalars.write(line)
