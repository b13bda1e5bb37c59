"""``bptt train TASK --seeds N``: the same run from several seeds, since one alone may be lucky."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bptt.cli.files import check_writable, write
from bptt.cli.say import console, show
from bptt.cli.training import begin_or_go_on, free_folder
from bptt.tasks.config import TrainingSettings, gather
from bptt.tasks.registry import Entry
from bptt.tasks.report import Report, Table


def train_seeds(
    task: Entry, seeds: int, out: Path | None, config: Path | None, sets: list[str], chosen: Mapping[str, Any]
) -> None:
    """Trains in ``out/seed-S`` for each of ``seeds`` seeds from ``--seed`` on, and shows what they reach together.

    Those that are complete are not trained again. For tasks whose reports have a headline.
    """
    kind = task.load_settings()
    assert issubclass(kind, TrainingSettings)
    given = gather(kind, file=config, sets=sets, options=chosen)
    first = int(given["seed"][0]) if "seed" in given else 0
    folder = out or free_folder(task.name, str(chosen.get("data") or given.get("data", ("", ""))[0]))
    check_writable(folder / "seeds.json", "--out")
    reports = {}
    for seed in range(first, first + seeds):
        trained = begin_or_go_on(task, folder / f"seed-{seed}", config, sets, {**chosen, "seed": seed})
        reports[seed] = trained.evaluate()
    found = summary(reports)
    write(folder / "seeds.json", json.dumps(found.plain(), indent=2) + "\n")
    show(console(), found)


def summary(reports: Mapping[int, Report]) -> Report:
    """The headline of each seed's report, with their median, and their mean with its standard error."""
    every = {seed: dict(report.headline) for seed, report in reports.items()}
    names = list(next(iter(every.values())))
    columns: dict[str, Sequence[float]] = {name: [figures[name] for figures in every.values()] for name in names}
    middle = {name: statistics.median(values) for name, values in columns.items()}
    mean = {name: statistics.fmean(values) for name, values in columns.items()}
    error = {name: statistics.stdev(v) / len(v) ** 0.5 if len(v) > 1 else float("nan") for name, v in columns.items()}
    rows = [[f"seed {seed}", *(f"{figures[name]:.4f}" for name in names)] for seed, figures in every.items()]
    rows.append(["median", *(f"{middle[name]:.4f}" for name in names)])
    if len(every) > 1:
        rows.append(["mean ± standard error", *(f"{mean[name]:.4f} ± {error[name]:.4f}" for name in names)])
    figures = {"seeds": {str(seed): each for seed, each in every.items()}, "median": middle, "mean": mean, "error": error}
    return Report([Table(f"Over {len(every)} seeds", ["", *names], rows, strong=len(every))], [], figures)
