"""``bptt train translate`` and what is done with its runs, from the command line."""

import json

import pytest

SMALL = ["--unit", "word", "--hidden", "8", "--embed", "8", "--epochs", "2", "--vocabulary", "50", "--beam", "2"]


@pytest.fixture
def files(here):
    words = ["one", "two", "three", "four"]
    lines = [f"{words[i % 4]} {words[i // 4 % 4]} {words[i // 16 % 4]}" for i in range(64)]
    for suffix, change in (("en", str), ("de", str.upper)):
        (here / f"a.{suffix}").write_text("".join(change(line) + "\n" for line in lines))
    return here


@pytest.fixture
def run(files, bptt):
    made = bptt("train", "translate", "--data", "a.en", "--target", "a.de", "--test", "0.2", *SMALL)
    assert made.exit_code == 0, made.stderr
    assert "BLEU" in made.stdout
    assert "bptt predict runs/translate-a" in made.stdout
    return "runs/translate-a"


def test_a_run_is_measured_and_used(run, files, bptt):
    measured = json.loads(bptt("evaluate", run, "--json").stdout)
    assert measured["count"] == 13
    assert set(measured["scores"]["this model"]) == {"bleu", "interval", "chrf", "length"}
    (files / "new.txt").write_text("one two three\n\n" + "four " * 200 + "\n")
    done = bptt("predict", run, "--data", "new.txt", "--out", "new.jsonl", "--beam", "1")
    assert done.exit_code == 0, done.stderr
    rows = [json.loads(line) for line in (files / "new.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == ["one two three", "", "four " * 200]
    assert rows[1]["translation"] == ""
    assert rows[1]["note"] == "the text is empty"
    assert "only the first 100 words" in rows[2]["note"]
    again = bptt("evaluate", run, "--data", "a.en", "--target", "a.de", "--json")
    assert json.loads(again.stdout)["count"] == 64
    more = bptt("train", "translate", "--out", run, "--epochs", "3")
    assert more.exit_code == 0, more.stderr
    assert "going on" in more.stdout + more.stderr


def test_where_it_looked_is_drawn(run, files, bptt):
    pytest.importorskip("matplotlib")
    done = bptt("predict", run, "--text", "one two three", "--plot", "looked.png")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("translation,score,note,text\n")
    assert (files / "looked.png").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train translate --data a.en", "give what belongs to each in a second file, --target FILE"),
        ("train translate --data a.en --target short.de", "a.en has 64 lines and short.de has 1"),
        ("train translate --data a.en --target a.de --valid 2", "share of the pairs of at least 0 and below 1, or a file"),
        ("train translate --data a.en --target a.de --hidden 9", "--hidden 9 is parted"),
        ("train translate --data a.en --target a.de --through uoro", "carries the error forward"),
        ("train translate --data a.en --target a.de --vocabulary 100", "at least 257"),
        ("train translate --data latin.en --target a.de", "line 2, is not utf-8 text"),
        ("train translate --data a.en --target none.de", "none.de"),
        ("train translate --data pairs.csv --text-column fr --target-column de", "no column 'fr' of texts"),
    ],
    ids=range(9),
)
def test_bad_input_is_one_line_and_leaves_nothing(files, bptt, command, said):
    (files / "short.de").write_text("EINS\n")
    (files / "latin.en").write_bytes(b"one\nna\xefve\n")
    (files / "pairs.csv").write_text("en,de\none,eins\n")
    done = bptt(*command.split())
    assert done.exit_code == 2
    assert said in done.stderr.replace(str(files) + "/", "")
    assert done.stderr.count("\n") == 1
    assert not (files / "runs").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("predict {run} --data a.en --label-column x", "label-column"),
        ("predict {run} --words --text one", "means nothing for a run of task 'translate'"),
        ("predict {run}", "say which texts"),
        ("evaluate {run} --target a.de", "--target a.de belongs to texts"),
        ("evaluate {run} --target-column de", "says how the file of --data is read"),
        ("evaluate {run} --data a.en", "give what belongs to each in a second file"),
        ("generate {run}", "does not serve a run of task 'translate'"),
        ("predict {run} --data a.en --text-column en", "has no column 'en': leave out --text-column"),
    ],
    ids=range(8),
)
def test_what_a_run_cannot_do_is_said(run, bptt, command, said):
    done = bptt(*command.format(run=run).split())
    assert done.exit_code == 2
    assert said in done.stderr
