"""How good forecasts are, beside the plain ones, all made from the same rows and measured on the same targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.tasks.report import Report, Table, cell

Floats = NDArray[np.float64]

_ASTRAY = 2  # times the MAE of the worst plain forecast: a training that merely has not come far stays below


def score(
    name: str,
    targets: Sequence[str],
    truth: Floats,
    model: Floats,
    quantiles: Sequence[float],
    plain: Mapping[str, Floats],
    naive: Floats,
) -> Report:
    """One table a target: MAE, RMSE, MASE, and how often the truth lay within the outer quantiles.

    ``truth [N, H, C]`` (NaN where not observed), ``model [N, H, C, Q]``, each of ``plain`` ``[N, H, C]``. MASE is the MAE
    over ``naive [C]``, the MAE of one-step persistence on the training part (Hyndman & Koehler 2006).
    """
    median = model[..., list(quantiles).index(0.5)]
    there = np.isfinite(truth)
    tables, remarks, figures = [], [], dict[str, Any]()
    wide = quantiles[-1] - quantiles[0]
    for c, target in enumerate(targets):
        kept = there[..., c]
        rows = {"this model": median, **plain}
        errors = {label: (truth - made)[..., c][kept] for label, made in rows.items()}
        mae = {label: float(np.abs(e).mean()) for label, e in errors.items()}
        rmse = {label: float(np.sqrt(np.square(e).mean())) for label, e in errors.items()}
        mase = {label: value / float(naive[c]) if naive[c] > 0 else float("nan") for label, value in mae.items()}
        inside = (truth[..., c] >= model[..., c, 0]) & (truth[..., c] <= model[..., c, -1])
        coverage = float(inside[kept].mean())
        steps = np.nanmean(np.where(kept, np.abs(truth - median)[..., c], np.nan), axis=0) if len(truth) else np.empty(0)
        shown = [
            [label, _number(mae[label]), _number(rmse[label]), cell(mase[label], ".3f")]
            + ([f"{coverage:.1%}" if not row else ""] if wide else [])
            for row, label in enumerate(rows)
        ]
        title = f"{target} on {name}, {kept.sum():,} forecast values"
        columns = ["", "MAE", "RMSE", "MASE"] + [f"in the {wide:.0%} interval"] * bool(wide)
        tables.append(Table(title, columns, shown, strong=0))
        best = min(plain, key=lambda label: mae[label])
        remarks += _compared(target, mae, best)
        figures[target] = {
            "count": int(kept.sum()),
            "best_baseline": best,
            "coverage": coverage,
            "interval": wide,
            "mae_by_step": [float(value) for value in steps],
            "scores": {label: {"mae": mae[label], "rmse": rmse[label], "mase": mase[label]} for label in rows},
        }
    return Report(tables, remarks, {"part": name, "targets": figures})


def _compared(target: str, mae: Mapping[str, float], best: str) -> list[str]:
    """The model's MAE beside those of the plain forecasts, of which ``best`` is the best, in words."""
    model, worst = mae["this model"], max(value for label, value in mae.items() if label != "this model")
    if not mae[best]:
        return [f"{target}: the best plain forecast ({best}) makes no error at all; there is nothing to gain on it."]
    less = 1 - model / mae[best]
    than = f"{cell(abs(100 * less), '.1f')}% {'below' if less >= 0 else 'ABOVE'}"
    said = [f"{target}: the model's MAE is {than} that of the best plain forecast ({best})."]
    if model > _ASTRAY * worst:
        said.append(f"{target}: the model is far worse than all of them; train another with a lower --lr, or a lower --clip.")
    return said


def _number(value: float) -> str:
    return cell(value, ".3f" if 0.1 <= abs(value) < 1e4 else ".4g")
