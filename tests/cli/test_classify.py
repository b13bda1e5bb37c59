"""``bptt train classify`` and what follows it, from files to labels."""

import csv
import io
import json
import re

import polars
import pytest
from rich.console import Console

from bptt.cli.labels import show
from bptt.tasks.classify.predictions import Prediction, Predictions
from bptt.train import load_weights
from tests.cli.test_bad_input import refused
from tests.tasks.test_classify_task import reviews

HOW = ["--hidden", "6", "--embed", "6", "--epochs", "2", "--rows", "8", "--lr", "0.02"]


@pytest.fixture
def run(here, bptt):
    """A small run of its own, and its data."""
    result = bptt("train", "classify", "--data", reviews(here / "a.tsv", 80), "--out", "run", *HOW)
    assert result.exit_code == 0, result.stderr
    return result


def test_from_a_file_to_labels_with_pictures(here, run, bptt):
    for what in (
        "texts in column 'text', labels in 'label'; 72 to learn from + 8 validation",
        "bad 50%, good 50%",
        "biLSTM 1×6",
        "best validation accuracy",
        "this model",
        "naive Bayes, words and pairs",
        "the commonest label",
        "By label",
    ):
        assert what in run.stdout
    for picture in ("loss.png", "confusion.png"):
        assert (here / "run" / picture).read_bytes().startswith(b"\x89PNG")
    for line in run.stdout.split("To go on:\n")[1].strip().splitlines():
        assert line.strip().startswith(("bptt predict run", "bptt evaluate run", "bptt train classify --out run"))

    figures = json.loads(bptt("evaluate", "run", "--json").stdout)
    assert (figures["count"], figures["part"], figures["labels"]) == (8, "the validation part", ["bad", "good"])
    assert json.loads(bptt("evaluate", "run", "--data", reviews(here / "b.tsv", 30, seed=5), "--json").stdout)["count"] == 30


def test_labels_are_written_in_every_format_one_for_each_row(here, run, bptt):
    texts = ["a fine film", "", "dull, dull", "word " * 500]
    (here / "new.jsonl").write_text("".join(json.dumps({"text": text, "id": i}) + "\n" for i, text in enumerate(texts)))
    made = {}
    for kind in ("csv", "tsv", "jsonl", "parquet"):
        result = bptt("predict", "run", "--data", "new.jsonl", "--out", f"out/labels.{kind}", "--words")
        assert result.exit_code == 0, result.stderr
        made[kind] = (here / "out" / f"labels.{kind}").read_bytes()
    rows = list(csv.DictReader(io.StringIO(made["csv"].decode(), newline="")))
    assert [row["text"] for row in rows] == texts
    assert [row["note"] for row in rows] == ["", "the text is empty", "", "only the first 400 words were read"]
    for row in rows:
        assert abs(float(row["p_bad"]) + float(row["p_good"]) - 1) < 1e-9
        assert row["label"] == ("good" if float(row["p_good"]) >= 0.5 else "bad")
    assert [word for word, _ in json.loads(rows[0]["words"])] == ["a", "fine", "film"]
    assert list(csv.DictReader(io.StringIO(made["tsv"].decode(), newline=""), delimiter="\t")) == rows
    lines = [json.loads(line) for line in made["jsonl"].decode().splitlines()]
    assert [line["p_bad"] for line in lines] == polars.read_parquet(io.BytesIO(made["parquet"]))["p_bad"].to_list()
    assert bptt("predict", "run", "--data", "new.jsonl", "--words").stdout.encode() == made["csv"]


def test_one_text_and_a_page_of_coloured_words(here, run, bptt):
    assert bptt("predict", "run", "--text", "a superb film").stdout.startswith("label,p_bad,p_good,note,text\n")
    result = bptt("predict", "run", "--text", "a <superb> film", "--page", "page.html")
    assert (result.exit_code, result.stdout) == (0, "")
    page = (here / "page.html").read_text("utf-8")
    assert re.search(r"<span style=\"background:rgba\([\d,.]+\)\">superb</span>", page)
    assert "&lt;" in page


def test_words_are_coloured_in_a_terminal():
    row = Prediction("not good", "bad", (0.9, 0.1), "a note", ((0, 3, 2.0), (4, 8, -0.5)))
    out = io.StringIO()
    show(Console(file=out, force_terminal=True, color_system="truecolor", width=80), Predictions(("bad", "good"), (row,)))
    assert "\x1b[1;4;38;2;42;157;98mnot\x1b[0m \x1b[38;2;217;117;43mgood\x1b[0m" in out.getvalue()
    assert "bad 90%" in out.getvalue()


def test_it_goes_on_and_ends_as_if_it_had_not_stopped(here, run, bptt):
    how = ["--data", "a.tsv", *HOW, "--schedule", "constant"]
    assert bptt("train", "classify", "--out", "whole", *how).exit_code == 0
    assert bptt("train", "classify", "--out", "parts", *how, "--epochs", "1").exit_code == 0
    assert bptt("train", "classify", "--out", "parts", "--epochs", "2").exit_code == 0
    first, second = load_weights("whole", "last"), load_weights("parts", "last")
    assert all(first[name].equal(second[name]) for name in first)


