"""Answers for texts, in their order: as rows of a file, and as coloured words."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bptt.tasks.answers import as_file
from bptt.tasks.classify.carried import Word

_SHARE = "p_"


@dataclass(frozen=True)
class Prediction:
    """A text's likeliest label, the probability of each, what there is to note, and the words that carried it."""

    text: str
    label: str
    shares: tuple[float, ...]
    note: str
    words: tuple[Word, ...] | None = None


@dataclass(frozen=True)
class Predictions:
    """One `Prediction` for each text, in the order they were given."""

    labels: tuple[str, ...]
    rows: tuple[Prediction, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.rows)

    def columns(self) -> dict[str, list[Any]]:
        """The rows as columns: label, probability of each label, note, the words with their weights, and the text."""
        made: dict[str, list[Any]] = {"label": [row.label for row in self.rows]}
        for i, label in enumerate(self.labels):
            made[_SHARE + label] = [row.shares[i] for row in self.rows]
        made["note"] = [row.note for row in self.rows]
        if any(row.words is not None for row in self.rows):
            made["words"] = [_weights(row) for row in self.rows]
        made["text"] = [row.text for row in self.rows]
        return made

    def file(self, kind: str) -> bytes:
        """The rows as the contents of a file; see `bptt.tasks.answers.as_file`."""
        return as_file(self.columns(), kind)

    def html(self, title: str) -> str:
        """A page on which each text's words are coloured by how much they carried its label."""
        blocks = "\n".join(_block(row, self.labels) for row in self.rows)
        return _PAGE.format(title=html.escape(title), blocks=blocks)


def shade(row: Prediction) -> Iterator[tuple[str, float]]:
    """The text in pieces, each with its weight over the greatest of this text: between -1 and 1, 0 between words."""
    words = row.words or ()
    most = max((abs(weight) for _, _, weight in words), default=0.0) or 1.0
    done = 0
    for begin, end, weight in words:
        if begin > done:
            yield row.text[done:begin], 0.0
        yield row.text[begin:end], weight / most
        done = end
    if done < len(row.text):
        yield row.text[done:], 0.0


def _weights(row: Prediction) -> list[list[Any]]:
    return [[row.text[a:b], round(weight, 4)] for a, b, weight in row.words or ()]


def _block(row: Prediction, labels: tuple[str, ...]) -> str:
    words = "".join(
        f'<span style="background:rgba({_FOR if weight > 0 else _AGAINST},{abs(weight):.2f})">{html.escape(piece)}</span>'
        if abs(weight) > _FAINT
        else html.escape(piece)
        for piece, weight in shade(row)
    )
    share = max(row.shares)
    note = f" <small>{html.escape(row.note)}</small>" if row.note else ""
    sure = ", ".join(f"{label} {p:.1%}" for label, p in zip(labels, row.shares, strict=True)) if len(labels) <= _NAMED else ""
    return f'<p><b title="{html.escape(sure)}">{html.escape(row.label)} {share:.0%}</b>{note}<br>{words}</p>'


_FOR, _AGAINST = "42,157,98", "217,117,43"
_FAINT, _NAMED = 0.05, 12
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.7 system-ui, sans-serif; }}
body {{ max-width: 46em; margin: 2em auto; padding: 0 1em; }}
span {{ border-radius: .2em; padding: .1em 0; }}
small {{ opacity: .7; }}
</style>
<h1>{title}</h1>
<p><small>A word's colour is how much of the label's log-odds is lost when it alone is left out:
<span style="background:rgba(42,157,98,.7)">for the label</span>,
<span style="background:rgba(217,117,43,.7)">against it</span>; the strongest word of each text is full.</small></p>
{blocks}
</html>
"""
