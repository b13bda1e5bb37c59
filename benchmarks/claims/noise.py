"""How sensitive trained networks are to noise in their input."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import torch
from claim import CONDITIONAL, FALSE, TRUE, Claim, Found, Part, Table, number
from networks import network, spread, train

import bptt
from bptt.data.problems import Adding
from bptt.tasks.pictures import BLUE, GREEN, INK, PURPLE, finish, picture

LENGTH, HIDDEN, UPDATES, SEEDS = 100, 32, 2000, (0, 1, 2)
NETS = {"ReLU, identity": 1e-3, "LSTM, chrono": 5e-3, "GRU": 5e-3}  # learning rates
LEVELS = (0.05, 0.1, 0.2, 0.4)
TRAINED_WITH = 0.2
KEPT = 0.02  # mean squared error without noise up to which a network has learnt the problem
MORE = 1.5  # times what no network could avoid


def trials(jobs: int) -> list[dict[str, Any]]:
    return spread(_trial, [(kind, noise, seed) for kind in NETS for noise in (0.0, TRAINED_WITH) for seed in SEEDS], jobs)


def _trial(case: tuple[str, float, int]) -> dict[str, Any]:
    kind, noise, seed = case
    model = network(kind, 2, HIDDEN, 1, seed, longest=LENGTH)
    random = torch.Generator().manual_seed(seed)
    problem = Adding(length=LENGTH, seed=seed)
    train(
        model, problem, updates=UPDATES, lr=NETS[kind], every=50, enough=None if noise else 5e-4,
        change=lambda piece: _noisy(piece, noise, random),
    )  # fmt: skip
    return {"kind": kind, "noise": noise, "seed": seed, "errors": [_error(model, problem, level) for level in (0.0, *LEVELS)]}


def _noisy(piece: bptt.Piece, level: float, random: torch.Generator) -> bptt.Piece:
    """With noise on the numbers of every step; the marks and the target stay."""
    x = piece.x.clone()
    x[..., 0] += level * torch.randn(x.shape[:2], generator=random)
    return bptt.Piece(x, piece.target)


def _error(model: torch.nn.Module, problem: Adding, level: float) -> float:
    random = torch.Generator().manual_seed(1)
    total, rows = 0.0, 0
    with torch.no_grad():
        for _, piece in zip(range(40), problem.epoch(1_000_000), strict=False):
            off = model(_noisy(piece, level, random).x)[0][-1] - piece.target[-1]
            total, rows = total + float((off**2).sum()), rows + len(off)
    return total / rows


def _gain(each: dict[str, Any], level: float) -> float:
    """What noise adds to the error, over the 2σ² that the two marked numbers bring of themselves."""
    return float((each["errors"][1 + LEVELS.index(level)] - each["errors"][0]) / (2 * level**2))


def _learnt(found: Found, kind: str, noise: float) -> list[dict[str, Any]]:
    return [
        e
        for e in found["trials"]
        if (e["kind"], e["noise"]) == (kind, noise) and e["errors"][0] < KEPT + 2 * noise**2 * (noise > 0)
    ]


def _middle(found: Found, kind: str, noise: float, level: float) -> float | None:
    learnt = _learnt(found, kind, noise)
    return statistics.median(_gain(each, level) for each in learnt) if learnt else None


def _clean(found: Found, kind: str, noise: float) -> float | None:
    learnt = _learnt(found, kind, noise)
    return statistics.median(each["errors"][0] for each in learnt) if learnt else None


def judge(found: Found) -> tuple[str, str]:
    clean = {kind: [_middle(found, kind, 0.0, level) for level in LEVELS] for kind in NETS}
    clean = {kind: gains for kind, gains in clean.items() if gains[0] is not None}
    if not clean:
        return FALSE, "No network learnt the problem, so nothing can be said."
    worst = {kind: max(gains) for kind, gains in clean.items()}
    beside = {kind: _middle(found, kind, TRAINED_WITH, TRAINED_WITH) for kind in clean}
    said = "Trained without noise, it adds to the squared error, in multiples of the 2σ² that an exact adder gets, at worst: "
    said += "; ".join(f"{kind} {number(gain, 2)}" for kind, gain in worst.items()) + ". Trained with noise: "
    said += "; ".join(f"{kind} {number(gain, 2)}" for kind, gain in beside.items()) + f" (at σ = {TRAINED_WITH})."
    prices = {kind: (_clean(found, kind, 0.0), _clean(found, kind, TRAINED_WITH)) for kind in beside}
    said += " Its price is the error without noise: " + "; ".join(
        f"{kind} {number(after, 2)} in place of {number(before, 2)}" for kind, (before, after) in prices.items()
    ) + "."  # fmt: skip
    sensitive = [kind for kind, gain in worst.items() if gain > MORE]
    for kind in NETS:
        gains = [_middle(found, kind, TRAINED_WITH, level) for level in LEVELS]
        if gains[0] is not None and max(gains) > MORE:
            sensitive.append(
                f"{kind}, trained with noise ({number(max(gains), 2)} times at σ = {LEVELS[gains.index(max(gains))]})"
            )
    said += f" More than {MORE} times counts as sensitive: {'; '.join(sensitive) or 'none'}."
    if unlearnt := [kind for kind in NETS if kind not in clean]:
        said += f" Nothing is known of {'; '.join(unlearnt)}, which did not learn the problem without noise."
    return (FALSE if not sensitive else TRUE if set(sensitive) >= set(worst) else CONDITIONAL), said


def table(found: Found) -> Table:
    rows = []
    for kind in NETS:
        for noise in (0.0, TRAINED_WITH):
            learnt = _learnt(found, kind, noise)
            gains = [number(_middle(found, kind, noise, level), 2) for level in LEVELS]
            base = number(statistics.median(e["errors"][0] for e in learnt), 2) if learnt else "–"
            rows.append([kind, f"{noise:g}", f"{len(learnt)} of {len(SEEDS)}", base, *gains])
    return Table(["", "σ in training", "learnt", "error without noise", *(f"σ = {level}: times 2σ²" for level in LEVELS)], rows)


def draw(found: Found, path: Path) -> None:
    with picture(path) as panels:
        (axes,) = panels
        for colour, kind in zip((GREEN, BLUE, PURPLE), NETS, strict=True):
            for noise, dash in ((0.0, "-"), (TRAINED_WITH, (0, (4, 3)))):
                learnt = _learnt(found, kind, noise)
                if learnt:
                    errors = [statistics.median(e["errors"][1 + i] for e in learnt) for i in range(len(LEVELS))]
                    axes.plot(LEVELS, errors, color=colour, linestyle=dash, marker="o", markersize=4,
                              label=kind + (f", trained with {noise}" if noise else ""))  # fmt: skip
        axes.plot(LEVELS, [2 * level**2 for level in LEVELS], color=INK, linewidth=1, linestyle=(0, (1, 2)), label="2σ²")
        axes.set_yscale("log")
        axes.set_ylabel("mean squared error")
        axes.set_xlabel("σ of the noise on the numbers")
        finish(panels)
        axes.legend(loc="lower left", ncols=2, bbox_to_anchor=(-0.01, 1.0), borderaxespad=0.2, columnspacing=1.4)


CLAIM = Claim(
    name="noise",
    title="Sensitivity to noise in the input",
    asserted="Networks trained by backpropagation through time are sensitive to noise in their input, as errors add up over "
    "steps.",
    how=f"The adding problem over {LENGTH} steps, H = {HIDDEN}, {len(SEEDS)} seeds; at most {UPDATES} updates; networks that "
    "learnt it read unseen rows with Gaussian noise of standard deviation σ on every number. Noise on the two marked numbers "
    "adds 2σ² to the squared error of the sum itself; what a network adds beyond that comes from the "
    f"{LENGTH - 2} numbers that it should leave out, or from values that it never saw.",
    parts={"trials": Part(trials)},
    judge=judge,
    table=table,
    draw=draw,
)
