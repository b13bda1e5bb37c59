"""Labels of texts as ``bptt predict`` tells them: rows of a file, a page, or coloured words in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bptt.cli.files import write
from bptt.cli.say import console

if TYPE_CHECKING:
    from rich.console import Console

    from bptt.tasks.classify.predictions import Predictions

_FOR, _AGAINST = (42, 157, 98), (217, 117, 43)
_FAINT = 0.05


def tell(found: Predictions, kind: str, out: Path | None, page: Path | None, title: str) -> None:
    """Writes the labels to ``out`` and ``page``; with neither to standard output, words in colour on a terminal."""
    if page is not None:
        write(page, found.html(title))
        print(f"page     {page}", file=sys.stderr)
    if out is not None:
        write(out, found.file(kind))
        print(f"labels   {out}", file=sys.stderr)
    elif page is None:
        screen = console()
        if screen.is_terminal and found.rows[0].words is not None:
            show(screen, found)
        else:
            sys.stdout.write(found.file(kind).decode())


def show(screen: Console, found: Predictions) -> None:
    """Each text below its label, its words coloured: green for the label, orange against it, by how much they carried."""
    from rich.text import Text

    from bptt.tasks.classify.predictions import shade

    for row in found:
        named = Text(f"{row.label} {max(row.shares):.0%}", style="bold")
        named.append(f"  {row.note}", style="dim not bold")
        screen.print(named)
        text = Text()
        for piece, weight in shade(row):
            colour = _FOR if weight > 0 else _AGAINST
            style = f"rgb({colour[0]},{colour[1]},{colour[2]})" + (" bold underline" if abs(weight) > 0.5 else "")
            text.append(piece, style if abs(weight) > _FAINT else "")
        screen.print(text)
        screen.print()
    screen.print("green: for the label; orange: against it; by the log-odds that are lost without the word", style="dim")
