"""``bptt compare``."""

import json
from pathlib import Path
from typing import Any


def test_a_problem(bptt: Any, tmp_path: Path) -> None:
    options = ["--task", "adding", "--set", "length=6", "--set", "hidden=4", "--updates", "20"]
    shown = bptt("compare", *options, "--through", "full", "--through", "truncated:k1=2", "--out", tmp_path / "both")
    assert "truncated:k1=2,k2=2" in shown.stdout
    assert (tmp_path / "both" / "compare.png").exists()
    kept = json.loads((tmp_path / "both" / "compare.json").read_text())
    assert [trial["through"] for trial in kept["trials"]] == ["full", "truncated:k1=2,k2=2"]
    assert kept["trials"][1]["gradient"]["bias"] > 0


def test_epochs_are_the_same_sequences_for_all(bptt: Any) -> None:
    options = ["--set", "length=4", "--set", "hidden=3", "--set", "rows=2", "--epochs", "1", "--json"]
    shown = bptt("compare", *options, "--through", "full", "--through", "truncated:k1=1,k2=2")
    full, short = json.loads(shown.stdout)["trials"]
    assert (full["updates"], short["updates"]) == (100, 400)
    assert full["steps"] == short["steps"] == 400


def test_a_text(bptt: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("to be or not to be, that is the question\n" * 60)
    more = ["--set", "hidden=8", "--set", "rows=4", "--updates", "3", "--json"]
    shown = bptt("compare", "--task", "text", "--data", tmp_path / "a.txt", "--through", "truncated:k1=16", *more)
    (trial,) = json.loads(shown.stdout)["trials"]
    assert trial["updates"] == 3
    assert trial["validation"] > 0


def test_bad_input_is_one_line(bptt: Any) -> None:
    for words, options in (
        ("no task is called 'ading' (did you mean 'adding'?)", ["--task", "ading", "--through", "full"]),
        ("no strategy is called 'fill'", ["--through", "fill"]),
        ("--data means nothing for the problem 'copy'", ["--task", "copy", "--data", "x.txt", "--through", "full"]),
        ("--data is needed", ["--task", "text", "--through", "full"]),
        ("unknown setting 'hiden'", ["--set", "hiden=3", "--through", "full"]),
        ("--minutes must be above 0", ["--minutes", "0", "--through", "full"]),
        ("whole number of at least 10", ["--task", "order", "--set", "length=3", "--through", "full"]),
    ):
        failed = bptt("compare", *options)
        assert failed.exit_code == 2
        assert words in failed.stderr
        assert failed.stderr.count("\n") == 1, failed.stderr
