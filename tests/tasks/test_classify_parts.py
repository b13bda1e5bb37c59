"""Tokens, parts, baselines, scores and words of the classify task, each by itself."""

import json
import random

import numpy as np
import pytest

from bptt.tasks.classify.baseline import majority, naive_bayes
from bptt.tasks.classify.carried import carried
from bptt.tasks.classify.config import ClassifySettings
from bptt.tasks.classify.corpus import Part, key, read_corpus
from bptt.tasks.classify.predictions import Prediction, Predictions, shade
from bptt.tasks.classify.score import score
from bptt.tasks.classify.tokens import Tokens, spans
from bptt.tasks.config import settle


def words(text):
    return [text[a:b] for a, b in spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop!", ["Do", "n't", "Stop".lower(), "!"]),
        ("do n't stop !", ["do", "n't", "stop", "!"]),
        ("it's 3.5 stars, isn’t it?", ["it", "'s", "3.5", "stars", ",", "is", "n’t", "it", "?"]),
        ("so ... good!!! :-)", ["so", "...", "good", "!!!", ":", "-", ")"]),
        ("'quoted' l'homme", ["'", "quoted", "'", "l", "'", "homme"]),
        ("naïve café 日本 हिन्दी", ["naïve", "café", "日本", "हिन्दी"]),
        (" \t\n", []),
        ("a_b _ snake", ["a", "_", "b", "_", "snake"]),
    ],
)
def test_words_are_those_of_the_treebank(text, expected):
    assert words(text) == expected


def test_every_visible_character_is_in_a_word():
    rng = random.Random(0)
    alphabet = "aB3 .,'’n-_\t\u0301\u00e9\u65e5\U0001f600$"
    for _ in range(300):
        text = "".join(rng.choice(alphabet) for _ in range(12))
        kept = "".join(words(text))
        assert [c for c in text if c.isprintable() and not c.isspace()] == [c for c in kept if not c.isspace()], repr(text)


@pytest.mark.parametrize("unit", ["word", "subword"])
def test_tokens_end_with_one_that_ends_them_and_come_back_from_json(unit):
    tokens = Tokens.fit(["a Good film", "a bad film"], unit, None, True, 4)
    assert Tokens.from_json(json.loads(json.dumps(tokens.to_json()))).encode("good").tolist() == tokens.encode("good").tolist()
    for text in ("", "a", "film film film film film film", "unseen 日本"):
        made = tokens.encode(text)
        assert 1 <= len(made) <= 5
        assert made.max() < tokens.size
    end = tokens.encode("")[0]
    assert tokens.encode("a")[-1] == end
    assert tokens.encode("A GOOD").tolist() == tokens.encode("a good").tolist()
    assert not tokens.whole("film film film film film film film")
    assert tokens.whole("film")
    assert end not in tokens.encode("a good bad film")[:-1]
    assert tokens.blank not in tokens.encode("a good bad film")


def test_a_text_that_spells_out_a_symbol_does_not_mean_it():
    tokens = Tokens.fit(["a < unk > eos"], "word", None, True, 9)
    assert tokens.encode("<unk>").tolist() == tokens.encode("< unk >").tolist()
    assert (tokens.encode("<eos> a")[:-1] > 1).all()


def write(path, rows):
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    return path


def settings(path, **how):
    return settle(ClassifySettings, options={"data": str(path), **how})


