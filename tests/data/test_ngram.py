from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise, product
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bptt.data.ngram import baselines, discounts, probabilities


def test_a_tiny_text_by_hand():
    # a b a b a c a: too small to estimate discounts, so D = 0.5 (once), 0.75 (twice), 0.9 (more)
    one, two = islice(probabilities([0, 1, 0, 1, 0, 2, 0], [0, 1, 0, 2, 2, 3, 1], 4), 2)
    none = (0.9 + 0.75 + 0.5) / 7 / 4
    a, b, c = (4 - 0.9) / 7 + none, (2 - 0.75) / 7 + none, (1 - 0.5) / 7 + none
    assert one == pytest.approx([b, a, c, c, none, b])
    # bigrams: ab 2, ba 2, ac 1, ca 1; different tokens before a: 2, before b: 1, before c: 1
    none = (0.75 + 0.5 + 0.5) / 4 / 4
    a, b, c = (2 - 0.75) / 4 + none, (1 - 0.5) / 4 + none, (1 - 0.5) / 4 + none
    assert two == pytest.approx(
        [
            (2 - 0.75) / 3 + (0.75 + 0.5) / 3 * b,  # b after a
            (2 - 0.75) / 2 + 0.75 / 2 * a,  # a after b
            (1 - 0.5) / 3 + (0.75 + 0.5) / 3 * c,  # c after a
            0.5 / 1 * c,  # c after c
            0.5 / 1 * none,  # the fourth symbol, never seen, after c
            b,  # b after a symbol never seen
        ]
    )


def slow(train, history, w, n, size):
    """P_n(w | history) read off the definition, with dictionaries."""

    def recurse(k, top):
        if k == 0:
            return 1 / size
        grams = Counter(tuple(train[i : i + k]) for i in range(len(train) - k + 1))
        if not top:
            longer = {tuple(train[i : i + k + 1]) for i in range(len(train) - k)}
            followers = Counter(gram[1:] for gram in longer)
            grams = Counter({gram: followers[gram] for gram in grams})
        d = discounts(np.array(list(grams.values())))
        h = tuple(history[len(history) - k + 1 :]) if k > 1 else ()
        mine = {gram: c for gram, c in grams.items() if gram[:-1] == h}
        total = sum(mine.values())
        if len(history) < k - 1 or total == 0:
            return recurse(k - 1, False)
        c = mine.get((*h, w), 0)
        freed = sum(d[min(x, 3)] for x in mine.values())
        return (c - d[min(c, 3)]) / total + freed / total * recurse(k - 1, False)

    return recurse(n, True)


@settings(max_examples=40, deadline=None)
@given(
    train=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    tokens=st.lists(st.integers(0, 4), min_size=2, max_size=8),
)
def test_against_the_definition(train, tokens):
    for n, got in enumerate(islice(probabilities(train, tokens, 5), 4), start=1):
        want = [slow(train, tokens[:i], tokens[i], n, 5) for i in range(1, len(tokens))]
        assert got == pytest.approx(want, rel=1e-12)


def test_probabilities_sum_to_one_after_any_history():
    train = np.random.default_rng(0).choice(6, size=400, p=[0.4, 0.3, 0.15, 0.1, 0.05, 0])
    for history in [*product(range(6), repeat=2), (0, 0, 0, 1), (5, 5, 5, 5)]:
        sums = np.zeros(4)
        for w in range(6):
            sums += [p[-1] for p in islice(probabilities(train, [*history, w], 6), 4)]
        assert sums == pytest.approx(np.ones(4), abs=1e-12)


def test_discounts_are_estimated_where_the_text_allows():
    counts = np.repeat([1, 2, 3, 4, 9], [50, 20, 10, 6, 3])
    y = 50 / 90
    assert discounts(counts) == pytest.approx([0, 1 - 2 * y * 20 / 50, 2 - 3 * y * 10 / 20, 3 - 4 * y * 6 / 10])


def test_a_chain_is_worth_its_entropy():
    # each symbol is followed by one of two, equally often: 1 bit, and nothing to gain beyond order 2
    rng = np.random.default_rng(1)
    chain = [0]
    for bit in rng.integers(0, 2, 40_000):
        chain.append((2 * chain[-1] + int(bit)) % 5)
    result = baselines(chain[:30_000], chain[30_000:], size=5)
    assert result.uniform == log2(5)
    assert result.unigram == pytest.approx(log2(5), abs=0.01)
    assert result.order == 2
    assert result.best == result.ngram[1] == pytest.approx(1, abs=0.01)
    assert len(result.ngram) == 3  # the third did worse
    assert (result.fitted_on, result.measured_on) == (30_000, len(chain) - 30_001)
    assert all(a > b for a, b in pairwise(result.ngram[:2]))
    assert result.describe() == f"unigram {result.unigram:.3f}, 2-gram (Kneser-Ney) {result.best:.3f} bits per symbol"


def test_long_texts_are_counted_up_to_the_limit(monkeypatch):
    monkeypatch.setattr("bptt.data.ngram.LIMIT", 100)
    train = np.array([0] * 500 + [1] * 100)
    result = baselines(train, [1] * 300, size=2, max_order=1)
    assert (result.fitted_on, result.measured_on) == (100, 99)
    assert result.unigram == pytest.approx(-log2((100 - 0.9) / 100 + 0.9 / 100 / 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: baselines([0, 1], [0], 2), "tokens holds 1 tokens; a baseline needs at least 2"),
        (lambda: baselines([], [0, 1], 2), r"train is float64 \[0\]"),
        (lambda: baselines([0, 2], [0, 1], 2), r"train holds tokens 0\.\.2, outside the vocabulary's 0\.\.1"),
        (lambda: baselines([0.5, 1], [0, 1], 2), "train is float64"),
        (lambda: baselines([0, 1], [0, 1], 2, max_order=0), "max_order=0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
