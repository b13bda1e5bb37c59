from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from bptt.data import Piece, Source, Stream


@settings(max_examples=60, deadline=None)
@given(n=st.integers(2, 60), rows=st.integers(1, 12), steps=st.integers(1, 9))
def test_every_pair_is_dealt_out_once_and_in_order(n, rows, steps):
    tokens = np.arange(n, dtype=np.uint8)
    if n - 1 < rows:
        with pytest.raises(ValueError, match=f"{n} tokens are too few for {rows} rows"):
            Stream(tokens, rows=rows)
        return
    stream = Stream(tokens, rows=rows)
    assert len(stream) == -(-(n - 1) // rows)
    read: list[list[int]] = [[] for _ in range(rows)]
    for piece in stream.pieces(steps=steps):
        assert piece.x.dtype == piece.target.dtype == torch.int64
        assert piece.x.shape == piece.target.shape
        for b in range(rows):
            for t in range(piece.x.shape[0]):
                if piece.mask is None or piece.mask[t, b]:
                    assert piece.target[t, b] == piece.x[t, b] + 1
                    read[b].append(int(piece.x[t, b]))
    assert [token for row in read for token in row] == list(range(n - 1))
    assert stream.count == n - 1


def test_mask_is_none_where_every_row_goes_on():
    stream = Stream(torch.arange(12), rows=4)  # 11 pairs: rows of 3, 3, 3, 2
    assert len(stream) == 3
    assert stream[0:2].mask is None
    assert stream[1:3].mask.tolist() == [[True] * 4, [True, True, True, False]]
    assert Stream(torch.arange(13), rows=4)[0:3].mask is None


def test_resets_stand_before_the_first_token_of_a_document():
    stream = Stream(np.arange(13), rows=3, resets=[0, 2, 9, 12])  # rows start at 0, 4, 8
    assert stream[0:4].reset.int().tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert stream[3:4].reset is None
    assert Stream(np.arange(13), rows=3)[0:4].reset is None


def test_a_masked_step_is_not_reset():
    stream = Stream(np.arange(6), rows=2, resets=[3])  # 5 pairs: row 0 reads 0..2, row 1 reads 3..4
    assert stream[0:3].reset.int().tolist() == [[0, 1], [0, 0], [0, 0]]
    stream = Stream(np.arange(6), rows=2, resets=[5])  # token 5 is a target only
    assert stream[0:3].reset is None


def test_slices_are_copies_in_pythons_manner():
    tokens = np.arange(21, dtype=np.int32)
    stream = Stream(tokens, rows=2)
    assert torch.equal(stream[-3:].x, stream[7:10].x)
    assert stream[8:99].x.shape == (2, 2)
    assert stream[5:5].x.shape == (0, 2)
    assert stream[7:3].x.shape == (0, 2)
    stream[0:2].x.zero_()
    assert tokens[3] == 3
    with pytest.raises(TypeError, match="sliced in time"):
        stream[3]
    with pytest.raises(ValueError, match="one step at a time"):
        stream[0:4:2]


def test_a_memory_map_is_read_by_slices_only(tmp_path):
    np.arange(1000, dtype=np.uint16).tofile(tmp_path / "ids")
    mapped = np.memmap(tmp_path / "ids", dtype=np.uint16, mode="r")
    stream = Stream(mapped, rows=3)
    assert isinstance(stream.tokens, np.memmap)
    assert stream[100:102].x.tolist() == [[100, 433, 766], [101, 434, 767]]
    assert stream.fingerprint() == Stream(torch.arange(1000), rows=3).fingerprint()


def test_walk_goes_on_from_a_saved_position():
    tokens = np.random.default_rng(0).integers(0, 50, 101)
    whole = list(Stream(tokens, rows=4).pieces(steps=7))
    for stop in range(len(whole) + 1):
        first, second = Stream(tokens, rows=4), Stream(tokens, rows=4)
        walk = first.pieces(steps=7)
        head = [next(walk) for _ in range(stop)]
        second.load_state_dict(first.state_dict())
        tail = list(second.pieces(steps=7))
        assert len(head) + len(tail) == len(whole)
        for got, want in zip(head + tail, whole, strict=True):
            assert torch.equal(got.x, want.x)
            assert torch.equal(got.target, want.target)
        assert second.position == 0


def test_a_state_of_other_data_or_rows_is_refused():
    tokens = np.arange(100)
    state = Stream(tokens, rows=4).state_dict()
    with pytest.raises(ValueError, match="rows 4, here 5"):
        Stream(tokens, rows=5).load_state_dict(state)
    other = tokens.copy()
    other[50] = 0
    with pytest.raises(ValueError, match=r"another stream.*fingerprint"):
        Stream(other, rows=4).load_state_dict(state)
    with pytest.raises(ValueError, match="fingerprint"):
        Stream(tokens, rows=4, resets=[3]).load_state_dict(state)
    assert Stream(tokens, rows=4, resets=[3]).fingerprint() != Stream(tokens, rows=4, resets=[4]).fingerprint()
    with pytest.raises(ValueError, match=r"outside the stream's steps 0\.\.25"):
        Stream(tokens, rows=4).load_state_dict({**state, "position": 26})
    with pytest.raises(ValueError, match="has the entries"):
        Stream(tokens, rows=4).load_state_dict({"position": 3})


def test_long_streams_are_hashed_by_blocks_over_their_whole_length(monkeypatch):
    monkeypatch.setattr("bptt.data.stream._HASH_WHOLE", 1 << 12)
    monkeypatch.setattr("bptt.data.stream._HASH_BLOCK", 1 << 6)
    tokens = np.zeros(10_000, dtype=np.uint8)
    plain = Stream(tokens, rows=2).fingerprint()
    for place in (0, 9_999):
        changed = tokens.copy()
        changed[place] = 1
        assert Stream(changed, rows=2).fingerprint() != plain


def test_a_stream_is_a_source_of_itself():
    stream = Stream(np.arange(10), rows=3)
    assert isinstance(stream, Source)
    assert stream.sequences == 1
    assert stream.steps == len(stream) == 3
    assert list(stream.epoch(0)) == [stream]
    assert list(stream.epoch(4, start=1)) == []
    with pytest.raises(ValueError, match="no sequence 2 in epoch 0"):
        stream.epoch(0, start=2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Stream(np.arange(4.0), rows=1), TypeError, "tokens are float64"),
        (lambda: Stream(torch.ones(4, dtype=torch.bool), rows=1), TypeError, "tokens are bool"),
        (lambda: Stream(np.zeros((3, 2), int), rows=1), ValueError, r"shape \[3, 2\]"),
        (lambda: Stream(np.arange(6), rows=8), ValueError, "6 tokens are too few for 8 rows.*rows=5 or fewer"),
        (lambda: Stream(np.arange(1), rows=1), ValueError, "1 tokens are too few"),
        (lambda: Stream(np.arange(6), rows=0), ValueError, "rows=0"),
        (lambda: Stream(np.arange(6), rows=2.0), ValueError, "rows=2.0"),
        (lambda: Stream(np.arange(6), rows=1, resets=[3, 2]), ValueError, "3 is followed by 2"),
        (lambda: Stream(np.arange(6), rows=1, resets=[2, 6]), ValueError, "from 2 to 6.*0..5"),
        (lambda: Stream(np.arange(6), rows=1, resets=[0.5]), ValueError, "whole positions"),
        (lambda: list(Stream(np.arange(6), rows=1).pieces(steps=0)), ValueError, "steps=0"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_piece_is_a_pair_with_two_silences():
    x, target = torch.zeros(2, 3), torch.ones(2, 3)
    assert Piece(x, target) == (x, target, None, None)
