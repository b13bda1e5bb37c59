"""The translate task from two files to translations: what it learns, keeps and refuses."""

import json
import random

import numpy as np
import pytest

from bptt.tasks.classify.task import ClassifyTask
from bptt.tasks.config import settle
from bptt.tasks.seq2seq.corpus import Part, read_corpus
from bptt.tasks.task import NothingHeldOut
from bptt.tasks.translate.config import TranslateSettings
from bptt.tasks.translate.score import COPY, NEAREST, nearest, score
from bptt.tasks.translate.task import NAMES, TranslateTask
from bptt.train import FolderError, load_weights

NUMBERS = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier", "five": "fünf", "six": "sechs"}
SMALL = {"unit": "word", "vocabulary": 50, "hidden": 24, "embed": 24, "epochs": 25, "rows": 8, "lr": 0.01, "dropout": 0.0,
         "smoothing": 0.0, "beam": 2}  # fmt: skip


def counting(folder, rows=300, seed=0, stem="train"):
    rng = random.Random(seed)
    texts = [[rng.choice(list(NUMBERS)) for _ in range(rng.randrange(3, 8))] for _ in range(rows)]
    source, target = folder / f"{stem}.en", folder / f"{stem}.de"
    source.write_text("".join(" ".join(text) + "\n" for text in texts))
    target.write_text("".join(" ".join(NUMBERS[word] for word in text) + "\n" for text in texts))
    return source, target


def task_of(folder, into=None, **how):
    source, target = counting(folder)
    return TranslateTask(settle(TranslateSettings, options={"data": str(source), "target": str(target), **SMALL, **how}), into)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("translate")
    task = task_of(folder, test=0.1)
    task.fit(folder / "run", progress=False)
    return task, folder


def test_it_learns_to_translate_and_says_how_well(trained):
    task, folder = trained
    model = task.open(folder / "run")
    report = model.evaluate()
    scores = report.figures["scores"]
    assert list(scores) == ["this model", NEAREST, COPY]
    assert scores["this model"]["bleu"] > 80 > scores[NEAREST]["bleu"] > scores[COPY]["bleu"]
    low, high = scores["this model"]["interval"]
    assert low <= scores["this model"]["bleu"] <= high
    assert "case:mixed" in report.remarks[0]
    assert "tok:13a" in report.figures["signatures"][0]
    assert report.headline["BLEU"] == scores["this model"]["bleu"]
    json.dumps(report.plain(), allow_nan=False)
    found = model.write(["three one two", "six two six four"])
    assert [row.text for row in found] == ["drei eins zwei", "sechs zwei sechs vier"]


def test_every_row_has_its_translation_in_order(trained, tmp_path):
    task, folder = trained
    model = task.open(folder / "run")
    texts = ["one two", "", "three " * 150, "   ", "four five one", "ein Satz in einer fremden Sprache"]
    found = model.write(texts)
    assert [row.source for row in found] == texts
    assert [bool(row.text) for row in found] == [True, False, True, False, True, True]
    assert found.rows[1].note == found.rows[3].note == "the text is empty"
    assert found.rows[2].note.startswith("only the first 100 words were read")
    alone = [row.text for text in texts for row in model.write([text])]
    assert [row.text for row in found] == alone
    path = tmp_path / "new.txt"
    path.write_text("\n".join(texts) + "\n")
    assert [row.text for row in model.predict(str(path))] == alone
    lines = found.file("jsonl").decode().splitlines()
    assert [json.loads(line)["translation"] for line in lines] == alone
    with pytest.raises(TypeError, match="expected a list of texts, got one"):
        model.write("one two")
    with pytest.raises(TypeError, match="text 1 is a float"):
        model.write(["one", 0.5])
    with pytest.raises(ValueError, match="say which texts"):
        model.predict()


