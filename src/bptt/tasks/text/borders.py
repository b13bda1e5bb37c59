"""Where a text is cut into its parts, and what of it a vocabulary may be fitted to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from bptt.data import Subwords, Vocabulary, Words, subwords, words
from bptt.data.vocabulary import recut

SETTLED: dict[str, Callable[[str], int]] = {"word": words.settled, "subword": subwords.settled}
"""The units whose vocabularies are fitted to the training part: how much of a text has its tokens settled."""

FIT = 1 << 28
"""Characters that a vocabulary of words or sub-words is fitted to, at most: what more of them adds is rare."""


def borders(chunks: Callable[[], Iterable[str]], unit: str, shares: tuple[float, float]) -> tuple[int, int]:
    """The characters at which validation and test begin: at their shares of the text, drawn back to where tokens part.

    The text is read twice: for its length, then for the places.
    """
    total = sum(map(len, chunks()))
    second = total - round(total * shares[1])
    wanted = [second - round(total * shares[0]), second]
    found, done, held = [], 0, ""
    for chunk in chunks():
        held += chunk
        while wanted and wanted[0] < done + len(held):
            found.append(done + SETTLED[unit](held[: wanted.pop(0) - done]))
        settled = SETTLED[unit](held)
        done, held = done + settled, held[settled:]
    first, second = (found + [total] * 2)[:2]
    return first, second


def fit(chunks: Callable[[], Iterable[str]], unit: str, size: int | None, end: int) -> Vocabulary:
    """A vocabulary of the first ``end`` characters of a text alone.

    Of more than ``FIT`` it is of so many. Where none of its words would be ``<unk>``, those that occur once are, so that a
    network meets one in training.
    """
    end = min(end, FIT)
    if unit == "subword":
        return Subwords.fit(_until(chunks(), end), **({} if size is None else {"size": size}))
    known = Words.fit(_until(chunks(), end), size=size)
    if any((known.encode(piece) == 0).any() for piece in recut(_until(chunks(), end), known.cut)):
        return known
    try:
        return Words.fit(_until(chunks(), end), size=size, min_count=2)
    except ValueError:  # every word occurs once
        return known


def tokens_after(chunks: Callable[[], Iterable[str]], vocabulary: Vocabulary, first: int, second: int) -> tuple[int, int]:
    """The tokens between the characters ``first`` and ``second``, and after ``second``."""
    between = _count(_until(_from(chunks(), first), second - first), vocabulary)
    return between, _count(_from(chunks(), second), vocabulary)


def _count(chunks: Iterable[str], vocabulary: Vocabulary) -> int:
    return sum(len(vocabulary.encode(piece)) for piece in recut(chunks, vocabulary.cut))


def _until(chunks: Iterable[str], end: int) -> Iterator[str]:
    for chunk in chunks:
        if end <= 0:
            return
        yield chunk[:end]
        end -= len(chunk)


def _from(chunks: Iterable[str], begin: int) -> Iterator[str]:
    for chunk in chunks:
        if begin < len(chunk):
            yield chunk[max(begin, 0) :]
        begin -= len(chunk)
