"""``bptt inspect``: what happened to the gradient in a run, as one page."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bptt.cli.say import examples

if TYPE_CHECKING:
    from bptt.data import Piece
    from bptt.observe.report import Report
    from bptt.tasks.task import Task

EXAMPLES = examples(
    ("bptt inspect runs/text-input", "writes runs/text-input/report.html"),
    ("bptt inspect runs/text-input --out page.html --steps 500", "look at more steps, for a longer memory"),
)
LOST = (ValueError, TypeError, OSError, ImportError)
"""What a part of a run may be missing by: the page says so and shows the rest."""
SPECTRUM_STEPS, LARGEST = 32, 512
"""Steps whose Jacobians are taken, and the numbers in a state up to which that is a matter of seconds."""
UNITS_STEPS = 100

RUN = Annotated[Path, typer.Argument(help="Folder of the run.", show_default=False)]


def inspect(
    run: RUN,
    out: Annotated[
        Path | None, typer.Option(help="Page to write; report.html in the run's folder unless given.", show_default=False,
                                  metavar="FILE"),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Data to look at, where the run's own has moved.", show_default=False, metavar="FILE")
    ] = None,
    which: Annotated[
        str, typer.Option(help="Checkpoint: best, last, or the number of an update. Best if there is one, else last.",
                          show_default=False),
    ] = "",
    steps: Annotated[
        int | None, typer.Option(min=2, help="Steps to look at; unless given, twice k2, at least 128 and at most 1000.",
                                 show_default=False),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows to look at, side by side.")] = 8,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.", show_default=False)] = None,
) -> None:  # fmt: skip
    """Write a page on a run: its gradient through time, what truncation and clipping did, and what to do about it."""
    from bptt.cli.files import check_writable, write
    from bptt.cli.threads import use_threads
    from bptt.train import read_config

    record = read_config(run)
    page = out or run / "report.html"
    check_writable(page, "--out")
    use_threads(threads)
    report = gather(run, record, data, int(which) if which.isdecimal() else which or None, steps, rows)
    write(page, report.html())
    for why in dict.fromkeys(report.missing.values()):
        print(f"missing  {why}", file=sys.stderr)
    print(f"page     {page}", file=sys.stderr)


def gather(run: Path, record: dict[str, Any], data: str | None, which: Any, steps: int | None, rows: int) -> Report:
    """Everything that the folder of a run tells, and why a part of it is missing."""
    from bptt.observe.report import Report
    from bptt.through import parse
    from bptt.train import read_log
    from bptt.train.log import read_lines

    asked, missing = record["run"], dict[str, str]()
    through = parse(str(asked.get("through", "full")))
    try:
        log = read_log(run)
        if not log:
            missing["log"] = f"{run / 'log.jsonl'} is missing or empty: there is no curve to draw."
    except LOST as error:
        log, missing["log"] = [], f"{error}."
    try:
        observed = read_lines(run / "observe.jsonl")
    except LOST as error:
        observed, missing["observed"] = [], f"{error}."
    if not observed and (every := record.get("config", {}).get("session", {}).get("observe")):
        missing.setdefault(
            "observed",
            f"This run was to look at its gradient every {every:,} updates, and came to no look within the 5 % of its time "
            "that looks may take: train for longer.",
        )
    flow = spectra = units = None
    facts: list[tuple[str, str]] = []
    unit = ""
    try:
        task = _task(run, data, which)
        unit = getattr(task.loss, "unit", "")
        facts += task.describe()
        piece = _piece(task, steps or _steps(through), rows)
        flow, spectra, units = _measured(task, piece, through, missing)
        facts.append(("looked at", f"{len(piece.target)} steps of {_rows(piece)} rows, from the start of the training part"))
    except LOST as error:
        if data is not None or which is not None:
            raise  # what was asked for is wrong: the page that is there stays
        why = f"{' '.join(str(error).split())}."
        missing |= dict.fromkeys(("flow", "spectra", "units"), why)
    facts += [
        ("clipping", str(asked.get("clip", "none"))),
        ("folder", str(run)),
        ("updates", f"{max((line['update'] for line in log), default=0):,}"),
    ]
    return Report(
        f"Run {run.name}", facts, log=log, observed=observed, clip=_clip(str(asked.get("clip", "none"))), unit=unit,
        through=through, flow=flow, spectra=spectra, units=units, missing=missing,
    )  # fmt: skip


def _task(run: Path, data: str | None, which: Any) -> Task:
    """The run's task with its data and the weights of a checkpoint."""
    from bptt.tasks.registry import entry
    from bptt.tasks.task import load, settings_in, task_name

    known = entry(task_name(run))
    settings: Any = settings_in(run, known.name, known.load_settings())  # type: ignore[type-var]
    if data is not None:
        settings = settings.model_copy(update={"data": data})
    if not Path(settings.data).exists():
        raise FileNotFoundError(f"the data of this run, {settings.data}, is not there: say where it is now, --data FILE")
    task = known.load_task()(settings, run)
    load(task.model, run, which)
    return task


def _steps(through: Any) -> int:
    return min(1000, max(128, 2 * (getattr(through, "k2", None) or 0)))


def _piece(task: Task, steps: int, rows: int) -> Piece:
    """The first steps of the first rows that are learned from."""
    from bptt.data import Piece
    from bptt.data.reader import reader
    from bptt.state import map_leaves

    sequence = reader(next(iter(task.source.epoch(0))))
    whole = sequence.read(0, sequence.upto(steps))
    parts = (whole.x, whole.target, whole.mask, whole.reset)
    return Piece(*(map_leaves(lambda leaf: leaf[:, :rows], part) for part in parts))


def _rows(piece: Piece) -> int:
    from bptt.state import leaves

    return int(leaves(piece.x)[0].shape[1])


def _clip(written: str) -> float | None:
    """The greatest norm, from ``norm=0.25`` as a run's record has it."""
    limits = dict(part.split("=") for part in written.split(",") if "=" in part)
    return float(limits["norm"]) if "norm" in limits else None


def _measured(task: Task, piece: Piece, through: Any, missing: dict[str, str]) -> tuple[Any, Any, Any]:
    """Flow, spectra and units; where one cannot be measured, ``missing`` says why."""
    from bptt import observe

    def spectra() -> Any:
        if _state_size(task.model, piece) > LARGEST:
            return observe.lyapunov(task.model, piece, count=8, steps=SPECTRUM_STEPS)
        return observe.spectrum(task.model, piece, steps=SPECTRUM_STEPS)

    def tried(name: str, take: Callable[[], Any]) -> Any:
        try:
            return take()
        except LOST as error:
            missing[name] = f"{' '.join(str(error).split())}."

    return (
        tried(
            "flow", lambda: observe.gradient_flow(task.model, task.loss, piece, through=through, samples=_samples(task, piece))
        ),
        tried("spectra", spectra),
        tried("units", lambda: observe.units(task.model, piece, steps=UNITS_STEPS)),
    )


def _state_size(model: Any, piece: Piece) -> int:
    """The numbers of one row's state."""
    from bptt.call import Caller
    from bptt.state import leaves

    return sum(leaf.numel() for leaf in leaves(Caller(model).structure(piece))) // _rows(piece)


def _samples(task: Task, piece: Piece) -> int | None:
    """All losses of a short stretch; of a long one 16, fewer where there are many weights: cost grows with both."""
    from bptt.tasks.task import parameters

    return None if len(piece.target) <= 64 else max(6, min(16, 16_000_000 // parameters(task.model)))
