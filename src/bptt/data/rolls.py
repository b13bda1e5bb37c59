"""Sequences of sets of labels: at every step, some of them are there. Music as the keys that sound, for one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.data.text import check_file, known_format, read_text

Label = str | int
Roll = NDArray[np.uint8]
PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Rolls:
    """Sequences in the order of their file: rolls ``[T_i, L]`` of 0 and 1, and the part of each where the file says so."""

    labels: tuple[Label, ...]
    rolls: tuple[Roll, ...]
    parts: tuple[str | None, ...]

    def part(self, name: str) -> list[Roll]:
        """The rolls of a part, those of no part left out."""
        return [roll for roll, own in zip(self.rolls, self.parts, strict=True) if own == name]


def read_rolls(path: str | Path, labels: Sequence[Label] | None = None) -> Rolls:
    """Sequences from a file, with its own labels, in their order, or with those given.

    - JSON lines: a sequence a line, as a list of steps, each a list of the labels that are there (numbers or texts), or as
      ``{"steps": […], "part": "train"}`` with part train, valid or test;
    - ``.mat``: ``traindata``, ``validdata``, ``testdata`` of piano rolls ``[T, L]``, as Boulanger-Lewandowski et al. 2012
      published theirs; the labels are the columns' numbers.

    **Raises** ``ValueError`` naming the line and the step for what is none, and for labels that are not among those given.
    """
    path = Path(path)
    check_file(path)
    return (_from_mat if path.suffix.lower() == ".mat" else _from_lines)(path, labels)


def _from_lines(path: Path, labels: Sequence[Label] | None) -> Rolls:
    sequences, parts, seen = [], [], set[Label]()
    for number, text in _lines(path):
        steps, part = _sequence(path, number, text)
        for step, there in enumerate(steps, 1):
            for label in there if isinstance(there, list) else [None]:
                if isinstance(label, bool) or not isinstance(label, (str, int)):
                    raise ValueError(
                        f"{path}, line {number}, step {step}: expected a list of labels, as in [60, 64], got {_short(there)}"
                    )
                if labels is not None and label not in labels:
                    raise ValueError(
                        f"{path}, line {number}, step {step}: the label {label!r} is none of the {len(labels)} that were "
                        "learned from: leave such sequences out, or train with a file that has it"
                    )
                seen.add(label)
        sequences.append(steps)
        parts.append(part)
    kinds = {type(label).__name__ for label in seen}
    if len(kinds) > 1:
        raise ValueError(f"{path} has labels that are numbers and labels that are texts: make all of them one kind")
    known = tuple(labels if labels is not None else sorted(seen))
    if not known:
        raise ValueError(f"{path} has no label at any step")
    column = {label: index for index, label in enumerate(known)}
    rolls = []
    for steps in sequences:
        roll = np.zeros((len(steps), len(known)), dtype=np.uint8)
        for step, there in enumerate(steps):
            roll[step, [column[label] for label in there]] = 1
        rolls.append(roll)
    return Rolls(known, tuple(rolls), tuple(parts))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    held, number = "", 0
    for chunk in read_text(path):
        *lines, held = (held + chunk).split("\n")
        for line in lines:
            number += 1
            if line.strip():
                yield number, line
    if held.strip():
        yield number + 1, held


def _sequence(path: Path, number: int, text: str) -> tuple[list[Any], str | None]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(
            f"{path}, line {number}: not JSON ({error}); expected a list of steps, as in [[60, 64], [62], []]"
        ) from None
    part = None
    if isinstance(found, dict):
        part, unknown = found.get("part"), sorted(found.keys() - {"steps", "part"})
        if "steps" not in found:
            raise ValueError(f"{path}, line {number}: no 'steps' in it, only {', '.join(map(repr, unknown)) or 'a part'}")
        if part is not None and part not in PARTS:
            raise ValueError(f"{path}, line {number}: the part is {part!r}, expected one of {', '.join(PARTS)}")
        found = found["steps"]
    if not isinstance(found, list):
        raise ValueError(f"{path}, line {number}: expected a list of steps, as in [[60, 64], [62], []], got {_short(found)}")
    return found, part


def _from_mat(path: Path, labels: Sequence[Label] | None) -> Rolls:
    with path.open("rb") as file:
        kind = known_format(file.read(8))
    if kind:
        raise ValueError(f"{path} is {kind}, not a MATLAB file: unpack or convert it first")
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError:
        raise ImportError(f'{path} needs scipy to be read: pip install "bptt[sequence]"') from None
    try:
        found = loadmat(path)
    except (MatReadError, ValueError, TypeError, NotImplementedError, OSError) as error:
        raise ValueError(f"{path} is no MATLAB file that can be read ({' '.join(str(error).split())})") from None
    rolls, parts = [], []
    for part in PARTS:
        for index, roll in enumerate(np.ravel(found.get(f"{part}data", ()))):
            if not isinstance(roll, np.ndarray) or roll.ndim != 2 or not np.isin(roll, (0, 1)).all():
                raise ValueError(f"{path}: {part}data {{{index + 1}}} is no roll [T, L] of 0 and 1")
            rolls.append(roll.astype(np.uint8))
            parts.append(part)
    if not rolls:
        names = ", ".join(name for name in found if not name.startswith("__")) or "nothing"
        raise ValueError(f"{path} holds {names}; expected traindata, validdata and testdata, cells of rolls [T, L]")
    width = rolls[0].shape[1]
    if wrong := {roll.shape[1] for roll in rolls} - {width}:
        raise ValueError(f"{path}: one roll has {width} labels and another {min(wrong)}")
    known = tuple(range(width))
    if labels is not None and tuple(labels) != known:
        raise ValueError(f"{path} has {width} labels, but the model learned {len(labels)}")
    return Rolls(known, tuple(rolls), tuple(parts))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "…"
