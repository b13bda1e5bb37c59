"""Answers to what a plan asks, and the state of a strategy while it runs: with it, a plan can be gone through again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch

from bptt.lags import Lags
from bptt.through import Strategy
from bptt.through.plan import Draw, Probe, Taken, Weigh, Weighed


class Answers:
    """What has been asked and answered; an answer that was measured is given again when a saved pass is gone through."""

    def __init__(self, through: Strategy) -> None:
        seed = getattr(through, "seed", None)
        self._seed: int | None = seed
        self._random: random.Random | None = None
        self._measured: list[list[Any] | None] = []
        self._again = 0
        self.lags = Lags()

    def to(self, action: Probe | Draw | Weigh, probe: Callable[[int], Taken | None]) -> Any:
        """The answer; ``probe(steps)`` measures."""
        if isinstance(action, Draw):
            return self._draw()
        kind = Taken if isinstance(action, Probe) else Weighed
        answer: Any
        if self._again < len(self._measured):
            saved = self._measured[self._again]
            answer = None if saved is None else kind(*saved)
        else:
            answer = probe(action.steps) if isinstance(action, Probe) else self.lags.weigh()
            self._measured.append(None if answer is None else list(answer))
        self._again += 1
        return answer

    def _draw(self) -> float:
        if self._random is None:
            if self._seed is None:
                self._seed = int(torch.randint(2**62, ()))
            self._random = random.Random(self._seed)
        return self._random.random()

    def moment(self) -> tuple[Any, ...]:
        """What `state_dict` needs to tell later what there is now; cheap."""
        return self._seed if self._random is not None else None, self._again, self.lags.moment()

    def state_dict(self, moment: tuple[Any, ...]) -> dict[str, Any]:
        seed, answered, lags = moment
        return {
            "seed": seed,
            "measured": [None if each is None else list(each) for each in self._measured[:answered]],
            "lags": self.lags.state_dict(lags),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """To be followed by going through the plan again from its beginning."""
        self._seed = saved["seed"] if saved["seed"] is not None else self._seed
        self._measured = [None if each is None else list(each) for each in saved["measured"]]
        self.lags.load_state_dict(saved["lags"])
