import numpy as np
import pytest
import torch

from bptt.data import Batches
from bptt.data.ragged import Ragged


def sequences(lengths, width=3, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(length, width)) for length in lengths]


def test_rows_are_padded_at_the_end_under_a_mask():
    x, target = sequences([2, 5, 1]), sequences([2, 5, 1], width=2, seed=1)
    piece = Ragged(x, target).piece([1, 0])
    assert piece.x.shape == (5, 2, 3)
    assert piece.target.shape == (5, 2, 2)
    assert piece.mask.tolist() == [[True, True], [True, True], [True, False], [True, False], [True, False]]
    np.testing.assert_allclose(piece.x[:2, 1], x[0], rtol=1e-6)
    assert not piece.x[2:, 1].any()
    np.testing.assert_allclose(piece.target[:, 0], target[1], rtol=1e-6)


def test_rows_of_one_length_need_no_mask():
    examples = Ragged(sequences([4, 2, 4]), sequences([4, 2, 4]), dtype=torch.float64)
    piece = examples.piece([0, 2])
    assert piece.mask is None
    assert piece.x.dtype == torch.float64
    assert examples.steps is None
    assert Ragged(sequences([4, 4]), sequences([4, 4])).steps == 4


def test_every_sequence_is_handed_out_once_an_epoch():
    examples = Ragged([np.full((n, 1), n) for n in range(1, 8)], [np.zeros((n, 1)) for n in range(1, 8)])
    pieces = list(Batches(examples, rows=3).epoch(0))
    assert sorted(int(row) for piece in pieces for row in piece.x.amax((0, 2))) == list(range(1, 8))


def test_its_fingerprint_tells_one_from_another():
    x = sequences([3, 2])
    other = [x[0], x[1] + 1]
    prints = {Ragged(x, x).fingerprint(), Ragged(other, x).fingerprint(), Ragged(x[:1], x[:1]).fingerprint()}
    assert len(prints) == 3
    assert Ragged(x, x).fingerprint() == Ragged(sequences([3, 2]), sequences([3, 2])).fingerprint()


@pytest.mark.parametrize(
    ("x", "target", "said"),
    [
        ([np.zeros((2, 3))], [], "1 sequences have 0 targets"),
        ([np.zeros((0, 3))], [np.zeros((0, 3))], "sequence 0 has no steps"),
        ([np.zeros((2, 3))], [np.zeros((3, 3))], "sequence 0 has 2 steps and targets for 3"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], [np.zeros((2, 1))] * 2, r"x 1 is \[4\] a step"),
    ],
)
def test_what_does_not_fit_is_named(x, target, said):
    with pytest.raises(ValueError, match=said):
        Ragged(x, target)
