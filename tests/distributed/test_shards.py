"""The rows of a batch, dealt out: together they are the whole, whatever the kind of sequence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bptt.data import Stream
from bptt.train.feed import as_source
from bptt.train.shards import Shard, own_rows
from tests.distributed.cases import Streamed, numbers, tokens


class Sliced:
    def __init__(self, piece):
        self._piece = piece

    def __len__(self):
        return len(self._piece.x)

    def __getitem__(self, where):
        return type(self._piece)(*(part[where] for part in self._piece))


@pytest.mark.parametrize("rows", [1, 4, 5, 9])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_rows_are_dealt_out_in_order_and_evenly(rows, size):
    parts = [own_rows(rows, rank, size) for rank in range(size)][: min(rows, size)]
    assert [row for part in parts for row in range(rows)[part]] == list(range(rows))
    assert max(len(range(rows)[part]) for part in parts) - min(len(range(rows)[part]) for part in parts) <= 1


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize(
    "data", [tokens(5), numbers(6, 5, 0), Sliced(numbers(6, 5, 0)), Streamed()], ids=lambda d: type(d).__name__
)
def test_the_parts_are_the_whole(data, size):
    def pieces(source):
        for sequence in source.epoch(0):
            if isinstance(sequence, tuple):
                yield sequence
            elif hasattr(sequence, "__len__"):
                yield sequence[0 : len(sequence)]
            else:
                yield from sequence

    whole = list(pieces(as_source(data)))
    parts: list[list] = [[] for _ in whole]
    for rank in range(size):
        shard = Shard(as_source(data), rank, size)
        assert shard.fingerprint() == as_source(data).fingerprint()
        for at, piece in enumerate(pieces(shard)):
            assert shard.own == (piece.x.shape[1] if rank < 5 else 0)
            parts[at] += [piece] * bool(shard.own)
    for piece, of_all in zip(whole, parts, strict=True):
        assert torch.equal(torch.cat([each.x for each in of_all], 1), piece.x)
        assert torch.equal(torch.cat([each.target for each in of_all], 1), piece.target)
        for flag, absent in (("mask", True), ("reset", False)):
            found = [getattr(each, flag) for each in of_all]
            full = [
                torch.full(each.x.shape[:2], absent) if one is None else one for each, one in zip(of_all, found, strict=True)
            ]
            expected = getattr(piece, flag)
            assert torch.equal(torch.cat(full, 1), torch.full(piece.x.shape[:2], absent) if expected is None else expected)


def test_a_part_of_a_stream_is_no_copy():
    whole = Stream(np.arange(40), rows=6)
    part = whole.part(4, 6)
    assert part.tokens is whole.tokens
    assert (len(part), part.rows, whole.rows) == (len(whole), 2, 6)
    with pytest.raises(ValueError, match=r"no rows 4\.\.7 in a stream of 6"):
        whole.part(4, 7)
