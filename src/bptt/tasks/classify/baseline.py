"""What a classifier must be better than: the commonest label, and naive Bayes on words and pairs of words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.tasks.classify.corpus import Part
from bptt.tasks.classify.tokens import spans

Floats = NDArray[np.float64]
MAJORITY, BAYES = "the commonest label", "naive Bayes, words and pairs"


def majority(counts: Sequence[int], texts: int) -> Floats:
    """The share of each label among those learned from, for every text alike: ``[N, C]``."""
    return np.tile(np.asarray(counts, dtype=np.float64) / sum(counts), (texts, 1))


def naive_bayes(train: Part, texts: Sequence[str], classes: int) -> Floats:
    """The probabilities ``[N, C]`` of naive Bayes on which words and pairs of words occur, fitted to ``train``.

    Wang & Manning 2012, "Baselines and bigrams". Needs the extra ``classify``.
    """
    require()
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    counter: Any = CountVectorizer(analyzer=_words_and_pairs, binary=True)
    known = counter.fit_transform(train.texts)
    fitted = MultinomialNB().fit(known, np.asarray(train.classes))
    made = np.zeros((len(texts), classes))
    made[:, fitted.classes_] = fitted.predict_proba(counter.transform(texts))
    return made


def require() -> None:
    """**Raises** ``ImportError`` naming the extra where scikit-learn is missing."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise ImportError('scikit-learn is needed to measure classifiers: pip install "bptt[classify]"') from error


def _words_and_pairs(text: str) -> list[str]:
    text = text.lower()
    words = [text[a:b] for a, b in spans(text)] or [""]  # an empty text says something too
    return words + [f"{a} {b}" for a, b in itertools.pairwise(words)]
