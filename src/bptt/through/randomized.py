"""Truncation at random cuts, weighted so that it is right on average."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bptt.through.base import Strategy, number, whole
from bptt.through.plan import Back, Draw, HandBack, Plan, Run, Upto


@dataclass(frozen=True)
class Randomized(Strategy):
    """The error stops at random cuts, and is weighted where it goes on, so that the gradient is that of `Full` on average.

        δ_t = q_t                            if there is a cut after t,
        δ_t = q_t + δ_{t+1} J_{t+1}/(1-c_t)  if there is none, c_t being the chance that there would have been one.

    Cuts lie between blocks of ``block`` steps, a tenth of the horizon unless given; a window ends at a cut. After the j-th
    block since the last cut there is one with the chance

        c = (α-1) / ((α-2)·n + j),  n = horizon/block,

    so that windows have ``horizon`` steps on average and lengths l with a chance falling as l^-α; ``alpha=inf`` is the
    constant chance 1/n. A smaller α cuts less once a window is long: less variance from what is far away, longer windows.

    ``seed``: of the cuts' own generator; ``None`` takes it from torch's random numbers, so that each pass has its own cuts. One
    seed means the same cuts in every pass: in a loop of your own give each its own (`Run` does), since what crosses cuts that
    never move is never learned. Processes that train one model together need one seed.

    A window is held from cut to cut, whatever its length: there is no ``memory=`` to bound it (`Truncated` has one).

    Cost: that of `Full` in windows of random length, for each step one forward and one backward step; memory grows with the
    longest window, some times the horizon. Unbiased while the weights stand still; its variance grows with Π 1/(1-c_t), see
    `bptt.fidelity`. Tallec & Ollivier 2017, "Unbiasing truncated backpropagation through time", arXiv 1705.08209. Not where
    contributions do not fade over the horizon: the variance then exceeds what truncation would lose.

    **Raises** ``ValueError`` where horizon or block is no whole number, the horizon is no longer than a block, or α ≤ 2.
    """

    horizon: int
    block: int | None = None
    alpha: float = 4.0
    seed: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizon", whole("horizon", self.horizon, least=2))
        block = max(1, self.horizon // 10) if self.block is None else whole("block", self.block)
        object.__setattr__(self, "block", block)
        object.__setattr__(self, "alpha", number("alpha", self.alpha))
        if block >= self.horizon:
            raise ValueError(f"horizon must exceed the block it is cut by, got horizon={self.horizon} and block={block}")
        if self.alpha <= 2:
            raise ValueError(f"alpha must be above 2, or the mean length of a window is infinite, got {self.alpha}")
        if self.seed is not None:
            object.__setattr__(self, "seed", whole("seed", self.seed, least=0))

    def chance(self, blocks: int) -> float:
        """The chance of a cut after that many blocks since the last one."""
        assert self.block is not None
        mean = self.horizon / self.block
        return 1 / mean if math.isinf(self.alpha) else (self.alpha - 1) / ((self.alpha - 2) * mean + blocks)

    def plan(self, upto: Upto) -> Plan:
        assert self.block is not None
        start = 0
        while upto(start + 1) > start:
            runs: list[tuple[int, int, float]] = []
            stop = start
            while (end := upto(stop + self.block)) > stop:
                yield Run(stop, end)
                chance = self.chance(len(runs) + 1)
                runs.append((stop, end, 1 / (1 - chance)))
                stop = end
                if upto(stop + 1) == stop:
                    break
                drawn = yield Draw()
                if drawn is not None and drawn < chance:
                    break
            for run in reversed(runs):
                yield Back(*run)
            yield HandBack(start, stop)
            start = stop

    def windows(self, steps: int | None) -> int | None:  # noqa: ARG002 - chance decides
        return None
