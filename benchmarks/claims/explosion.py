"""Clipping the gradient against its explosion."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from claim import CONDITIONAL, FALSE, TRUE, Claim, Found, Part, Table, number
from networks import network, spread, train

from bptt.data.problems import Adding
from bptt.tasks.pictures import BLUE, ORANGE, finish, picture

LENGTH, UPDATES, SEEDS = 100, 300, (0, 1)
NETS = ("ReLU, identity", "LSTM")
RATES = {"sgd": (0.003, 0.01, 0.03, 0.1), "adam": (0.001, 0.003, 0.01, 0.03)}
CHANCE = 1 / 6
BROKEN = 10 * CHANCE


def trials(jobs: int) -> list[dict[str, Any]]:
    return spread(
        _trial,
        [
            (kind, optimizer, lr, clip, seed)
            for kind in NETS
            for optimizer, rates in RATES.items()
            for lr in rates
            for clip in (None, 1.0)
            for seed in SEEDS
        ],
        jobs,
    )


def _trial(case: tuple[str, str, float, float | None, int]) -> dict[str, Any]:
    kind, optimizer, lr, clip, seed = case
    model = network(kind, 2, 32, 1, seed)
    found = train(
        model, Adding(length=LENGTH, seed=seed), updates=UPDATES, lr=lr, clip=clip, optimizer=optimizer, every=30,
    )  # fmt: skip
    end = found["curve"][-1][1] if found["broke"] is None else None
    return {"kind": kind, "optimizer": optimizer, "lr": lr, "clip": clip, "seed": seed, "end": end, "norm": found["greatest"]}


def _of(found: Found, **wanted: Any) -> list[dict[str, Any]]:
    return [each for each in found["trials"] if all(each[key] == value for key, value in wanted.items())]


def _broken(trials: list[dict[str, Any]]) -> int:
    return sum(each["end"] is None or each["end"] > BROKEN for each in trials)


def judge(found: Found) -> tuple[str, str]:
    saved, counts = {}, {}
    for kind in NETS:
        for optimizer in RATES:
            free, held = (_of(found, kind=kind, optimizer=optimizer, clip=clip) for clip in (None, 1.0))
            counts[kind, optimizer] = (_broken(free), _broken(held), len(free))
            saved[kind, optimizer] = _broken(free) > 0 and _broken(held) == 0
    worse = [case for case, (free, held, _) in counts.items() if held > free]
    exploding = [case for case, (free, _, _) in counts.items() if free]
    said = "Runs that broke (not finite, or a loss over ten times that of the constant answer), without and with clipping: "
    said += "; ".join(f"{kind} by {o} {free} and {held} of {n}" for (kind, o), (free, held, n) in counts.items()) + "."
    if not exploding:
        return FALSE, said + " Nothing exploded that clipping could have stopped."
    if all(saved[case] for case in saved):
        return TRUE, said
    idle = [f"{kind} by {optimizer}" for kind, optimizer in counts if not counts[kind, optimizer][0]]
    if idle:
        said += f" It was not needed for {'; '.join(idle)}: these did not explode at any of the rates."
    left = [f"{kind} by {optimizer}" for kind, optimizer in exploding if counts[kind, optimizer][1]]
    if left:
        said += f" It was not enough for {'; '.join(left)}."
    best = min(each["end"] for each in found["trials"] if each["end"] is not None)
    if best > 0.9 * CHANCE:
        said += f" No run got far below the constant answer in {UPDATES} updates: this is of breaking, not of learning."
    if worse or not any(counts[case][1] < counts[case][0] for case in exploding):
        return FALSE, said
    return CONDITIONAL, said


def table(found: Found) -> Table:
    rows = []
    for kind in NETS:
        for optimizer, rates in RATES.items():
            for lr in rates:
                line = [kind, optimizer, f"{lr:g}"]
                for clip in (None, 1.0):
                    each = _of(found, kind=kind, optimizer=optimizer, lr=lr, clip=clip)
                    ends = [e["end"] for e in each if e["end"] is not None]
                    line += [f"{_broken(each)} of {len(each)}", number(statistics.median(ends) if ends else None, 2)]
                free = _of(found, kind=kind, optimizer=optimizer, lr=lr, clip=None)
                rows.append([*line, number(max(e["norm"] for e in free), 2)])
    heads = ["", "optimizer", "lr", "broke, unclipped", "last loss", "broke, clipped", "last loss", "greatest norm, unclipped"]
    return Table(heads, rows)


def draw(found: Found, path: Path) -> None:
    with picture(path, panels=len(NETS)) as panels:
        for axes, kind in zip(panels, NETS, strict=True):
            for optimizer, dash in (("sgd", "-"), ("adam", (0, (4, 3)))):
                for clip, colour, name in ((None, ORANGE, "unclipped"), (1.0, BLUE, "clipped to 1")):
                    points = [
                        (lr, e["end"] if e["end"] is not None and e["end"] < 1e6 else 1e6)
                        for lr in RATES[optimizer]
                        for e in _of(found, kind=kind, optimizer=optimizer, lr=lr, clip=clip)
                    ]
                    middle = [(lr, statistics.median(v for rate, v in points if rate == lr)) for lr in RATES[optimizer]]
                    axes.plot(*zip(*middle, strict=True), color=colour, linestyle=dash, label=f"{name}, {optimizer}")
                    axes.plot(*zip(*points, strict=True), color=colour, linestyle="", marker="o", markersize=3.5)
            axes.axhline(CHANCE, color="#7a7a7a", linewidth=1, linestyle=(0, (1, 2)))
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_ylim(0.03, 2e6)
            axes.set_ylabel(f"{kind}: last loss")
            axes.set_xlabel("learning rate (dots: seeds; at the top: not finite; dotted: the constant answer)")
        finish(panels)


CLAIM = Claim(
    name="explosion",
    title="Clipping against explosion",
    asserted="Exploding gradients break the training of a recurrent network; clipping their norm cures it.",
    how=f"The adding problem over {LENGTH} steps, H = 32, {UPDATES} updates of 32 sequences, {len(SEEDS)} seeds at each of "
    "four learning rates, by SGD and by Adam; unclipped, and clipped to a norm of 1.",
    parts={"trials": Part(trials)},
    judge=judge,
    table=table,
    draw=draw,
)
