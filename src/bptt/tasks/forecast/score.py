"""How good forecasts are, beside the plain ones, all made from the same rows and measured on the same targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.tasks.interval import interval
from bptt.tasks.report import Report, Table, cell

Floats = NDArray[np.float64]

OWN = "this model"
_ASTRAY = 2  # times the MAE of the worst plain forecast: a training that merely has not come far stays below
_BLOCKS = 10  # stretches of forecasts from which an interval can be told


@dataclass(frozen=True)
class Measured:
    """Forecasts of one series: ``truth [N, H, C]`` (NaN where not observed), ``quantiles [N, H, C, Q]`` of the model.

    ``made``: under each label ``[N, H, C]``, the model's first; ``spreads``: quantiles of the others, where there are any.
    ``naive [C]``: the MAE of one-step persistence on the training part; ``unit [C]``: the deviation there.
    """

    truth: Floats
    quantiles: Floats
    made: Mapping[str, Floats]
    naive: Floats
    unit: Floats
    spreads: Mapping[str, Floats] = field(default_factory=dict)


def measured(
    truth: Floats, quantiles: Floats, point: Floats, plain: Mapping[str, Floats], naive: Floats, unit: Floats,
    spreads: Mapping[str, Floats],
) -> Measured:  # fmt: skip
    """The model's forecasts, whose ``point [N, H, C]`` is measured, before the ``plain`` ones."""
    return Measured(truth, quantiles, {OWN: point, **plain}, naive, unit, {OWN: quantiles, **spreads})


def score(name: str, targets: Sequence[str], found: Measured, levels: Sequence[float], by: str = "mae") -> Report:
    """One table a target: MAE, RMSE, MASE, and of quantiles the pinball loss and how often the truth lay within the outer two.

    MASE is the MAE over ``naive``, the MAE of one-step persistence on the training part (Hyndman & Koehler 2006). Forecasts
    are compared ``by`` "mae" or "rmse". Of several targets there is a table of all, in units of their deviations.
    """
    tables, remarks, figures = [], [], dict[str, Any]()
    wide = levels[-1] - levels[0]
    there = np.isfinite(found.truth)
    for c, target in enumerate(targets):
        kept = there[..., c]
        errors = {label: np.where(kept, (found.truth - made)[..., c], 0.0) for label, made in found.made.items()}
        count, naive = int(kept.sum()), float(found.naive[c])
        scores = {label: _errors(error, count, naive) for label, error in errors.items()}
        spans = {label: _spans(found.truth[..., c], each[..., c, :], levels) for label, each in found.spreads.items()}
        title = f"{target} on {name}, {count:,} forecast values"
        shown = [
            [label, _number(each["mae"]), _number(each["rmse"]), cell(each["mase"], ".3f"), *_shown(spans, label, wide)]
            for label, each in scores.items()
        ]
        tables.append(Table(title, ["", "MAE", "RMSE", "MASE", *_heads(wide)], shown, strong=0))
        best = min((label for label in scores if label != OWN), key=lambda label: scores[label][by])
        remarks += _compared(target, scores, best, by, errors)
        steps = np.abs(errors[OWN]).sum(0) / np.maximum(kept.sum(0), 1)
        figures[target] = {
            "count": count,
            "best_baseline": best,
            "coverage": spans[OWN]["coverage"],
            "interval": wide,
            "mae_by_step": [float(value) for value in steps],
            "scores": scores,
            "spreads": spans,
        }
    kept_figures: dict[str, Any] = {"part": name, "targets": figures}
    if len(targets) == 1:
        own = figures[targets[0]]["scores"][OWN]
        return Report(tables, remarks, kept_figures, {key.upper(): own[key] for key in ("mae", "rmse", "mase")})
    together: dict[str, dict[str, float]] = {}
    for label, made in found.made.items():
        if any(made is found.made[before] for before in together):
            continue  # the same forecast, with other intervals
        relative = ((found.truth - made) / found.unit)[there]
        together[label] = {"mse": float(np.square(relative).mean()), "mae": float(np.abs(relative).mean())}
    title = f"All {len(targets)} targets on {name}, in units of each one's deviation in the training part"
    rows = [[label, *(cell(each[key], ".4f") for key in ("mse", "mae"))] for label, each in together.items()]
    tables.append(Table(title, ["", "MSE", "MAE"], rows, strong=0))
    headline = {"MSE scaled": together[OWN]["mse"], "MAE scaled": together[OWN]["mae"]}
    return Report(tables, remarks, {**kept_figures, "all": {"scores": together}}, headline)


