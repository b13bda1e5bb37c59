"""Every registered strategy with settings to test it by and, where its gradient is determined, its oracle."""

import bptt
from bptt.through.plan import Probe, Taken
from tests.contract import oracle

STEP, STATE = 1000, 100
"""What a step of tape and a state take by the answers of ``fake``."""


def fake(steps: int) -> Taken:
    """What a run takes, by a rule instead of by measuring, so that the tests decide how it is cut."""
    return Taken(STEP * steps, STATE, 0, 0, STEP * steps)


def answer(action):
    """Answers for a plan that nobody carries out."""
    return fake(action.steps) if isinstance(action, Probe) else None


def room(steps: int, states: int) -> int:
    """A budget for that many steps of tape and that many states."""
    return STEP * steps + STATE * states


CASES = {
    "full": [(bptt.Full(), oracle.full)],
    "checkpointed": [
        (strategy, oracle.full)
        for strategy in (
            bptt.Checkpointed(slots=1),
            bptt.Checkpointed(slots=3),
            bptt.Checkpointed(slots=1, segment=1),
            bptt.Checkpointed(slots=2, segment=1),
            bptt.Checkpointed(slots=9, segment=2),
            bptt.Checkpointed(memory=room(1, 2)),
            bptt.Checkpointed(memory=room(2, 3)),
            bptt.Checkpointed(memory=room(9, 0)),
        )
    ],
    "truncated": [
        (bptt.Truncated(k1, k2), lambda table, k1=k1, k2=k2: oracle.truncated(table, k1, k2))
        for k1 in range(1, 8)
        for k2 in range(1, 8)
    ]
    + [
        (bptt.Truncated(k1, k2, memory=room(steps, 32)), lambda table, k1=k1, k2=k2: oracle.truncated(table, k1, k2))
        for k1, k2, steps in ((1, 5, 1), (1, 5, 2), (2, 6, 1), (2, 5, 1), (3, 5, 2), (4, 6, 1), (5, 2, 1), (2, 2, 1))
    ],
    "randomized": [
        (strategy, lambda table, strategy=strategy: oracle.randomized(table, strategy))
        for strategy in (
            bptt.Randomized(2, block=1, seed=1),
            bptt.Randomized(4, block=2, alpha=6, seed=2),
            bptt.Randomized(3, block=1, alpha="inf", seed=3),
        )
    ],
    "adaptive": [
        (bptt.Adaptive(1e-300, k1=1, most=3, every=2), lambda table: oracle.truncated(table, 1, 3)),
        (bptt.Adaptive(1e-300, k1=2, most=4, every=1), lambda table: oracle.truncated(table, 2, 4, aligned=True)),
        (bptt.Adaptive(1e300, k1=1, most=4, every=3), lambda table: oracle.reaching(table, 1, [4, 4, 4, 4, 1, 1, 4])),
        (bptt.Adaptive(1e300, k1=2, most=9, every=3), lambda table: oracle.reaching(table, 2, [8, 8, 8, 8])),
    ],
    "rtrl": [(bptt.RTRL(k), lambda table, k=k: oracle.online(table, k)) for k in (1, 3, 9)],
    # Within so many steps everything is reached that can be; where fewer steps suffice, see test_online.
    "snap": [(bptt.SnAp(9, k), lambda table, k=k: oracle.online(table, k)) for k in (1, 3)],
    "uoro": [],  # right on average only: every pattern of signs is enumerated in test_online
}

EXAMPLES = {
    "full": [bptt.Full()],
    "checkpointed": [bptt.Checkpointed(slots=2, segment=2), bptt.Checkpointed(memory=room(2, 3))],
    "truncated": [
        bptt.Truncated(2),
        bptt.Truncated(3, 3),
        bptt.Truncated(2, 5),
        bptt.Truncated(5, 2),
        bptt.Truncated(1, 5),
        bptt.Truncated(2, 5, memory=room(1, 32)),
        bptt.Truncated(4, 7, memory=room(1, 32)),
    ],
    "randomized": [bptt.Randomized(3, block=1), bptt.Randomized(4, block=2, seed=5)],
    "adaptive": [bptt.Adaptive(0.3, k1=1, most=4, every=2), bptt.Adaptive(1e300, k1=2, most=6, every=2)],
    "rtrl": [bptt.RTRL(2)],
    "snap": [bptt.SnAp(9, 2)],
    "uoro": [bptt.UORO(2, seed=3)],
}
"""A few of each, for what must hold of every strategy."""

ALIKE = [strategy for examples in EXAMPLES.values() for strategy in examples]
