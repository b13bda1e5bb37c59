"""An n-gram asked history by history says what the one says that knows the whole text beforehand."""

from itertools import islice

import numpy as np
import pytest

from bptt.data.grams import Grams
from bptt.data.ngram import probabilities


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_it_is_interpolated_kneser_ney(order):
    rng = np.random.default_rng(0)
    sequences = [rng.choice(6, rng.integers(1, 9), p=[0, 0.4, 0.3, 0.2, 0.06, 0.04]).tolist() for _ in range(60)]
    asked = [1, 2, 5, 3, 1, 1, 4, 2]
    text = [0, *(symbol for each in sequences for symbol in (*each, 0))]
    chances = next(islice(probabilities(text, [0, *asked, 0], 6), order - 1, None))
    grams = Grams(sequences, 6, order)
    found = [grams.after(asked[:i])[symbol] for i, symbol in enumerate([*asked, 0])]
    np.testing.assert_allclose(np.exp(found), chances, rtol=1e-10)
    for i in range(len(asked)):
        assert np.exp(grams.after(asked[:i])).sum() == pytest.approx(1)


def test_symbols_beyond_the_alphabet_are_refused():
    with pytest.raises(ValueError, match="symbols 1 to 2, got 2 of 0 to 3"):
        Grams([[3]], 3, 2)
    with pytest.raises(ValueError, match="expected sequences"):
        Grams([], 3, 2)
