"""Tokens of a text too large to hold, encoded when they are asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.data.outline import Outline
from bptt.data.texts import Texts
from bptt.data.vocabulary import Ids


class Pages:
    """Tokens ``[N]`` that are read and encoded page by page as they are asked for; what `bptt.data.Stream` reads as an array.

    ``tokens[a:b]`` is a view; ``tokens[index]`` of whole numbers of any shape, and ``np.asarray(tokens)``, are arrays. The last
    pages are kept, twice as many as one index has met: reading in order, in however many rows, encodes each once.

    Not for random access: any token costs a page. **Raises** ``ValueError`` where a file has changed since it was outlined.
    """

    ndim = 1

    def __init__(
        self,
        texts: Texts,
        outline: Outline,
        encode: Callable[[str, int], Ids],
        dtype: np.dtype[Any],
        bounds: tuple[int, int] | None = None,
    ) -> None:
        assert outline.tokens is not None, "tokens are counted before they are read"
        self.texts, self.outline, self.dtype = texts, outline, dtype
        self._encode, self._begins = encode, outline.tokens
        self._first, self._last = bounds or (0, int(self._begins[-1]))
        self._kept: OrderedDict[int, Ids] = OrderedDict()
        self._room = 4

    def __len__(self) -> int:
        return self._last - self._first

    def __repr__(self) -> str:
        return f"Pages({len(self)} tokens of {self.texts.name})"

    @property
    def shape(self) -> tuple[int]:
        """``(N,)``."""
        return (len(self),)

    def __getitem__(self, where: Any) -> Any:
        if isinstance(where, slice):
            first, last, step = where.indices(len(self))
            if step != 1:
                raise ValueError(f"tokens are read in order: got a step of {step}")
            bounds = (self._first + first, self._first + max(first, last))
            return Pages(self.texts, self.outline, self._encode, self.dtype, bounds)
        index = np.asarray(where)
        if not np.issubdtype(index.dtype, np.integer):
            raise TypeError(f"tokens are asked for by whole numbers or a slice; got {index.dtype}")
        return self._taken(index)

    def __iter__(self) -> Iterator[Any]:
        for block in self.blocks():
            yield from block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("tokens that are read from files cannot be an array without a copy")
        blocks = [np.empty(0, self.dtype), *self.blocks()]
        return np.concatenate(blocks).astype(dtype or self.dtype, copy=False)

    def blocks(self) -> Iterator[Ids]:
        """The tokens in order, page after page; none of them is kept."""
        at = self._first
        while at < self._last:
            page = self._page_of(at)
            begin, end = int(self._begins[page]), min(int(self._begins[page + 1]), self._last)
            yield self._read(page)[at - begin : end - begin]
            at = end

    def _taken(self, index: NDArray[Any]) -> Any:
        flat = index.reshape(-1).astype(np.int64)
        flat = np.where(flat < 0, flat + len(self), flat)
        if flat.size and (flat.min() < 0 or flat.max() >= len(self)):
            raise IndexError(f"no token {index.reshape(-1)[(flat < 0) | (flat >= len(self))][0]} among {len(self)}")
        flat += self._first
        pages = self._page_of(flat)
        order = np.argsort(pages, kind="stable")
        met, begins = np.unique(pages[order], return_index=True)
        self._room = max(self._room, 2 * len(met))
        made = np.empty(flat.shape, self.dtype)
        for page, own in zip(met.tolist(), np.split(order, begins[1:]), strict=False):
            made[own] = self._page(page)[flat[own] - self._begins[page]]
        return made.reshape(index.shape)[()]

    def _page_of(self, at: Any) -> Any:
        return np.searchsorted(self._begins, at, "right") - 1

    def _page(self, page: int) -> Ids:
        if page not in self._kept:
            while len(self._kept) >= self._room:
                self._kept.popitem(last=False)
            self._kept[page] = self._read(page)
        self._kept.move_to_end(page)
        return self._kept[page]

    def _read(self, page: int) -> Ids:
        places, begins = self.outline.places, self._begins
        made = self._encode(self.texts.text(places[page], places[page + 1]), int(self.outline.lengths[page]))
        if len(made) != begins[page + 1] - begins[page]:
            raise ValueError(f"{self.texts.name} has changed since it was first read: page {page} has other tokens now")
        return made