def score_many(
    name: str, targets: Sequence[str], series: Mapping[str, Measured], levels: Sequence[float], by: str = "mae"
) -> Report:
    """One table a target, each figure the mean over series: sMAPE with its interval, MASE, and of quantiles as in `score`.

    sMAPE is the mean of 200 |y - f| / (|y| + |f|), in percent (Makridakis et al. 2020, "The M4 competition"); the interval is
    of 95 %, by drawing series again and again. RMSE and pinball loss are over ``naive``, as MASE is.
    """
    wide, tables, remarks, figures = levels[-1] - levels[0], [], [], dict[str, Any]()
    labels = [label for label in next(iter(series.values())).made if all(label in each.made for each in series.values())]
    for c, target in enumerate(targets):
        own = {each: found for each, found in series.items() if np.isfinite(found.truth[..., c]).any() and found.naive[c] > 0}
        scores: dict[str, dict[str, Any]] = {}
        spans: dict[str, dict[str, float]] = {}
        alone: dict[str, dict[str, float]] = {each: {} for each in own}
        for label in labels:
            every = []
            for each, found in own.items():
                kept = np.isfinite(found.truth[..., c])
                error = np.where(kept, (found.truth - found.made[label])[..., c], 0.0)
                size = np.where(kept, np.abs(found.truth[..., c]) + np.abs(found.made[label][..., c]), 0.0)
                smape = float((200 * np.abs(error) / np.where(size > 0, size, 1)).sum() / kept.sum())
                one = _errors(error, int(kept.sum()), float(found.naive[c]))
                every.append((smape, one["mase"], one["rmse"] / float(found.naive[c])))
                alone[each][label] = smape
            low, high = interval([each[0] for each in every], np.ones(len(every)))
            means = np.mean(every, axis=0)
            scores[label] = {
                "smape": float(means[0]),
                "interval": [low, high],
                "mase": float(means[1]),
                "rmsse": float(means[2]),
            }
            if all(label in found.spreads for found in own.values()):
                each_span = [
                    (spans_["pinball"] / float(found.naive[c]), spans_["coverage"])
                    for found in own.values()
                    for spans_ in [_spans(found.truth[..., c], found.spreads[label][..., c, :], levels)]
                ]
                loss, inside = np.mean(each_span, axis=0)
                spans[label] = {"pinball": float(loss), "coverage": float(inside)}
        shown = [
            [
                label,
                cell(each["smape"], ".3f"),
                f"{each['interval'][0]:.2f}–{each['interval'][1]:.2f}",
                cell(each["mase"], ".3f"),
                cell(each["rmsse"], ".3f"),
                *_shown(spans, label, wide),
            ]
            for label, each in scores.items()
        ]
        title = f"{target} on {name}, mean over {len(own):,} series"
        tables.append(Table(title, ["", "sMAPE", "95 % interval", "MASE", "RMSE scaled", *_heads(wide)], shown, strong=0))
        key = {"mae": "mase", "rmse": "rmsse"}[by]
        best = min((label for label in labels if label != OWN), key=lambda label: scores[label][key])
        better = sum(alone[each][OWN] < alone[each][best] for each in own)
        remarks.append(_compared_many(target, scores[OWN][key], scores[best][key], best, by, f"{better} of {len(own)}"))
        if len(own) < len(series):
            remarks.append(f"{target}: {len(series) - len(own)} series never changed or were not observed, and are left out.")
        figures[target] = {
            "series": len(own),
            "best_baseline": best,
            "coverage": spans[OWN]["coverage"],
            "interval": wide,
            "scores": scores,
            "spreads": spans,
            "smape_by_series": alone,
        }
    every_own = [figures[target]["scores"][OWN] for target in targets]
    headline = {key: float(np.mean([each[key.lower()] for each in every_own])) for key in ("sMAPE", "MASE")}
    return Report(tables, remarks, {"part": name, "targets": figures}, headline)


def _compared_many(target: str, own: float, other: float, best: str, by: str, better: str) -> str:
    if not other:
        return f"{target}: the best plain forecast ({best}) makes no error at all; there is nothing to gain on it."
    less = 1 - own / other
    return (
        f"{target}: the model's {'MASE' if by == 'mae' else 'scaled RMSE'} is {abs(less):.1%} "
        f"{'below' if less >= 0 else 'ABOVE'} that of the best plain forecast ({best}); its sMAPE is below in {better} series."
    )


