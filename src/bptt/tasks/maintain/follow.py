"""Units under watch, row by row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from bptt.data.cells import listed
from bptt.tasks.follow import Follower
from bptt.tasks.maintain.fitted import Fitted
from bptt.tasks.maintain.model import RemainingModel


class Watch(Follower):
    """The life that a unit has left, after each of its cycles; every unit has a state of its own."""

    def __init__(self, model: RemainingModel, what: Fitted, alarm: float | None = None) -> None:
        self._model, self._what, self._alarm = model, what, alarm
        self._units: dict[str, tuple[float, Any]] = {}

    def step(self, row: Any) -> dict[str, Any]:
        what = self._what
        if not isinstance(row, Mapping):
            raise ValueError(
                f"got {type(row).__name__}, expected the columns {what.unit}, {what.cycle} and the sensors by name"
            )
        wanted = (what.unit, what.cycle, *what.sensors)
        if absent := [name for name in wanted if row.get(name) in (None, "")]:
            raise ValueError(f"nothing stands in {listed(absent)}; there is {listed(list(map(str, row)))}")
        unit, cycle = str(row[what.unit]), _number(row, what.cycle)
        last, state = self._units.get(unit, (-math.inf, None))
        if cycle <= last:
            raise ValueError(f"unit {unit} has {what.cycle} {cycle:g} after {last:g}: give its rows in order, each once")
        readings = np.array([[_number(row, name) for name in what.sensors]])
        with torch.no_grad():
            x = torch.from_numpy(what.scaler.transform(readings)).to(self._model.readout.weight.dtype)
            y, state = self._model(x[:, None], state)
        self._units[unit] = cycle, state
        left = float(np.clip(float(y[0, 0, 0]) * what.cap, 0, what.cap))
        answer = {what.unit: unit, what.cycle: cycle, "left": round(left, 2)}
        return answer if self._alarm is None else {**answer, "alarm": left <= self._alarm}


def _number(row: Mapping[str, Any], name: str) -> float:
    try:
        number = float(row[name])
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(row[name], bool):
        raise ValueError(f"{name} is {row[name]!r}, no finite number")
    return number
