"""A long sequence of tokens cut into parallel rows that go on from piece to piece."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bptt.data.pages import Pages
from bptt.data.piece import Piece

_HASH_WHOLE = 1 << 24  # tokens; longer arrays are hashed by blocks spread over them, to stay cheap on any file
_HASH_BLOCK = 1 << 14


class Stream:
    """A sequence of ``N`` tokens read as ``B`` parallel rows, each a contiguous stretch of it.

    The ``N - 1`` pairs (token, next token) are dealt out in order: with ``N - 1 = q B + r`` the first ``r`` rows hold
    ``q + 1`` of them and the others ``q``, so no token is dropped and ``len(stream) = ceil((N - 1) / B)`` steps. Where
    rows are shorter their last step carries ``mask`` False. ``stream[a:b]`` is a ``Piece`` with ``x`` and ``target``
    int64 ``[b - a, B]``; only that slice is copied, so ``tokens`` may be a memory map larger than memory.

    Args:
        tokens: integers ``[N]``: a numpy array, a memory map, a tensor, or `bptt.data.pages.Pages`.
        rows: ``B``, the number of parallel rows.
        resets: increasing positions in ``tokens`` at which a document starts. The state starts afresh before the step
            whose input is that token (``Piece.reset``); the step before it still predicts that token.

    Raises:
        TypeError: tokens that are not whole numbers.
        ValueError: tokens that are not one-dimensional, too few tokens for the rows, resets out of order or range.

    Row ``b`` starts in mid-text for ``b > 0``: with few tokens and many rows, much text is read without what preceded
    it. For evaluation use ``rows=1``, or few rows. Not for independent short sequences: use ``Batches``.
    """

    def __init__(self, tokens: ArrayLike | torch.Tensor | Pages, rows: int, resets: ArrayLike | None = None) -> None:
        self.tokens = _as_tokens(tokens)
        self.rows = _as_rows(rows)
        pairs = len(self.tokens) - 1
        if pairs < self.rows:
            fits = f"give at least {self.rows + 1} tokens, or rows={pairs} or fewer" if pairs >= 1 else "give a longer text"
            raise ValueError(
                f"{len(self.tokens)} tokens are too few for {self.rows} rows: "
                f"every row needs at least one token and the token after it; {fits}"
            )
        self.resets = _as_resets(resets, len(self.tokens))
        self.position = 0
        each, self._longer = divmod(pairs, self.rows)
        row = np.arange(self.rows, dtype=np.int64)
        self._starts = row * each + np.minimum(row, self._longer)
        self._uneven = self._longer > 0
        self._steps = each + self._uneven
        self._hash: str | None = None

    def __len__(self) -> int:
        return self._steps

    def __repr__(self) -> str:
        return f"Stream({len(self.tokens)} tokens, rows={self.rows}, steps={len(self)})"

    @property
    def count(self) -> int:
        """The number of targets in the whole stream, ``N - 1``."""
        return len(self.tokens) - 1

    def __getitem__(self, where: slice) -> Piece:
        if not isinstance(where, slice):
            raise TypeError(f"a stream is sliced in time, stream[a:b]; got stream[{where!r}]")
        start, stop, stride = where.indices(len(self))
        if stride != 1:
            raise ValueError(f"a stream is read in order, one step at a time; got stream[{where.start}:{where.stop}:{stride}]")
        stop = max(start, stop)
        index = self._starts + np.arange(start, stop + 1, dtype=np.int64)[:, None]
        inside = np.minimum(index, len(self.tokens) - 1)
        taken = torch.from_numpy(np.asarray(self.tokens[inside]).astype(np.int64, copy=False))
        return Piece(taken[:-1], taken[1:], *self.flags(start, stop))

    def flags(self, start: int, stop: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The mask and the reset of the steps ``start <= t < stop``, without their tokens."""
        mask = reset = None
        if self._uneven and self._longer < self.rows and start < stop == len(self):
            mask = torch.ones(stop - start, self.rows, dtype=torch.bool)
            mask[-1, self._longer :] = False
        if self.resets is not None and len(self.resets):
            index = self._starts + np.arange(start, stop, dtype=np.int64)[:, None]
            at = np.searchsorted(self.resets, index)
            hit = self.resets[np.minimum(at, len(self.resets) - 1)] == index
            if mask is not None:
                hit &= mask.numpy()
            reset = torch.from_numpy(hit) if hit.any() else None
        return mask, reset

    def part(self, first: int, last: int) -> Stream:
        """The rows ``first <= b < last`` alone, in as many steps as the whole; the tokens are not copied.

        **Raises** ``ValueError`` where there are no such rows.
        """
        if not 0 <= first < last <= self.rows:
            raise ValueError(f"no rows {first}..{last} in a stream of {self.rows}")
        made = copy.copy(self)
        made.rows, made._starts = last - first, self._starts[first:last]
        made._longer = min(max(self._longer - first, 0), made.rows)
        made.position, made._hash = 0, None
        return made

    def pieces(self, steps: int) -> Iterator[Piece]:
        """Walk from ``position`` to the end in pieces of ``steps`` (the last may be shorter), then stand at 0 again.

        ``position`` counts a piece as soon as it is handed out, so a state saved after working on a piece goes on
        with the next one. Start a fresh hidden state at each new walk: the end of a row is not followed by its start.
        """
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps={steps!r}: a piece needs a whole number of steps, at least 1")
        while self.position < len(self):
            start, self.position = self.position, min(self.position + steps, len(self))
            yield self[start : self.position]
        self.position = 0

    def state_dict(self) -> dict[str, int | str]:
        """Where the walk stands, and what it walks over."""
        return {"position": self.position, "length": len(self), "rows": self.rows, "fingerprint": self.fingerprint()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was saved; raises ValueError, saying what differs, when it is of other data or rows."""
        mine = self.state_dict()
        if set(state) != set(mine):
            raise ValueError(f"the state of a stream has the entries {sorted(mine)}; got {sorted(state)}")
        differs = [f"{k} {state[k]!r}, here {mine[k]!r}" for k in ("rows", "length", "fingerprint") if state[k] != mine[k]]
        if differs:
            raise ValueError(
                "the saved position belongs to another stream: saved with "
                + "; ".join(differs)
                + ". Give the same tokens, resets and rows as before, or start from the beginning"
            )
        position = state["position"]
        if not isinstance(position, int) or not 0 <= position <= len(self):
            raise ValueError(f"position {position!r} lies outside the stream's steps 0..{len(self)}")
        self.position = position

    # Source: one sequence an epoch

    @property
    def sequences(self) -> int:
        """1: an epoch is one walk over the stream."""
        return 1

    @property
    def steps(self) -> int:
        """The steps of the stream, ``len(stream)``."""
        return len(self)

    def epoch(self, n: int, start: int = 0) -> Iterator[Stream]:
        """The stream itself, once (nothing when ``start`` is 1: the epoch is over); every epoch is alike."""
        if n < 0 or start not in (0, 1):
            raise ValueError(f"no sequence {start} in epoch {n}: a stream has one sequence an epoch, number 0")
        return iter([self][start:])

    def fingerprint(self) -> str:
        """Tokens, rows, resets, and a hash of the contents (of blocks spread over it beyond 16 million tokens)."""
        if self._hash is None:
            self._hash = _hash(self.tokens, self.resets)
        documents = "" if self.resets is None else f", {len(self.resets)} resets"
        return f"stream of {len(self.tokens)} tokens in {self.rows} rows{documents}, {self._hash}"


def _as_tokens(tokens: ArrayLike | torch.Tensor | Pages) -> NDArray[np.integer[Any]] | Pages:
    if isinstance(tokens, Pages):
        return tokens
    array = tokens.detach().cpu().numpy() if isinstance(tokens, torch.Tensor) else np.asanyarray(tokens)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"tokens are {array.dtype} but a stream is made of whole numbers; encode the text first")
    if array.ndim != 1:
        raise ValueError(f"tokens have the shape {list(array.shape)} but a stream is made of one dimension [N]")
    return array


def _as_rows(rows: int) -> int:
    if isinstance(rows, bool) or not isinstance(rows, int | np.integer) or rows < 1:
        raise ValueError(f"rows={rows!r}: a stream needs a whole number of rows, at least 1")
    return int(rows)


def _as_resets(resets: ArrayLike | None, tokens: int) -> NDArray[np.int64] | None:
    if resets is None:
        return None
    array = np.asarray(resets)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"resets are {array.dtype} {list(array.shape)}; expected whole positions in the tokens, [D]")
    array = array.astype(np.int64)
    if array.size and (array[0] < 0 or array[-1] >= tokens):
        raise ValueError(f"resets reach from {array[0]} to {array[-1]} but the tokens have the positions 0..{tokens - 1}")
    if (wrong := np.flatnonzero(np.diff(array) <= 0)).size:
        i = int(wrong[0])
        raise ValueError(f"resets must increase, but {array[i]} is followed by {array[i + 1]} (entry {i + 1}); sort them")
    return array


def _hash(tokens: NDArray[np.integer[Any]] | Pages, resets: NDArray[np.int64] | None) -> str:
    digest = hashlib.blake2b(digest_size=8)
    if len(tokens) <= _HASH_WHOLE:
        starts = np.arange(0, len(tokens), _HASH_BLOCK)
    else:
        starts = np.linspace(0, len(tokens) - _HASH_BLOCK, _HASH_WHOLE // _HASH_BLOCK // 16).astype(np.int64)
    for start in starts.tolist():
        block = np.arange(start, min(start + _HASH_BLOCK, len(tokens)))
        # as int64, so that the same tokens have the same hash in whichever type they are kept
        digest.update(np.asarray(tokens[block]).astype("<i8").tobytes())
    if resets is not None:
        digest.update(b"resets" + resets.astype("<i8").tobytes())
    return digest.hexdigest()
