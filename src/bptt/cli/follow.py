"""``bptt predict RUN --follow``: an answer to each line of standard input, as soon as it is there."""

from __future__ import annotations

import json
import sys

from bptt.tasks.follow import Follower, answers


def follow_input(follower: Follower) -> None:
    """Answers line by line, until the input ends."""
    for answer in answers(follower, sys.stdin):
        print(json.dumps(answer, ensure_ascii=False), flush=True)
