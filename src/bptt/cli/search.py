"""``bptt train TASK --search N``: good settings for these data, what mattered, and the run that did best."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bptt.cli.files import write
from bptt.cli.say import console, show
from bptt.cli.training import free_folder
from bptt.tasks.config import TrainingSettings, gather, option
from bptt.tasks.registry import Entry
from bptt.tasks.report import Report, Table
from bptt.tasks.search import Search, Tried
from bptt.train import Interrupted
from bptt.train.progress import clock

_SHOWN = 10


def train_search(
    task: Entry,
    trials: int,
    minutes: float | None,
    storage: str | None,
    out: Path | None,
    config: Path | None,
    sets: list[str],
    chosen: Mapping[str, Any],
) -> None:
    """Searches in ``out``, or goes on with the search there; shows the trials, what mattered, and how good the best is."""
    kind = task.load_settings()
    assert issubclass(kind, TrainingSettings)
    given = gather(kind, file=config, sets=sets, options=chosen)
    folder = out or free_folder(f"search-{task.name}", str(chosen.get("data") or given.get("data", ("", ""))[0]))
    search = Search(task, given, folder, trials, minutes, storage)
    said = console()
    said.print(f"[bold]{'searching':<10}[/bold] {', '.join(map(option, search.searched))}; what is given stays", soft_wrap=True)
    said.print(f"[bold]{'judged by':<10}[/bold] {search.judged_by} on the validation part", soft_wrap=True)
    said.print(f"[bold]{'folder':<10}[/bold] {folder}\n", soft_wrap=True)

    def tell(one: Tried) -> None:
        ended = search.tried()
        left = (trials - len(ended)) * statistics.fmean([each.seconds for each in ended if each.seconds >= 0] or [0])
        best = "  best so far" if ended[0].number == one.number and one.state == "complete" else ""
        told = one.why or f"{one.value:.4f}{'' if one.state == 'complete' else '  given up'}"
        said.print(
            f"trial {one.number + 1} of {trials}  {clock(one.seconds)} < {clock(left)}  {_settings(one)}  {told}{best}",
            markup=False, soft_wrap=True,
        )  # fmt: skip

    try:
        search.run(tell)
    except Interrupted:
        print(f"the search is in {folder}: the same command with --out {folder} goes on with it", file=sys.stderr)
        raise
    found = search.tried()
    if not found or found[0].state != "complete":
        raise RuntimeError("no trial was complete: give the search more time, --search-minutes, or each trial less, --epochs")
    best, mattered = found[0], search.mattered()
    report = summary(found, mattered, search.judged_by)
    show(said, report)
    write(folder / "search.json", json.dumps(report.plain(), indent=2) + "\n")
    settings = {key: value for key, (value, _) in given.items()} | best.settings
    write(folder / "best.toml", "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    pictures = draw(folder, found, mattered, search.judged_by)
    said.print(f"\nThe best trial, {best.number + 1}, on what was held out:")
    trained = task.load_task().open(best.folder)
    show(said, trained.evaluate())
    for path in pictures:
        said.print(f"[bold]{'picture':<9}[/bold] {path}", soft_wrap=True)
    said.print(f"[bold]{'run':<9}[/bold] {best.folder}\n\nTo go on:", soft_wrap=True)
    more = f"bptt train {task.name} --config {folder / 'best.toml'}"
    said.print(f"  {more}\n  bptt evaluate {best.folder}", markup=False, soft_wrap=True)


def summary(found: list[Tried], mattered: Mapping[str, float], judged_by: str) -> Report:
    """The best trials, and what made them good."""
    names = list(dict.fromkeys(key for each in found for key in each.settings))
    rows = [
        [str(each.number + 1), f"{each.value:.4f}", *(_short(each.settings.get(key)) for key in names), clock(each.seconds)]
        for each in found[:_SHOWN]
        if each.state == "complete"
    ]
    tables = [Table(f"{len(found)} trials, the best first", ["trial", judged_by, *names, "time"], rows, strong=0)]
    given_up, failed = (sum(each.state == state for each in found) for state in ("pruned", "fail"))
    remarks = [f"{given_up} of {len(found)} given up early, {failed} failed."]
    if mattered:
        shares = [[option(key), f"{share:.0%}"] for key, share in mattered.items()]
        tables.append(Table("What mattered", ["setting", "share"], shares))
    else:
        remarks.append("What mattered cannot be told from so few complete trials.")
    figures = {
        "judged by": judged_by,
        "trials": [
            {"number": t.number, "settings": t.settings, "value": t.value, "state": t.state, "seconds": t.seconds, "why": t.why}
            for t in found
        ],
        "mattered": dict(mattered),
    }
    return Report(tables, remarks, figures)


def draw(folder: Path, found: list[Tried], mattered: Mapping[str, float], judged_by: str) -> list[Path]:
    """Every trial against the two settings that mattered most, into ``search.png``; nothing without matplotlib."""
    from bptt.tasks.pictures import BLUE, FAINT, ORANGE, finish, installed, picture

    complete = [each for each in found if each.state == "complete"]
    names = list(mattered)[:2] or list(found[0].settings)[:2]
    if not installed() or len(complete) < 2:
        return []
    path = folder / "search.png"
    with picture(path, panels=len(names)) as panels:
        for axes, name in zip(panels, names, strict=True):
            given_up = [each for each in found if each.state == "pruned" and not math.isnan(each.value)]
            for each, colour, label in ((given_up, FAINT, "given up early"), (complete, BLUE, "complete"),
                                        (complete[:1], ORANGE, "best")):  # fmt: skip
                if each:
                    axes.scatter([one.settings[name] for one in each], [one.value for one in each], color=colour, label=label)
            if name == "lr":
                axes.set_xscale("log")
            share = f", {mattered[name]:.0%} of what mattered" if name in mattered else ""
            axes.set_xlabel(f"{name}{share}")
            axes.set_ylabel(judged_by)
        finish(panels)
    return [path]


def _settings(one: Tried) -> str:
    return ", ".join(f"{key} {_short(value)}" for key, value in one.settings.items())


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
