"""What the report's page is given: thinned out to what can be seen, finite, and rounded to four digits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.observe.advice import rounded
from bptt.observe.flow import Flow
from bptt.observe.profile import Array, Profile
from bptt.through import Strategy, Truncated

_POINTS = 1500  # of a curve
_COLUMNS = 160  # of the heat map
_DIGITS = 4
_NEARLY_ALWAYS = 0.9


def curves_of(log: Sequence[Mapping[str, Any]], clip: float | None) -> dict[str, Any] | None:
    """Training and validation loss, gradient norm and rate over updates, and what clipping did; ``None`` without a line."""
    training = [line for line in log if "loss" in line]
    validation = [line for line in log if "validation" in line]
    if not training and not validation:
        return None
    found: dict[str, Any] = {
        name: _thinned([(line["update"], line.get(key)) for line in training])
        for name, key in (("loss", "loss"), ("norm", "grad_norm"), ("rate", "lr"))
    }
    found["validation"] = [[line["update"], finite(line["validation"])] for line in validation]
    norms = [line["grad_norm"] for line in training if line.get("grad_norm") is not None]
    found["clip"] = clip
    found["clipped"] = None if clip is None or not norms else float(np.mean([norm >= clip for norm in norms]))
    found["greatest"] = finite(max(norms)) if norms else None
    found["lines"] = len(training)
    found["broken"] = next((line["update"] for line in training if line.get("loss") is None), None)
    return found


def clipping(curves: Mapping[str, Any] | None) -> list[str]:
    """Advice where clipping was active nearly always."""
    if curves is None or curves["clipped"] is None or curves["clipped"] < _NEARLY_ALWAYS:
        return []
    wider = rounded(2 * float(np.median([norm for _, norm in curves["norm"] if norm is not None])))
    return [
        f"Clipping was active in {curves['clipped']:.0%} of the logged updates: it acts as a smaller learning rate that "
        f"changes from update to update. Raise the limit above the usual norm (--clip {wider}, or clip={wider}) or lower the "
        "rate (--lr)."
    ]


def observed_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Every number that a run's looks at its gradient kept, over updates, and what they warned of; ``None`` without one."""
    if not lines:
        return None
    names = dict.fromkeys(
        name
        for line in lines
        for name, value in line.items()
        if name not in ("update", "cost") and isinstance(value, (int, float)) and not isinstance(value, bool)
    )
    said: dict[str, tuple[list[int], str]] = {}
    for line in lines:
        for kind, text in zip(line.get("kinds", ()), line.get("warnings", ()), strict=True):
            at = said[kind][0] if kind in said else []
            said[kind] = ([*at, line["update"]], text)
    return {
        "series": {name: [[line["update"], finite(line.get(name))] for line in lines] for name in names},
        "warnings": [[at[0], at[-1], len(at), text] for at, text in said.values()],
        "looks": len(lines),
    }


def flow_of(flow: Flow, through: Strategy | None) -> dict[str, Any]:
    """Contributions, profiles and what truncations would lose."""
    edges = np.unique(np.linspace(0, flow.steps, min(flow.steps, _COLUMNS) + 1).round().astype(int))
    tables = {"all": flow.contributions}
    for index, name in enumerate(flow.names):
        tables[name] = flow.contributions_by_weight[:, :, index]
    profiles = {"the whole state": flow.profile, **(flow.profile_by_part if len(flow.profile_by_part) > 1 else {})}
    found: dict[str, Any] = {
        "model": flow.model,
        "steps": flow.steps,
        "rows": flow.rows,
        "exact": flow.exact,
        "losses": flow.losses,
        "lossSteps": flow.loss_steps.tolist(),
        "edges": edges.tolist(),
        "contributions": {name: _grid(table, edges) for name, table in tables.items()},
        "profiles": {name: _profile(profile) for name, profile in profiles.items()},
        "error": {name: [finite(v) for v in row] for name, row in zip(flow.parts, flow.error, strict=True)},
        "weights": [
            [weight.name, *map(finite, (weight.total, weight.explicit, weight.implicit, weight.cosine))]
            for weight in flow.weights
        ],
        "trouble": None if flow.trouble is None else str(flow.trouble),
        "k1": None,
        "k2": None,
        "lost": finite(0.0),
    }
    k1 = 1
    if isinstance(through, Truncated):
        k1 = through.k1
        lost = flow.share_lost(through)
        found |= {"k1": through.k1, "k2": through.k2, "lost": finite(float(lost)), "lostError": finite(lost.error)}
    wider = sorted({min(flow.steps, round(2**power)) for power in np.arange(0, math.log2(flow.steps) + 1, 0.5)} | {k1})
    found["byReach"] = [[k2, finite(float(flow.share_lost(Truncated(k1, k2))))] for k2 in wider if k2 >= k1]
    found["byReachK1"] = k1
    return found


def _profile(profile: Profile) -> dict[str, Any]:
    keep = indices(len(profile.lags))
    return {
        "lags": profile.lags[keep].tolist(),
        "mean": [finite(v) for v in profile.mean[keep]],
        "error": [finite(v) for v in profile.error[keep]],
        "horizon": finite(profile.horizon),
        "low": finite(profile.horizon_low),
        "high": finite(profile.horizon_high),
        "decay": finite(profile.decay),
        "scale": finite(profile.scale),
        "growth": finite(profile.growth),
    }


def _grid(table: Array, edges: NDArray[Any]) -> list[list[float | None]]:
    """The mean over each bin of steps."""
    means = np.add.reduceat(table, edges[:-1], axis=1) / np.diff(edges)
    return [[finite(float(v)) for v in row] for row in means]


def _thinned(points: Sequence[tuple[int, float | None]]) -> list[list[Any]]:
    """At most so many points, each the mean of those it stands for; one that is not finite stays so."""
    per = max(1, math.ceil(len(points) / _POINTS))
    found = []
    for start in range(0, len(points), per):
        part = points[start : start + per]
        values = [math.nan if value is None else value for _, value in part]
        found.append([part[-1][0], finite(float(np.mean(values)))])
    return found


def indices(count: int) -> NDArray[np.int64]:
    """All, or so many spread by ratio: the first lags closely, the later ones as widely as a curve can bear."""
    if count <= 400:
        return np.arange(count)
    return np.unique(np.concatenate([np.arange(100), np.geomspace(100, count - 1, 300).round().astype(np.int64)]))


def finite(value: float | None) -> float | None:
    """To four digits; ``None`` for what is not finite, which JSON has in its place."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")
