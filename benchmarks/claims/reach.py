"""Dependencies beyond k2, and whether they are learnt."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import torch
from claim import CONDITIONAL, FALSE, TRUE, Claim, Found, Part, Table
from networks import network, spread
from torch import Tensor

import bptt
from bptt.tasks.pictures import BLUE, GREEN, INK, ORANGE, finish, picture

LAG, ROWS, UPDATES, UNSEEN, SEEDS = 10, 32, 2500, 500, (0, 1, 2)
NETS = {"LSTM": 16, "RNN": 16, "RNN, orthogonal": 128}
WINDOWS = (1, 3, 6, 9, 10, 11, 12, 16, 24)
LEARNT, CHANCE = 0.95, 0.5
NEAR = 0.55  # what a seed can reach by luck
ABOVE = 0.6  # right answers of which chance would give a half


def trials(jobs: int) -> list[dict[str, Any]]:
    return spread(_trial, [(kind, k2, seed) for kind in NETS for k2 in WINDOWS for seed in SEEDS], jobs)


def _bits(steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random bits as ±1 ``[T, B, 1]``, and which each was ``LAG`` steps before; nothing is asked of the first ones."""
    bits = torch.randint(0, 2, (steps, ROWS), generator=torch.Generator().manual_seed(seed))
    wanted = torch.full_like(bits, -100)
    wanted[LAG:] = bits[:-LAG]
    return (2.0 * bits - 1).unsqueeze(-1), wanted


def _trial(case: tuple[str, int, int]) -> dict[str, Any]:
    kind, k2, seed = case
    model = network(kind, 1, NETS[kind], 2, seed)
    steps = bptt.train.make_optimizer("adam", list(model.parameters()), 5e-3)
    for window in bptt.backprop(
        model, bptt.CrossEntropy(), _bits(UPDATES + LAG, seed), through=bptt.Truncated(k1=1, k2=k2), reduction="mean"
    ):
        if window.count:
            bptt.clip_norm(model, 1.0)
            steps.step()
        steps.zero_grad()
    x, wanted = _bits(UNSEEN, 1000 + seed)
    with torch.no_grad():
        said = model(x)[0].argmax(-1)
    return {"kind": kind, "k2": k2, "seed": seed, "right": float((said == wanted)[LAG:].float().mean())}


def _right(found: Found, kind: str, k2: int) -> float:
    return statistics.median(e["right"] for e in found["trials"] if (e["kind"], e["k2"]) == (kind, k2))


def judge(found: Found) -> tuple[str, str]:
    short = [k2 for k2 in WINDOWS if k2 <= LAG]
    long = [k2 for k2 in WINDOWS if k2 > LAG]
    below = {kind: max((_right(found, kind, k2), k2) for k2 in short) for kind in NETS}
    beyond = {kind: max((_right(found, kind, k2), k2) for k2 in long) for kind in NETS}
    despite = [kind for kind in NETS if below[kind][0] >= ABOVE]
    learnt = [kind for kind in NETS if beyond[kind][0] >= LEARNT]
    said = f"Right answers where no gradient spans the {LAG} steps (k2 up to {LAG}), at best: "
    said += "; ".join(f"{kind} {right:.0%} (k2 = {k2})" for kind, (right, k2) in below.items())
    said += f". Where one does (k2 from {LAG + 1}): " + "; ".join(
        f"{k} {right:.0%} (k2 = {k2})" for k, (right, k2) in beyond.items()
    )
    said += "."
    missed = [(kind, k2) for kind in learnt for k2 in long if _right(found, kind, k2) < NEAR]
    if missed:
        said += f" Not so, in the middle seed, {'; '.join(f'{kind} at k2 = {k2}' for kind, k2 in missed)}."
    faint = [f"{kind} {right:.0%}" for kind, (right, _) in below.items() if NEAR <= right < ABOVE]
    if faint:
        said += f" A little above chance without such a gradient: {'; '.join(faint)}."
    if not learnt:
        return FALSE, said + " Nothing was learnt even with a gradient that spans them, so this says nothing."
    if not despite:
        return TRUE, said
    said += (
        f" {'; '.join(despite)} answered beyond chance without such a gradient: the state is carried over the cut, and what "
        "happens to be left in it of earlier input a readout can learn to use."
    )
    return (FALSE if all(below[kind][0] >= LEARNT for kind in learnt) else CONDITIONAL), said


def table(found: Found) -> Table:
    rows = [[f"{kind}, H = {NETS[kind]}", *(f"{_right(found, kind, k2):.0%}" for k2 in WINDOWS)] for kind in NETS]
    return Table(["right answers", *(f"k2 = {k2}" for k2 in WINDOWS)], rows)


def draw(found: Found, path: Path) -> None:
    with picture(path) as panels:
        (axes,) = panels
        for colour, kind in zip((BLUE, ORANGE, GREEN), NETS, strict=True):
            axes.plot(WINDOWS, [_right(found, kind, k2) for k2 in WINDOWS], color=colour, linewidth=1.8, label=kind)
            points = [(e["k2"], e["right"]) for e in found["trials"] if e["kind"] == kind]
            axes.plot(*zip(*points, strict=True), color=colour, linestyle="", marker="o", markersize=3.5)
        axes.axvline(LAG + 0.5, color=INK, linewidth=1, linestyle=(0, (5, 4)))
        axes.annotate(f"a gradient spans {LAG} steps", (LAG + 0.7, 0.46), color=INK)
        axes.set_ylim(0.44, 1.02)
        axes.set_ylabel("right answers (chance 0.5)")
        axes.set_xlabel("k2 (k1 = 1; dots: seeds)")
        finish(panels)


CLAIM = Claim(
    name="reach",
    title="Dependencies beyond k2 are not learnt",
    asserted="Truncated backpropagation cannot learn a dependency that spans k2 steps or more.",
    how=f"At every step a random bit; to be said: which it was {LAG} steps ago. k1 = 1, so that a loss reaches the input of "
    f"{LAG} steps before exactly if k2 > {LAG}. {UPDATES:,} updates by Adam (0.005) of {ROWS} rows, {len(SEEDS)} seeds "
    f"(medians); right answers on {UNSEEN} unseen steps.",
    parts={"trials": Part(trials)},
    judge=judge,
    table=table,
    draw=draw,
)