def test_where_it_looked_is_drawn(trained, tmp_path):
    pytest.importorskip("matplotlib")
    task, folder = trained
    found = task.open(folder / "run").write(["three one two"])
    row = found.rows[0]
    assert row.read == ("three", "one", "two", "⏎")
    assert row.written == ("drei", "eins", "zwei", "⏎")
    np.testing.assert_allclose(row.weights.sum(1), 1, rtol=1e-5)
    found.draw(tmp_path / "looked.png")
    assert (tmp_path / "looked.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="nothing was written"):
        task.open(folder / "run").write([""]).draw(tmp_path / "none.png")


def test_the_weights_kept_are_those_of_the_greatest_bleu(trained):
    _, folder = trained
    lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    judged = {line["update"]: line["BLEU"] for line in lines if "validation" in line}
    best = json.loads((folder / "run" / "best.json").read_text())
    assert best["update"] == max(judged, key=judged.get)


def test_a_run_goes_on_and_another_begins_from_it(trained, tmp_path):
    task, folder = trained
    again = task_of(folder, folder / "run", test=0.1)
    assert again.what.to_json() == task.what.to_json()
    start = task_of(folder, tmp_path / "new", start=str(folder / "run"))
    there = load_weights(folder / "run")
    assert all((value == there[name]).all() for name, value in start.model.state_dict().items())
    with pytest.raises(ValueError, match=r"--vocabulary 40 \(there: 50\)"):
        task_of(folder, start=str(folder / "run"), vocabulary=40)
    with pytest.raises(FolderError, match="holds a run of task 'translate'"):
        ClassifyTask.open(folder / "run")


def test_changed_data_are_refused_and_others_measured_on(trained, tmp_path):
    task, folder = trained
    model = task.open(folder / "run")
    source, target = counting(tmp_path, 40, 5, "other")
    report = model.evaluate(str(source), target=str(target))
    assert report.figures["count"] == 40
    assert report.headline["BLEU"] > 80
    with pytest.raises(ValueError, match="--part test was held out of other texts"):
        model.evaluate(str(source), target=str(target), part="test")
    with pytest.raises(ValueError, match=r"--target .* belongs to texts"):
        model.evaluate(target=str(target))
    moved = folder / "moved"
    (folder / "train.en").rename(moved)
    try:
        with pytest.raises(FileNotFoundError, match="is no longer there"):
            model.evaluate()
        assert any("left out" in remark for remark in model.evaluate(str(source), target=str(target)).remarks)
        counting(folder, seed=9)
        with pytest.raises(ValueError, match="has changed since this run learned"):
            model.evaluate()
    finally:
        counting(folder)
        moved.unlink()


def test_a_language_never_seen_is_remarked_on(trained, tmp_path):
    task, folder = trained
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("ὁ ἄνθρωπος\nκαὶ ἡ γυνή\n")
    target.write_text("eins\nzwei\n")
    remarks = task.open(folder / "run").evaluate(str(source), target=str(target)).remarks
    assert any("100% of the tokens read are words that training lacks: is it the language" in remark for remark in remarks)


def test_nothing_held_out_is_said(tmp_path):
    task = task_of(tmp_path, valid=0.0, epochs=1)
    task.fit(tmp_path / "run", progress=False)
    with pytest.raises(NothingHeldOut, match="give texts to evaluate on"):
        task.open(tmp_path / "run").evaluate()


def test_copies_of_a_text_stay_on_one_side_and_pairs_with_holes_are_left_out(tmp_path):
    path = tmp_path / "pairs.tsv"
    rows = [f"text {i % 20}\tone {i}" for i in range(100)] + ["\tnothing", "nothing\t"]
    path.write_text("source\ttarget\n" + "\n".join(rows) + "\n")
    corpus = read_corpus(settle(TranslateSettings, options={"data": str(path), "valid": 0.3, "test": 0.2}), NAMES)
    assert [len(part) for part in (corpus.train, corpus.valid, corpus.test)] == [50, 30, 20]
    assert not set(corpus.train.sources) & {*corpus.valid.sources, *corpus.test.sources}
    assert any("2 rows of" in note and "row 101 first" in note for note in corpus.notes)
    with pytest.raises(ValueError, match="leave nothing to learn from"):
        read_corpus(settle(TranslateSettings, options={"data": str(path), "valid": 0.5, "test": 0.5}), NAMES)
    path.write_text("source\ttarget\n\ta\nb\t\n")
    with pytest.raises(ValueError, match="no row with both texts"):
        read_corpus(settle(TranslateSettings, options={"data": str(path)}), NAMES)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"hidden": 7}, "--hidden 7 is parted"),
        ({"through": "rtrl"}, "carries the error forward"),
        ({"valid_target": "x"}, "--valid-target .* belongs to a file of texts"),
        ({"longest": 1}, "no target has 1 tokens or fewer"),
    ],
    ids=["odd", "online", "target without texts", "too long"],
)
def test_settings_that_cannot_be_are_refused(tmp_path, how, said):
    with pytest.raises(ValueError, match=said):
        task_of(tmp_path, **how)


def test_long_targets_are_left_out_of_what_is_learned_and_counted(tmp_path):
    task = task_of(tmp_path, longest=3)
    assert "whose target has more than 3 are left out" in dict(task.describe())["texts"]
    assert int(task.source.examples.lengths.max()) == 4


def test_the_most_similar_learned_text_is_found():
    train = Part(("a dog runs", "a cat sleeps", "the cat sleeps well"), ("Hund", "Katze", "gut"))
    assert nearest(["one cat sleeps", "DOG!", "zebra"], train)[:2] == ["Katze", "Hund"]


def test_bleu_is_sacrebleus():
    import sacrebleu

    made, wanted = ["a cat sat on a mat today", "no"], ["a cat sat on the mat today", "yes"]
    part = Part(("x", "y"), tuple(wanted))
    report = score("all", part, made, None)
    assert report.headline["BLEU"] == sacrebleu.corpus_bleu(made, [wanted]).score
    assert report.headline["chrF"] == sacrebleu.corpus_chrf(made, [wanted]).score
