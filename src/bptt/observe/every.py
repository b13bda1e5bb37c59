"""Looking at a training now and then: how far its gradient reaches, its gates, its growth, within a share of the time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bptt import state as states
from bptt.call import Caller, evaluating
from bptt.data.piece import Piece
from bptt.data.reader import reader
from bptt.executor import Loss
from bptt.observe.flow import Flow
from bptt.observe.measure import gradient_flow
from bptt.observe.spectrum import lyapunov
from bptt.observe.units import Units, units
from bptt.observe.warn import Seen, Warned, of_units, warnings_of
from bptt.through import Strategy, Truncated
from bptt.through.base import whole

_TRIED = 4  # steps, and three times so many, on which the cost of a first look is measured
_ROWS, _SAMPLES, _LEAST, _MOST, _FAR = 8, 6, 64, 256, 4096


@dataclass(frozen=True)
class Every:
    """See `every`."""

    updates: int
    sequence: Any
    steps: int | None
    share: float


def every(updates: int, *, sequence: Any = None, steps: int | None = None, share: float = 0.05) -> Every:
    """For ``bptt.Run(..., observe=bptt.observe.every(200))``: looks at the gradient every so many ``updates``.

    Always at the same stretch, so that looks can be compared: the first ``steps`` of ``sequence`` (unless given, of the first
    sequence of the first epoch: twice k2 of a `Truncated`, 64 to 256), of at most 8 rows; where no loss stands there, the
    last of its first 4096. What is seen goes to ``observe.jsonl`` in the run's folder and to TensorBoard; what is wrong is
    said, with its cause and the cure.

    The run looks less often where it must to spend at most ``share`` of its time on it, and what is trained does not depend on
    whether it is looked at. Not for modules that need the whole sequence (bidirectional layers).

    **Raises** ``ValueError`` for counts below 1, ``steps`` below 2, or a share outside 0..1.
    """
    whole("updates", updates)
    if steps is not None:
        whole("steps", steps, 2)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise ValueError(f"share must be a number above 0, at most 1, of the time that training takes, got {share!r}")
    return Every(updates, sequence, steps, float(share))


def asked_of(given: Any, model: nn.Module) -> Every | None:
    """What ``Run(observe=...)`` was given, as an `Every`, for a model that can be looked at.

    **Raises** ``TypeError`` for what is none, ``ValueError`` for a model that needs the whole sequence.
    """
    if given == 0 and isinstance(given, int):
        raise ValueError("observe must be at least 1 update between two looks, or None for none; got 0")
    asked = every(given) if isinstance(given, int) and not isinstance(given, bool) else given
    if asked is not None and not isinstance(asked, Every):
        raise TypeError(f"observe must be bptt.observe.every(200), or the updates between two looks; got {given!r}")
    if asked is not None and (layer := Caller(model).whole) is not None:
        raise ValueError(
            f"observe looks at what passes from step to step, and a bidirectional layer ({layer}) needs all steps: "
            "train one direction alone, or without observe"
        )
    return asked


@dataclass(frozen=True)
class Look:
    """One look: the ``line`` for the log, and what is to be said."""

    line: dict[str, Any]
    said: tuple[str, ...]


class Observer:
    """Looks at one sitting of a run; ``first`` gives the sequence where none was asked for.

    Its own cost is measured: a look waits until all of them together, itself included, are within the share of the time.
    """

    def __init__(
        self,
        asked: Every,
        model: nn.Module,
        loss: Loss,
        through: Strategy,
        clip: float | None,
        first: Callable[[], Any],
        update: int,
    ) -> None:
        self._asked, self._model, self._loss, self._through, self._clip = asked, model, loss, through, clip
        self._first, self._next = first, update + asked.updates
        self._piece: Piece | None = None
        self._clipped: list[bool] = []
        self._norms: list[float] = []
        self._begun = time.perf_counter()
        self._spent = self._predicted = 0.0
        self._known: set[str] = set()
        self._looked = self._ended = False

    def saw(self, norm: float) -> None:
        """The gradient's norm of one more update, before clipping."""
        if self._clip is not None:
            self._clipped.append(norm >= self._clip)
            self._norms.append(norm)

    def due(self, update: int) -> bool:
        """Whether it is time for a look."""
        if self._ended or update < self._next:
            return False
        trained = time.perf_counter() - self._begun - self._spent
        return self._spent + self._predicted <= self._asked.share * trained

    def look(self, update: int) -> Look | None:
        """Looks; ``None`` where that would take too long by now. What cannot be looked at is said once.

        To be called where random numbers and modes are put back afterwards.
        """
        begun = time.perf_counter()
        try:
            with evaluating(self._model):
                if self._piece is None:
                    self._piece = self._stretch(late=False)
                if not self._predicted:
                    self._piece, self._predicted = self._choose(self._piece)
                    if not self.due(update):
                        return None
                look = self._look(update, self._piece, begun)
        except Exception as error:  # of the look alone, memory that is short too: training goes on
            self._ended = True
            why = f"not observed any more: {' '.join(str(error).split())}{self._dead()}"
            return Look({"update": update, "warnings": [why], "kinds": ["ended"]}, (why,))
        finally:
            self._spent += time.perf_counter() - begun
        self._predicted, self._looked = time.perf_counter() - begun, True
        self._next = update + self._asked.updates
        self._clipped.clear()
        self._norms.clear()
        return look

    def last(self, update: int) -> Look | None:
        """A look whatever it costs, where a training breaks down; ``None`` where none can be had. To be called as `look`."""
        if self._ended:
            return None
        try:
            with evaluating(self._model):
                if self._piece is None:
                    self._piece = self._stretch(late=False)
                return self._look(update, self._piece, time.perf_counter())
        except Exception:  # what broke the training is told, and this could only have added to it
            return None

    def _dead(self) -> str:
        """What the units tell where there is no gradient to look at."""
        if self._piece is None:
            return ""
        try:
            with evaluating(self._model):
                told = of_units(units(self._model, self._piece))
        except Exception:  # the look has failed already, and why has been told
            return ""
        return "" if told is None else f" It is so: {told[0]}. {told[1]}".rstrip()

    def unseen(self, update: int) -> str | None:
        """Why a training ends at ``update`` without a single look; ``None`` where there was one, or it is known why not."""
        if self._looked or self._ended:
            return None
        said = "the gradient was not looked at"
        if not self._predicted:
            return f"{said}: the first look would come after update {self._next}, and this was update {update}"
        share, trained = self._asked.share, time.perf_counter() - self._begun - self._spent
        return (
            f"{said}: a look takes about {self._predicted:.2g} s, and {share:.0%} of this training's time are only "
            f"{share * trained:.2g} s. Train for longer, or look afterwards: bptt inspect"
        )

    def _choose(self, first: Piece) -> tuple[Piece, float]:
        """The stretch to look at, and how long that will take: the first one, or the last where no loss stands in the first."""
        try:
            return first, self._estimate(first)
        except ValueError:
            piece = self._stretch(late=True)
            return piece, self._estimate(piece)

    def _stretch(self, late: bool) -> Piece:
        k2 = (self._through.k2 or self._through.k1) if isinstance(self._through, Truncated) else _LEAST
        steps = self._asked.steps or min(_MOST, max(_LEAST, 2 * k2))
        source = reader(self._first() if self._asked.sequence is None else self._asked.sequence)
        end = source.upto(_FAR if late else steps)
        if end < 2:
            raise ValueError(f"the sequence to look at has {end} step{'s' * (end != 1)}: to see a lag it takes at least 2")
        part = source.read(max(0, end - steps), end)
        return Piece(*(states.map_leaves(lambda t: t[:, :_ROWS].clone(), each) for each in part))

    def _estimate(self, piece: Piece) -> float:
        """Seconds that a look will take, from what more of its last steps add, or of its first; else from a whole look."""
        steps = len(states.leaves(piece.x)[0])
        for late in (True, False):
            try:
                # The first one also pays for what is made once.
                _, few, more = (self._timed(_end_of(piece, count, late)) for count in (_TRIED, _TRIED, 3 * _TRIED))
            except ValueError:  # no loss stands there
                continue
            return max(more, more + (more - few) / (2 * _TRIED) * (steps - 3 * _TRIED))
        return self._timed(piece)

    def _timed(self, piece: Piece) -> float:
        begun = time.perf_counter()
        self._seen(piece)
        return time.perf_counter() - begun

    def _seen(self, piece: Piece) -> tuple[Flow, Units, float]:
        """The flow, the gates, and the greatest Lyapunov exponent."""
        flow = gradient_flow(self._model, self._loss, piece, samples=_SAMPLES, through=self._through)
        gates = units(self._model, piece, steps=flow.steps)
        row, length = _longest_row(piece)
        if flow.trouble is not None or length < 2:
            return flow, gates, math.nan
        try:
            return flow, gates, float(lyapunov(self._model, piece, count=1, row=row, steps=flow.steps)[0])
        except ValueError:  # a state with parts that no row owns, or that cuts itself off: the others still tell
            return flow, gates, math.nan

    def _look(self, update: int, piece: Piece, begun: float) -> Look:
        model = self._model
        flow, gates, growth = self._seen(piece)
        clipped = sum(self._clipped) / len(self._clipped) if self._clipped else math.nan
        typical = sorted(self._norms)[len(self._norms) // 2] if self._norms else math.nan
        warned = warnings_of(Seen(flow, gates, growth, clipped, typical, self._clip), model, self._through)
        fresh = [w for w in warned if w.kind not in self._known]
        self._known = {w.kind for w in warned}
        line = _line(update, flow, gates, growth, clipped, self._through, warned)
        return Look({**line, "cost": round(time.perf_counter() - begun, 4)}, tuple(w.text for w in fresh))


def _end_of(piece: Piece, count: int, late: bool) -> Piece:
    part = slice(-count, None) if late else slice(count)
    return Piece(*(states.map_leaves(lambda t: t[part], each) for each in piece))


def _longest_row(piece: Piece) -> tuple[int, int]:
    """The row that exists for the most steps before it starts afresh, and how many."""
    steps, rows = states.leaves(piece.x)[0].shape[:2]
    there = torch.ones(steps, rows, dtype=torch.bool) if piece.mask is None else piece.mask.cpu()
    if piece.reset is not None:
        afresh = piece.reset.cpu().clone()
        afresh[0] = False
        there = there & (afresh.cumsum(0) == 0)
    lengths = there.sum(0)
    return int(lengths.argmax()), int(lengths.max())


def _line(
    update: int, flow: Flow, gates: Units, growth: float, clipped: float, through: Strategy, warned: list[Warned]
) -> dict[str, Any]:
    explicit, implicit = (math.hypot(*(getattr(w, part) for w in flow.weights)) for part in ("explicit", "implicit"))
    line: dict[str, Any] = {
        "update": update,
        "horizon": min(flow.horizon, flow.steps),
        "horizon low": min(flow.profile.horizon_low, flow.steps),
        "horizon high": min(flow.profile.horizon_high, flow.steps),
        "reached": math.isfinite(flow.horizon),
        "decay": flow.profile.decay,
        "growth": flow.profile.growth,
        "implicit": implicit / (implicit + explicit) if implicit + explicit > 0 else math.nan,
        "lyapunov": growth,
    }
    if isinstance(through, Truncated):
        line["lost"] = float(flow.share_lost(through))
    if not math.isnan(clipped):
        line["clipped"] = clipped
    for gate in gates.gates:
        place = f"{gate.layer}: {gate.gate}"
        line |= {f"{place}, mean": gate.mean, f"{place}, low": gate.low, f"{place}, high": gate.high}
        if len(gate.time_constant):
            line[f"{place}, time constant"] = float(sorted(gate.time_constant)[len(gate.time_constant) // 2])
    for part, norms in zip(gates.parts, gates.state_norm, strict=True):
        line[f"{part}, norm"] = float(norms[-1])
    profile = flow.profile
    line["profile"] = {"lags": profile.lags.tolist(), "mean": [v if math.isfinite(v) else None for v in profile.mean.tolist()]}
    line["warnings"], line["kinds"] = [w.text for w in warned], [w.kind for w in warned]
    return line
