"""How good summaries are, by ROUGE, beside the beginning of each text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.tasks.interval import interval
from bptt.tasks.report import Report, Table, cell
from bptt.tasks.seq2seq.corpus import Part

KINDS = ("rouge1", "rouge2", "rougeL")
NAMES = ("ROUGE-1", "ROUGE-2", "ROUGE-L")
SENTENCE = "the first sentence"
_END = re.compile(r"(?<=[.!?])\s")


def require() -> None:
    """**Raises** ``ImportError`` naming the extra where rouge-score is missing."""
    try:
        import rouge_score  # noqa: F401
    except ImportError as error:
        raise ImportError('rouge-score is needed to measure summaries: pip install "bptt[summarize]"') from error


def rouge(made: Sequence[str], wanted: Sequence[str]) -> NDArray[np.float64]:
    """100 F1 of ROUGE-1, ROUGE-2 and ROUGE-L for each pair, ``[N, 3]``, words stemmed (Lin 2004)."""
    require()
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(KINDS), use_stemmer=True)
    found = [scorer.score(right, text) for text, right in zip(made, wanted, strict=True)]
    return np.array([[100 * each[kind].fmeasure for kind in KINDS] for each in found])


def score(name: str, part: Part, made: Sequence[str], lead: int) -> Report:
    """ROUGE with its intervals of what was made, and of the first ``lead`` words and the first sentence of each text."""
    rows: dict[str, Sequence[str]] = {
        "this model": made,
        f"the first {lead} words": [" ".join(text.split()[:lead]) for text in part.sources],
        SENTENCE: [_END.split(text.strip(), maxsplit=1)[0] for text in part.sources],
    }
    measured, shown = {}, []
    for who, texts in rows.items():
        found, ones = rouge(texts, part.targets), np.ones(len(part))
        ranges = [interval(found[:, i], ones) for i in range(len(KINDS))]
        words = float(np.mean([len(text.split()) for text in texts]))
        means = found.mean(0).tolist()
        measured[who] = {**dict(zip(KINDS, means, strict=True)), "intervals": list(map(list, ranges)), "words": words}
        cells = [f"{cell(mean, '.2f')} ({low:.1f} – {high:.1f})" for mean, (low, high) in zip(means, ranges, strict=True)]
        shown.append([who, *cells, cell(words, ".1f")])
    own = measured["this model"]
    better = [who for who, m in measured.items() if m["rougeL"] > own["rougeL"]]
    remarks = [f"The model is worse than {better[0]}, by ROUGE-L: train longer, or on more pairs."] if better else []
    figures: dict[str, Any] = {"part": name, "count": len(part), "scores": measured}
    title = f"On {name}, {len(part):,} texts; F1, and its 95 % interval by bootstrap"
    table = Table(title, ["", *NAMES, "words"], shown, strong=0)
    return Report([table], remarks, figures, {label: own[kind] for kind, label in zip(KINDS, NAMES, strict=True)})
