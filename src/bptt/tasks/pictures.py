"""The look of every picture: one font size, few lines, colours that stand on white and on black."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT = "#7a7a7a", "#9a9a9a"
_WIDTH = 8.0  # inches
BLUE, ORANGE, GREEN, PURPLE = "#3987e5", "#d9752b", "#2a9d62", "#a06bd6"


def installed() -> bool:
    """Whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def check(path: Path) -> None:
    """Refuses what `picture` cannot do.

    **Raises** ``ImportError`` naming the extra where matplotlib is missing, ``ValueError`` for an unknown kind of file.
    """
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ValueError(f"a picture is written as .png, .svg or .pdf, got {path}")
    if not installed():
        raise ImportError('matplotlib is needed to draw: pip install "bptt[plots]"')


@contextmanager
def picture(path: Path, panels: int = 1, heights: Sequence[float] | None = None) -> Iterator[list[Axes]]:
    """Axes below each other to draw on, written to ``path`` (png, svg or pdf) at the end; transparent, for light and dark.

    ``heights``: inches for each, where they are not to be alike.

    **Raises** what `check` raises.
    """
    check(path)
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": FAINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.grid": True,
        "grid.color": FAINT,
        "grid.alpha": 0.25,
        "legend.frameon": False,
    }
    with mpl.rc_context(style):
        inches = [2.8] * panels if heights is None else list(heights)
        figure = Figure(figsize=(_WIDTH, 1.4 + sum(inches)), layout="constrained")
        FigureCanvasAgg(figure)
        yield list(figure.subplots(len(inches), 1, squeeze=False, height_ratios=inches)[:, 0])
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f".writing-{os.getpid()}-{path.name}")  # a reader never sees half a picture
        try:
            figure.savefig(made, dpi=144, transparent=True)
            made.replace(path)
        finally:
            made.unlink(missing_ok=True)


def finish(panels: list[Axes], title: str = "") -> None:
    """What all pictures end with: the legend above the first panel, the title below the last, dates written short."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    for axes in panels:
        if isinstance(axes.xaxis.get_major_locator(), AutoDateLocator):
            locator: Any = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    _legend(panels[0])
    if title:
        panels[-1].set_xlabel(title)


def _legend(axes: Axes) -> None:
    """Above the axes, in as many columns as are wide enough for the longest name; the figure grows by its further rows."""
    figure: Any = axes.figure
    names = len(axes.get_legend_handles_labels()[1])
    for columns in range(min(6, names), 0, -1):
        legend = axes.legend(loc="lower left", ncols=columns, bbox_to_anchor=(-0.01, 1.0), borderaxespad=0.2, columnspacing=1.4)
        if legend.get_window_extent().width <= 0.88 * figure.bbox.width:
            break
    if names:
        rows = -(-names // columns)
        figure.set_figheight(figure.get_figheight() + 0.21 * (rows - 1))
