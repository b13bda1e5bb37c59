"""From a text file to an array of tokens: fitting a vocabulary, encoding chunk by chunk, splitting in order."""

from __future__ import annotations

import codecs
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bptt.data.characters import Bytes, Characters
from bptt.data.decoded import Raw
from bptt.data.files import Shards, are_tables, find_files
from bptt.data.pages import Pages
from bptt.data.subwords import Subwords
from bptt.data.text import Progress, open_texts, read_text, whole
from bptt.data.texts import CHUNK, Texts
from bptt.data.vocabulary import Ids, UnknownCharacter, Vocabulary, ids_type, recut
from bptt.data.words import Words

UNITS: dict[str, type[Bytes] | type[Characters] | type[Words] | type[Subwords]] = {
    kind.unit: kind for kind in (Bytes, Characters, Words, Subwords)
}
BINARY = "binary"
Tokens = Ids | Pages
SPILL = 256 << 20  # bytes of tokens kept in memory before they go to a temporary file


def fit_vocabulary(
    unit: str,
    path: str | Path,
    *,
    encoding: str = "utf-8",
    column: str | None = None,
    size: int | None = None,
    min_count: int = 1,
    progress: Progress | None = None,
) -> Vocabulary:
    """The vocabulary of a text, in one file or many, by the name of its unit: "byte", "character", "word" or "subword".

    ``size`` bounds the number of tokens of words (default: no bound) and of sub-words (default 8000); ``min_count``
    is for words. The whole text is counted; to keep words of a held-out part out of it, fit on the training file.
    Raises ValueError for an unknown unit or an option that the unit does not have, and what ``read_text`` raises.
    """
    check_unit(unit, size, min_count)
    if unit == Bytes.unit:
        find_files(path)
        return Bytes()
    chunks = read_text(path, encoding, column=column, progress=progress)
    if unit == Characters.unit:
        return Characters.fit(chunks)
    if unit == Words.unit:
        return Words.fit(chunks, size=size, min_count=min_count)
    return Subwords.fit(chunks) if size is None else Subwords.fit(chunks, size=size)


def check_unit(unit: str, size: int | None = None, min_count: int = 1) -> None:
    """**Raises** ``ValueError`` for an unknown unit, and for an option that a vocabulary of this unit does not have."""
    if unit not in UNITS:
        raise ValueError(f"there is no unit {unit!r}; choose one of {', '.join(UNITS)}")
    if size is not None and unit in (Bytes.unit, Characters.unit):
        raise ValueError(f"size={size}: a vocabulary of {unit}s has a size of its own; a size is for words and sub-words")
    if min_count != 1 and unit != Words.unit:
        raise ValueError(f"min_count={min_count} is for words; a vocabulary of {unit}s has no such bound")


def vocabulary_from_json(saved: dict[str, Any]) -> Vocabulary:
    """The vocabulary that ``to_json`` described; raises ValueError when it describes none."""
    kind = saved.get("kind") if isinstance(saved, dict) else None
    if kind not in UNITS:
        raise ValueError(f"a saved vocabulary has a kind among {', '.join(UNITS)}; got {kind!r}")
    try:
        return UNITS[kind].from_json(saved)
    except KeyError as error:
        raise ValueError(f"the saved vocabulary of kind {kind!r} lacks its entry {error}") from None


def encode_file(
    path: str | Path,
    vocabulary: Vocabulary,
    encoding: str = "utf-8",
    *,
    column: str | None = None,
    chunk: int = CHUNK,
    progress: Progress | None = None,
) -> Ids:
    """All tokens ``[N]`` of a text, in one file or many (`bptt.data.files.find_files`), in the smallest type that holds them.

    The text is read in chunks of ``chunk`` bytes, whose borders never change a token. Tokens beyond 256 MiB go to a
    temporary file (in the directory that TMPDIR names) which is memory-mapped and vanishes with the array. With
    ``Bytes`` one UTF-8 file is checked once and then mapped itself, read-only, without its byte order mark: do not
    change it while it is in use. ``encoding="binary"``, with ``Bytes`` only, takes any files as they are.

    Raises what ``read_text`` raises, and ``UnknownCharacter`` with its place in the text.
    """
    shards = find_files(path)
    check_binary(shards, vocabulary.unit, encoding)
    mapped = vocabulary.unit == Bytes.unit and len(shards) == 1 and not shards[0].remote and not are_tables(shards)
    if encoding == BINARY:
        if mapped:
            return np.memmap(shards[0].name, dtype=np.uint8, mode="r")
        texts: Texts = Raw(str(path), shards)
    else:
        texts = open_texts(path, encoding, column, shards=shards)
    chunks = whole(texts, chunk, progress)
    if mapped and codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii"):
        for _ in chunks:
            pass
        with Path(shards[0].name).open("rb") as file:
            mark = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
        return np.memmap(shards[0].name, dtype=np.uint8, mode="r", offset=mark)
    encode, done = encoder(vocabulary, texts.name, encoding), 0
    with closing(_Kept(ids_type(vocabulary.size))) as kept:
        for piece in recut(chunks, vocabulary.cut):
            kept.add(encode(piece, done))
            done += len(piece)
        return kept.array()