def test_a_split_takes_from_each_label_alike_and_keeps_copies_together(tmp_path):
    rng = random.Random(1)
    rows = [(f"text {rng.randrange(150)}", "yes" if i % 4 else "no") for i in range(600)]
    path = write(tmp_path / "a.tsv", rows)
    corpus = read_corpus(settings(path, valid=0.2, test=0.1))
    sides = [{key(text) for text in part.texts} for part in (corpus.train, corpus.valid, corpus.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert sum(map(len, (corpus.train, corpus.valid, corpus.test))) == 600
    assert 0.14 < len(corpus.valid) / 600 < 0.26
    assert set(corpus.valid.classes) == {0, 1}
    assert read_corpus(settings(path, valid=0.2, test=0.1)).valid == corpus.valid
    assert read_corpus(settings(path, valid=0.2, test=0.1, seed=1)).valid != corpus.valid
    assert any("more than one label" in note for note in corpus.notes)


def test_many_small_classes_make_up_a_part_together(tmp_path):
    rows = [(f"text {i}", f"c{i % 50}") for i in range(200)]
    corpus = read_corpus(settings(write(tmp_path / "a.tsv", rows), valid=0.1))
    assert (len(corpus.valid), len(set(corpus.train.classes))) == (20, 50)


def test_files_of_their_own_take_nothing_from_the_data_and_copies_are_told(tmp_path):
    path = write(tmp_path / "a.tsv", [(f"text {i}", i % 2) for i in range(40)])
    held = write(tmp_path / "b.tsv", [("TEXT  3", 1), ("another", 0)])
    corpus = read_corpus(settings(path, valid=str(held)))
    assert (len(corpus.train), corpus.valid.texts) == (40, ("TEXT  3", "another"))
    assert "1 of the 2 validation texts are among those learned from" in corpus.notes[0]


def test_labels_go_by_number_then_by_name(tmp_path):
    rows = [(f"text {i}", label) for i, label in enumerate(["10", "2", "b", "a", "-1"] * 4)]
    assert read_corpus(settings(write(tmp_path / "a.tsv", rows))).labels == ("-1", "2", "10", "a", "b")


BAD = {
    "one label": ([("a", 1), ("b", 1)], {}, "every row of .* has the label '1'.*at least 2 labels"),
    "all different": (
        [(f"some text {i}", f"x{i}") for i in range(60)],
        {},
        "60 different values in 60 rows, which are no labels",
    ),
    "too few": ([("a", 1), ("b", 0), ("c", 1)], {"valid": 0.1}, "3 rows, too few for a validation part of its own.*--valid 0"),
    "all held out": ([("a", 1), ("b", 0)], {"valid": 0.5, "test": 0.5}, "--valid 0.5 and --test 0.5 leave nothing"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_learned_from_is_refused(tmp_path, name):
    rows, how, said = BAD[name]
    with pytest.raises(ValueError, match=said):
        read_corpus(settings(write(tmp_path / "a.tsv", rows), **how))


def test_a_label_that_training_lacks_is_refused_with_its_row(tmp_path):
    path = write(tmp_path / "a.tsv", [(f"text {i}", "ab"[i % 2]) for i in range(40)])
    held = write(tmp_path / "b.tsv", [("x", "a"), ("y", "c"), ("z", "c")])
    with pytest.raises(ValueError, match=r"b\.tsv, row 2: the label 'c' does not occur in training \(2 such rows\).*'a', 'b'"):
        read_corpus(settings(path, valid=str(held)))


def test_baselines_by_hand():
    train = Part(("good film", "good", "bad film"), (1, 1, 0))
    assert majority([1, 2], 2).tolist() == [[1 / 3, 2 / 3]] * 2
    made = naive_bayes(train, ("good", "unseen"), 2)
    # words good, film, "good film", bad, "bad film": with one more of each, 4 in class 0 + 5, 4 in class 1 + 5
    like_1, like_0 = 2 / 3 * 3 / 9, 1 / 3 * 1 / 8
    np.testing.assert_allclose(made[0, 1], like_1 / (like_1 + like_0))
    np.testing.assert_allclose(made[1, 1], 2 / 3)


def test_scores_by_hand():
    made = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    report = score("four", ["no", "yes"], [0, 1, 1, 1], made, {"other": np.full((4, 2), 0.5)})
    figures = report.figures["scores"]["this model"]
    assert figures["accuracy"] == 0.75
    assert figures["low"] < 0.5 < figures["high"] == 1.0
    np.testing.assert_allclose(figures["f1_macro"], (2 / 3 + 0.8) / 2)
    np.testing.assert_allclose(figures["nats"], -np.log([0.9, 0.8, 0.4, 0.7]).mean())
    assert report.figures["confusion"] == [[1, 0], [1, 2]]
    assert report.figures["by_label"]["yes"] == {"texts": 3, "precision": 1.0, "recall": 2 / 3, "f1": 0.8}


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(200):
        right = rng.random(150) < 0.8
        made = np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
        figures = score("x", ["a", "b"], [0] * 150, made, {}).figures["scores"]["this model"]
        inside += figures["low"] <= 0.8 <= figures["high"]
    assert 0.88 <= inside / 200 <= 0.99


def test_a_word_carries_the_log_odds_that_are_lost_without_it():
    asked = []

    def probabilities(texts):
        asked.extend(texts)
        odds = np.array([2.0 * text.count("good") - text.count("not") for text in texts])
        p = 1 / (1 + np.exp(-odds))
        return np.stack([1 - p, p], 1)

    found = carried(probabilities, "not good , good", 1, 10)
    assert [("not good , good"[a:b], round(weight, 9)) for a, b, weight in found] == [
        ("not", -1.0), ("good", 2.0), (",", 0.0), ("good", 2.0),
    ]  # fmt: skip
    assert asked[1] == "  good , good"
    assert carried(probabilities, " ", 1, 10) == ()
    assert len(carried(probabilities, "good " * 30, 1, 10)) == 10


def test_predictions_as_files_and_as_a_page():
    row = Prediction('a <b> "c",\nd', "yes", (0.25, 0.75), "", ((0, 1, 0.5), (3, 4, -1.0)))
    found = Predictions(("no", "yes"), (row, Prediction("", "no", (0.6, 0.4), "the text is empty", ())))
    assert "".join(piece for piece, _ in shade(row)) == row.text
    assert list(shade(row)) == [("a", 0.5), (" <", 0.0), ("b", -1.0), ('> "c",\nd', 0.0)]
    lines = [json.loads(line) for line in found.file("jsonl").decode().splitlines()]
    assert lines[0] == {
        "label": "yes", "p_no": 0.25, "p_yes": 0.75, "note": "", "words": [["a", 0.5], ["b", -1.0]], "text": row.text,
    }  # fmt: skip
    import csv
    import io

    import polars

    for kind, separator in (("csv", ","), ("tsv", "\t")):
        rows = list(csv.DictReader(io.StringIO(found.file(kind).decode(), newline=""), delimiter=separator))
        assert [each["text"] for each in rows] == [row.text, ""]
        assert rows[1]["note"] == "the text is empty"
    assert polars.read_parquet(io.BytesIO(found.file("parquet")))["text"].to_list() == [row.text, ""]
    page = found.html("T & U")
    assert "T &amp; U" in page
    assert "&lt;" in page
    assert "<b>yes" not in page.replace('<b title="no 25.0%, yes 75.0%">yes', "")
    with pytest.raises(ValueError, match=r"written as \.csv, \.tsv, \.jsonl, \.parquet, \.txt, got \.doc"):
        found.file("doc")
