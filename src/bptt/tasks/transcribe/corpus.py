"""Recordings with their transcripts in three parts: to learn from, to choose the best weights by, to test on."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bptt.data.audio import BadAudio, Samples, content, decoded, resampled
from bptt.data.cells import listed
from bptt.data.features import Floats, log_mel
from bptt.data.recordings import Recordings, read_recordings
from bptt.nearest import nearest
from bptt.tasks.config import option
from bptt.tasks.transcribe.alphabet import spelled
from bptt.tasks.transcribe.config import TranscribeSettings
from bptt.tasks.transcribe.loss import steps_needed

PARTS = {"train": "training", "valid": "validation", "test": "test"}
_MANY = 0.5  # of the transcripts differ: then they are prompts of their own rather than a few words said again and again


@dataclass(frozen=True)
class Part:
    """Some recordings: their names, transcripts as written and as spelled, log-mel frames, and a hash of each file.

    ``copies``: the frames of each recording at other speeds.
    """

    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    spelled: tuple[str, ...] = ()
    frames: tuple[Floats, ...] = ()
    copies: tuple[tuple[Floats, ...], ...] = ()
    hashes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def seconds(self) -> float:
        """How long they are in all."""
        return sum(map(len, self.frames)) / 100


@dataclass(frozen=True)
class Corpus:
    """The parts of the data, the columns they were found in, how they were parted, and what there is to remark."""

    train: Part
    valid: Part
    test: Part
    file_column: str | None
    text_column: str | None
    notes: tuple[str, ...] = ()


def read_corpus(settings: TranscribeSettings) -> Corpus:
    """The parts as ``settings`` say.

    **Raises** what `bptt.data.recordings.read_recordings` raises; ``ValueError`` naming the first recording that cannot be
    learned (`unfit`) unless these are to be left out, for parts too small, and a column or value that is not there.
    """
    data = read(settings, settings.data)
    assert data.texts is not None
    plain = tuple(spelled(text, settings.lower, settings.punctuation) for text in data.texts)
    sides, how = _sides(data, plain, settings)
    notes: list[str] = [how] if how else []
    given: dict[str, tuple[Recordings, NDArray[np.int64]]] = {name: (data, np.flatnonzero(sides == name)) for name in PARTS}
    for name in ("valid", "test"):
        path = getattr(settings, name)
        if isinstance(path, str):
            held = read(settings, path, data)
            given[name] = held, np.arange(len(held))
    parts = {name: read_part(settings, *given[name], speeds=name == "train", notes=notes) for name in PARTS}
    if not len(parts["train"]):
        raise ValueError(f"{data.source} leaves no recording to learn from: give more of them, or hold out fewer")
    known = set(parts["train"].spelled)
    for name in ("valid", "test"):
        same = sum(text in known for text in parts[name].spelled)
        if same and len(known) > _MANY * len(parts["train"]):
            notes.append(f"{same:,} of the {len(parts[name]):,} {PARTS[name]} transcripts are also among those learned from")
    return Corpus(**parts, file_column=data.file_column, text_column=data.text_column, notes=tuple(notes))


def read(settings: TranscribeSettings, path: str, like: Recordings | None = None, texts: bool = True) -> Recordings:
    """Which recordings there are, read as ``settings`` say; ``like``: data whose columns they have as well."""
    return read_recordings(
        path,
        file=settings.file_column if like is None else like.file_column,
        text=settings.text_column if like is None else like.text_column,
        texts=texts,
        names=settings.names,
        encoding=settings.encoding,
        separator=settings.separator,
    )


def read_part(
    settings: TranscribeSettings,
    data: Recordings,
    rows: Iterable[int],
    *,
    learned: bool = True,
    speeds: bool = False,
    notes: list[str] | None = None,
) -> Part:
    """The recordings of these rows; ``learned``: as they must be for a loss; ``speeds``: with their copies.

    **Raises** ``ValueError`` naming the first that cannot be used.
    """
    assert data.texts is not None
    found: list[tuple[str, str, str, Floats, tuple[Floats, ...], str]] = []
    bad: list[str] = []
    for row in rows:
        text = spelled(data.texts[row], settings.lower, settings.punctuation)
        try:
            raw = content(data.files[row])
            samples = decoded(data.files[row], raw, settings.rate)
            frames = log_mel(samples, settings.rate, settings.bands)
            if learned:
                _check(samples, frames, text, settings)
        except ValueError as error:
            own = f"{data.row(row)}: " if str(data.files[row]) not in str(error) or data.file_column else ""
            bad.append(f"{own}{error}")
            continue
        others = _copies(samples, text, settings) if speeds and settings.speed else ()
        found.append((data.names[row], data.texts[row], text, frames, others, hashlib.blake2b(raw, digest_size=8).hexdigest()))
    if bad and (settings.unfit == "refuse" or not learned):
        more = f" ({len(bad):,} such recordings)" if len(bad) > 1 else ""
        leave = f", or {option('unfit')} leave" if learned else ""
        raise ValueError(f"{bad[0]}{more}{leave}")
    if bad and notes is not None:
        notes.append(f"{len(bad):,} recordings cannot be learned and are left out, the first: {bad[0]}")
    return Part(*map(tuple, zip(*found, strict=True))) if found else Part()


def _check(samples: Samples, frames: Floats, text: str, settings: TranscribeSettings) -> None:
    """Refuses what has no loss, or one that would teach nonsense."""
    seconds = len(samples) / settings.rate
    if not len(samples):
        raise BadAudio("the recording has 0 seconds: leave it out")
    if not np.ptp(samples):
        raise BadAudio("the recording is silent throughout: leave it out")
    if not text:
        raise ValueError("there is no transcript: write it, or leave the recording out")
    if seconds > settings.longest:
        raise ValueError(
            f"the recording has {seconds:,.1f} seconds, more than {option('longest')} {settings.longest:g}: cut it, with the "
            f"transcript of each part, or raise {option('longest')}"
        )
    needed, steps = steps_needed(list(map(ord, text))), -(-len(frames) // settings.stack)
    if needed > steps:
        raise ValueError(
            f"the transcript takes {needed} steps to spell and {seconds:.2f} seconds of sound have {steps}: is it the right "
            f"recording? Else give more steps, {option('stack')} {max(1, settings.stack - 1)}, or leave it out"
        )


def _copies(samples: Samples, text: str, settings: TranscribeSettings) -> tuple[Floats, ...]:
    """The frames at a lower and a higher speed; those that the transcript does not fit into are not made."""
    needed = steps_needed(list(map(ord, text))) * settings.stack
    made = (
        log_mel(resampled(samples, round(100 * (1 + way * settings.speed)), 100), settings.rate, settings.bands)
        for way in (-1, 1)
    )
    return tuple(frames for frames in made if len(frames) >= needed)


def _sides(data: Recordings, texts: Sequence[str], settings: TranscribeSettings) -> tuple[NDArray[np.str_], str]:
    """The part of each row, and in a few words how the shares were drawn."""
    sides = np.full(len(data), "train")
    for name in ("valid", "test"):
        where = getattr(settings, f"{name}_where")
        if where is not None:
            if getattr(settings, name) not in (0, TranscribeSettings.model_fields[name].default):
                raise ValueError(
                    f"{option(name)} {getattr(settings, name)} and {option(f'{name}_where')} {where} both say what is held "
                    "out: give one of them"
                )
            sides[_chosen(data, where, option(f"{name}_where"))] = name
    shares = {
        name: float(share)
        for name in ("valid", "test")
        if not isinstance(share := getattr(settings, name), str) and getattr(settings, f"{name}_where") is None and share
    }
    if sum(shares.values()) >= 1:
        raise ValueError(f"{' and '.join(f'{option(n)} {share:g}' for n, share in shares.items())} leave nothing to learn from")
    left = np.flatnonzero(sides == "train").tolist()
    keys: Sequence[str]
    if settings.speaker_column is not None:
        keys, what = _column(data, settings.speaker_column, "--speaker-column"), settings.speaker_column
    elif settings.apart == "prompt" or (settings.apart == "auto" and len({texts[i] for i in left}) > _MANY * len(left)):
        keys, what = texts, "prompt"
    else:
        keys, what = [str(i) for i in range(len(data))], ""
    groups: dict[str, list[int]] = defaultdict(list)
    for row in left:
        groups[keys[row]].append(row)
    order = [list(groups.values())[i] for i in np.random.default_rng([settings.seed, 1]).permutation(len(groups))]
    for name, share in shares.items():
        held = 0
        while order and (not held or held + len(order[-1]) / 2 <= share * len(left)):
            held += len(order[-1])
            sides[order.pop()] = name
    if shares and not order:
        raise ValueError(
            f"{data.source} has {len(groups):,} different {what or 'recording'}s, too few to hold out a part and learn "
            f"from the rest: give more, or hold out none ({option('valid')} 0)"
        )
    return sides, f"what is held out is drawn by {what}: none of them is on both sides" if shares and what else ""


def _chosen(data: Recordings, where: str, named: str) -> NDArray[np.int64]:
    column, _, values = where.partition("=")
    cells = _column(data, column, named)
    wanted = [value.strip() for value in values.split(",")]
    absent = next((value for value in wanted if value not in cells), None)
    if absent is not None:
        known = sorted(set(cells))
        raise ValueError(f"{named} {where}: no row of {data.source} has {absent!r} there; it has {listed(known[:12])}")
    return np.flatnonzero(np.isin(np.asarray(cells), wanted))


def _column(data: Recordings, name: str, named: str) -> tuple[str, ...]:
    fields: Mapping[str, tuple[str, ...]] = data.fields
    if name not in fields:
        known = listed(list(fields)) if fields else "none beside files and transcripts"
        raise ValueError(f"{named}: {data.source} has no column {name!r}{nearest(name, fields)}; it has {known}")
    return fields[name]
