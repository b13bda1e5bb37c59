"""The classify task from a file to labels: what it learns, what it keeps, what it refuses."""

import json
import random

import numpy as np
import pytest
import torch

from bptt.tasks.classify.config import ClassifySettings
from bptt.tasks.classify.fitted import Fitted
from bptt.tasks.classify.task import ClassifyTask
from bptt.tasks.config import settle
from bptt.tasks.task import NothingHeldOut
from bptt.train import FolderError, load_weights

GOOD, BAD, PLAIN = ["fine", "lovely", "superb"], ["dull", "awful", "poor"], ["the", "film", "is", "a", "plot", "with", "songs"]
SMALL = {"hidden": 8, "embed": 8, "epochs": 6, "rows": 8, "lr": 0.02, "dropout": 0.1, "word_dropout": 0.1}


def reviews(path, rows=160, seed=0, labels=("bad", "good")):
    rng = random.Random(seed)
    lines = ["text\tlabel"]
    for i in range(rows):
        words = [rng.choice(PLAIN) for _ in range(rng.randrange(2, 12))]
        words.insert(rng.randrange(len(words) + 1), rng.choice(GOOD if i % 2 else BAD))
        lines.append(f"{' '.join(words)} {i}\t{labels[i % 2]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def task_of(path, **how):
    return ClassifyTask(settle(ClassifySettings, options={"data": str(path), **SMALL, **how}))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classify")
    torch.manual_seed(0)
    task = task_of(reviews(folder / "a.tsv"), test=0.2)
    task.fit(folder / "run", progress=False)
    return task, folder


def test_it_learns_which_words_say_what(trained):
    task, folder = trained
    model = task.open(folder / "run")
    report = model.evaluate()
    scores = report.figures["scores"]
    assert report.figures["count"] == 32
    assert scores["this model"]["accuracy"] > 0.9 > 0.6 > scores["the commonest label"]["accuracy"]
    assert set(scores) == {"this model", "naive Bayes, words and pairs", "the commonest label"}
    found = model.label(["the film is superb", "a dull plot"], words=True)
    assert [row.label for row in found] == ["good", "bad"]
    for row, word in zip(found, ("superb", "dull"), strict=True):
        strongest = max(row.words, key=lambda each: each[2])
        assert row.text[strongest[0] : strongest[1]] == word
        assert abs(sum(row.shares) - 1) < 1e-9


def test_every_row_has_its_answer_in_order_also_empty_and_long_ones(trained, tmp_path):
    task, folder = trained
    model = task.open(folder / "run")
    rng = random.Random(3)
    texts = [" ".join(rng.choice(PLAIN + GOOD + BAD) for _ in range(n)) for n in (1, 0, 900, 30, 3, 0, 17)]
    found = model.label(texts)
    assert [row.text for row in found] == texts
    alone = np.concatenate([model.probabilities([text]) for text in texts])
    np.testing.assert_allclose([row.shares for row in found], alone, rtol=1e-5)
    empty, cut = "the text is empty", "only the first 400 words were read"
    assert [row.note for row in found] == ["", empty, cut, "", "", empty, ""]
    path = tmp_path / "new.csv"
    path.write_text("text\n" + "".join(f"{text}\n" for text in texts))
    assert [row.text for row in model.predict(str(path))] == texts
    with pytest.raises(TypeError, match="expected a list of texts, got one"):
        model.label("a text")
    with pytest.raises(TypeError, match="text 1 is a float, expected a str"):
        model.label(["a", 0.5])
    with pytest.raises(ValueError, match="no texts to label"):
        model.label([])


def test_the_best_weights_are_those_of_the_greatest_accuracy(trained):
    task, folder = trained
    lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    validations = [line for line in lines if "validation" in line]
    best = max(line["accuracy"] for line in validations)
    first = next(line for line in validations if line["accuracy"] == best)
    assert json.loads((folder / "run" / "best.json").read_text())["update"] == first["update"]
    model = task.open(folder / "run")
    part = task.corpus.valid
    assert (model.probabilities(part.texts).argmax(1) == np.array(part.classes)).mean() == best


def test_what_was_fitted_comes_back_and_holds_nothing_of_the_held_out_parts(trained):
    task, _ = trained
    kept = task.fitted()
    assert Fitted.from_json(json.loads(json.dumps(kept))).to_json() == kept
    known = set(kept["tokens"]["vocabulary"]["symbols"])
    held = {word for part in (task.corpus.valid, task.corpus.test) for text in part.texts for word in text.split()}
    assert {word for word in held if word.isdecimal()} - known


def test_the_held_out_part_does_not_change_what_is_learned(tmp_path):
    """Every weight and everything fitted is the same whatever the test part says."""
    runs = []
    for name, labels in (("a", ("bad", "good")), ("b", ("good", "bad"))):
        test = reviews(tmp_path / f"{name}.tsv", 30, seed=9, labels=labels)
        task = task_of(reviews(tmp_path / "train.tsv"), test=str(test), epochs=1)
        task.fit(tmp_path / name, progress=False)
        runs.append((task.fitted(), load_weights(tmp_path / name, "last"), task.open(tmp_path / name).evaluate().figures))
    assert runs[0][0] == runs[1][0]
    assert all(weights.equal(runs[1][1][name]) for name, weights in runs[0][1].items())
    assert runs[0][2]["count"] == 30
    assert runs[0][2]["scores"]["this model"]["accuracy"] == pytest.approx(1 - runs[1][2]["scores"]["this model"]["accuracy"])


@pytest.mark.parametrize("through", ["truncated:k1=3,k2=6", "checkpointed:slots=2"])
def test_read_forwards_any_strategy_trains_it(tmp_path, through):
    path = reviews(tmp_path / "a.tsv", 60)
    task = task_of(path, through=through, bidirectional=False, epochs=1, schedule="constant")
    task.fit(tmp_path / "run", progress=False)
    assert task.open(tmp_path / "run").evaluate().figures["count"] == 6
    with pytest.raises(ValueError, match=r"--through .* runs a text piece by piece.*--no-bidirectional"):
        task_of(path, through=through)


def test_stopped_and_gone_on_it_ends_the_same(tmp_path):
    path = reviews(tmp_path / "a.tsv", 60)
    task_of(path, epochs=2, schedule="constant").fit(tmp_path / "whole", progress=False)
    task_of(path, epochs=1, schedule="constant").fit(tmp_path / "parts", progress=False)
    again = ClassifyTask(settle(ClassifySettings, options={"data": str(path), **SMALL, "epochs": 2, "schedule": "constant"}),
                         tmp_path / "parts")  # fmt: skip
    again.fit(tmp_path / "parts", progress=False)
    first, second = load_weights(tmp_path / "whole", "last"), load_weights(tmp_path / "parts", "last")
    assert all(first[name].equal(second[name]) for name in first)


def test_a_run_begun_with_the_weights_of_another_takes_over_its_tokens_and_labels(trained, tmp_path):
    _, folder = trained
    other = reviews(tmp_path / "b.tsv", 60, seed=4)
    task = task_of(other, start=str(folder / "run"))
    assert (
        task.what.tokens.to_json()
        == Fitted.from_json(json.loads((folder / "run" / "fitted.json").read_text())).tokens.to_json()
    )
    weights = load_weights(folder / "run")
    assert all(weights[name].equal(value) for name, value in task.model.state_dict().items())
    with pytest.raises(ValueError, match="the label 'x' does not occur in training"):
        task_of(reviews(tmp_path / "c.tsv", 60, labels=("x", "good")), start=str(folder / "run"))
    with pytest.raises(ValueError, match=r"--start .*: its weights go with other settings.*--longest 9 \(there: 400\)"):
        task_of(other, start=str(folder / "run"), longest=9)
    with pytest.raises(FolderError, match="by the settings of the new run"):
        task_of(other, start=str(folder / "run"), hidden=9)


def test_data_that_changed_or_went_are_not_measured_on(trained, tmp_path):
    path = reviews(tmp_path / "a.tsv", 60)
    task_of(path, epochs=1).fit(tmp_path / "run", progress=False)
    model = ClassifyTask.open(tmp_path / "run")
    path.write_text(path.read_text().replace("fine", "swell"))
    with pytest.raises(ValueError, match="has changed since this run learned from it"):
        model.evaluate()
    other = reviews(tmp_path / "b.tsv", 40, seed=7)
    report = model.evaluate(str(other))
    assert any("No naive Bayes beside it" in remark for remark in report.remarks)
    assert set(report.figures["scores"]) == {"this model", "the commonest label"}
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is no longer there"):
        model.evaluate()
    with pytest.raises(ValueError, match="--part test was held out of other texts"):
        model.evaluate(str(other), part="test")


def test_texts_that_were_learned_are_told_of(trained):
    task, folder = trained
    report = task.open(folder / "run").evaluate(str(folder / "a.tsv"))
    assert f"{len(task.corpus.train)} of the texts are among those learned from" in " ".join(report.remarks)


def test_nothing_held_out(tmp_path):
    task = task_of(reviews(tmp_path / "a.tsv", 40), valid=0.0, epochs=1)
    task.fit(tmp_path / "run", progress=False)
    with pytest.raises(NothingHeldOut, match="nothing to measure it on"):
        task.open(tmp_path / "run").evaluate()
    with pytest.raises(ValueError, match="--patience needs something to validate on"):
        task_of(tmp_path / "a.tsv", valid=0.0, patience=2).fit(tmp_path / "other", progress=False)


@pytest.mark.slow
def test_sst2_is_above_81_percent(tmp_path, real_data):
    parts = {name: str(real_data(f"sst2/{file}.tsv")) for name, file in (("data", "train"), ("valid", "dev"), ("test", "test"))}
    found = []
    for seed in range(5):
        task = ClassifyTask(settle(ClassifySettings, options={**parts, "seed": seed}))
        task.fit(tmp_path / str(seed), progress=False)
        found.append(task.open(tmp_path / str(seed)).evaluate().figures["scores"]["this model"]["accuracy"])
    assert np.median(found) >= 0.81, found
