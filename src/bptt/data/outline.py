"""Pages of a text too large to hold: where each begins, and how much text and how many tokens come before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.data import subwords, words
from bptt.data.texts import Deal, Place, Texts, alone
from bptt.data.vocabulary import Ids

PAGE = 1 << 18  # characters of a page, about; it is what must be read to reach any place in it
_PAGES = 1 << 20  # pages at most, about: of larger texts they are longer
_TOGETHER = 1 << 23  # characters that are read at once where pages are read in order

Longs = NDArray[np.int64]


@dataclass(frozen=True)
class Outline:
    """Pages ``0 .. P - 1`` that begin where tokens part: ``places [P + 1]``, and ``lengths [P + 1]`` of text before each.

    Lengths are in characters, of bytes in bytes. ``tokens [P + 1]``: how many come before each page, once they are counted.
    ``letters``: the characters that occur, where they are the tokens.
    """

    places: tuple[Place, ...]
    lengths: Longs
    tokens: Longs | None = None
    letters: str = ""

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON."""
        tokens = None if self.tokens is None else self.tokens.tolist()
        return {"places": list(map(list, self.places)), "lengths": self.lengths.tolist(), "tokens": tokens}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Outline:
        """What `to_json` described, without its letters."""
        tokens = None if saved["tokens"] is None else np.array(saved["tokens"], np.int64)
        return cls(tuple((a, b) for a, b in saved["places"]), np.array(saved["lengths"], np.int64), tokens)


def settled_of(unit: str) -> Callable[[str], int]:
    """How much of the beginning of a text has its tokens settled, by the unit alone; see `Vocabulary.cut`."""
    return {"word": words.settled, "subword": subwords.settled}.get(unit, len)


def outlined(texts: Texts, unit: str, deal: Deal = alone, page: int | None = None) -> Outline:
    """The pages of a text, by one pass over it that ``deal`` shares out; tokens are counted where the unit alone tells them.

    **Raises** what reading the text raises, and ``ValueError`` where it is empty.
    """
    page = page or max(PAGE, texts.size // _PAGES)
    measure: Callable[[str], int] = (lambda text: len(text.encode())) if unit == "byte" else len
    parts = deal(lambda rank, size: _part(texts, settled_of(unit), measure, page, unit == "character", (rank, size)))
    places = [place for part in parts for place in part[0]]
    if not places:
        raise ValueError(f"{texts.name} is empty apart from a byte order mark; expected a text file")
    lengths = np.array([0, *accumulate(length for part in parts for length in part[1])], np.int64)
    letters = "".join(sorted(set[str]().union(*(part[2] for part in parts))))
    return Outline((*places, (texts.size, 0)), lengths, lengths if unit in ("byte", "character") else None, letters)


def outlined_raw(texts: Texts) -> Outline:
    """The pages of bytes that are tokens as they are: nothing need be read."""
    at = [*range(0, texts.size, max(PAGE, texts.size // _PAGES)), texts.size]
    lengths = np.array(at, np.int64)
    return Outline(tuple((byte, 0) for byte in at), lengths, lengths)


def counted(texts: Texts, outline: Outline, encode: Callable[[str, int], Ids], deal: Deal = alone) -> Outline:
    """The outline with its tokens, counted by a pass that ``deal`` shares out; ``encode(text, characters before it)``."""
    pages = len(outline.places) - 1

    def count(rank: int, size: int) -> list[int]:
        first, last = pages * rank // size, pages * (rank + 1) // size
        return [len(encode(text, at)) for at, text in _texts(texts, outline, first, last)]

    made = [each for part in deal(count) for each in part]
    return replace(outline, tokens=np.array([0, *accumulate(made)], np.int64))


def settled_before(texts: Texts, outline: Outline, unit: str, wanted: int) -> tuple[int, int, int]:
    """The last place where tokens part at or before character ``wanted``: characters before it, its page, those in that."""
    page = max(int(np.searchsorted(outline.lengths, wanted, "left")) - 1, 0)
    start = int(outline.lengths[page])
    text = texts.text(outline.places[page], outline.places[page + 1])
    inside = len(text) if wanted == outline.lengths[-1] else settled_of(unit)(text[: wanted - start])
    return start + inside, page, inside


def _texts(texts: Texts, outline: Outline, first: int, last: int) -> Iterator[tuple[int, str]]:
    """The pages ``first <= p < last`` with the characters before each, several of them read at once."""
    while first < last:
        until = int(np.searchsorted(outline.lengths, outline.lengths[first] + _TOGETHER, "right")) - 1
        until = min(max(until, first + 1), last)
        text = texts.text(outline.places[first], outline.places[until])
        start = int(outline.lengths[first])
        if len(text) != outline.lengths[until] - start:
            raise ValueError(f"{texts.name} has changed while it was read: start again")
        for page in range(first, until):
            at = int(outline.lengths[page])
            yield at, text[at - start : int(outline.lengths[page + 1]) - start]
        first = until


def _part(
    texts: Texts,
    settled: Callable[[str], int],
    measure: Callable[[str], int],
    page: int,
    spells: bool,
    who: tuple[int, int],
) -> tuple[list[Place], list[int], set[str]]:
    """The pages of one process's share: from the first place where tokens part in it to that of the next share."""
    rank, size = who if texts.anywhere else (who[0], 1)
    if rank >= size:
        return [], [], set()
    start = texts.first if rank == 0 else _first_settled(texts, settled, texts.size * rank // size)
    stop = None if rank == size - 1 else _first_settled(texts, settled, texts.size * (rank + 1) // size)
    places, lengths, letters = [start], [0], set[str]()
    held = ""
    for chunk in texts.chunks(start, stop, page):
        before = len(held)
        held += chunk.text
        if spells:
            letters.update(chunk.text)
        k = settled(held)
        if not k:
            continue
        lengths[-1] += measure(held[:k])
        held = held[k:]
        if lengths[-1] >= page and (place := chunk.place(k - before)) is not None:
            places.append(place)
            lengths.append(0)
    lengths[-1] += measure(held)
    if not lengths[-1]:
        places.pop()
        lengths.pop()
    return places, lengths, letters


def _first_settled(texts: Texts, settled: Callable[[str], int], near: int) -> Place:
    """The first place where tokens part, whatever comes before, from ``near`` on; the end where there is none."""
    held = ""
    for chunk in texts.chunks(texts.begin(near), None, PAGE >> 4):
        before = len(held)
        held += chunk.text
        if not settled(held):
            continue
        low, high = 1, len(held)
        while low < high:  # the least beginning in which a place is settled
            middle = (low + high) // 2
            low, high = (low, middle) if settled(held[:middle]) else (middle + 1, high)
        place = chunk.place(settled(held[:low]) - before)
        assert place is not None, "texts that can be begun anywhere have a place at each character"
        return place
    return texts.size, texts.first[1]
