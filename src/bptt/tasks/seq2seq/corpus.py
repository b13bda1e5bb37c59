"""Pairs of texts in three parts: to learn from, to choose the best weights by, to test on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bptt.data.pairs import Names, Pairs, read_pairs
from bptt.tasks.classify.corpus import key, shared
from bptt.tasks.config import option
from bptt.tasks.seq2seq.config import Seq2SeqSettings

PARTS = {"train": "training", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class Part:
    """Some of the pairs: texts that are read, and those that belong to them."""

    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sources)


@dataclass(frozen=True)
class Corpus:
    """The parts of the data, the columns they were found in, and what there is to remark."""

    train: Part
    valid: Part
    test: Part
    text_column: str | None
    target_column: str | None
    notes: tuple[str, ...] = ()


def read_corpus(settings: Seq2SeqSettings, names: Names) -> Corpus:
    """The parts as ``settings`` say; a share that is held out is drawn by the seed, copies of a text staying on one side.

    Pairs with an empty side are left out, and counted. **Raises** what `bptt.data.pairs.read_pairs` raises; ``ValueError`` for
    parts that would be empty.
    """
    data = read(settings, names, settings.data, settings.target, settings.text_column, settings.target_column)
    notes: list[str] = []
    whole = complete(data, notes)
    files = {name: value for name in ("valid", "test") if isinstance(value := getattr(settings, name), str)}
    shares = {name: float(getattr(settings, name)) for name in ("valid", "test") if name not in files}
    if sum(shares.values()) >= 1:
        told = " and ".join(f"{option(name)} {share:g}" for name, share in shares.items())
        raise ValueError(f"{told} leave nothing to learn from")
    sides = _sides(whole.sources, shares, settings.seed)
    parts = {name: _chosen(whole, [i for i, side in enumerate(sides) if side == name]) for name in PARTS}
    for name, path in files.items():
        held = read(settings, names, path, getattr(settings, f"{name}_target"), data.source_column, data.target_column)
        parts[name] = complete(held, notes)
    for name, wanted in (("train", True), *((name, share > 0) for name, share in shares.items())):
        if wanted and not len(parts[name]):
            raise ValueError(
                f"{data.path} has {len(whole)} pairs, too few for a {PARTS[name]} part of its own: give more of them, or hold "
                "out less or none (--valid 0)"
            )
    notes += [
        f"{copies:,} of the {len(parts[name]):,} {PARTS[name]} texts are among those learned from as well: what is measured on "
        "them is memory"
        for name in ("valid", "test")
        if (copies := shared(parts[name].sources, parts["train"].sources))
    ]
    return Corpus(**parts, text_column=data.source_column, target_column=data.target_column, notes=tuple(notes))


def read(
    settings: Seq2SeqSettings,
    names: Names,
    path: str,
    target_path: str | None,
    text_column: str | None,
    target_column: str | None,
    targets: bool = True,
) -> Pairs:
    """The pairs of a file, read as ``settings`` say."""
    return read_pairs(
        path,
        target_path,
        names=names,
        source=text_column,
        target=target_column,
        targets=targets,
        encoding=settings.encoding,
        separator=settings.separator,
    )


def complete(data: Pairs, notes: list[str]) -> Part:
    """The pairs whose texts are both there; a note counts the others.

    **Raises** ``ValueError`` where there is none.
    """
    assert data.targets is not None
    rows = [i for i, pair in enumerate(zip(data.sources, data.targets, strict=True)) if all(map(str.strip, pair))]
    if not rows:
        raise ValueError(f"{data.path} has no row with both texts: expected a text and what belongs to it in each")
    if left := len(data) - len(rows):
        first = next(i for i in range(len(data)) if i >= len(rows) or rows[i] != i)
        notes.append(f"{left:,} rows of {data.path} have an empty text, row {first + 1} first, and are left out")
    return _chosen(Part(data.sources, data.targets), rows)


def _sides(sources: Sequence[str], shares: Mapping[str, float], seed: int) -> list[str]:
    copies: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(sources):
        copies[key(text)].append(row)
    groups, sides = list(copies.values()), ["train"] * len(sources)
    order, first = np.random.default_rng([seed, 1]).permutation(len(groups)), 0
    for name, share in shares.items():
        count = max(0, min(round(share * len(groups)), len(groups) - 1 - first))
        for group in order[first : first + count].tolist():
            for row in groups[group]:
                sides[row] = name
        first += count
    return sides


def _chosen(part: Part, rows: Sequence[int]) -> Part:
    return Part(tuple(part.sources[i] for i in rows), tuple(part.targets[i] for i in rows))