def _errors(error: Floats, count: int, naive: float) -> dict[str, float]:
    if not count:
        return dict.fromkeys(("mae", "rmse", "mase"), float("nan"))
    mae = float(np.abs(error).sum() / count)
    rmse = float(np.sqrt(np.square(error).sum() / count))
    return {"mae": mae, "rmse": rmse, "mase": mae / naive if naive > 0 else float("nan")}


def _spans(truth: Floats, quantiles: Floats, levels: Sequence[float]) -> dict[str, float]:
    """Twice the mean pinball loss of ``quantiles [N, H, Q]``, and the share of ``truth [N, H]`` within the outer two."""
    kept = np.isfinite(truth)
    if not kept.any():
        return {"pinball": float("nan"), "coverage": float("nan")}
    away, made = truth[kept][:, None] - quantiles[kept], quantiles[kept]
    q = np.asarray(levels)
    inside = (truth[kept] >= made[:, 0]) & (truth[kept] <= made[:, -1])
    return {"pinball": float(2 * np.maximum(q * away, (q - 1) * away).mean()), "coverage": float(inside.mean())}


def _heads(wide: float) -> list[str]:
    return ["pinball", f"in the {wide:.0%} interval"] if wide else []


def _shown(spans: Mapping[str, Mapping[str, float]], label: str, wide: float) -> list[str]:
    if not wide:
        return []
    return [_number(spans[label]["pinball"]), cell(100 * spans[label]["coverage"], ".1f") + "%"] if label in spans else ["", ""]


def _compared(
    target: str, scores: Mapping[str, Mapping[str, float]], best: str, by: str, errors: Mapping[str, Floats]
) -> list[str]:
    """The model beside the plain forecasts, of which ``best`` is the best, in words; what chance alone may do is no gain."""
    model, measure = scores[OWN], by.upper()
    if np.isnan(model[by]):
        return [f"{target}: it was not observed in these rows, and is not measured."]
    if not scores[best][by]:
        return [f"{target}: the best plain forecast ({best}) makes no error at all; there is nothing to gain on it."]
    less = 1 - model[by] / scores[best][by]
    said = f"{cell(abs(100 * less), '.1f')}% {'below' if less >= 0 else 'ABOVE'}"
    span = _gained(errors[OWN], errors[best], by)
    if span is None or span[0] > 0 or span[1] < 0:
        chance = "" if span is None else f"; 95 % interval of the difference {100 * span[0]:.1f} to {100 * span[1]:.1f}%"
        remarks = [f"{target}: the model's {measure} is {said} that of the best plain forecast ({best}){chance}."]
    else:
        remarks = [
            f"{target}: nothing here is shown to beat {best}: the model's {measure} is {said} its own, within chance (95 % "
            f"interval of the difference {100 * span[0]:.1f} to {100 * span[1]:.1f}%)."
        ]
    if model["mae"] > _ASTRAY * max(each["mae"] for label, each in scores.items() if label != OWN):
        remarks.append(
            f"{target}: the model is far worse than all of them; train another with a lower --lr, or a lower --clip."
        )
    return remarks


def _gained(own: Floats, other: Floats, by: str) -> tuple[float, float] | None:
    """The 95 % interval of how much less the model errs, ``[N, H]`` each, by drawing stretches of forecasts again.

    ``None`` where there are too few of them, or the other makes no error in one.
    """
    length = max(own.shape[1], round(len(own) ** (1 / 3)))  # forecasts that overlap err together
    if len(own) < _BLOCKS * length:
        return None
    edges = np.arange(0, len(own), length)
    size = np.abs if by == "mae" else np.square
    sums = [np.add.reduceat(size(each).sum(1), edges) for each in (own, other)]
    if not (sums[1] > 0).all():  # stretches without any error, of which a draw may consist: there is no ratio then
        return None
    low, high = interval(sums[0], sums[1], (lambda ratio: 1 - ratio) if by == "mae" else (lambda ratio: 1 - np.sqrt(ratio)))
    return low, high


def _number(value: float) -> str:
    return cell(value, ".3f" if 0.1 <= abs(value) < 1e4 else ".4g")
