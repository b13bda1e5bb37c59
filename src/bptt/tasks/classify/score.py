"""How good probabilities of classes are, beside plain baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.tasks.classify.baseline import Floats, require
from bptt.tasks.report import Report, Table, cell

_DRAWS = 10_000
_MOST = 30  # classes that are shown one by one


def score(name: str, labels: Sequence[str], classes: Sequence[int], made: Floats, plain: Mapping[str, Floats]) -> Report:
    """Accuracy with its interval, F1 and log loss of the probabilities ``made [N, C]`` and of the ``plain`` ones."""
    require()
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    wanted = np.asarray(classes)
    every = list(range(len(labels)))
    measured = {who: _measured(wanted, probabilities, every) for who, probabilities in {"this model": made, **plain}.items()}
    rows = [
        [
            who,
            cell(m["accuracy"], ".2%"),
            f"{m['low']:.2%} – {m['high']:.2%}",
            cell(m["f1_macro"], ".4f"),
            cell(m["nats"], ".4f"),
        ]
        for who, m in measured.items()
    ]
    title = f"On {name}, {len(wanted):,} texts"
    tables = [Table(title, ["", "accuracy", "95 % interval", "F1 macro", "nats/text"], rows, strong=0)]
    answers = made.argmax(1)
    found = precision_recall_fscore_support(wanted, answers, labels=every, zero_division=0.0)
    if len(labels) <= _MOST:
        by_label = [
            [label, f"{int(n):,}", cell(p, ".2%"), cell(r, ".2%"), cell(f, ".4f")]
            for label, p, r, f, n in zip(labels, *found, strict=True)
        ]
        tables.append(Table("By label", ["", "texts", "precision", "recall", "F1"], by_label))
    figures: dict[str, Any] = {
        "part": name,
        "count": len(wanted),
        "labels": list(labels),
        "scores": measured,
        "by_label": {
            label: {"texts": int(n), "precision": float(p), "recall": float(r), "f1": float(f)}
            for label, p, r, f, n in zip(labels, *found, strict=True)
        },
        "confusion": confusion_matrix(wanted, answers, labels=every).tolist(),
    }
    own = measured["this model"]
    headline = {"accuracy": own["accuracy"], "F1 macro": own["f1_macro"], "nats/text": own["nats"]}
    return Report(tables, [], figures, headline)


def _measured(wanted: NDArray[np.int64], made: Floats, every: list[int]) -> dict[str, float]:
    from sklearn.metrics import f1_score

    answers = made.argmax(1)
    right = int((answers == wanted).sum())
    # Texts drawn with replacement are right or wrong independently: their number is binomial.
    drawn = np.random.default_rng(0).binomial(len(wanted), right / len(wanted), _DRAWS) / len(wanted)
    low, high = np.quantile(drawn, [0.025, 0.975])
    with np.errstate(divide="ignore"):
        nats = float(-np.log(made[np.arange(len(wanted)), wanted]).mean())
    f1 = float(f1_score(wanted, answers, labels=every, average="macro", zero_division=0.0))
    return {"accuracy": right / len(wanted), "low": float(low), "high": float(high), "f1_macro": f1, "nats": nats}
