"""A strategy whose plan is the same in every process, whatever each of them measures or draws."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from bptt.through import Strategy
from bptt.through.online import ForwardInTime
from bptt.through.plan import Plan, Probe, Upto, Weigh
from bptt.train.processes import Processes


def agreed(through: Strategy, processes: Processes) -> Strategy:
    """``through`` where this process is alone; else with cuts drawn by one seed, and what the first process measures."""
    if processes.size == 1:
        return through
    given: Any = through
    if getattr(given, "seed", 0) is None:
        made: Any = dataclasses.replace(given, seed=processes.first(lambda: int(torch.randint(2**62, ()))))
        through = made
    return through if isinstance(through, ForwardInTime) else _Agreed(through, processes)


class _Agreed(Strategy):
    def __init__(self, through: Strategy, processes: Processes) -> None:
        self._through, self._processes = through, processes

    def plan(self, upto: Upto) -> Plan:
        plan: Any = iter(self._through.plan(upto))
        answer: Any = None
        asks = hasattr(plan, "send")
        while True:
            try:
                action = plan.send(answer) if asks else next(plan)
            except StopIteration:
                return
            answer = yield action
            if isinstance(action, (Probe, Weigh)):
                answer = self._processes.first(lambda mine=answer: mine)  # type: ignore[misc]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._through, name)

    def __str__(self) -> str:
        return str(self._through)
