"""The summarize task: words are copied that no vocabulary has, and ROUGE is what it should be."""

import json
import random

import numpy as np
import pytest

from bptt.tasks.config import settle
from bptt.tasks.seq2seq.corpus import Part
from bptt.tasks.seq2seq.special import END, UNKNOWN
from bptt.tasks.seq2seq.tokens import Tokens, joined, parted
from bptt.tasks.summarize.config import SummarizeSettings
from bptt.tasks.summarize.score import SENTENCE, rouge, score
from bptt.tasks.summarize.task import SummarizeTask

SMALL = {"vocabulary": 30, "hidden": 24, "embed": 16, "epochs": 8, "lr": 0.015, "dropout": 0.0, "tokens": 400, "beam": 2}
SAYS = ["said", "told", "the", "today", "again", "in", "town", "people", "of", "news"]


def news(path, rows=200, seed=0):
    """Each text names someone of its own, whom the headline repeats."""
    rng = random.Random(seed)
    lines = ["headlines,text"]
    for _ in range(rows):
        name = "".join(rng.choice("bdgklmnprst") + rng.choice("aeiou") for _ in range(4)).title()
        words = [rng.choice(SAYS) for _ in range(rng.randrange(4, 9))]
        lines.append(f'{name} speaks,"{" ".join([*words[:3], name, "speaks", *words[3:]])}."')
    path.write_bytes(("\n".join(lines) + "\n").encode("cp1252"))
    return path


def task_of(path, **how):
    return SummarizeTask(settle(SummarizeSettings, options={"data": str(path), "encoding": "cp1252", **SMALL, **how}))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A model that copies, and the same without."""
    folder = tmp_path_factory.mktemp("summarize")
    path = news(folder / "news.csv")
    made = {}
    for copying in (True, False):
        task = task_of(path, copy_words=copying)
        task.fit(folder / str(copying), progress=False)
        made[copying] = task.open(folder / str(copying))
    return made


def test_names_that_no_vocabulary_has_are_copied(both):
    reports = {copying: model.evaluate() for copying, model in both.items()}
    reached = {copying: report.headline["ROUGE-1"] for copying, report in reports.items()}
    assert reached[True] > 90 > 60 > reached[False]
    assert set(reports[True].figures["scores"]) == {"this model", "the first 2 words", SENTENCE}
    json.dumps(reports[True].plain(), allow_nan=False)
    row = both[True].write(["the people said Zubilote speaks again in town."]).rows[0]
    assert row.text == "Zubilote speaks"
    assert row.written[:2] == ("zubilote", "speaks")
    looked = row.weights[0].argmax()
    assert row.read[looked] == "zubilote"


def test_a_text_written_beside_others_is_the_one_written_alone(both):
    texts = ["the people said Zubilote speaks again.", "", "Karimo and Tulipa speaks of Zubilote", "town " * 500]
    found = both[True].write(texts)
    assert [row.text for row in found] == [both[True].write([text]).rows[0].text for text in texts]
    assert [bool(row.note) for row in found] == [False, True, False, True]


def test_rouge_is_rouge_scores_mean():
    from rouge_score.rouge_scorer import RougeScorer

    texts = ("A dog ran home. It slept.", "Cats sat there. All of them.")
    part = Part(texts, ("dogs run home", "cats sit"))
    report = score("all", part, ["a dog runs", "the cat"], 3)
    mine = RougeScorer(["rouge2"], use_stemmer=True).score("dogs run home", "a dog runs")["rouge2"].fmeasure
    assert rouge(["a dog runs"], ["dogs run home"])[0, 1] == pytest.approx(100 * mine)
    assert list(report.figures["scores"]) == ["this model", "the first 3 words", SENTENCE]
    assert report.figures["scores"][SENTENCE]["words"] == np.mean([4, 3])
    assert report.figures["scores"]["the first 3 words"]["rouge1"] == pytest.approx(
        rouge(["A dog ran", "Cats sat there."], part.targets)[:, 0].mean()
    )


def test_words_of_a_text_have_numbers_of_their_own_in_its_pair():
    tokens = Tokens.fit(["a b b", "b a a c"], "word", 4, True, 5, copy=True)
    assert tokens.size == 5
    ids, own = tokens.encode("Zoe a Xi zoe b b b")
    assert own == ("zoe", "xi")
    assert ids.tolist()[:4] == [5, int(tokens.encode_target("a")[0]), 6, 5]
    assert len(ids) == 6
    assert ids[-1] == END
    assert not tokens.whole("Zoe a Xi zoe b b b")
    target = tokens.encode_target("xi b never", own)
    assert target.tolist() == [6, int(tokens.encode_target("b")[0]), UNKNOWN, END]
    assert tokens.decode(target.tolist(), own, "Zoe a Xi zoe b b b") == "Xi b"
    assert tokens.pieces(target.tolist(), own) == ["xi", "b", "·", "⏎"]
    again = Tokens.from_json(json.loads(json.dumps(tokens.to_json())))
    assert again.encode("Zoe a")[0].tolist() == tokens.encode("Zoe a")[0].tolist()


@pytest.mark.parametrize(
    "text", ["It's 3.5% of $20 (or less), isn't it?", "Delhi's 45-yr-old 'man' #1", "“Nein”, sagt er: ja!"]
)
def test_words_are_joined_as_they_were_parted(text):
    assert parted(joined(parted(text, False)), False) == parted(text, False)
    assert joined(["it", "'s", "a", "45", "-", "yr", "-", "old", "(", "x", ")", ",", "no", "?"]) == "it's a 45-yr-old (x), no?"


def test_only_words_are_copied(tmp_path):
    with pytest.raises(ValueError, match="has no words to copy: add --no-copy-words"):
        task_of(news(tmp_path / "a.csv", 20), unit="subword", vocabulary=300)
    with pytest.raises(ValueError, match="expected 0"):
        task_of(news(tmp_path / "a.csv", 20), smoothing=0.1)
