"""What there is to see of a classifier: its accuracy while it learned, and which labels it takes for which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.tasks import curves as losses
from bptt.tasks.pictures import installed, picture
from bptt.tasks.report import Report

_MOST = 30  # labels that fit into a picture


def curves(folder: Path) -> list[Path]:
    """Training and validation loss over updates, into ``loss.png``."""
    return losses.draw(folder, "nats per text")


def confusion(folder: Path, report: Report) -> list[Path]:
    """How many texts of each label were given which, into ``confusion.png``; nothing without matplotlib or a measure."""
    counts = np.asarray(report.figures.get("confusion", []), dtype=np.int64)
    labels = report.figures.get("labels", [])
    if not installed() or not counts.size or len(labels) > _MOST:
        return []
    path = folder / "confusion.png"
    draw(path, counts, labels, f"on {report.figures['part']}, {report.figures['count']:,} texts")
    return [path]


def draw(path: Path, counts: NDArray[np.int64], labels: list[str], title: str) -> None:
    """Rows: the label that a text has; columns: the one it was given; the shade is the share of the row."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    with picture(path) as panels:
        axes = panels[0]
        size = min(7.0, 2.2 + 0.55 * len(labels))
        figure: Any = axes.figure
        figure.set_size_inches(size + 1.2, size)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
        for row, column in np.ndindex(*counts.shape):
            dark = shares[row, column] > 0.5
            text = f"{counts[row, column]:,}" + (f"\n{shares[row, column]:.0%}" if len(labels) <= 8 else "")
            axes.text(column, row, text, ha="center", va="center", color="white" if dark else "#1f3b5c",
                      fontsize=10 if len(labels) <= 8 else 7)  # fmt: skip
        names = [label if len(label) <= 18 else label[:17] + "…" for label in labels]
        turned: dict[str, Any] = {"rotation": 60, "ha": "right"} if sum(map(len, names)) > 40 else {}
        axes.set_xticks(range(len(names)), names, **turned)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel(f"label given\n{title}")
        axes.set_ylabel("label it has")
