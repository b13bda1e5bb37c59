"""A forecast beyond the end of the data, as a table of its own and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bptt.tasks.answers import as_file
from bptt.tasks.pictures import BLUE, INK, ORANGE, finish, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

SHOWN = 4  # series that a picture shows


@dataclass(frozen=True)
class Outlook:
    """What comes after ``stamps[:T]``, ``past [T, C]``: ``quantiles [H, C, Q]`` at ``levels [Q]`` for ``stamps[T:]``.

    ``truth [H, C]`` is what really came, where that is known; ``mean [H, C]`` the forecast, where it is not the median.
    """

    targets: Sequence[str]
    stamps: Sequence[str]
    axis: NDArray[np.generic]
    past: Floats
    levels: Sequence[float]
    quantiles: Floats
    truth: Floats | None = None
    mean: Floats | None = None

    def columns(self) -> dict[str, list[Any]]:
        """For each step ahead: its time, then each target's median (or mean) and its quantiles, to six digits."""
        made: dict[str, list[Any]] = {"time": list(self.stamps[len(self.past) :])}
        for c, target in enumerate(self.targets):
            named = {f"{target}_q{level:g}": self.quantiles[:, c, q] for q, level in enumerate(self.levels)}
            for name, values in {target: self._point()[:, c], **named}.items():
                made[name] = [float(f"{value:.6g}") for value in values]
        return made

    def _point(self) -> Floats:
        return self.quantiles[..., list(self.levels).index(0.5)] if self.mean is None else self.mean

    def file(self, kind: str) -> bytes:
        """The steps as the contents of a file; see `bptt.tasks.answers.as_file`."""
        return as_file(self.columns(), kind)

    def draw(self, path: Path) -> None:
        """History, median and intervals of each target, one below the other; see `bptt.tasks.pictures.picture`."""
        with picture(path, panels=len(self.targets)) as panels:
            self.draw_on(panels, self.targets)
            finish(panels)

    def draw_on(self, panels: Sequence[Axes], labels: Sequence[str]) -> None:
        """The same on axes that are there, one for each target."""
        middle, split = list(self.levels).index(0.5), len(self.past)
        for c, (label, axes) in enumerate(zip(labels, panels, strict=True)):
            axes.plot(self.axis[:split], self.past[:, c], color=BLUE, linewidth=1.4, label="seen")
            ahead = self.axis[split:]
            joined = np.concatenate([self.axis[split - 1 : split], ahead])
            for low in range(middle):
                high = len(self.levels) - 1 - low
                below, above = (np.concatenate([self.past[-1:, c], self.quantiles[:, c, q]]) for q in (low, high))
                wide = f"{self.levels[high] - self.levels[low]:.0%} interval"
                axes.fill_between(joined, below, above, color=ORANGE, alpha=0.25 + 0.2 * low, linewidth=0, label=wide)
            median = np.concatenate([self.past[-1:, c], self._point()[:, c]])
            few = len(ahead) <= 12
            axes.plot(joined, median, color=ORANGE, linewidth=1.8, marker="o" if few else None, markersize=4,
                      markevery=range(1, len(joined)) if few else None, label="forecast")  # fmt: skip
            if len(ahead) == 1:
                axes.vlines(ahead, *(self.quantiles[0, c, [0]], self.quantiles[0, c, [-1]]), color=ORANGE, linewidth=2)
            if self.truth is not None:
                axes.plot(ahead, self.truth[:, c], color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label="what came")
            axes.set_ylabel(label)
            axes.margins(x=0.02)


@dataclass(frozen=True)
class Outlooks:
    """An `Outlook` for each of many series, by name; ``column`` is what names are called."""

    column: str
    series: Mapping[str, Outlook]

    def columns(self) -> dict[str, list[Any]]:
        """The rows of all, one series after the other, with the name of each before them."""
        each = {name: outlook.columns() for name, outlook in self.series.items()}
        keys = next(iter(each.values()))
        names = [name for name, columns in each.items() for _ in columns["time"]]
        return {self.column: names, **{key: [value for columns in each.values() for value in columns[key]] for key in keys}}

    def file(self, kind: str) -> bytes:
        """The steps of all as the contents of a file; see `bptt.tasks.answers.as_file`."""
        return as_file(self.columns(), kind)

    def draw(self, path: Path) -> None:
        """The first of the series, one below the other; see `Outlook.draw`."""
        shown = list(self.series.items())[:SHOWN]
        targets = len(shown[0][1].targets)
        with picture(path, panels=len(shown) * targets) as panels:
            for number, (name, outlook) in enumerate(shown):
                labels = [name if targets == 1 else f"{name}: {target}" for target in outlook.targets]
                outlook.draw_on(panels[number * targets : (number + 1) * targets], labels)
            finish(panels)


@dataclass(frozen=True)
class Backtest:
    """One-by-one forecasts of a held-out stretch beside what really came: ``truth [N, C]``, ``quantiles [N, C, Q]``."""

    targets: Sequence[str]
    axis: NDArray[np.generic]
    truth: Floats
    levels: Sequence[float]
    quantiles: Floats
    title: str

    def draw(self, path: Path) -> None:
        """Truth, median and the outer interval of each target; see `bptt.tasks.pictures.picture`."""
        middle = list(self.levels).index(0.5)
        wide = f"{self.levels[-1] - self.levels[0]:.0%} interval"
        with picture(path, panels=len(self.targets)) as panels:
            for c, (target, axes) in enumerate(zip(self.targets, panels, strict=True)):
                band = self.quantiles[:, c, 0], self.quantiles[:, c, -1]
                if len(self.levels) > 1:
                    axes.fill_between(self.axis, *band, color=ORANGE, alpha=0.25, linewidth=0, label=wide)
                axes.plot(self.axis, self.truth[:, c], color=BLUE, linewidth=1.2, label="what came")
                axes.plot(self.axis, self.quantiles[:, c, middle], color=ORANGE, linewidth=1.6, label="forecast")
                axes.set_ylabel(target)
                axes.margins(x=0.01)
            finish(panels, self.title)
