"""The curve of a run's loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bptt.tasks.pictures import BLUE, INK, ORANGE, finish, installed, picture
from bptt.train import read_log


def draw(folder: Path, unit: str, factor: float = 1.0, levels: Mapping[str, float] | None = None) -> list[Path]:
    """Training and validation loss times ``factor``, over updates, with ``levels`` as lines; into ``loss.png``.

    The path drawn to; nothing where matplotlib is not installed or there is nothing to draw.
    """
    lines = read_log(folder)
    train = _spread([(line["update"], line["loss"] * factor) for line in lines if line.get("loss") is not None])
    valid = [(line["update"], line["validation"] * factor) for line in lines if line.get("validation") is not None]
    if not installed() or not (train or valid):
        return []
    path = folder / "loss.png"
    with picture(path) as panels:
        axes = panels[0]
        if train:
            axes.plot(*zip(*train, strict=True), color=BLUE, alpha=0.3, linewidth=1)
            axes.plot(
                *zip(*_smooth(train), strict=True),
                color=BLUE,
                linewidth=1.8,
                label="training, running mean" if len(train) > _FEW else "training",
            )
        if valid:
            label = f"validation, best {min(loss for _, loss in valid):.3f}"
            axes.plot(*zip(*valid, strict=True), color=ORANGE, linewidth=1.8, marker="o", markersize=4, label=label)
        for label, value in (levels or {}).items():
            axes.axhline(value, color=INK, linewidth=1.2, linestyle=(0, (5, 4)))
            right = value > (valid or train)[-1][1]  # where the curves are not
            axes.annotate(
                f"{label} {value:.3f}", (float(right), value), xycoords=("axes fraction", "data"),
                textcoords="offset points", xytext=(-2, 3) if right else (4, 3), ha="right" if right else "left", color=INK,
            )  # fmt: skip
        shown = [loss for _, loss in train[len(train) // 20 :] + valid] + list((levels or {}).values())
        margin = 0.08 * (max(shown) - min(shown)) or 0.1
        axes.set_ylim(min(shown) - 1.5 * margin, max(shown) + margin)
        axes.set_xlim(0)
        axes.set_xlabel("updates")
        axes.set_ylabel(unit)
        finish(panels)
    return [path]


_FEW = 50  # points that need no smoothing
Points = list[tuple[int, float]]


def _spread(points: Points) -> Points:
    """Without the points that stand for a few updates only, as a log has at the end of an epoch: they are mostly noise."""
    gaps = [update - before for (update, _), (before, _) in zip(points, [(0, 0.0), *points], strict=False)]
    usual = sorted(gaps)[len(gaps) // 2] if gaps else 0
    return [point for point, gap in zip(points, gaps, strict=True) if 2 * gap >= usual]


def _smooth(points: Points) -> Points:
    """A running mean over about a fiftieth of the run."""
    keep = 1 - 1 / max(1, len(points) / _FEW)
    total = weight = 0.0
    out = []
    for update, value in points:
        total, weight = keep * total + value, keep * weight + 1
        out.append((update, total / weight))
    return out
