"""How well a text model predicts, beside what counting alone reaches."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import nn

from bptt import CrossEntropy, evaluate
from bptt.data import Vocabulary, baselines
from bptt.data.encode import Tokens
from bptt.data.ngram import LIMIT
from bptt.data.pages import Pages
from bptt.tasks.report import Report, Table, cell
from bptt.tasks.text.corpus import characters, evaluation

SHORT = {"character": "char", "byte": "byte", "word": "word", "subword": "token"}


def score(
    model: nn.Module, vocabulary: Vocabulary, tokens: Tokens, rows: int, name: str, known: Tokens | None = None
) -> Report:
    """Loss per token of ``tokens`` (called ``name``), and of n-grams fitted on ``known`` where that is given."""
    window = evaluate(model, CrossEntropy(), evaluation(tokens, rows))
    nats = float(window.loss) / window.count
    unit = SHORT[vocabulary.unit]
    lines = [("this model", nats / math.log(2))]
    figures: dict[str, Any] = {
        "part": name,
        "unit": vocabulary.unit,
        "count": window.count,
        "nats": nats,
        "bits": nats / math.log(2),
        "perplexity": _power(nats / math.log(2)),
    }
    remarks = []
    if figures["bits"] > math.log2(vocabulary.size):
        remarks.append(
            f"The model is worse than holding every {vocabulary.unit} equally likely: if it was trained on such text, it "
            "went astray; train another with a lower --lr, or a lower --clip."
        )
    if vocabulary.unit == "word" and (unknown := sum(int((block == 0).sum()) for block in _blocks(tokens[1:]))):
        figures["unknown"] = unknown
        remarks.append(
            f"{unknown:,} of the {window.count:,} words ({unknown / window.count:.1%}) are <unk>: not among the "
            f"{vocabulary.size:,} of the vocabulary, which is of the training part alone."
        )
    if known is not None and len(known):
        plain = baselines(known, tokens, vocabulary.size)
        lines += [(f"{plain.order}-gram, Kneser-Ney", plain.best)] * (plain.order > 1)
        lines += [("unigram", plain.unigram), ("every one alike", plain.uniform)]
        figures["baselines"] = {
            "uniform": plain.uniform,
            "unigram": plain.unigram,
            "ngram": plain.best,
            "order": plain.order,
            "fitted_on": plain.fitted_on,
            "measured_on": plain.measured_on,
        }
        kinds = np.unique(np.asarray(known[-LIMIT:]))
        unseen = sum(int(np.isin(block, kinds, invert=True).sum()) for block in _blocks(tokens[1:]))
        if vocabulary.unit == "character" and unseen:
            figures["unseen"] = unseen
            whole = "" if len(known) <= LIMIT else f"end of the training part, its last {LIMIT:,}, "
            remarks.append(
                f"{unseen:,} of the {window.count:,} characters are of kinds that the {whole or 'training part '}lacks; the "
                "vocabulary has them, as it is of the whole text."
            )
        if plain.fitted_on < len(known):
            remarks.append(f"The n-grams were counted on the last {plain.fitted_on:,} tokens of the training part.")
    per_character = 1.0
    if vocabulary.unit == "subword":
        per_character = window.count / max(characters(tokens, vocabulary), 1)
        figures["bits_per_character"] = figures["bits"] * per_character
    columns = ["", f"bits/{unit}", f"nats/{unit}", "perplexity"] + ["bits/char"] * (vocabulary.unit == "subword")
    rows_shown = [
        [label, cell(bits, ".3f"), cell(bits * math.log(2), ".3f"), cell(_power(bits), ",.2f")]
        + [cell(bits * per_character, ".3f")] * (vocabulary.unit == "subword")
        for label, bits in lines
    ]
    title = f"On {name}, {window.count:,} {vocabulary.unit}s"
    return Report([Table(title, columns, rows_shown, strong=0)], remarks, figures)


def _blocks(tokens: Tokens) -> Iterable[Any]:
    return tokens.blocks() if isinstance(tokens, Pages) else [tokens]


def _power(bits: float) -> float:
    return 2.0**bits if bits < 1000 else math.inf
