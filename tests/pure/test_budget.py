"""Budgets of memory: read, and kept to by every schedule that is chosen."""

import re

import pytest
from hypothesis import given, strategies as st

from bptt import Checkpointed, Truncated
from bptt.through import parse
from bptt.through.budget import Cost, choose
from bptt.through.plan import HandBack, Keep, Outline, Probe, Run, Taken, check, steps_of
from bptt.through.size import Bytes, as_bytes, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512MiB", 512 * 2**20),
        ("2GB", 2 * 10**9),
        ("1.5 kib", 1536),
        ("7", 7),
        (7, 7),
        ("1TiB", 2**40),
        ("100b", 100),
        (".5k", 0),
    ],
)
def test_amounts_of_memory(text, expected):
    if not expected:
        with pytest.raises(ValueError, match="memory must be an amount of memory such as '512MiB'"):
            as_bytes("memory", text)
        return
    made = as_bytes("memory", text)
    assert made == expected
    assert as_bytes("memory", str(made)) == made


@pytest.mark.parametrize("value", ["", "much", "12 parsecs", "-3MiB", 0, -1, 2.5, True, None, "0MiB", "1e3", "12Mb", "512M"])
def test_what_is_no_amount_of_memory(value):
    with pytest.raises(ValueError, match=r"amount of memory such as '512MiB'.*units are B, KB"):
        as_bytes("memory", value)


@given(st.integers(1, 2**50))
def test_bytes_are_written_exactly(number):
    assert as_bytes("memory", str(Bytes(number))) == number


def test_numbers_for_people():
    assert [shown(n) for n in (0, 999, 2**20, 1.5 * 2**30, 3 * 2**50)] == ["0 B", "999 B", "1 MiB", "1.5 GiB", "3,072 TiB"]


COST = st.builds(
    lambda fixed, step, state, held: Cost(((1, fixed + step), (64, fixed + 64 * step)), state, held),
    st.integers(0, 500),
    st.integers(1, 100),
    st.integers(1, 200),
    st.sampled_from([0, 0, 1]),
)


@given(COST, st.integers(1, 20000), st.integers(1, 2000), st.booleans())
def test_what_is_chosen_stays_within_the_budget(cost, budget, steps, disk):
    least = min(cost.peak(1, 2, steps), cost.peak(steps, 0, steps))
    if least > budget:
        with pytest.raises(ValueError, match=rf"the least that works is {re.escape(shown(least * 1.01))},"):
            choose(cost, budget, 0, steps, disk=disk)
        return
    chosen = choose(cost, budget, 0, steps, disk=disk)
    assert chosen.peak <= budget
    kept = chosen.slots - chosen.on_disk + 1 if chosen.segments > 1 else 0
    assert chosen.peak == cost.peak(chosen.segment, kept, steps)
    assert chosen.segment * (chosen.segments - 1) < steps <= chosen.segment * chosen.segments


def answering(step, state, held=0, seen=None):
    def answer(action):
        if isinstance(action, Outline) and seen is not None:
            seen.append(action)
        return Taken(step * action.steps, state, 0, held, step * action.steps) if isinstance(action, Probe) else None

    return answer


@given(st.integers(300, 60000), st.integers(1, 3000))
def test_a_checkpointed_plan_does_what_its_outline_says(budget, length):
    seen: list[Outline] = []
    if budget < 100 + 2 * 50:
        return
    actions = list(check(Checkpointed(memory=budget).plan(steps_of(length)), length, answering(100, 50, seen=seen)))
    [outline] = seen
    runs = [a for a in actions if isinstance(a, Run)]
    assert outline.forward == sum(run.stop - run.start for run in runs)
    assert outline.segment == max(run.stop - run.start for run in runs)
    assert _peak(actions) <= outline.predicted <= budget


