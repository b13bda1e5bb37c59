"""Results as a table, as JSON and as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PEERS = ("torch", "compile", "jax", "padded")


def show(title: str, rows: list[dict[str, Any]]) -> None:
    peers = [peer for peer in PEERS if any(peer in row["ms"] for row in rows)]
    table = Table(title=title)
    left = ("", "T, B, I, H", "pass")
    for name in (
        *left,
        "native ms",
        *(f"{peer} ms" for peer in peers),
        "× torch",
        "middle half",
        "× JAX",
        "GFLOP/s",
        "% of peak",
    ):
        table.add_column(name, justify="left" if name in left else "right")
    for row in rows:
        ratio, jax = row["ratio"], row["against"].get("jax")
        table.add_row(
            row["cell"],
            ", ".join(map(str, row["shape"])),
            row["pass"],
            f"{row['ms']['native']:.2f}",
            *(f"{row['ms'][peer]:.2f}" if peer in row["ms"] else "–" for peer in peers),
            f"{ratio:.2f}",
            f"{row['low']:.2f}–{row['high']:.2f}",
            f"{jax:.2f}" if jax else "–",
            f"{row['gflops']:.0f}",
            f"{100 * row['of_peak']:.0f}",
        )
    console = Console(width=150)
    console.print(table)
    for reason in sorted({f"{peer}: {why}" for row in rows for peer, why in row["without"].items()}):
        console.print(
            f"left out, {reason}: at {sum(reason == f'{p}: {w}' for r in rows for p, w in r['without'].items())} sizes"
        )
    slower = [row for row in rows if row["ratio"] < 1]
    console.print(f"{len(rows)} measured; slower than the best of torch at {len(slower)}", style="bold" if slower else "")


def save(path: Path, machine: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


def draw(path: Path, title: str, rows: list[dict[str, Any]]) -> None:
    """How many times as fast as the best of torch, one group of bars a shape, one bar a cell."""
    from matplotlib.figure import Figure

    shapes = list(dict.fromkeys(tuple(row["shape"]) for row in rows))
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    figure = Figure(figsize=(max(6.0, 1.1 * len(shapes)), 4.0), layout="constrained")
    axes = figure.subplots()
    for index, cell in enumerate(cells):
        place = {tuple(row["shape"]): row for row in rows if row["cell"] == cell}
        at = [n + 0.8 * (index + 0.5) / len(cells) - 0.4 for n, shape in enumerate(shapes) if shape in place]
        heights = [place[shape]["ratio"] for shape in shapes if shape in place]
        spread = [
            [max(0.0, h - place[s]["low"]) for h, s in zip(heights, [s for s in shapes if s in place], strict=True)],
            [max(0.0, place[s]["high"] - h) for h, s in zip(heights, [s for s in shapes if s in place], strict=True)],
        ]
        axes.bar(at, heights, 0.8 / len(cells), yerr=spread, label=cell, error_kw={"lw": 0.8})
    axes.axhline(1, color="black", lw=0.8)
    axes.set_yscale("log")
    axes.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axes.set_xticks(
        range(len(shapes)), ["\n".join(f"{n} {s}" for n, s in zip("TBIH", shape, strict=True)) for shape in shapes], fontsize=8
    )
    axes.set_ylabel("times as fast as the better torch")
    axes.set_title(title, fontsize=10)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
