"""How good translations are, by sacrebleu, beside plain baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bptt.tasks.classify.tokens import spans
from bptt.tasks.report import Report, Table, cell
from bptt.tasks.seq2seq.corpus import Part

COPY, NEAREST = "the source as it is", "the translation of the most similar learned text"
_DRAWS = 1000


def require() -> None:
    """**Raises** ``ImportError`` naming the extra where sacrebleu is missing."""
    try:
        import sacrebleu  # noqa: F401
    except ImportError as error:
        raise ImportError('sacrebleu is needed to measure translations: pip install "bptt[translate]"') from error


def bleu(made: Sequence[str], wanted: Sequence[str]) -> float:
    """Corpus BLEU, cased and detokenised (Post 2018, "A call for clarity in reporting BLEU scores")."""
    require()
    from sacrebleu.metrics.bleu import BLEU

    return float(BLEU().corpus_score(list(made), [list(wanted)]).score)


def score(name: str, part: Part, made: Sequence[str], train: Part | None) -> Report:
    """BLEU with its interval and chrF of what was made, and of the baselines; the intervals of 95 %, by bootstrap."""
    require()
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    rows: dict[str, Sequence[str]] = {"this model": made}
    if train is not None:
        rows[NEAREST] = nearest(part.sources, train)
    rows[COPY] = part.sources
    measured, signatures, wanted = {}, [], [list(part.targets)]
    for who, texts in rows.items():
        metric = BLEU()
        found: Any = metric.corpus_score(list(texts), wanted, n_bootstrap=_DRAWS)
        chrf = CHRF()
        characters = chrf.corpus_score(list(texts), wanted)
        measured[who] = {
            "bleu": float(found.score),
            "interval": [float(found._mean - found._ci), float(found._mean + found._ci)],
            "chrf": float(characters.score),
            "length": found.sys_len / max(found.ref_len, 1),
        }
        signatures = [f"BLEU {metric.get_signature()}", f"chrF {chrf.get_signature()}"]
    shown = [
        [who, cell(m["bleu"], ".2f"), f"{m['interval'][0]:.2f} – {m['interval'][1]:.2f}", cell(m["chrf"], ".2f"),
         cell(m["length"], ".2f")]
        for who, m in measured.items()
    ]  # fmt: skip
    own = measured["this model"]
    remarks = [f"sacrebleu: {signature}" for signature in signatures]
    better = [who for who, m in measured.items() if m["bleu"] > own["bleu"]]
    if better:
        remarks.insert(0, f"The model is worse than {better[0]}: train longer, or on more pairs.")
    figures: dict[str, Any] = {"part": name, "count": len(part), "scores": measured, "signatures": signatures}
    title = f"On {name}, {len(part):,} texts"
    table = Table(title, ["", "BLEU", "95 % interval", "chrF", "length"], shown, strong=0)
    return Report([table], remarks, figures, {"BLEU": own["bleu"], "chrF": own["chrf"]})


def nearest(texts: Sequence[str], train: Part) -> list[str]:
    """For each text the target of the learned one most like it: by the cosine of their words, rare ones weighing more."""
    places: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(train.sources):
        for word in _words(text):
            places[word].append(row)
    weights = {word: np.log(len(train) / len(rows)) ** 2 for word, rows in places.items()}
    where = {word: np.array(rows) for word, rows in places.items()}
    norms = _norms(train.sources, weights)
    made = []
    for text in texts:
        found = np.zeros(len(train))
        for word in _words(text) & places.keys():
            found[where[word]] += weights[word]
        made.append(train.targets[int((found / norms).argmax())])
    return made


def _norms(texts: Sequence[str], weights: Mapping[str, float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([max(sum(weights[word] for word in _words(text)), 1e-9) ** 0.5 for text in texts])


def _words(text: str) -> set[str]:
    return {text[a:b].lower() for a, b in spans(text)}
