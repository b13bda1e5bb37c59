import numpy as np
import pytest

from bptt.data.grouped import Grouped
from bptt.data.ragged import Ragged

LENGTHS = np.random.default_rng(0).integers(1, 60, 700)


def grouped(**how):
    rows = [np.full(n, i) for i, n in enumerate(LENGTHS)]
    return Grouped(Ragged(rows, rows, dtype=None), 8, **how)


def test_every_sequence_comes_once_an_epoch_with_others_of_a_like_length():
    source = grouped(seed=3)
    for epoch in (0, 1):
        seen = [i for batch in source.batches(epoch) for i in batch.tolist()]
        assert sorted(seen) == list(range(700))
    padded = sum(piece.x.numel() for piece in source.epoch(0))
    at_random = sum(LENGTHS[i : i + 8].max() * 8 for i in range(0, 700, 8))
    assert padded < 1.1 * LENGTHS.sum() < 0.7 * at_random


def test_the_order_is_that_of_the_seed_and_the_epoch_and_can_be_taken_up():
    source = grouped(seed=3)
    first, again, other = (list(grouped(seed=seed).epoch(n)) for seed, n in ((3, 0), (3, 0), (3, 1)))
    assert all(a.x.equal(b.x) for a, b in zip(first, again, strict=True))
    assert not all(a.x.shape == b.x.shape for a, b in zip(first, other, strict=True))
    rest = list(source.epoch(0, start=5))
    assert len(rest) == len(first) - 5 == source.sequences - 5
    assert all(a.x.equal(b.x) for a, b in zip(rest, first[5:], strict=True))
    with pytest.raises(ValueError, match="no batch 999"):
        source.epoch(0, start=999)
    assert source.fingerprint() == grouped(seed=3).fingerprint() != grouped(seed=4).fingerprint()


def test_unshuffled_they_go_from_the_shortest_to_the_longest():
    lengths = [len(piece.x) for piece in grouped(shuffle=False).epoch(0)]
    assert lengths == sorted(lengths)
