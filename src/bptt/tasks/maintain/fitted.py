"""What the maintenance task fits to the units it learns from, and how units become sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.data import Scaler
from bptt.data.ragged import Ragged
from bptt.data.units import Units

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """The columns, those of the sensors that move at all, their scaling, and the unit of life: all of the training part.

    ``life`` is the mean of all whole lives, ``ridge`` the best straight line from a cycle's readings to the life left.
    """

    unit: str
    cycle: str
    sensors: tuple[str, ...]
    constant: tuple[str, ...]
    scaler: Scaler
    cap: float
    mean: float
    life: float
    ridge: tuple[float, ...]

    @classmethod
    def fit(cls, units: Units, cap: float) -> Fitted:
        """From units whose remaining life is known at every cycle.

        **Raises** ``ValueError`` where no sensor ever moves.
        """
        assert units.remaining is not None
        together = np.concatenate(units.values)
        moves = [bool(np.ptp(column) > 1e-9 * max(1.0, float(np.abs(column).max()))) for column in together.T]
        kept = tuple(name for name, moving in zip(units.sensors, moves, strict=True) if moving)
        if not kept:
            raise ValueError("no sensor ever changes in the units to learn from: there is nothing to learn")
        scaler = Scaler.fit(together[:, moves], columns=kept)
        left = np.concatenate(units.remaining)
        top = cap or float(left.max()) or 1.0
        target = np.minimum(left, top)
        inputs = np.concatenate([scaler.transform(together[:, moves]), np.ones((len(together), 1))], axis=1)
        penalty = len(inputs) * 1e-3 * np.eye(inputs.shape[1])
        ridge = np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ target)
        life = float(np.mean([when[-1] + end[-1] for when, end in zip(units.cycles, units.remaining, strict=True)]))
        constant = tuple(name for name in units.sensors if name not in kept)
        return cls(units.unit, units.cycle, kept, constant, scaler, top, float(target.mean()), life, tuple(ridge.tolist()))

    def inputs(self, units: Units) -> list[Floats]:
        """Scaled readings ``[T_i, S]`` of each unit."""
        columns = [units.sensors.index(name) for name in self.sensors]
        return [self.scaler.transform(values[:, columns]) for values in units.values]

    def sequences(self, units: Units) -> Ragged:
        """The units as examples to learn from: readings, and the life left in units of the cap ``[T_i, 1]``."""
        assert units.remaining is not None
        targets = [np.minimum(left, self.cap)[:, None] / self.cap for left in units.remaining]
        return Ragged(self.inputs(units), targets)

    def plain(self, units: Units) -> dict[str, list[Floats]]:
        """What takes no network, at every cycle of every unit."""
        weights = np.asarray(self.ridge)
        lines = [np.clip(x @ weights[:-1] + weights[-1], 0, self.cap) for x in self.inputs(units)]
        ages = [np.clip(self.life - when, 0, self.cap) for when in units.cycles]
        return {
            "a straight line from the readings": lines,
            "the mean life less the age": ages,
            "the mean of all": [np.full(len(when), self.mean) for when in units.cycles],
        }

    def to_json(self) -> dict[str, Any]:
        """Everything needed to make it again."""
        kept = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}
        return {**kept, "scaler": self.scaler.to_json()}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Fitted:
        """What ``to_json`` described."""
        made: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()}
        return cls(**{**made, "scaler": Scaler.from_json(saved["scaler"])})