def check_binary(shards: Shards, unit: str, encoding: str) -> None:
    """**Raises** ``ValueError`` where raw bytes are asked for of what cannot give them."""
    if encoding == BINARY and unit != Bytes.unit:
        raise ValueError(f"encoding 'binary' reads raw bytes, but the tokens are {unit}s: add --unit byte")
    if encoding == BINARY and len(shards) > 1 and are_tables(shards):
        raise ValueError("encoding 'binary' reads raw bytes, but these are Parquet tables, of which a column of texts is read")


def encoder(vocabulary: Vocabulary, name: str, encoding: str) -> Callable[[str, int], Ids]:
    """What makes tokens of a stretch of the text called ``name``, given the characters before it; raw bytes as they are.

    It **raises** ``UnknownCharacter`` with its place in the text.
    """

    def raw(text: str, _: int) -> Ids:
        return np.frombuffer(text.encode("latin-1"), dtype=np.uint8)

    def told(text: str, before: int) -> Ids:
        try:
            return vocabulary.encode(text)
        except UnknownCharacter as error:
            raise UnknownCharacter(error.character, before + error.position, error.size, where=name) from None

    return raw if encoding == BINARY else told


class _Kept:
    """Collects arrays end to end: in memory, and from SPILL bytes on in a temporary file."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._memory = bytearray()
        self._file: IO[bytes] | None = None

    def add(self, ids: NDArray[Any]) -> None:
        data = np.ascontiguousarray(ids, dtype=self._dtype).data
        if self._file is None and len(self._memory) + data.nbytes > SPILL:
            self._file = tempfile.TemporaryFile(prefix="bptt-tokens-")  # noqa: SIM115 (see close)
            self._file.write(self._memory)
            self._memory = bytearray()
        if self._file is None:
            self._memory += data
        else:
            self._file.write(data)

    def array(self) -> Ids:
        if self._file is None:
            return np.frombuffer(self._memory, dtype=self._dtype)
        self._file.flush()
        return np.memmap(self._file, dtype=self._dtype, mode="r")  # holds the file open by itself

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Split(NamedTuple):
    """The parts of a sequence in their order in time; a part that was not asked for is empty."""

    train: Tokens
    valid: Tokens
    test: Tokens


def split(tokens: Tokens, valid: float = 0.05, test: float = 0.0) -> Split:
    """Cut tokens ``[N]`` in order: training first, then the fraction ``valid``, then the fraction ``test``.

    The parts are views. Raises ValueError for fractions outside 0..1, that leave nothing to train on, or whose part
    would hold fewer than two tokens (one to read and one to predict).
    """
    for name, fraction in (("valid", valid), ("test", test)):
        if not 0 <= fraction < 1:
            raise ValueError(f"{name}={fraction}: expected a fraction of the text, at least 0 and below 1")
    if valid + test >= 1:
        raise ValueError(f"valid={valid} and test={test} leave nothing to train on; their sum must stay below 1")
    n = len(tokens)
    sizes = {"valid": round(n * valid), "test": round(n * test)}
    sizes["train"] = n - sum(sizes.values())
    for name, wanted in (("train", True), ("valid", valid > 0), ("test", test > 0)):
        if wanted and sizes[name] < 2:
            raise ValueError(f"{n} tokens are too few: the part {name!r} would hold {sizes[name]}, expected at least 2")
    first, second = sizes["train"], sizes["train"] + sizes["valid"]
    return Split(tokens[:first], tokens[first:second], tokens[second:])
