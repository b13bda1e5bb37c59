"""Known problems by every strategy: which of them reach back far enough. Writes a table and a picture.

python benchmarks/problems.py --out docs                              # half an hour on two cores
python benchmarks/problems.py --only adding --epochs 5 --out /tmp/a   # a part of it
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import bptt
from bptt.tasks.compare import Comparison
from bptt.tasks.pictures import finish, picture
from bptt.tasks.problems import ProblemSettings, problem_of, solved

# Settings with which the whole gradient solves each, epochs of 100 batches of 32, and a k2 well below the gap.
CASES: dict[str, tuple[dict[str, Any], int, int]] = {
    "adding": ({"cell": "gru", "length": 200, "lr": 0.005}, 15, 20),
    "copy": ({"cell": "gru", "length": 100, "hidden": 128, "lr": 0.005, "init": "chrono"}, 50, 20),
    "order": ({"cell": "lstm", "length": 100, "lr": 0.005, "init": "chrono"}, 10, 20),
    "reber": ({"cell": "lstm", "length": 9, "hidden": 32, "lr": 0.01}, 10, 3),
}
COLOURS = ("#3987e5", "#d9752b", "#2a9d62", "#a06bd6", "#c2497d")
PAGE = """# Known problems

What a network can learn whose gradient reaches back far enough, and what is lost where it does not. Each strategy begins with
the same weights and sees the same sequences; solved is the share of unseen rows answered rightly at the end. Seconds include
scoring.

![Share of rows solved over sequences seen](problems.png)

{tables}

`make problems` writes this page.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=list(CASES), nargs="*", default=list(CASES))
    parser.add_argument("--epochs", type=int, help="for every problem, in place of its own number")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Comparison] = {}
    for name in given.only:
        found[name] = compared(name, given.epochs)
        plain = {each: comparison.report().plain() for each, comparison in found.items()}
        (given.out / "problems.json").write_text(json.dumps(plain, indent=1) + "\n")
        (given.out / "problems.md").write_text(PAGE.format(tables="\n\n".join(table(n, c) for n, c in found.items())))
        draw(found, given.out / "problems.png")


def compared(name: str, epochs: int | None) -> Comparison:
    settings, usual, short = CASES[name]
    problem, model, loss = problem_of(name, ProblemSettings(**settings))
    steps = problem.steps or 64
    through = ["full", f"truncated:k1={steps},k2={short}", f"randomized:horizon={2 * short}", "checkpointed:slots=5"]
    through.append(f"adaptive:bias=0.1,k1={short},most={steps // short * short}")
    return bptt.compare(
        model, loss, problem, through, epochs=epochs or usual, lr=settings["lr"], every=20,
        score=lambda model: solved(model, problem, 5), score_name="solved", progress=True,
    )  # fmt: skip


def table(name: str, found: Comparison) -> str:
    settings, *_ = CASES[name]
    told = ", ".join(f"{key} {value}" for key, value in settings.items())
    report = found.report()
    each = report.tables[0]
    lines = [f"## {name}", "", f"{told}.", "", "| " + " | ".join(each.columns) + " |", "|---" * len(each.columns) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in each.rows]
    return "\n".join([*lines, *(f"\n{remark}" for remark in report.remarks)])


def draw(found: dict[str, Comparison], path: Path) -> None:
    with picture(path, panels=len(found)) as panels:
        for axes, (name, comparison) in zip(panels, found.items(), strict=True):
            for colour, trial in zip(COLOURS, comparison.trials, strict=True):
                if trial.scored and trial.updates:
                    each = trial.steps / trial.updates  # steps an update
                    points = [(update * each / 1000, value) for update, _, value in trial.scored]
                    label = trial.through.partition(":")[0]
                    axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.8, label=label)
            axes.set_ylim(0, 1.02)
            axes.set_xlim(0)
            axes.set_ylabel(f"{name}: solved")
            axes.set_xlabel("thousand steps seen")
        finish(panels)


if __name__ == "__main__":
    main()
