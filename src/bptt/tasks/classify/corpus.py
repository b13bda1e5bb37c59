"""Labelled texts in three parts: to learn from, to choose the best weights by, to test on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bptt.data.grouped import Grouped
from bptt.data.labelled import Labelled, read_labelled
from bptt.data.ragged import Ragged
from bptt.tasks.classify.config import ClassifySettings
from bptt.tasks.classify.tokens import Tokens
from bptt.tasks.config import option

IGNORED = -100  # a step without a target, as `bptt.CrossEntropy` leaves it out
PARTS = {"train": "training", "valid": "validation", "test": "test"}
_MOST = 0.5  # different labels for each row, beyond which a column is no column of labels


@dataclass(frozen=True)
class Part:
    """Some of the rows of a file: their texts, and their classes as numbers."""

    texts: tuple[str, ...] = ()
    classes: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Corpus:
    """The parts of the data, the names of the classes, the columns they were found in, and what there is to remark."""

    train: Part
    valid: Part
    test: Part
    labels: tuple[str, ...]
    text_column: str
    label_column: str
    notes: tuple[str, ...] = ()


def read_corpus(settings: ClassifySettings, labels: Sequence[str] | None = None) -> Corpus:
    """The parts as ``settings`` say; ``labels``: the classes, where a run knows them already.

    A share that is held out is drawn by the seed from each class alike, and a text that occurs more than once stays on one
    side. **Raises** what `bptt.data.labelled.read_labelled` raises; ``ValueError`` for one label only, labels that the training
    lacks, and parts too small.
    """
    data = read(settings, settings.data, settings.text_column, settings.label_column)
    assert data.labels is not None
    assert data.label_column is not None
    labels = tuple(labels or _sorted(set(data.labels)))
    _check_labels(data, labels)
    files = {name: value for name in ("valid", "test") if isinstance(value := getattr(settings, name), str)}
    shares = {name: float(getattr(settings, name)) for name in ("valid", "test") if name not in files}
    classes = classes_of(data, labels)
    sides = _sides(data.texts, classes, shares, settings.seed)
    parts = {name: _chosen(data.texts, classes, sides == name) for name in PARTS}
    for name, path in files.items():
        held = read(settings, path, data.text_column, data.label_column)
        parts[name] = Part(held.texts, classes_of(held, labels))
    for name, wanted in (("train", True), *((name, share > 0) for name, share in shares.items())):
        if wanted and not len(parts[name]):
            raise ValueError(
                f"{data.path} has {len(data)} rows, too few for a {PARTS[name]} part of its own: give more of them, or hold "
                "out less or none (--valid 0)"
            )
    lacking = [labels[i] for i in range(len(labels)) if i not in set(parts["train"].classes)]
    if lacking:
        raise ValueError(f"no text of the training part has the label {lacking[0]!r}: hold out less, {option('valid')}")
    unnamed = () if data.header else ("the file has no line of column names: they are numbered, and its first line is data",)
    return Corpus(**parts, labels=labels, text_column=data.text_column, label_column=data.label_column,
                  notes=(*unnamed, *_notes(parts)))  # fmt: skip


def read(settings: ClassifySettings, path: str, text: str | None, label: str | None, labels: bool = True) -> Labelled:
    """The rows of a file, read as ``settings`` say."""
    return read_labelled(path, text=text, label=label, labels=labels, encoding=settings.encoding, separator=settings.separator)


def classes_of(data: Labelled, labels: Sequence[str]) -> tuple[int, ...]:
    """The labels of the rows as numbers.

    **Raises** ``ValueError`` naming the first row whose label the training has not.
    """
    assert data.labels is not None
    number = {label: i for i, label in enumerate(labels)}
    strange = [i for i, label in enumerate(data.labels) if label not in number]
    if strange:
        more = f" ({len(strange)} such rows)" if len(strange) > 1 else ""
        raise ValueError(
            f"{data.path}, row {strange[0] + 1}: the label {data.labels[strange[0]]!r} does not occur in training{more}; its "
            f"labels are {shown(labels)}: leave such rows out, or train with them"
        )
    return tuple(number[label] for label in data.labels)


def batches(part: Part, tokens: Tokens, rows: int, *, shuffle: bool = False, seed: int = 0) -> Grouped:
    """The texts as batches for training or measuring: the class is the target of their last step."""
    encoded = [tokens.encode(text) for text in part.texts]
    targets = [np.full(len(each), IGNORED, dtype=np.int64) for each in encoded]
    for target, wanted in zip(targets, part.classes, strict=True):
        target[-1] = wanted
    return Grouped(Ragged(encoded, targets, dtype=None), rows, shuffle=shuffle, seed=seed)


def shown(labels: Sequence[str]) -> str:
    """Labels in a line, the first dozen where there are many."""
    named = ", ".join(map(repr, labels[:12]))
    return named if len(labels) <= 12 else f"{named}, … ({len(labels)} in all)"


def key(text: str) -> str:
    """What two texts have in common that are the same but for spaces and capital letters."""
    return " ".join(text.split()).casefold()


def shared(texts: Iterable[str], others: Iterable[str]) -> int:
    """How many of ``texts`` are also among the others."""
    known = set(map(key, others))
    return sum(key(text) in known for text in texts)


def _check_labels(data: Labelled, labels: Sequence[str]) -> None:
    if len(labels) < 2:
        raise ValueError(
            f"every row of {data.path} has the label {labels[0]!r} (column {data.label_column!r}): there is nothing to tell "
            "apart; expected at least 2 labels"
        )
    if len(labels) > max(20, _MOST * len(data)):
        raise ValueError(
            f"column {data.label_column!r} of {data.path} holds {len(labels)} different values in {len(data)} rows, which are "
            "no labels to learn; name the column of labels, --label-column NAME"
        )


def _sides(texts: Sequence[str], classes: Sequence[int], shares: Mapping[str, float], seed: int) -> NDArray[np.str_]:
    """The part of each row: from each class a share of the different texts, all copies of one text together."""
    if sum(shares.values()) >= 1:
        raise ValueError(
            f"{' and '.join(f'{option(name)} {share:g}' for name, share in shares.items())} leave nothing to learn from"
        )
    copies: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        copies[key(text)].append(row)
    by_class: dict[int, list[list[int]]] = defaultdict(list)
    for rows in copies.values():
        by_class[classes[rows[0]]].append(rows)
    random, sides = np.random.default_rng([seed, 1]), np.full(len(texts), "train")
    owed = dict.fromkeys(shares, 0.0)  # what rounding has kept from a part so far: many small classes make up a part as well
    for number in sorted(by_class):
        groups = by_class[number]
        order = random.permutation(len(groups))
        first = 0
        for name, share in shares.items():
            owed[name] += share * len(groups)
            count = max(0, min(round(owed[name]), len(groups) - 1 - first))  # one at least is left to learn from
            owed[name] -= count
            for group in order[first : first + count]:
                sides[groups[group]] = name
            first += count
    return sides


def _chosen(texts: Sequence[str], classes: Sequence[int], where: NDArray[np.bool_]) -> Part:
    rows = np.flatnonzero(where).tolist()
    return Part(tuple(texts[i] for i in rows), tuple(classes[i] for i in rows))


def _notes(parts: Mapping[str, Part]) -> tuple[str, ...]:
    notes = [
        f"{copies:,} of the {len(parts[name]):,} {PARTS[name]} texts are among those learned from as well: what is measured on "
        "them is memory"
        for name in ("valid", "test")
        if (copies := shared(parts[name].texts, parts["train"].texts))
    ]
    labels: dict[str, set[int]] = defaultdict(set)
    for text, wanted in zip(parts["train"].texts, parts["train"].classes, strict=True):
        labels[key(text)].add(wanted)
    if both := sum(len(each) > 1 for each in labels.values()):
        notes.append(f"{both:,} texts to learn from occur with more than one label")
    empty = sum(not text.strip() for text in parts["train"].texts)
    if empty:
        notes.append(f"{empty:,} texts to learn from are empty")
    return tuple(notes)


def _sorted(labels: Iterable[str]) -> list[str]:
    """Numbers by their size, then names by the alphabet."""

    def place(label: str) -> tuple[int, float, str]:
        try:
            return 0, float(label), label
        except ValueError:
            return 1, 0.0, label

    return sorted(labels, key=place)
