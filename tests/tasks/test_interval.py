import numpy as np

from bptt.tasks.interval import interval


def test_it_is_that_of_the_mean_of_many_alike():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    low, high = interval(values, np.ones(400))
    reach = 1.96 * values.std() / 20
    np.testing.assert_allclose([low, high], [values.mean() - reach, values.mean() + reach], atol=0.1 * reach)


def test_long_sequences_weigh_more_and_what_is_asked_of_the_mean_is_told():
    sums, counts = np.array([4.0, 900.0]), np.array([1.0, 100.0])
    assert interval(sums, counts, np.sqrt) == (2.0, 3.0)
    assert interval([5.0], [2.0]) == (2.5, 2.5)
