"""A text too large to hold: outlined, its vocabulary fitted, and read page by page."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from bptt.data import Bytes, Characters, Vocabulary, encode, vocabulary_from_json
from bptt.data.decoded import Raw
from bptt.data.encode import BINARY, check_unit, encoder
from bptt.data.files import Shards, are_tables, short_names
from bptt.data.outline import Outline, counted, outlined, outlined_raw, settled_before
from bptt.data.pages import Pages
from bptt.data.text import open_texts
from bptt.data.texts import Texts
from bptt.data.vocabulary import ids_type
from bptt.tasks.text.borders import fit
from bptt.tasks.text.config import TextSettings
from bptt.tasks.text.together import Crew


def is_large(shards: Shards, processes: int) -> bool:
    """Whether a text is read page by page: beyond 256 MiB, where it is not one file of this machine for one process alone."""
    alone = processes == 1 and len(shards) == 1 and not shards[0].remote and not are_tables(shards)
    return not alone and sum(shard.size for shard in shards) > encode.SPILL


class Paged:
    """The text of ``shards``, in pages; ``kept`` says where those of an earlier reading began.

    **Raises** what reading the text raises.
    """

    def __init__(
        self, given: str, shards: Shards, settings: TextSettings, crew: Crew, kept: Mapping[str, Any] | None = None
    ) -> None:
        self._settings, self._crew = settings, crew
        self._raw = settings.encoding == BINARY
        encode.check_binary(shards, settings.unit, settings.encoding)
        self.texts: Texts = (
            Raw(given, shards) if self._raw else open_texts(given, settings.encoding, settings.column, crew.deal, shards)
        )
        files = [[name, shard.size, shard.mark()] for name, shard in zip(short_names(shards), shards, strict=True)]
        read = {"unit": settings.unit, "encoding": settings.encoding, "column": settings.column}
        self._about: dict[str, Any] = {"files": files, **read}
        known = self._known(kept)
        if known is None:
            known = outlined_raw(self.texts) if self._raw else outlined(self.texts, settings.unit, crew.deal)
        self._outline = known

    def vocabulary(self, shares: tuple[float, float]) -> Vocabulary:
        """The vocabulary of the training part, or of all characters: made by the first process for all."""
        unit, outline = self._settings.unit, self._outline
        check_unit(unit, self._settings.vocabulary)
        if unit == Bytes.unit:
            return Bytes()
        if unit == Characters.unit:
            return Characters(outline.letters)

        def chunks() -> Iterator[str]:
            for first, last in pairwise(outline.places):
                yield self.texts.text(first, last)

        def fitted() -> dict[str, Any]:
            return fit(chunks, unit, self._settings.vocabulary, self._borders(shares)[0][0]).to_json()

        return vocabulary_from_json(self._crew.first(fitted))

    def tokens(self, vocabulary: Vocabulary) -> Pages:
        """All tokens."""
        encode_ = encoder(vocabulary, self.texts.name, self._settings.encoding)
        unknown = set(self._outline.letters) - set(getattr(vocabulary, "symbols", self._outline.letters))
        if self._outline.tokens is None or unknown:
            self._outline = counted(self.texts, self._outline, encode_, self._crew.deal)
        return Pages(self.texts, self._outline, encode_, ids_type(vocabulary.size))

    def parts(self, vocabulary: Vocabulary, shares: tuple[float, float]) -> dict[str, Pages]:
        """Training, validation and test part, as shares of the characters, drawn back to where tokens part."""
        tokens = self.tokens(vocabulary)
        encode_ = encoder(vocabulary, self.texts.name, self._settings.encoding)
        places, begins = self._outline.places, self._outline.tokens
        assert begins is not None
        ends = []
        for _, page, inside in self._borders(shares):
            text = self.texts.text(places[page], places[page + 1])[:inside]
            ends.append(int(begins[page]) + len(encode_(text, int(self._outline.lengths[page]))))
        return {"train": tokens[: ends[0]], "valid": tokens[ends[0] : ends[1]], "test": tokens[ends[1] :]}

    def to_json(self) -> dict[str, Any]:
        """What an unchanged text need not be read through for again."""
        return {**self._about, **self._outline.to_json()}

    def _borders(self, shares: tuple[float, float]) -> list[tuple[int, int, int]]:
        total = int(self._outline.lengths[-1])
        second = total - round(total * shares[1])
        wanted = (second - round(total * shares[0]), second)
        return [settled_before(self.texts, self._outline, self._settings.unit, each) for each in wanted]

    def _known(self, kept: Mapping[str, Any] | None) -> Outline | None:
        if kept is None:
            return None
        differing = [key for key in self._about if kept.get(key) != self._about[key]]
        if not differing:
            return Outline.from_json(kept)
        if "files" in differing and self._crew.leads:
            there, here = ({name: rest for name, *rest in each["files"]} for each in (kept, self._about))
            name = min(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
            was, now = (f"{each[name][0]:,} bytes" if name in each else "not there" for each in (there, here))
            how = f"{was} before, {now} now" if was != now else "other contents"
            print(f"{self.texts.name} has changed ({name}: {how}): reading it through", file=sys.stderr)
        return None
