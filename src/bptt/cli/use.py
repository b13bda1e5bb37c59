"""What is done with a run: ``bptt evaluate``, ``bptt generate``, ``bptt predict``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import typer

from bptt.cli.say import console, examples, show

_READ = "How --data is read (as in training, unless given)"
RUN = Annotated[Path, typer.Argument(help="Folder of the run.", show_default=False)]
WHICH = Annotated[
    str,
    typer.Option("--which", help="Checkpoint: best, last, or the number of an update. Best if there is one, else last.",
                 show_default=False),
]  # fmt: skip
ENCODING = Annotated[str | None, typer.Option(help="Encoding of --data.", show_default=False, rich_help_panel=_READ)]
SEPARATOR = Annotated[
    str | None, typer.Option(help="Table: what stands between cells of --data.", show_default=False, rich_help_panel=_READ)
]
TIME_FORMAT = Annotated[
    str | None,
    typer.Option(help="Table: how dates of --data are written, as in %d.%m.%Y.", show_default=False, rich_help_panel=_READ),
]
MISSING = Annotated[
    Literal["error", "forward", "interpolate", "mask", "zero"] | None,
    typer.Option(help="Table: what to do with missing values of --data.", show_default=False, rich_help_panel=_READ),
]
GAPS = Annotated[
    Literal["auto", "fill", "keep", "error"] | None,
    typer.Option(help="Table: what to do with absent time stamps of --data.", show_default=False, rich_help_panel=_READ),
]
TEXT_COLUMN = Annotated[
    str | None, typer.Option(help="Texts: column of --data that holds them.", show_default=False, rich_help_panel=_READ)
]
LABEL_COLUMN = Annotated[
    str | None, typer.Option(help="Texts: column of --data that holds the labels.", show_default=False, rich_help_panel=_READ)
]
TARGET_COLUMN = Annotated[
    str | None, typer.Option(help="Pairs: column of --data to compare with.", show_default=False, rich_help_panel=_READ)
]
BEAM = Annotated[
    int | None, typer.Option(min=1, help="Texts kept side by side while writing; 1 is fastest.", show_default=False)
]
LANGUAGE = Annotated[
    float | None,
    typer.Option(min=0, help="Speech: weight of the n-gram of transcripts beside the network.", show_default=False),
]
THREADS = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.", show_default=False)]


def add(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    app.command(
        epilog=examples(
            ("bptt evaluate runs/text-input", "on the part that was held out"),
            ("bptt evaluate runs/text-input --data other.txt --json", "on another file, for a program to read"),
            ("bptt evaluate runs/classify-reviews --data test.tsv", "labels of another file"),
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
            ("bptt predict runs/classify-reviews --data new.tsv --out labels.csv", "a label for each text"),
            ("bptt predict runs/classify-reviews --text 'Well worth it.' --words", "and the words that carried it"),
            ("bptt predict runs/forecast-table", "the rows after the end of the data, as CSV"),
            (
                "bptt predict runs/forecast-table --data newer.csv --out next.csv --plot next.png",
                "after newer data, with a picture",
            ),
        )
    )(predict)


def evaluate(
    run: RUN,
    data: Annotated[
        str | None,
        typer.Option(help="File to evaluate on; else the held-out part of the run's own.", metavar="FILE", show_default=False),
    ] = None,
    part: Annotated[
        Literal["valid", "test"] | None, typer.Option(help="Held-out part; test if there is one.", show_default=False)
    ] = None,
    which: WHICH = "",
    rows: Annotated[
        int | None, typer.Option(min=1, help="Text: rows read side by side; 1 reads it in one piece.", show_default=False)
    ] = None,
    encoding: ENCODING = None,
    separator: SEPARATOR = None,
    time_format: TIME_FORMAT = None,
    missing: MISSING = None,
    gaps: GAPS = None,
    text_column: TEXT_COLUMN = None,
    label_column: LABEL_COLUMN = None,
    target: Annotated[
        str | None,
        typer.Option(help="Pairs: file with what belongs to each line of --data.", metavar="FILE", show_default=False),
    ] = None,
    target_column: TARGET_COLUMN = None,
    beam: BEAM = None,
    language: LANGUAGE = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    threads: THREADS = None,
) -> None:
    """Measure a trained model beside the plain baselines."""
    how = _given(
        data=data, part=part, rows=rows, encoding=encoding, separator=separator, time_format=time_format, missing=missing,
        gaps=gaps, text_column=text_column, label_column=label_column, target=target, target_column=target_column, beam=beam,
        language=language,
    )  # fmt: skip
    trained = _open("evaluate", run, which, threads, how)
    report = trained.evaluate(**how)
    if json:
        import json as format_json

        print(format_json.dumps({"run": str(run), **report.plain()}, indent=2, allow_nan=False))
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

    check_sampling(temperature, top_k, top_p, seed)
    trained = _open("generate", run, which, threads)
    from bptt.tasks.text.task import TrainedText

    assert isinstance(trained, TrainedText)
    how = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    pieces = trained.generate(prompt, length, **how)
    sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


def predict(
    run: RUN,
    data: Annotated[
        str | None,
        typer.Option(
            help="Newer table with the same columns; texts to label, translate or sum up; recordings.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    text: Annotated[str | None, typer.Option(help="Texts: one of them, instead of --data.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write: .csv, .tsv, .jsonl, .parquet; .txt: a line each. CSV to standard output unless given.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Picture of a forecast, of where a text was looked at, of what was heard: .png, .svg, .pdf.",
            show_default=False,
        ),
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="Texts: show which words carried each label.")] = False,
    page: Annotated[
        Path | None, typer.Option(help="Texts: page to write with the words coloured, .html.", show_default=False)
    ] = None,
    which: WHICH = "",
    encoding: ENCODING = None,
    separator: SEPARATOR = None,
    time_format: TIME_FORMAT = None,
    missing: MISSING = None,
    gaps: GAPS = None,
    text_column: TEXT_COLUMN = None,
    alarm: Annotated[
        float | None,
        typer.Option(min=0, help="Maintenance: mark units with this many cycles left, or fewer.", show_default=False),
    ] = None,
    beam: BEAM = None,
    language: LANGUAGE = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Read rows from standard input as they come, and answer each with a line of JSON."),
    ] = False,
    threads: THREADS = None,
) -> None:
    """Answer for data of your own: what comes next in a table or sequence, a text's label or translation, a machine's life."""
    from bptt.cli.files import check_writable, write
    from bptt.tasks.answers import kind_of
    from bptt.tasks.pictures import check

    if plot is not None:
        check(plot)
    for path, option in ((out, "--out"), (plot, "--plot"), (page, "--page")):
        if path is not None:
            check_writable(path, option)
    how = _given(
        data=data, text=text, words=words or (page is not None) or None, encoding=encoding, separator=separator,
        time_format=time_format, missing=missing, gaps=gaps, text_column=text_column, alarm=alarm, beam=beam,
        language=language, follow=follow or None,
    )  # fmt: skip
    if follow:
        if data is not None or out is not None:
            raise ValueError("--follow reads standard input and writes standard output: leave out --data and --out")
        trained = _open("predict", run, which, threads, how)
        from bptt.cli.follow import follow_input

        follow_input(trained.follow(**{key: value for key, value in how.items() if key != "follow"}))
        return
    kind = kind_of(out)
    trained = _open("predict", run, which, threads, how | _given(plot=plot, page=page))
    found = trained.predict(**how)
    from bptt.tasks.classify.predictions import Predictions

    if isinstance(found, Predictions):
        from bptt.cli.labels import tell

        tell(found, kind, out, page, f"Labels by {run.name}")
        return
    if plot is not None:
        found.draw(plot)
        print(f"picture  {plot}", file=sys.stderr)
    if out is None:
        sys.stdout.write(found.file(kind).decode())
    else:
        write(out, found.file(kind))
        print(f"answers  {out}", file=sys.stderr)


def _given(**options: Any) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _open(command: str, run: Path, which: str, threads: int | None, options: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """The trained model in a folder, once ``command`` with these options is known to mean something to it."""
    from bptt.cli.threads import use_threads
    from bptt.tasks.registry import check_options, entry
    from bptt.tasks.task import task_name

    name = task_name(run)
    task = entry(name)
    if not getattr(task, command):
        other = "generate" if task.generate else "predict"
        raise ValueError(f"bptt {command} does not serve a run of task {name!r}, as {run} holds: bptt {other} {run}")
    check_options(command, name, options)
    use_threads(threads)
    chosen = int(which) if which.isdecimal() else which or None
    return task.load_task().open(run, chosen)
