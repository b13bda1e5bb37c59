"""Plans and strategies as values: no tensor is touched here."""

import itertools

import pytest
from hypothesis import given, strategies as st

from bptt import Full, Truncated
from bptt.through import parse, plan
from bptt.through.plan import Back, HandBack, Keep, Run


@given(st.integers(1, 12), st.integers(1, 30), st.integers(1, 60))
def test_truncated_plans_are_sound_for_any_sizes(k1, k2, length):
    actions = list(plan.check(Truncated(k1, k2).plan(plan.steps_of(length)), length))
    ends = [a.stop for a in actions if isinstance(a, HandBack)]
    assert ends == [e for e in range(1, length + 1) if e % k1 == 0 or e == length]
    windows: list[list[plan.Action]] = [[]]
    for action in actions:
        windows[-1].append(action)
        if isinstance(action, HandBack):
            windows.append([])
    for window in windows[:-1]:
        taped = [a for a in window if isinstance(a, Run) and a.tape]
        stop = window[-1].stop
        assert min(a.start for a in taped) == max(0, stop - k2)
        assert sum(a.stop - a.start for a in taped) == min(stop, k2)


@given(st.integers(1, 9), st.integers(1, 20), st.integers(1, 50))
def test_a_stream_gets_the_plan_of_its_length_without_knowing_it(k1, k2, length):
    furthest = 0

    def upto(t):
        nonlocal furthest
        furthest = max(furthest, t)
        return int(min(t, length))

    for action in Truncated(k1, k2).plan(upto):
        if isinstance(action, HandBack):
            assert furthest <= action.stop + k2 or furthest <= action.stop + k1
    assert list(Truncated(k1, k2).plan(upto)) == list(Truncated(k1, k2).plan(plan.steps_of(length)))


@given(st.integers(1, 9), st.integers(1, 40))
def test_what_is_kept_does_not_grow_with_time(k1, k2):
    kept = 0
    for action in itertools.islice(Truncated(k1, k2).plan(plan.steps_of(10**9)), 3000):
        kept += isinstance(action, Keep) - isinstance(action, plan.Drop)
        assert kept <= 2 * (k2 // k1 + 2)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([Run(0, 4), HandBack(0, 4)], "a tape was not reversed"),
        ([Run(0, 2), Run(3, 4)], "the present state lies at 2"),
        ([Run(0, 4), Back(0, 3)], "the newest tape"),
        ([plan.Load(2)], "nothing was kept there"),
        ([Run(0, 4, count=False), Back(0, 4), HandBack(0, 4)], "counted 0..0"),
        ([Run(0, 2), Back(0, 2), HandBack(0, 2)], "ends after 2 of 4 steps"),
        ([Run(0, 2), Run(2, 4), Back(2, 4), Back(0, 2), Back(0, 2)], "no tape is left"),
        ([Keep(0), Run(0, 2), plan.Load(0), Run(0, 2)], "a replay is of runs"),
    ],
)
def test_unsound_plans_are_refused(actions, message):
    with pytest.raises(ValueError, match=message):
        list(plan.check(actions, 4))


@pytest.mark.parametrize("strategy", [Full(), Truncated(32), Truncated(32, 128)])
def test_strategies_are_written_and_read(strategy):
    assert parse(str(strategy)) == strategy


def test_reading_strategies():
    assert parse(" Truncated: k1 = 3 , k2=5 ") == Truncated(3, 5)
    for text, message in [
        ("truncatd:k1=3", r"no strategy is called 'truncatd' \(did you mean 'truncated'\?\): one of full, truncated"),
        ("truncated:k3=3", r"truncated does not take 'k3=3': it takes k1=, k2="),
        ("truncated:32", r"truncated does not take '32'"),
        ("truncated", r"truncated needs k1=…, as in truncated:k1=32"),
        ("truncated:k2=4", r"truncated needs k1=…"),
        ("truncated:k1=0", "k1 must be a whole number of at least 1, got 0"),
        ("truncated:k1=2.5", "k1 must be a whole number of at least 1, got 2.5"),
        ("full:k1=3", "it takes no settings"),
        ("truncated:k1=3,k1=4", "truncated is given k1= twice"),
    ]:
        with pytest.raises(ValueError, match=message):
            parse(text)


def test_strategies_are_frozen_and_comparable():
    assert Truncated(3) == Truncated(3, 3)
    assert hash(Truncated(3)) == hash(Truncated(3, 3))
    with pytest.raises(AttributeError):
        Truncated(3).k1 = 4
