"""Which recordings there are and what is said in them: a manifest's rows, a folder's files, or one file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bptt.data.audio import SUFFIXES
from bptt.data.cells import listed
from bptt.data.rows import Rows, check_names, decoded, table
from bptt.nearest import nearest

FILE_NAMES = ("file", "path", "audio", "wav", "filename", "file_name", "audio_path", "audio_file", "audio_filepath", "clip",
              "recording")  # fmt: skip
TEXT_NAMES = ("transcript", "transcription", "text", "sentence", "words", "label", "target")


@dataclass(frozen=True)
class Recordings:
    """The recordings in their order: ``files``, their ``texts`` where they are told, and what else is told of each.

    ``names``: the recordings as their source calls them. ``fields``: further columns (of a speaker, say), by name.
    """

    source: str
    files: tuple[Path, ...]
    names: tuple[str, ...]
    texts: tuple[str, ...] | None
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    file_column: str | None = None
    text_column: str | None = None

    def __len__(self) -> int:
        return len(self.files)

    def row(self, number: int) -> str:
        """How row ``number``, from 0, is called in an error."""
        return f"{self.source}, row {number + 1} ({self.names[number]})" if self.file_column else f"{self.files[number]}"


def read_recordings(
    path: str | Path,
    *,
    file: str | None = None,
    text: str | None = None,
    texts: bool = True,
    names: str | None = None,
    encoding: str = "utf-8",
    separator: str | None = None,
) -> Recordings:
    """Read which recordings there are: from a manifest (CSV, TSV, JSON Lines, Parquet), a folder, or one audio file.

    - A manifest has a column of files, whose paths are relative to it, and one of transcripts: named by ``file`` and ``text``,
      else of a usual name (file, path, audio, …; transcript, text, sentence, …); of two, the one whose cells all end as audio
      files do and the other. Without a line of names columns are called 1, 2, ….
    - In a folder, recordings in the order of their names. ``names`` says what these tell, as in
      ``{transcript}_{speaker}_{index}``; without it, the transcript is in a file of the same name that ends in ``.txt``.

    ``texts=False`` asks for no transcripts.

    **Raises** ``FileNotFoundError`` for a recording or transcript that is not there, with its row; ``ValueError`` for columns
    that are not clear, names that tell nothing, a row that does not fit, and a folder without recordings.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path, names, texts, encoding)
    if path.suffix.lower() in SUFFIXES:
        if texts:
            raise ValueError(f"{path} is one recording; expected a manifest (files and transcripts), or a folder of recordings")
        if not path.exists():
            raise FileNotFoundError(f"there is no file {path}")
        return Recordings(str(path), (path,), (path.name,), None)
    return _manifest(path, file, text, texts, encoding, separator)


def _manifest(path: Path, file: str | None, text: str | None, texts: bool, encoding: str, separator: str | None) -> Recordings:
    named, rows = table(path, encoding, separator, "rows of audio files and transcripts")
    if named is None:
        named, rows = _named(path, rows, {each for each in (file, text) if each is not None})
    if not rows:
        raise ValueError(f"{path} has columns ({listed(named)}) but no rows")
    at = _column(path, named, rows, "files", file, FILE_NAMES, "--file-column", _is_audio)
    if at is None:
        raise ValueError(f"say which column of {path} names the files, --file-column NAME; the columns are: {listed(named)}")
    said = None
    if texts:
        said = _column(path, named, rows, "transcripts", text, TEXT_NAMES, "--text-column", None)
        rest = [i for i in range(len(named)) if i != at]
        said = rest[0] if said is None and len(rest) == 1 else said
        if said is None or said == at:
            raise ValueError(
                f"say which column of {path} holds the transcripts, --text-column NAME; the columns are: {listed(named)}"
            )
    files = tuple(_file(path, number, row[at]) for number, row in enumerate(rows, 1))
    transcripts = (
        None if said is None else tuple(_text(path, number, named[said], row[said]) for number, row in enumerate(rows, 1))
    )
    others = {
        name: tuple("" if row[i] is None else str(row[i]).strip() for row in rows)
        for i, name in enumerate(named)
        if i not in (at, said)
    }
    called = tuple(str(row[at]).strip() for row in rows)
    return Recordings(str(path), files, called, transcripts, others, named[at], None if said is None else named[said])


