"""How near the predicted life is to the true one, beside what takes no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.tasks.interval import interval
from bptt.tasks.maintain.alarm import Alarm
from bptt.tasks.report import Report, Table, cell

Floats = NDArray[np.float64]


def nasa(error: Floats) -> float:
    """Σ exp(-e/13) - 1 where the failure comes later than predicted, Σ exp(e/10) - 1 where sooner; e predicted less true.

    Saxena et al. 2008, "Damage propagation modeling for aircraft engine run-to-failure simulation".
    """
    return float(np.where(error < 0, np.expm1(-error / 13), np.expm1(np.minimum(error, 700) / 10)).sum())


def score(name: str, made: Mapping[str, Sequence[Floats]], remaining: Sequence[Floats], cap: float, ends: bool) -> Report:
    """RMSE and MAE over each unit's last cycle (``ends``) or all of its cycles; the life counts as at most ``cap``.

    ``made``: under each label, the predictions ``[T_i]`` of every unit; the model's first. The interval is of 95 %, from
    drawing whole units again and again.
    """
    truth = [np.minimum(left[-1:] if ends else left, cap) for left in remaining]
    count = sum(map(len, truth))
    shown, figures = [], dict[str, dict[str, Any]]()
    for label, each in made.items():
        errors = [(one[-1:] if ends else one) - left for one, left in zip(each, truth, strict=True)]
        together = np.concatenate(errors)
        low, high = interval([np.square(e).sum() for e in errors], [len(e) for e in errors], np.sqrt)
        found: dict[str, Any] = {
            "rmse": float(np.sqrt(np.square(together).mean())),
            "interval": [low, high],
            "mae": float(np.abs(together).mean()),
            "nasa": nasa(together) if ends else float("nan"),
        }
        figures[label] = found
        row = [label, cell(found["rmse"], ".2f"), f"{low:.1f}–{high:.1f}", cell(found["mae"], ".2f")]
        shown.append(row + [cell(found["nasa"], ",.0f")] * ends)
    labels = list(made)
    best = min(labels[1:], key=lambda label: figures[label]["rmse"])
    remarks = []
    if figures[labels[0]]["rmse"] >= figures[best]["rmse"]:
        remarks.append(f"Nothing is gained by the network here: {best} is as near. Train longer, or with a lower --lr.")
    what = "after the last row of each" if ends else f"at each of {count:,} cycles"
    title = f"Cycles left on {name}, {len(truth):,} units, {what}; counted up to {cap:g}"
    columns = ["", "RMSE", "95 % interval", "MAE"] + ["NASA score"] * ends
    kept: dict[str, Any] = {"part": name, "units": len(truth), "count": count, "cap": cap, "scores": figures}
    own = figures[labels[0]]
    headline = {"RMSE": own["rmse"], "MAE": own["mae"]} | ({"NASA score": own["nasa"]} if ends else {})
    return Report([Table(title, columns, shown, strong=0)], remarks, kept, headline)


def alarm_table(alarm: Alarm, age: Alarm, lead: float, failure: float) -> Table:
    """The alarm of least cost beside the best age to replace all units at, and beside waiting for the failure."""
    rows = [
        [
            f"alarm at {alarm.level:.0f} cycles left",
            f"{alarm.missed} of {alarm.units}",
            f"{alarm.wasted:.1f}",
            f"{alarm.cost:.1f}",
        ],
        [f"replace each at age {age.level:.0f}", f"{age.missed} of {age.units}", f"{age.wasted:.1f}", f"{age.cost:.1f}"],
        ["wait for the failure", f"{alarm.units} of {alarm.units}", "–", f"{failure:.1f}"],
    ]
    title = (
        f"Alarm {lead:g} cycles before a failure, which costs {failure:g} cycles; chosen and measured on the validation units"
    )
    return Table(title, ["", "failures missed", "life wasted", "cost a unit"], rows, strong=0)
