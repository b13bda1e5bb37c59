"""``bptt compare``: strategies side by side on one task."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from bptt.cli.files import check_writable, write
from bptt.cli.say import console, examples, show

EXAMPLES = examples(
    ("bptt compare --task adding --through full --through truncated:k1=20", "windows shorter than the gap"),
    ("bptt compare --task copy --set length=50 --set cell=gru --updates 2000 --through full --through uoro", "another network"),
    ("bptt compare --task text --data input.txt --minutes 1 --through truncated:k1=32 --through randomized:horizon=100",
     "on a text of your own"),
)  # fmt: skip


def compare(
    through: Annotated[
        list[str], typer.Option(help="A strategy, as in truncated:k1=32,k2=128; give several.", show_default=False)
    ],
    task: Annotated[str, typer.Option(help="adding, copy, order or reber (known problems); text or forecast.")] = "adding",
    data: Annotated[
        str | None, typer.Option(help="File to train on, for text and forecast.", metavar="FILE", show_default=False)
    ] = None,
    updates: Annotated[
        int | None,
        typer.Option(min=1, help="Updates for each strategy; 1000 unless another limit is given.", show_default=False),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Epochs for each: the same sequences for those that update at every step.", show_default=False
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes for each strategy.", show_default=False)] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the task, as in hidden=128.", metavar="KEY=VALUE")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for compare.json and compare.png.", metavar="DIR", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything measured, for a program to read.")] = False,
) -> None:
    """Train the same network with several strategies, and show what each costs and learns.

    Each begins with the same weights and sees the same data. One table and, with --out, one picture: loss against updates
    and time, seconds a step, peak memory, and bias and scatter of the gradient against the exact one.
    """
    from bptt.tasks import pictures
    from bptt.tasks.compare import compare as run

    if minutes is not None and not (minutes > 0 and math.isfinite(minutes)):
        raise ValueError(f"--minutes must be above 0 and finite, got {minutes:g}")
    if out is not None:
        check_writable(out / "compare.json", "--out")
        pictures.check(out / "compare.png")
    if updates is None and minutes is None and epochs is None:
        updates = 1000
    seconds = None if minutes is None else minutes * 60
    model, loss, source, chance, more = _work(task, data, sets or [])
    found = run(model, loss, source, through, epochs=epochs, updates=updates, seconds=seconds, progress=not as_json, **more)
    if as_json:
        print(json.dumps(found.report().plain()))
    else:
        show(console(), found.report())
    if out is not None:
        write(out / "compare.json", json.dumps(found.report().plain(), indent=2) + "\n")
        found.save_picture(out / "compare.png", chance)
        if not as_json:
            console().print(f"[bold]picture[/bold]  {out / 'compare.png'}", soft_wrap=True)


def _work(task: str, data: str | None, sets: list[str]) -> tuple[Any, Any, Any, float | None, dict[str, Any]]:
    """Model, loss, source, the loss of chance, and the settings of training."""
    from bptt.data.problems import problems
    from bptt.nearest import nearest
    from bptt.tasks.config import TrainingSettings, settle
    from bptt.tasks.registry import tasks

    if task in problems:
        from bptt.tasks.problems import ProblemSettings, problem_of, solved

        if data is not None:
            raise ValueError(f"--data means nothing for the problem {task!r}, which makes its own; see --set length=")
        given = settle(ProblemSettings, sets=sets)
        problem, model, loss = problem_of(task, given)
        score: Callable[[Any], float] = lambda model: solved(model, problem)  # noqa: E731
        return model, loss, problem, problem.chance, {
            **_training(given), "score": score, "score_name": "solved",
        }  # fmt: skip
    if task not in tasks:
        known = [*problems, *tasks]
        raise ValueError(f"no task is called {task!r}{nearest(task, known)}: one of {', '.join(known)}")
    kind = tasks[task].load_settings()
    settings = settle(kind, sets=sets, options={"data": data})
    assert isinstance(settings, TrainingSettings)
    made = tasks[task].load_task()(settings)
    return made.model, made.loss, made.source, None, {
        **_training(settings), "reduction": settings.reduction, "validation": made.validation,
    }  # fmt: skip


def _training(given: Any) -> dict[str, Any]:
    return {
        "optimizer": given.optimizer,
        "lr": given.lr,
        "schedule": given.schedule,
        "clip": given.clip or None,
        "seed": given.seed,
    }
