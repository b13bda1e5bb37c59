"""Optimal checkpointing against its published numbers, its recursion and an independent implementation."""

from functools import lru_cache

import pytest
from checkpoint_schedules.multistage import optimal_steps_binomial
from hypothesis import given, strategies as st

from bptt.through import plan
from bptt.through.plan import Keep, Load, Run
from bptt.through.reverse import cut_up, reverse
from bptt.through.schedule import advance, executed, forward_steps

PUBLISHED = {
    (100, 2): 945,
    (100, 3): 590,
    (100, 5): 416,
    (100, 10): 322,
    (1000, 2): 29820,
    (1000, 3): 13155,
    (1000, 5): 7284,
    (1000, 10): 4636,
    (1000, 20): 3747,
    (1000, 50): 2948,
    (1000, 100): 2898,
}
"""Forward steps with hidden states stored, the initial one among them: Gruslys et al. 2016."""


@pytest.mark.parametrize("case", PUBLISHED, ids=str)
def test_published_numbers(case):
    assert forward_steps(*case) == PUBLISHED[case]


def test_the_closed_form_is_the_recursion():
    @lru_cache(None)
    def least(t, m):
        if t == 1:
            return 1
        if m == 1:
            return t * (t + 1) // 2
        return min(y + least(t - y, m - 1) + least(y, m) for y in range(1, t))

    assert all(forward_steps(t, m) == least(t, m) for t in range(1, 60) for m in range(1, 12))


@pytest.mark.parametrize("slots", [1, 2, 3, 7, 20, 50])
@pytest.mark.parametrize("length", [1, 2, 10, 33, 60, 100])
def test_an_independent_implementation_agrees(length, slots):
    assert forward_steps(length, min(slots, length)) == optimal_steps_binomial(length, min(slots, length))


@given(st.integers(2, 5000), st.integers(1, 100))
def test_where_the_next_state_is_kept_is_optimal(length, slots):
    y = advance(length, slots)
    left = 1 if length - y == 1 else forward_steps(length - y, slots - 1)
    assert y + left + forward_steps(y, slots) == forward_steps(length, slots)


@given(st.integers(1, 80), st.integers(1, 9), st.integers(1, 30))
def test_a_reversal_is_sound_executes_what_it_says_and_keeps_no_more(length, segment, slots):
    cuts = cut_up(0, length, segment)
    whole = [*([Keep(0)] if len(cuts) > 2 else []), *reverse(cuts, slots, keep_end=len(cuts) > 2)]
    whole += [Load(length)] if len(cuts) > 2 else []
    actions = list(plan.check([*whole, plan.HandBack(0, length)], length))
    assert sum(a.stop - a.start for a in actions if isinstance(a, Run)) == executed(length, segment, min(slots, len(cuts)))
    kept = most = 0
    for action in actions:
        kept += isinstance(action, Keep) - isinstance(action, plan.Drop)
        most = max(most, kept)
    assert most <= min(slots, len(cuts) - 1) + 1
