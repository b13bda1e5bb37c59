"""Batches by tokens: every pair once, none too full, equally many in every epoch, padding little."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from bptt.data import Piece
from bptt.data.bytokens import ByTokens


class Examples:
    def __init__(self, lengths, widths):
        self.lengths, self.widths = np.asarray(lengths), np.asarray(widths)
        self.steps = None

    def __len__(self):
        return len(self.lengths)

    def piece(self, indices):
        return Piece(torch.as_tensor(indices), torch.as_tensor(indices))

    def fingerprint(self):
        return "these"


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=80),
    st.integers(1, 20),
    st.integers(1, 200),
    st.integers(0, 3),
)
def test_every_pair_is_in_one_batch_and_none_is_too_full(sizes, rows, tokens, epoch):
    examples = Examples(*zip(*sizes, strict=True))
    source = ByTokens(examples, rows, tokens, seed=1)
    made = source.batches(epoch)
    assert len(made) == len(source) == source.sequences
    assert sorted(np.concatenate(made).tolist()) == list(range(len(sizes)))
    for batch in made:
        places = len(batch) * int(examples.lengths[batch].max() + examples.widths[batch].max())
        assert len(batch) <= rows
        assert places <= tokens or len(batch) == 1


def test_the_order_depends_on_seed_and_epoch_alone():
    rng = np.random.default_rng(0)
    examples = Examples(rng.integers(1, 40, 500), rng.integers(1, 40, 500))
    source, again = (ByTokens(examples, 64, 400, seed=3) for _ in range(2))
    for n in range(2):
        assert all(map(np.array_equal, source.batches(n), again.batches(n)))
    assert not all(map(np.array_equal, source.batches(0), source.batches(1)))
    from_fifth = [piece.x.tolist() for piece in source.epoch(1, 5)]
    assert from_fifth == [batch.tolist() for batch in source.batches(1)[5:]]
    with pytest.raises(ValueError, match="no batch"):
        source.epoch(0, len(source) + 1)
    plain = ByTokens(examples, 64, 400, shuffle=False)
    assert (np.diff(examples.lengths[np.concatenate(plain.batches(0))]) >= 0).all()
    padding = sum(len(b) * examples.lengths[b].max() for b in source.batches(0)) / examples.lengths.sum()
    assert padding < 1.1


@pytest.mark.parametrize("tokens", [0, True, 1.5])
def test_no_room_is_refused(tokens):
    with pytest.raises(ValueError, match="room for tokens"):
        ByTokens(Examples([1], [1]), 1, tokens)
