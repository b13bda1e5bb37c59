"""The program ``bptt``: its commands and what they have in common."""

from __future__ import annotations

from typing import Annotated

import typer

from bptt.cli import compare, demo, doctor, explain, inspect, train, use
from bptt.cli.errors import Group
from bptt.cli.say import examples

app = typer.Typer(
    name="bptt",
    cls=Group,
    help="Train recurrent networks by backpropagation through time.",
    epilog=examples(
        ("bptt demo", "see a network learn to write, in some three minutes"),
        ("bptt train text --data input.txt", "learn from a text of your own"),
        ("bptt generate runs/text-input --prompt 'Once'", "let it write"),
        ("bptt train forecast --data table.csv", "learn to continue a table"),
        ("bptt predict runs/forecast-table --plot next.png", "continue it"),
    ),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"bptt {version('bptt')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error. Works with every command.")] = False,
) -> None:
    """The options that stand before a command."""


app.add_typer(train.app, name="train")
use.add(app)
app.command(epilog=compare.EXAMPLES)(compare.compare)
app.command(epilog=inspect.EXAMPLES)(inspect.inspect)
app.command(epilog=explain.EXAMPLES)(explain.explain)
app.command(epilog=doctor.EXAMPLES)(doctor.doctor)
app.command(epilog=demo.EXAMPLES)(demo.demo)


def entry() -> None:
    """What the console script runs."""
    app()
