"""Plain networks forget, and some beginnings and gates keep the gradient alive."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from claim import CONDITIONAL, FALSE, TRUE, Claim, Found, Part, Table, number
from networks import KINDS, network, spread, train, unseen

import bptt
from bptt.data.problems import Adding
from bptt.tasks.pictures import finish, picture

LAGS = (10, 100, 1000)
LENGTHS, SEEDS, UPDATES = (50, 200), (0, 1), 2000
HIDDEN, LR = 32, {"RNN": 1e-3, "RNN, orthogonal": 1e-3}
SOLVED = 0.9  # of unseen rows within 0.1 of the sum
DEAD = 1e-3
COLOURS = ("#c2497d", "#d9752b", "#b09a1f", "#3987e5", "#1f4f96", "#2a9d62", "#a06bd6")


def gradients(jobs: int) -> dict[str, Any]:
    """‖∂E/∂s‖ so many steps before the only loss, over that one step before it, at the beginning; medians over seeds."""
    return dict(zip(KINDS, spread(_gradients, KINDS, jobs), strict=True))


def _gradients(kind: str) -> dict[str, Any]:
    curves = []
    for seed in SEEDS:
        model = network(kind, 2, HIDDEN, 1, seed, longest=max(LAGS)).double()
        (piece,) = Adding(length=max(LAGS) + 2, rows=8, sequences=1, seed=seed).epoch(0)
        exact = bptt.Piece(piece.x.double(), piece.target.double())
        mean = bptt.observe.gradient_flow(model, bptt.SquaredError(), exact, steps=len(piece.x)).profile.mean
        curves.append(mean / mean[0])
    lags = sorted({1, 2, 3, 5, *range(10, 100, 5), *range(100, max(LAGS) + 1, 50)})
    return {"lags": lags, "left": [statistics.median(float(curve[lag - 1]) for curve in curves) for lag in lags]}


def adding(jobs: int) -> list[dict[str, Any]]:
    cases = [(kind, length, seed) for length in LENGTHS for kind in KINDS for seed in SEEDS]
    return spread(_adding, cases, jobs)


def _adding(case: tuple[str, int, int]) -> dict[str, Any]:
    kind, length, seed = case
    model = network(kind, 2, HIDDEN, 1, seed, longest=length)
    trained = train(
        model, Adding(length=length, seed=seed), updates=UPDATES, lr=LR.get(kind, 5e-3), every=50, enough=1e-3,
    )  # fmt: skip
    answers, sums = unseen(model, Adding(length=length, seed=seed))
    solved = float(((answers - sums).abs() < 0.1).float().mean())
    return {
        "kind": kind,
        "length": length,
        "seed": seed,
        "solved": solved,
        "curve": trained["curve"],
        "broke": trained["broke"],
    }


def _left(found: Found, kind: str, lag: int) -> float:
    each = found["gradients"][kind]
    return float(each["left"][each["lags"].index(lag)])


def _solved(found: Found, kind: str, length: int) -> list[float]:
    return [each["solved"] for each in found["adding"] if (each["kind"], each["length"]) == (kind, length)]


def judge(found: Found) -> tuple[str, str]:
    far, long = max(LAGS), max(LENGTHS)
    alive = [kind for kind in KINDS if _left(found, kind, 100) > DEAD]
    farther = [kind for kind in KINDS if _left(found, kind, far) > DEAD]
    solving = [kind for kind in KINDS if min(_solved(found, kind, long)) >= SOLVED]
    cures = [kind for kind in KINDS if kind != "RNN"]
    plain = "RNN" not in alive and "RNN" not in solving
    verdict = FALSE if not plain else TRUE if all(kind in solving and kind in alive for kind in cures) else CONDITIONAL
    despite = [kind for kind in solving if kind not in alive]
    in_vain = [kind for kind in alive if kind not in solving]
    said = (
        f"At the beginning more than {DEAD:g} of the error is left after 100 steps in {_listed(alive)}; after {far} in "
        f"{_listed(farther)}. The adding problem over {long} steps is solved by {_listed(solving)} (every seed)."
    )
    if despite:
        said += f" A gradient that is faint at first need not stay so: {_listed(despite)} learnt to keep it."
    if in_vain:
        said += f" A gradient alone is not enough: {_listed(in_vain)} had one and did not solve it in {UPDATES} updates."
    return verdict, said


def _listed(kinds: list[str]) -> str:
    return "none" if not kinds else "; ".join(kinds)


def table(found: Found) -> Table:
    rows = []
    for kind in KINDS:
        solved = [
            f"{sum(share >= SOLVED for share in shares)} of {len(shares)}"
            for shares in (_solved(found, kind, length) for length in LENGTHS)
        ]
        rows.append([kind, *(number(_left(found, kind, lag), 2) for lag in LAGS), *solved])
    return Table(
        ["", *(f"error left at lag {lag}" for lag in LAGS), *(f"adding over {length} steps solved" for length in LENGTHS)], rows
    )


def draw(found: Found, path: Path) -> None:
    with picture(path, panels=2) as panels:
        above, below = panels
        for colour, kind in zip(COLOURS, KINDS, strict=True):
            each = found["gradients"][kind]
            above.plot(each["lags"], [max(v, 1e-30) for v in each["left"]], color=colour, linewidth=1.8, label=kind)
            curves = [e["curve"] for e in found["adding"] if (e["kind"], e["length"]) == (kind, max(LENGTHS))]
            for at, curve in enumerate(curves):
                below.plot(*zip(*curve, strict=True), color=colour, linewidth=1.4 if not at else 0.6)
        above.set_xscale("log")
        above.set_yscale("log")
        above.set_ylim(1e-20, 1e6)
        above.set_xlabel("lag, steps")
        above.set_ylabel("error left, of that at lag 1")
        below.set_yscale("log")
        below.axhline(1 / 6, color="#7a7a7a", linewidth=1, linestyle=(0, (5, 4)))
        below.set_xlabel("updates (each line a seed; dashed: the best answer without memory)")
        below.set_ylabel(f"adding over {max(LENGTHS)} steps: loss")
        finish(panels)
        panels[0].legend(loc="lower left", ncols=4, bbox_to_anchor=(-0.01, 1.0), borderaxespad=0.2, columnspacing=1.4)


CLAIM = Claim(
    name="vanishing",
    title="ReLU with identity, orthogonal weights, LSTM and GRU against vanishing",
    asserted="In a plain recurrent network the gradient vanishes; gates (LSTM, GRU), an orthogonal beginning, or ReLU with the "
    "identity keep it alive, so that long dependencies are learnt.",
    how=f"H = {HIDDEN}. The error at the state so many steps before the one loss of an adding problem of {max(LAGS) + 2} "
    f"steps, over that one step before it, in untrained networks (medians of {len(SEEDS)} seeds; chrono: gates opened for "
    f"{max(LAGS)} steps). Then trained by Adam on the adding problem, at most {UPDATES} updates of 32 sequences, clipped to 1 "
    f"(lr 0.005, with tanh 0.001; chrono: for the problem's length); solved: {SOLVED:.0%} of unseen rows within 0.1 of "
    "the sum.",
    parts={"gradients": Part(gradients), "adding": Part(adding)},
    judge=judge,
    table=table,
    draw=draw,
)
