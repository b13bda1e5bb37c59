"""Known problems by every strategy: which of them reach back far enough. Writes a table and a picture.

python benchmarks/problems.py --out docs                                  # about half an hour on two cores
python benchmarks/problems.py --only adding --through full --out docs     # a part of it; the others stay as they were

What has been found stands in problems.json, and the page and the picture are made from that.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

import bptt
from bptt.data import Piece, Problem
from bptt.tasks.pictures import finish, picture
from bptt.tasks.problems import ProblemSettings, problem_of, solved


@dataclasses.dataclass(frozen=True)
class Case:
    """Settings with which the whole gradient solves the problem in so many epochs of 100 batches of 32 rows, and how to reach
    back: truncation with windows of a whole sequence (where all end alike) and a k2 well below the gap.
    """

    settings: dict[str, Any]
    epochs: int
    through: tuple[str, ...]
    steps: int


def strategies(steps: int, short: int, horizon: int, k1: int, window: int | None = None) -> tuple[str, ...]:
    return (
        "full",
        f"truncated:k1={window or steps},k2={short}",
        "checkpointed:slots=5",
        f"randomized:horizon={horizon}",
        f"adaptive:bias=0.1,k1={k1},most={steps // k1 * k1}",
    )


CASES = {
    "adding": Case({"cell": "gru", "length": 200, "lr": 0.005}, 15, strategies(200, 20, 80, 40), 200),
    "copy": Case(
        {"cell": "gru", "length": 100, "hidden": 128, "lr": 0.005, "init": "chrono"},
        40,
        strategies(120, 20, 400, 60),
        120,
    ),
    "order": Case({"cell": "lstm", "length": 100, "lr": 0.005, "init": "chrono"}, 10, strategies(100, 20, 60, 20), 100),
    "reber": Case({"cell": "lstm", "length": 9, "hidden": 32, "lr": 0.01}, 10, strategies(64, 3, 8, 4, window=3), 64),
}
PAGE = """# Known problems

What a network can learn whose gradient reaches back far enough, and what is lost where it does not. Each strategy begins with
the same weights and sees the same sequences, 32 side by side; *solved* is the share of unseen rows answered rightly at the end,
*at best* the greatest share on the way (a network that has solved a problem can lose it again to one large step), *loss* the
mean per target over the last updates, *chance* what the best network without memory reaches. An update follows each window, and
windows without a target make none; time is not told, since other strategies ran beside. `adaptive` sees the sequences end to
end, each begun afresh, since what it measures belongs to one pass.

Truncation with windows of a whole sequence learns from the last k2 steps of each alone. In the adding problem that is not
hopeless: in a fifth of the sequences one of the two marks stands there, and a step that has learned to add what is marked does
so everywhere, by the same weights. How to keep a number over the gap it does not learn. In temporal order nothing that matters
stands there, and it stays at chance. The strings of embedded Reber end at different steps, so that there every window of
k1 = k2 learns: the grammar by its loss, and little of what lies beyond, for half of the rows are right by chance.

`checkpointed` has the gradient of `full`, to rounding: where the two part, rounding has grown over a thousand updates.

What each needs on the copy problem, whose error has to cross a hundred steps at once: a small step. At lr 0.02 `full` reaches
83 %, and `adaptive`, which updates twice a sequence, and `randomized`, whose windows are weighted, fail; at 0.005 all learn it.
`randomized` also needs a horizon some times the gap, 400 here: with 80 steps a window that crosses it is one in five and weighs
five times as much, and after as many steps 12 % was solved. With 400 most sequences are not cut at all, and `adaptive` may
choose between 60 steps and all: what they show there is that nothing is lost, not that anything is saved.

![Share of rows solved over steps seen](problems.png)

| problem | through | lr | solved | at best | loss | chance | updates | steps |
|---|---|---|---|---|---|---|---|---|
{rows}

`make problems` writes this page, with these settings (those not named are the defaults of `bptt compare`):

