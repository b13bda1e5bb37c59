"""``bptt train TASK``: one command for every task of the registry."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from bptt.cli.errors import Group
from bptt.cli.launch import TIMEOUT, joined, size
from bptt.cli.say import examples
from bptt.tasks.config import option
from bptt.tasks.registry import Entry, entry, tasks


class Tasks(Group):
    """The tasks as commands, each made when it is asked for: its settings are not loaded before."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002
        return list(tasks)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]  # noqa: ARG002
        return _command(entry(cmd_name))


app = typer.Typer(
    cls=Tasks,
    help="Train a recurrent network on data of your own.",
    epilog=examples(*(task.examples[0] for task in tasks.values())),
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.callback()
def _group() -> None:
    pass


def _command(task: Entry) -> TyperCommand:
    from bptt.cli.config import with_options

    single = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    help_text = f"{task.summary}\n\nA run goes to a folder of its own, saves itself, and goes on where it stopped."
    single.command(name=task.name, help=help_text, epilog=examples(*task.examples))(
        with_options(_trainer(task), task.load_settings(), task.seeds)
    )
    made = typer.main.get_command(single)
    assert isinstance(made, TyperCommand)
    return made


def _trainer(task: Entry) -> Callable[..., None]:
    def train(out: Path | None, config: Path | None, sets: list[str], many: dict[str, Any], chosen: dict[str, Any]) -> None:
        timeout = many.pop("timeout", TIMEOUT)
        if size() > 1 and many:
            raise ValueError(
                f"{option(next(iter(many)))} makes runs of one process each: start the command by itself, without torchrun; "
                "with one --out also several times"
            )
        if size() > 1 and out is None and int(os.environ.get("TORCHELASTIC_MAX_RESTARTS") or 0):
            raise ValueError("a run that is started again (--max-restarts) has to be found: say where it is, --out FOLDER")
        if "search" in many:
            if "seeds" in many:
                raise ValueError("--search and --seeds are two kinds of many runs: search first, then train the best settings")
            from bptt.cli.search import train_search

            minutes, storage = many.get("search_minutes"), many.get("storage")
            train_search(task, many["search"], minutes, storage, out, config, sets, chosen)
            return
        if many.keys() - {"seeds"}:
            raise ValueError(f"{option(next(iter(many.keys() - {'seeds'})))} is for a search: give --search N too")
        if "seeds" in many:
            from bptt.cli.seeds import train_seeds

            train_seeds(task, many["seeds"], out, config, sets, chosen)
            return
        from bptt.cli.training import begin_or_go_on

        with joined(timeout):
            begin_or_go_on(task, out, config, sets, chosen)

    return train
