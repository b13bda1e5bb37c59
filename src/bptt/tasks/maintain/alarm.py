"""When to raise the alarm, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Alarm:
    """An alarm whenever the life that is predicted is ``level`` cycles or less, on units that ran to failure.

    ``missed`` of ``units`` had none at least ``lead`` cycles before the failure; ``wasted`` is the mean life that the others
    had left when it came; ``cost`` is, for each unit, the life wasted, or that of a failure where it was missed.
    """

    level: float
    units: int
    missed: int
    wasted: float
    cost: float


def alarm_at(level: float, predicted: Sequence[Floats], remaining: Sequence[Floats], lead: float, failure: float) -> Alarm:
    """The alarm at ``level``: what is given away from the first cycle on at which it is raised."""
    missed, wasted = 0, []
    for likely, left in zip(predicted, remaining, strict=True):
        raised = np.flatnonzero(likely <= level)
        if len(raised) and left[raised[0]] >= lead:
            wasted.append(float(left[raised[0]]))
        else:
            missed += 1
    count = len(predicted)
    return Alarm(level, count, missed, float(np.mean(wasted)) if wasted else 0.0, (sum(wasted) + failure * missed) / count)


def best_alarm(predicted: Sequence[Floats], remaining: Sequence[Floats], lead: float, failure: float) -> Alarm:
    """The level of least cost among whole numbers of cycles; of several, the highest, which misses least."""
    highest = int(max(float(each.max()) for each in predicted))
    tried = [alarm_at(float(level), predicted, remaining, lead, failure) for level in range(highest + 1)]
    return min(reversed(tried), key=lambda alarm: alarm.cost)


def best_age(cycles: Sequence[Floats], remaining: Sequence[Floats], lead: float, failure: float) -> Alarm:
    """The same for replacing every unit at one age, which needs no sensor: ``level`` is that age."""
    ages = np.unique(np.concatenate(cycles))
    found = [
        (age, alarm_at(0.0, [age - when for when in cycles], remaining, lead, failure))
        for age in ages[:: max(1, len(ages) // 500)]
    ]
    age, alarm = min(found, key=lambda each: each[1].cost)
    return Alarm(float(age), alarm.units, alarm.missed, alarm.wasted, alarm.cost)
