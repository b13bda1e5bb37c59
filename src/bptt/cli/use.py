"""What is done with a run: ``bptt evaluate``, ``bptt generate``, ``bptt predict``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bptt.cli.say import console, examples, show

RUN = Annotated[Path, typer.Argument(help="Folder of the run.", show_default=False)]
WHICH = Annotated[
    str,
    typer.Option("--which", help="Checkpoint: best, last, or the number of an update. Best if there is one, else last.",
                 show_default=False),
]  # fmt: skip
THREADS = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.", show_default=False)]


def add(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.command(
        epilog=examples(
            ("bptt evaluate runs/text-input", "on the part that was held out"),
            ("bptt evaluate runs/text-input --data other.txt --json", "on another file, for a program to read"),
        )
    )(evaluate)
    app.command(
        epilog=examples(
            ("bptt generate runs/text-input --prompt 'ROMEO:'", "500 tokens that go on after a prompt"),
            ("bptt generate runs/text-input -n 2000 --temperature 0.7 --top-p 0.9 --seed 1", "surer of itself, and repeatable"),
        )
    )(generate)
    app.command(
        epilog=examples(
            ("bptt predict runs/forecast-table", "the rows after the end of the data, as CSV"),
            (
                "bptt predict runs/forecast-table --data newer.csv --out next.csv --plot next.png",
                "after newer data, with a picture",
            ),
        )
    )(predict)


def evaluate(
    run: RUN,
    data: Annotated[str | None, typer.Option(help="File to evaluate on; else the held-out part.", show_default=False)] = None,
    part: Annotated[str | None, typer.Option(help="Held-out part: valid or test.", show_default=False)] = None,
    which: WHICH = "",
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows read side by side; 1 reads a text in one piece.", show_default=False)
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of --data.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    threads: THREADS = None,
) -> None:
    """Measure a trained model beside the plain baselines."""
    if part not in (None, "valid", "test"):
        raise ValueError(f"--part must be valid or test, got {part!r}")
    trained = _open(run, which, threads)
    report = trained.evaluate(data, part=part, rows=rows, encoding=encoding)
    if json:
        import json as format_json

        print(format_json.dumps({"run": str(run), **report.figures}, indent=2, allow_nan=False))
    else:
        show(console(), report)


def generate(
    run: RUN,
    prompt: Annotated[str, typer.Option(help="Text to go on from.")] = "",
    length: Annotated[int, typer.Option("--length", "-n", min=0, help="Tokens to write.")] = 500,
    temperature: Annotated[float, typer.Option(help="Below 1 surer, above 1 wilder; 0 takes the likeliest token.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Draw among this many likeliest tokens.", show_default=False)] = None,
    top_p: Annotated[float, typer.Option(help="Draw among the likeliest tokens that make up this share.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="The same seed writes the same text.", show_default=False)] = None,
    which: WHICH = "",
    threads: THREADS = None,
) -> None:
    """Let a text model write."""
    from bptt.tasks.text.sample import check_sampling

    check_sampling(temperature, top_k, top_p)
    trained = _open(run, which, threads)
    from bptt.tasks.text.task import TrainedText

    if not isinstance(trained, TrainedText):
        raise ValueError(f"{run} holds no text model: bptt predict {run}")
    how = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    pieces = trained.generate(prompt, length, **how)
    sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


def predict(
    run: RUN,
    data: Annotated[str | None, typer.Option(help="Newer table with the same columns.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="CSV to write; standard output unless given.", show_default=False)] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture to draw: .png, .svg or .pdf.", show_default=False)] = None,
    which: WHICH = "",
    threads: THREADS = None,
) -> None:
    """Forecast the rows after the end of a table."""
    trained = _open(run, which, threads)
    from bptt.tasks.forecast.trained import TrainedForecast

    if not isinstance(trained, TrainedForecast):
        raise ValueError(f"{run} holds no forecast model: bptt generate {run}")
    forecast = trained.predict(data)
    if out is None:
        sys.stdout.write(forecast.csv())
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(forecast.csv(), encoding="utf-8")
        print(f"forecast {out}", file=sys.stderr)
    if plot is not None:
        forecast.draw(plot)
        print(f"picture  {plot}", file=sys.stderr)


def _open(run: Path, which: str, threads: int | None):  # type: ignore[no-untyped-def]
    import torch

    from bptt.tasks.registry import entry
    from bptt.tasks.task import task_name

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = int(which) if which.isdecimal() else which or None
    return entry(task_name(run)).load_task().open(run, chosen)