def test_a_column_of_another_name_is_asked_for_and_taken(here, run, bptt):
    (here / "new.csv").write_text("id,review,verdict\n1,a fine film,good\n2,so dull,bad\n")
    said = bptt("predict", "run", "--data", "new.csv")
    assert said.exit_code == 2
    assert "no column 'text' of texts" in said.stderr
    assert "id, review, verdict: name the one of texts, --text-column NAME" in said.stderr
    assert len(bptt("predict", "run", "--data", "new.csv", "--text-column", "review").stdout.splitlines()) == 3
    how = ["--text-column", "review", "--label-column", "verdict", "--json"]
    assert json.loads(bptt("evaluate", "run", "--data", "new.csv", *how).stdout)["count"] == 2


def test_several_seeds_are_told_together_and_go_on(here, bptt):
    how = ["--data", reviews(here / "a.tsv", 60), "--out", "runs", *HOW]
    assert bptt("train", "classify", *how, "--seed", "3", "--seeds", "1").exit_code == 0
    result = bptt("train", "classify", *how, "--seed", "3", "--seeds", "3")
    assert result.exit_code == 0, result.stderr
    assert "seed-3 is complete" in " ".join(result.stderr.split())
    told = json.loads((here / "runs" / "seeds.json").read_text())
    assert list(told["seeds"]) == ["3", "4", "5"]
    each = []
    for seed in (3, 4, 5):
        figures = json.loads(bptt("evaluate", f"runs/seed-{seed}", "--json").stdout)["scores"]["this model"]
        assert told["seeds"][str(seed)]["accuracy"] == figures["accuracy"]
        each.append(figures["accuracy"])
    assert told["median"]["accuracy"] == sorted(each)[1]
    assert told["mean"]["accuracy"] == pytest.approx(sum(each) / 3)
    assert re.search(r"median +" + f"{sorted(each)[1]:.4f}", result.stdout)
    assert "± " in result.stdout.split("Over 3 seeds")[1]


REFUSED = {
    "nothing to label": (["predict", "run"], "--data FILE, or a text, --text TEXT"),
    "both": (["predict", "run", "--data", "a.tsv", "--text", "x"], "--data FILE, or a text, --text TEXT"),
    "a picture": (["predict", "run", "--text", "x", "--plot", "x.png"], "--plot means nothing.*'classify'.*for forecast"),
    "an unknown kind": (["predict", "run", "--text", "x", "--out", "x.doc"], r"written as \.csv, .*got --out x\.doc"),
    "a column without a file": (["evaluate", "run", "--text-column", "x"], "--text-column says how the file of --data is read"),
    "rows": (["evaluate", "run", "--rows", "3"], "--rows means nothing for a run of task 'classify'"),
    "writing": (["generate", "run"], "bptt generate does not serve a run of task 'classify'.*: bptt predict run"),
    "no file": (["predict", "run", "--data", "none.tsv"], r"there is no file none\.tsv"),
    "strange labels": (["evaluate", "run", "--data", "b.tsv"], r"b\.tsv, row 1: the label 'x' does not occur in training"),
    "other labels to learn": (
        ["train", "classify", "--data", "b.tsv", "--start", "run"],
        "label 'x' does not occur in training",
    ),
    "pieces": (["train", "classify", "--data", "a.tsv", "--through", "truncated:k1=3"], "--no-bidirectional"),
    "a look": (["train", "classify", "--data", "a.tsv", "--observe", "2"], "both its ends: add --no-bidirectional"),
    "one label": (["train", "classify", "--data", "one.tsv"], r"one\.tsv has the label '1'.*at least 2 labels"),
    "share": (["train", "classify", "--data", "a.tsv", "--valid", "1.5"], "--valid: expected a share of the texts"),
    "no such copy": (
        ["train", "classify", "--data", "sst2", "--data-dir", "."],
        r"has no train\.tsv, which --data sst2 needs: put",
    ),
    "a dir without a name": (["train", "classify", "--data", "a.tsv", "--data-dir", "."], "name them, as in --data sst2"),
    "no seeds": (["train", "classify", "--data", "a.tsv", "--seeds", "0"], "--seeds"),
    "a file for seeds": (["train", "classify", "--data", "a.tsv", "--seeds", "2", "--out", "a.tsv"], r"a\.tsv is a file"),
    "wide": (["train", "classify", "--data", "a.tsv", "--longest", "0"], "--longest"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_written(here, run, bptt, name):
    arguments, said = REFUSED[name]
    (here / "one.tsv").write_text("text\tlabel\na b\t1\nc\t1\n")
    (here / "b.tsv").write_text("text\tlabel\na b\tx\nc\ty\n")
    refused(bptt(*arguments), here, ["a.tsv", "b.tsv", "one.tsv", "run"], said)


def test_data_by_name_from_a_copy_at_hand(here, bptt, real_data):
    result = bptt("train", "classify", "--data", "sst2", "--data-dir", real_data("sst2"), *HOW, "--minutes", "0.001")
    assert result.exit_code == 0, result.stderr
    assert "6,920 to learn from + 872 validation + 1,821 test" in result.stdout
    assert (here / "runs" / "classify-sst2" / "config.json").exists()


def test_without_scikit_learn_the_extra_is_named(here, bptt, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    refused(
        bptt("train", "classify", "--data", reviews(here / "a.tsv", 40)), here, ["a.tsv"], r'pip install "bptt\[classify\]"'
    )