{settings}
"""
COLOURS = {"full": "#3987e5", "truncated": "#c2497d", "checkpointed": "#2a9d62", "randomized": "#d9752b", "adaptive": "#a06bd6"}
DASHES = {"checkpointed": (0, (4, 3))}  # it lies on Full's line


class Endless:
    """The batches of an epoch end to end as one sequence, each begun afresh: what is measured lasts as long as a sequence."""

    sequences = 1

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.steps = None if problem.steps is None else problem.steps * problem.sequences

    def epoch(self, n: int, start: int = 0) -> Iterator[Any]:
        return iter([self._pieces(n)][start:])

    def fingerprint(self) -> str:
        return f"{self._problem.fingerprint()}, end to end"

    def _pieces(self, n: int) -> Iterator[Piece]:
        for piece in self._problem.epoch(n):
            reset = torch.zeros(piece.x.shape[:2], dtype=torch.bool)
            reset[0] = True
            yield piece._replace(reset=reset)


def tried(name: str, through: str, epochs: int | None) -> dict[str, Any]:
    case = CASES[name]
    problem, model, loss = problem_of(name, ProblemSettings(**case.settings))
    endless = through.startswith("adaptive")
    windows = case.steps // bptt.through.parse(through).k1 if endless else 1
    [trial] = bptt.compare(
        model, loss, Endless(problem) if endless else problem, [through], epochs=epochs or case.epochs,
        lr=case.settings["lr"], reduction="rows", every=10 * windows,
        score=lambda model: solved(model, problem, 5), score_name="solved", steps=case.steps, draws=1, progress=True,
    ).trials  # fmt: skip
    a_step = trial.steps / max(trial.updates, 1)
    return {
        "through": trial.through,
        "lr": case.settings["lr"],
        "failed": trial.failed,
        "updates": trial.updates,
        "steps": trial.steps,
        "loss": trial.curve[-1][2] if trial.curve else None,
        "chance": problem.chance,
        "solved": [[round(update * a_step), value] for update, _, value in trial.scored],
    }


def row(name: str, trial: dict[str, Any]) -> str:
    if trial["failed"] is not None:
        return f"| {name} | `{trial['through']}` | {trial['lr']:g} | {trial['failed']} | | | | | |"
    return (
        f"| {name} | `{trial['through']}` | {trial['lr']:g} | {trial['solved'][-1][1]:.1%} "
        f"| {max(value for _, value in trial['solved']):.1%} | {trial['loss']:.4f} | {trial['chance']:.4f} "
        f"| {trial['updates']:,} | {trial['steps']:,} |"
    )


def page(found: dict[str, Any]) -> str:
    rows = [row(name, trial) for name, trials in found.items() for trial in trials.values()]
    missing = [
        f"{name} by {', '.join(kinds)}" for name in CASES if (kinds := [k for k in COLOURS if k not in found.get(name, {})])
    ]
    still = f"\n\nNot run yet: {'; '.join(missing)}." if missing else ""
    settings = [f"- {name}: {', '.join(f'{key} {value}' for key, value in CASES[name].settings.items())}" for name in found]
    return PAGE.format(rows="\n".join(rows) + still, settings="\n".join(settings))


def draw(found: dict[str, Any], path: Path) -> None:
    with picture(path, panels=len(found)) as panels:
        for kind, colour in COLOURS.items():  # the legend names all, wherever they are
            panels[0].plot([], [], color=colour, linestyle=DASHES.get(kind, "-"), linewidth=1.8, label=kind)
        for axes, (name, trials) in zip(panels, found.items(), strict=True):
            for kind, trial in trials.items():
                points = [(steps / 1000, value) for steps, value in trial["solved"]]
                look = {"color": COLOURS[kind], "linestyle": DASHES.get(kind, "-"), "linewidth": 1.8}
                axes.plot(*zip(*points, strict=True), **look)
            axes.set_ylim(0, 1.02)
            axes.set_xlim(0)
            axes.set_ylabel(f"{name}: solved")
            axes.set_xlabel("thousand steps seen")
        finish(panels)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=list(CASES), nargs="*", default=list(CASES), help="problems")
    parser.add_argument("--through", choices=list(COLOURS), nargs="*", default=list(COLOURS), help="strategies")
    parser.add_argument("--epochs", type=int, help="for every problem, in place of its own number")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side, each on one core")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "problems.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    tasks = [(name, one) for name in given.only for one in CASES[name].through if one.partition(":")[0] in given.through]
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        under_way = {pool.submit(tried, *task, given.epochs): task for task in tasks}
        for done in as_completed(under_way):
            name, through = under_way[done]
            known.setdefault(name, {})[through.partition(":")[0]] = done.result()
            found = {n: {kind: known[n][kind] for kind in COLOURS if kind in known[n]} for n in CASES if n in known}
            kept.write_text(json.dumps(found, indent=1) + "\n")
            (given.out / "problems.md").write_text(page(found))
            draw(found, given.out / "problems.png")


if __name__ == "__main__":
    main()