def _named(path: Path, rows: Rows, asked: set[str]) -> tuple[list[str], Rows]:
    """The names of the columns and the rows below them; they are numbered where the first line already names a recording."""
    names = [str(name).strip() for name in rows[0]]
    if asked & set(names) or not any(_is_audio(name) for name in names):
        check_names(path, names)
        return names, rows[1:]
    return [str(i) for i in range(1, len(names) + 1)], rows


def _column(
    path: Path, names: Sequence[str], rows: Rows, what: str, given: str | None, usual: tuple[str, ...], option: str, fits: Any
) -> int | None:
    if given is not None:
        if given not in names:
            raise ValueError(
                f"{path} has no column {given!r} of {what}{nearest(given, names)}; its columns are {listed(names)}: name the "
                f"one of {what}, {option} NAME"
            )
        return names.index(given)
    found = [i for i, name in enumerate(names) if name.casefold() in usual]
    if len(found) != 1 and fits is not None:
        found = [i for i in range(len(names)) if all(fits(row[i]) for row in rows)]
    return found[0] if len(found) == 1 else None


def _is_audio(cell: Any) -> bool:
    return isinstance(cell, str) and Path(cell.strip()).suffix.lower() in SUFFIXES


def _file(path: Path, row: int, cell: Any) -> Path:
    if not isinstance(cell, str) or not cell.strip():
        raise ValueError(f"{path}, row {row}: no file is named; name one in every row, or leave the row out")
    found = path.parent / Path(cell.strip()).expanduser()
    if not found.is_file():
        what = "is a folder" if found.is_dir() else "is not there"
        raise FileNotFoundError(
            f"{path}, row {row}: {found} {what}; paths are relative to {path.parent}: mend the path, or leave the row out"
        )
    return found


def _text(path: Path, row: int, column: str, cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, (dict, list, float, bool)):
        raise ValueError(
            f"{path}, row {row}: column {column!r} holds {str(cell)[:40]!r}, a {type(cell).__name__} and no text; give the "
            "column of transcripts, --text-column NAME"
        )
    return str(cell)


def _folder(path: Path, names: str | None, texts: bool, encoding: str) -> Recordings:
    files = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())
    if not files:
        raise ValueError(f"{path} holds no recordings; expected files that end in {', '.join(SUFFIXES[:3])} …")
    called = tuple(str(each.relative_to(path)) for each in files)
    if not texts:
        return Recordings(str(path), tuple(files), called, None)
    if names is not None:
        told = _told(path, files, names)
        return Recordings(str(path), tuple(files), called, told.pop("transcript"), told)
    lacking = [each for each in files if not each.with_suffix(".txt").is_file()]
    if lacking:
        raise FileNotFoundError(
            f"{lacking[0]} has no transcript beside it, {lacking[0].with_suffix('.txt').name} ({len(lacking):,} such "
            "recordings): write them, or give a manifest, or say what the names tell, --names '{transcript}_{speaker}_{index}'"
        )
    said = tuple(" ".join(decoded(each.with_suffix(".txt"), encoding).split()) for each in files)
    return Recordings(str(path), tuple(files), called, said)


def _told(path: Path, files: Sequence[Path], names: str) -> dict[str, tuple[str, ...]]:
    """What the names of files tell, by the fields of the pattern."""
    fields = re.findall(r"\{(\w+)\}", names)
    if "transcript" not in fields or len(set(fields)) < len(fields):
        raise ValueError(
            f"--names {names}: expected fields in braces, each once, and {{transcript}} among them, as in "
            "'{transcript}_{speaker}_{index}'"
        )
    pattern = re.compile("".join(
        f"(?P<{part}>.+?)" if i % 2 else re.escape(part) for i, part in enumerate(re.split(r"\{(\w+)\}", names))
    ))  # fmt: skip
    found = [pattern.fullmatch(each.stem) for each in files]
    strange = [each for each, match in zip(files, found, strict=True) if match is None]
    if strange:
        raise ValueError(
            f"{strange[0].relative_to(path)} is not named as --names {names} says ({len(strange):,} such files): rename it, or "
            "give a manifest"
        )
    return {name: tuple(match[name] for match in found if match is not None) for name in fields}