@given(st.integers(1, 30), st.integers(1, 200), st.integers(1, 400), st.integers(1, 40))
def test_a_truncated_plan_stays_within_its_budget(k1, k2, length, room):
    aside = (-(-k2 // k1) + 2) * 4
    budget = 100 * room + 50 * (aside + 2)
    actions = list(check(Truncated(k1, k2, memory=budget).plan(steps_of(length)), length, answering(100, 50)))
    assert _peak(actions) <= budget
    assert [a.stop for a in actions if isinstance(a, HandBack)] == [
        e for e in range(1, length + 1) if e % k1 == 0 or e == length
    ]


@given(st.integers(1, 12), st.integers(1, 40), st.integers(1, 80))
def test_a_budget_that_holds_all_runs_no_step_more_than_truncation_does(k1, k2, length):
    def forward(strategy):
        actions = check(strategy.plan(steps_of(length)), length, answering(100, 50))
        return sum(a.stop - a.start for a in actions if isinstance(a, Run))

    assert forward(Truncated(k1, k2, memory=10**7)) == forward(Truncated(k1, k2))


def _peak(actions):
    """By the same rule as the answers: 100 for a step of tape, 50 for a state kept."""
    tapes, kept, most = 0, 0, 0
    for action in actions:
        kept += isinstance(action, Keep) and not action.disk
        if type(action).__name__ == "Drop":
            kept -= 1
        if isinstance(action, Run) and action.tape:
            tapes += action.stop - action.start
        if type(action).__name__ == "Back":
            most = max(most, 100 * tapes + 50 * kept)
            tapes -= action.stop - action.start
    return most


def test_the_least_budget_that_is_named_works():
    strategy = Checkpointed(memory=1)
    with pytest.raises(ValueError, match=r"is too little for steps 0\.\.500: the least that works is 202 B") as refused:
        list(check(strategy.plan(steps_of(500)), 500, answering(100, 50)))
    assert "from" in str(refused.value)
    assert list(check(Checkpointed(memory=202).plan(steps_of(500)), 500, answering(100, 50)))


def test_input_that_must_be_held_counts():
    with pytest.raises(ValueError, match=r"the least that works is 4\.14 KiB"):
        list(check(Checkpointed(memory=1000).plan(steps_of(500)), 500, answering(100, 50, held=8)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give either memory, as in"),
        ({"memory": "1MiB", "slots": 3}, "give either memory, as in"),
        ({"memory": "1MiB", "segment": 3}, "memory decides how long a segment is"),
        ({"slots": 3, "disk": "here"}, "disk takes the states that exceed memory"),
        ({"memory": "1MiB", "disk": ""}, "disk must be a folder whose name holds no comma"),
        ({"memory": "1MiB", "disk": "a,b"}, "disk must be a folder whose name holds no comma"),
        ({"slots": 0}, "slots must be a whole number of at least 1, got 0"),
        ({"slots": 2, "segment": 0}, "segment must be a whole number of at least 1, got 0"),
        ({"memory": "lots"}, "memory must be an amount of memory such as '512MiB'"),
    ],
)
def test_settings_that_do_not_go_together(settings, message):
    with pytest.raises(ValueError, match=message):
        Checkpointed(**settings)


def test_budgets_are_written_and_read():
    for text in ("checkpointed:memory=256MiB", "checkpointed:memory=1GiB,disk=/tmp/states", "truncated:k1=3,k2=9,memory=2KiB"):
        assert str(parse(text)) == text
    assert parse("checkpointed:memory=1MiB,disk=5").disk == "5"
    assert parse("checkpointed:memory=0.5GiB") == Checkpointed(memory=2**29)


def test_dear_probes_are_left_out_where_memory_grows_straight():
    """So much that what it is rounded up by is little; else each length is tried before it is taken."""

    def probes(step, rounding, length):
        made = []

        def answer(action):
            if not isinstance(action, Probe):
                return None
            made.append(action.steps)
            taken = -(-step * action.steps // rounding) * rounding
            return Taken(taken, 500, 0, 0, taken)

        seen = [a for a in check(Checkpointed(memory=2**28).plan(steps_of(length)), length, answer) if isinstance(a, Run)]
        return max(made), max(run.stop - run.start for run in seen)

    longest, segment = probes(2000, 1, 10**6)
    assert longest * 4 < segment <= 8 * longest
    tried, taken = probes(2000, 2**22, 10**6)  # in steps, which no straight line meets
    assert tried >= taken
    assert probes(100, 1, 10**5)[0] >= 10**5 // 8  # so little that no line is trusted


@pytest.mark.parametrize("length", [1000, 10**6])
def test_all_at_once_where_all_fits(length):
    seen: list[Outline] = []
    list(check(Checkpointed(memory=2**40).plan(steps_of(length)), length, answering(2000, 500, seen=seen)))
    assert (seen[0].segments, seen[0].forward) == (1, length)
