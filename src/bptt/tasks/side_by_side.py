"""The picture of strategies side by side: what each one learns, what it costs, and how true its gradient is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bptt.faithful import Fidelity
from bptt.tasks.pictures import BLUE, GREEN, INK, ORANGE, PURPLE, finish, picture
from bptt.through.size import shown

if TYPE_CHECKING:
    from bptt.tasks.compare import Trial

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#c2497d", "#b3922b", "#4aa8a0", "#a5714f")
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)))  # where there are more strategies than colours
_CURVES, _LINE = 2.8, 0.2  # inches: the height of a panel of curves, and of a line of words or a bar

Bars = tuple[str, str, list[tuple[float, str]]]
"""A strategy's name and colour, and the length of each of its bars with the words at its end."""


def draw(trials: Sequence[Trial], path: Path, *, unit: str, score: str, chance: float | None) -> None:
    """Curves of loss (and score) with a legend, and bars that bear names; a strategy has one colour in all of them."""
    drawn = [(trial, _COLOURS[n % len(_COLOURS)], n // len(_COLOURS)) for n, trial in enumerate(t for t in trials if t.curve)]
    peaks: list[Bars] = [
        (trial.through, colour, [(trial.peak / 2**20, shown(trial.peak))])
        for trial, colour, _ in drawn
        if trial.peak is not None
    ]
    true: list[Bars] = [
        (trial.through, colour, [(found.bias, f"bias {bias(found)}"), (found.variance**0.5, f"σ {found.variance**0.5:.2g}")])
        for trial, colour, _ in drawn
        if (found := trial.gradient) is not None
    ]
    heights = [_CURVES] * (3 if score else 2) + [_height(peaks), _height(true)]
    with picture(path, heights=heights) as panels:
        for position, label in enumerate(("updates", "seconds")):
            axes = panels[position]
            for trial, colour, turn in drawn:
                _curve(axes, [(point[position], point[2]) for point in trial.curve], colour, turn, trial.through)
            if chance is not None:
                axes.axhline(chance, color=INK, linewidth=1.2, linestyle=(0, (5, 4)), label=f"no memory {chance:.3g}")
            axes.set_xlabel(label)
            axes.set_xlim(0)
            axes.set_ylabel(f"loss ({unit})" if unit else "loss")
        if score:
            for trial, colour, turn in drawn:
                _curve(panels[2], [(update, value) for update, _, value in trial.scored], colour, turn)
            panels[2].set_xlabel("updates")
            panels[2].set_xlim(0)
            panels[2].set_ylim(-0.02, 1.02)
            panels[2].set_ylabel(score)
        _bars(panels[-2], peaks, "peak memory (MiB)")
        _bars(panels[-1], true, "of the gradient, by ‖G‖: bias, and scatter σ (pale)")
        finish(panels)


def bias(gradient: Fidelity) -> str:
    """The bias, or what it is lost in: the chance of a few draws."""
    told = 2 * gradient.doubt
    return f"{gradient.bias:.2g}" if gradient.bias > told or not told else f"below {told:.2g}"


def _curve(axes: Any, points: list[tuple[float, float]], colour: str, turn: int, label: str | None = None) -> None:
    marker = "o" if len(points) < 2 else ""  # a line needs two
    style = _DASHES[turn % len(_DASHES)]
    axes.plot(
        *zip(*points, strict=True), color=colour, linestyle=style, linewidth=1.8, marker=marker, markersize=5, label=label
    )


def _height(bars: list[Bars]) -> float:
    """Inches for the lines of all, a gap after each, and the axis."""
    return 0.7 + sum(_LINE * (1.4 + len(each)) for *_, each in bars)


def _bars(axes: Any, bars: list[Bars], label: str) -> None:
    """From above: each name, and below it its bars with words at their ends; the later ones of a name are paler."""
    at = 0.0
    for name, colour, each in bars:
        axes.annotate(name, (0, at), xytext=(2, 0), textcoords="offset points", va="center", fontsize=9, color=INK)
        for number, (length, words) in enumerate(each):
            at += 1
            axes.barh(at, length, height=0.8, color=colour, alpha=0.45 if number else 1.0)
            axes.annotate(words, (length, at), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
        at += 1.4
    axes.set_yticks([])
    axes.set_ylim(at - 0.6, -0.6)
    axes.grid(visible=False)  # the words at the bars tell their length
    axes.margins(x=0.15)
    axes.set_xlim(0)
    axes.set_xlabel(label)
