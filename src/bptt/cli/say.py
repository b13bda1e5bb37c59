"""What the commands share in speaking: examples in help texts, tables, the console."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bptt.cli.launch import leads

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from bptt.tasks.report import Report


def examples(*lines: tuple[str, str]) -> str:
    """An epilog of commands, each with what it does."""
    shown = "\n".join(f"  {command}\n      [dim]{what}[/dim]" for command, what in lines)
    return f"[bold]Examples[/bold]\n{shown}"


def console() -> Console:
    """Standard output; plain and unwrapped where it is not a terminal, and silent in all processes of a run but the first."""
    from rich.console import Console

    quiet = not leads()
    made = Console(highlight=False, quiet=quiet)
    return made if made.is_terminal else Console(highlight=False, width=200, soft_wrap=True, quiet=quiet)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", strong: int | None = None, words: bool = False
) -> Table:
    """Rows under columns, numbers to the right, or ``words`` to the left and broken; row ``strong`` is the one to look at."""
    from rich import box
    from rich.table import Table

    made = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        made.add_column(column, justify="right" if position and not words else "left", no_wrap=not (words and position))
    for position, row in enumerate(rows):
        made.add_row(*row, style="bold green" if position == strong else None)
    return made


def show(out: Console, report: Report) -> None:
    """A report as tables and lines."""
    for each in report.tables:
        out.print(table(each.columns, each.rows, each.title, each.strong))
    for remark in report.remarks:
        out.print(remark, markup=False, soft_wrap=True)
