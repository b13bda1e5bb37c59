"""What text is read from, whatever it is kept in: in chunks, and from places that were met before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

V = TypeVar("V")
CHUNK = 1 << 20  # bytes
Place = tuple[int, int]
"""Where text can be gone on with: bytes before it and a decoder's state, or rows before it and characters of the next one."""

Deal = Callable[[Callable[[int, int], Any]], list[Any]]
"""Calls ``work(rank, size)`` in each of ``size`` processes, and gives what all of them made, by rank."""


def alone(work: Callable[[int, int], V]) -> list[V]:
    """The `Deal` of one process."""
    return [work(0, 1)]


class Chunk(NamedTuple):
    """A stretch of text; ``done`` bytes or rows have been read with it, and ``place(k)`` is that of its character k.

    ``place`` is ``None`` between two characters that are one code of their encoding.
    """

    text: str
    done: int
    place: Callable[[int], Place | None]


class Texts(Protocol):
    """The text of files end to end, exactly as it stands, without the byte order marks that files begin with."""

    name: str
    size: int
    """Bytes, or rows of tables."""

    anywhere: bool
    """Whether `begin` can tell where characters begin."""

    @property
    def first(self) -> Place:
        """Where the text begins."""
        ...

    def chunks(self, first: Place | None = None, stop: Place | None = None, size: int = CHUNK) -> Iterator[Chunk]:
        """The text from ``first`` to ``stop`` in chunks of about ``size``."""
        ...

    def text(self, first: Place, stop: Place) -> str:
        """The text between two places, in one."""
        ...

    def begin(self, near: int) -> Place:
        """The first place from ``near`` bytes or rows on."""
        ...
