"""Which words carried an answer: how much less sure it is when one of them is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bptt.tasks.classify.baseline import Floats
from bptt.tasks.classify.tokens import spans

Word = tuple[int, int, float]
"""Where a word begins and ends in its text, and its weight: the log-odds of the answer that would be lost without it."""

_LEAST = 1e-12


def carried(probabilities: Callable[[Sequence[str]], Floats], text: str, answer: int, longest: int) -> tuple[Word, ...]:
    """Each word with log p/(1-p) of class ``answer`` for the whole text, less that for the text without this word.

    Exact, by as many readings as there are words; Li, Monroe & Jurafsky 2016, "Understanding neural networks through
    representation erasure". Words say the same twice carry little each, as one of them remains. Of a text of more words than
    ``longest`` the first so many are looked at, as no more are read.
    """
    places = spans(text)[:longest]
    if not places:
        return ()
    without = [text[:a] + " " + text[b:] for a, b in places]
    odds = _odds(probabilities([text, *without])[:, answer])
    return tuple((a, b, float(weight)) for (a, b), weight in zip(places, odds[0] - odds[1:], strict=True))


def _odds(p: Floats) -> Floats:
    p = np.clip(p, _LEAST, 1 - _LEAST)
    made: Floats = np.log(p) - np.log1p(-p)
    return made
