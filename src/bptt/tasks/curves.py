"""The curve of a run's loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bptt.tasks.pictures import BLUE, INK, ORANGE, installed, picture
from bptt.train import read_log


def draw(folder: Path, unit: str, factor: float = 1.0, levels: Mapping[str, float] | None = None) -> list[Path]:
    """Training and validation loss times ``factor``, over updates, with ``levels`` as lines; into ``loss.png``.

    The path drawn to; nothing where matplotlib is not installed or there is nothing to draw.
    """
    lines = read_log(folder)
    train = [(line["update"], line["loss"] * factor) for line in lines if line.get("loss") is not None]
    valid = [(line["update"], line["validation"] * factor) for line in lines if line.get("validation") is not None]
    if not installed() or not (train or valid):
        return []
    path = folder / "loss.png"
    with picture(path) as (axes,):
        if train:
            axes.plot(*zip(*train, strict=True), color=BLUE, alpha=0.35, linewidth=1)
            smooth = _smooth([loss for _, loss in train])
            axes.plot([update for update, _ in train], smooth, color=BLUE, linewidth=1.8, label="training")
        if valid:
            axes.plot(*zip(*valid, strict=True), color=ORANGE, linewidth=1.8, marker="o", markersize=4, label="validation")
            update, least = min(valid, key=lambda point: point[1])
            axes.annotate(
                f"{least:.3f}", (update, least), textcoords="offset points", xytext=(0, -14), ha="center", color=ORANGE
            )
        for label, value in (levels or {}).items():
            axes.axhline(value, color=INK, linewidth=1.2, linestyle=(0, (5, 4)))
            axes.annotate(
                f"{label} {value:.3f}", (1, value), xycoords=("axes fraction", "data"), textcoords="offset points",
                xytext=(-2, 3), ha="right", color=INK,
            )  # fmt: skip
        shown = [loss for _, loss in train[len(train) // 20 :] + valid] + list((levels or {}).values())
        margin = 0.08 * (max(shown) - min(shown)) or 0.1
        axes.set_ylim(min(shown) - 1.5 * margin, max(shown) + margin)
        axes.set_xlim(0)
        axes.set_xlabel("updates")
        axes.set_ylabel(unit)
        axes.legend(loc="upper right" if not levels else "center right")
    return [path]


def _smooth(values: list[float]) -> list[float]:
    """A running mean that weighs the last twentieth of the run."""
    keep = 1 - 1 / max(1, len(values) / 20)
    total = weight = 0.0
    out = []
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        out.append(total / weight)
    return out
