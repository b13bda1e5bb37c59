"""What `gradient_flow` found: where the gradient comes from, how far it reaches, and what a truncation would lose of it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.observe.plain import as_dict, plain, write_json
from bptt.observe.profile import Array, Estimate, Profile
from bptt.observe.trouble import Trouble
from bptt.through import Full, Strategy, Truncated

CUT = 1e-4
"""The share of its greatest value below which a sampled loss's error is not followed further."""


@dataclass(frozen=True)
class Weight:
    """One parameter's gradient: norms of all of it, of its explicit part Σ_t C[t,t] and of its implicit part Σ_{k<t} C[t,k].

    ``cosine`` of the angle between the two parts, NaN where one is zero.
    """

    name: str
    total: float
    explicit: float
    implicit: float
    cosine: float


@dataclass(frozen=True, eq=False)
class Flow:
    """The gradient of a stretch of T steps, taken apart. Steps count from 0; n losses were followed back, P parts, W weights.

    - ``loss_steps [n]``: the steps whose losses were followed back; ``losses``: how many steps have a loss with a gradient;
      ``exact``: all of those were followed.
    - ``contributions [n, T]``: ‖C[t,k]‖ over all parameters, ``contributions_by_weight [n, T, W]``: of each; zero for k > t.
    - ``errors [n, P, T]``: ‖dE_t/ds‖ just before step k, of each part of the state; NaN where there is no state to reach
      (before step 0, unless a state was given, and after step t).
    - ``error [P, T]``: ‖dE/ds‖ of the whole loss just before step k.
    - ``profile``: ‖dE_t/ds_{t-lag}‖ against the lag (from 1: the state just before the loss's own step), ``profile_by_part``
      the same for each part, ``profile_of_contributions``: ‖C[t,t-lag]‖ (from 0) of the weights that act through the state.
    - ``weights``: the whole gradient by parameter, explicit and implicit part.
    - ``cut``: parts that pass no error back; ``severed``: parts that pass none at some steps, with these.
      ``trouble``: the first number that is not finite.

    Where losses were sampled, each is followed until its error is under 1e-4 of its greatest, and what lies before counts as
    zero; beyond lag 64 every fourth C[t,k] is measured, and those between them are read off a line (of more than 4 million
    weights: beyond lag 8, in steps of a quarter of the lag).
    """

    model: str
    steps: int
    rows: int
    parts: tuple[str, ...]
    names: tuple[str, ...]
    loss_steps: NDArray[np.int64]
    losses: int
    exact: bool
    contributions: Array
    contributions_by_weight: Array
    errors: Array
    error: Array
    profile: Profile
    profile_by_part: dict[str, Profile]
    profile_of_contributions: Profile
    weights: tuple[Weight, ...]
    cut: tuple[str, ...]
    severed: dict[str, tuple[int, ...]]
    trouble: Trouble | None
    through: Strategy | None
    advice: tuple[str, ...]

    @property
    def horizon(self) -> float:
        """Lags until the error is under 1 % of its greatest, for good; infinite where it was not within these steps."""
        return self.profile.horizon

    def share_lost(self, through: Strategy) -> Estimate:
        """The share of the contributions, Σ‖C[t,k]‖, that ``through`` leaves out, with its standard error.

        Of the weights that act through the state: a readout loses nothing by any truncation. Contributions that cancel each
        other count in full, so this is not the bias of the sum. Of sampled losses the error is that of the sample, at least
        1e-4, as what is under that counts as zero; it leaves out what was read off a line between two steps.

        **Raises** ``TypeError`` for a strategy other than `Full` and `Truncated`.
        """
        if isinstance(through, Full):
            return Estimate(0.0, 0.0)
        if not isinstance(through, Truncated):
            raise TypeError(f"the share that is lost is known for bptt.Truncated(k1, k2) and bptt.Full(), got {through!r}")
        return lost(self.acting(), self.loss_steps, self.losses, through)

    def acting(self) -> Array:
        """‖C[t,k]‖ ``[n, T]`` over the weights that act through the state: a loss reaches them at steps before its own."""
        return acting_norms(self.contributions_by_weight, self.loss_steps)

    def to_dict(self) -> dict[str, Any]:
        """Everything as lists, dicts, numbers and text; what is not finite as ``None``."""
        return {**as_dict(self), "horizon": plain(self.horizon)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_dict` as JSON."""
        write_json(path, self.to_dict())

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Writes a page with pictures of it all, in one file that needs no network."""
        from bptt.observe.page import save
        from bptt.observe.report import flow_page

        save(flow_page(self), Path(path))

    def __repr__(self) -> str:
        profile = self.profile
        followed = f"all {self.losses} losses" if self.exact else f"{len(self.loss_steps)} of {self.losses} losses, sampled"
        reach = (
            "unknown"
            if math.isnan(self.horizon)
            else f"not under 1 % within {self.steps} steps"
            if math.isinf(self.horizon)
            else f"{self.horizon:.0f} lags to 1 %"
        )
        if math.isfinite(self.horizon) and not self.exact:
            alone = math.isnan(profile.horizon_low)
            reach += " (of one loss alone)" if alone else f" ({profile.horizon_low:.0f} to {profile.horizon_high:.0f})"
        lines = [
            f"Flow of {self.model} over {self.steps} steps of {self.rows} rows, {followed}",
            f"  horizon   {reach}",
            f"  decay     {profile.decay:.4g} a step",
        ]
        for weight in self.weights:
            parts = f"explicit {weight.explicit:.3g}, implicit {weight.implicit:.3g}"
            lines += [f"  {weight.name:<24} |g| {weight.total:.3g}: {parts}"]
        return "\n".join([*lines, *(f"  - {sentence}" for sentence in self.advice)])


def acting_norms(contributions: Array, loss_steps: NDArray[np.int64]) -> Array:
    """See `Flow.acting`; ``contributions [n, T, W]``."""
    earlier = contributions.copy()
    earlier[np.arange(len(loss_steps)), loss_steps] = 0
    acts = (earlier > 0).any((0, 1))
    return np.asarray(np.sqrt((contributions[:, :, acts] ** 2).sum(-1)))


def lost(norms: Array, loss_steps: NDArray[np.int64], population: int, through: Truncated) -> Estimate:
    """What ``through`` loses of ``norms [n, T]``: of all losses exactly, of samples the mean over where windows may end."""
    steps, k1, k2 = norms.shape[1], through.k1, through.k2 or through.k1
    whole = norms.sum(1)
    if not whole.sum() > 0:
        return Estimate(math.nan, math.nan)
    before = np.concatenate([np.zeros((len(norms), 1)), norms.cumsum(1)], axis=1)  # [n, T+1]: of the steps below
    exact = len(norms) >= population
    missing = np.zeros(len(norms))
    for i, t in enumerate(loss_steps):
        if exact:
            ends = [min((int(t) // k1 + 1) * k1, steps)]
        else:
            ends = [min(int(t) + 1 + ahead, steps) for ahead in range(k1)]
        missing[i] = np.mean([before[i, min(max(0, end - k2), int(t) + 1)] for end in ends])
    share = float(missing.sum() / whole.sum())
    if exact or len(norms) < 2:
        return Estimate(share, 0.0 if exact else math.nan)
    n = len(norms)
    spread = float(np.sqrt(n / (n - 1) * ((missing - share * whole) ** 2).sum() * max(0.0, 1 - n / population)))
    return Estimate(share, max(CUT, spread / float(whole.sum())))
