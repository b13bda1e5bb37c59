"""A file may lie elsewhere when a run goes on or is measured: what it holds must be the same, its name need not be."""

import json

import pytest

from bptt.train import load_weights
from tests.cli.conftest import SMALL, write_text


@pytest.fixture
def own(here, bptt):
    """A run on texts of its own, which may be moved."""
    write_text(here / "own.txt")
    write_text(here / "valid.txt", 90)
    result = bptt("train", "text", "--data", "own.txt", "--valid", "valid.txt", "--test", "0.1", "--out", "run", *SMALL)
    assert result.exit_code == 0, result.stderr
    return here


def figures(bptt, *how):
    result = bptt("evaluate", "run", "--json", *how)
    assert result.exit_code == 0, result.stderr
    return {key: value for key, value in json.loads(result.stdout).items() if key != "run"}


def test_a_moved_text_goes_on_and_is_measured_as_before(own, bptt):
    before = figures(bptt), figures(bptt, "--part", "valid")
    (own / "own.txt").rename(own / "moved.txt")
    gone = bptt("evaluate", "run")
    assert gone.exit_code == 2
    assert "own.txt, is no longer there" in gone.stderr
    assert "--data FILE" in gone.stderr
    assert (figures(bptt, "--data", "moved.txt"), figures(bptt, "--data", "moved.txt", "--part", "valid")) == before

    gone = bptt("train", "text", "--out", "run", "--epochs", "3")
    assert gone.exit_code == 2
    assert "is no longer there" in gone.stderr
    assert "bptt train text --out run --data FILE" in gone.stderr
    assert bptt("train", "text", "--out", "run", "--epochs", "3", "--data", "moved.txt").exit_code == 0
    assert bptt("train", "text", "--out", "run", "--epochs", "4").exit_code == 0
    assert figures(bptt)["count"] == before[0]["count"]


def test_what_a_file_holds_decides_and_not_its_name(own, bptt):
    other = write_text(own / "other.txt", 650)
    for name, key in (("--data", "data"), ("--valid", "validation")):
        result = bptt("train", "text", "--out", "run", "--epochs", "3", name, other)
        assert result.exit_code == 2
        assert "run holds another run" in result.stderr
        assert key in result.stderr
    (own / "valid.txt").rename(own / "elsewhere.txt")
    result = bptt("train", "text", "--out", "run", "--epochs", "3", "--valid", "elsewhere.txt")
    assert result.exit_code == 0, result.stderr


def test_a_share_in_the_place_of_a_file_is_another_setting(own, bptt):
    result = bptt("train", "text", "--out", "run", "--epochs", "3", "--valid", "0.1")
    assert result.exit_code == 2
    assert "--valid 0.1 (there: " in result.stderr


def test_another_text_is_measured_whole_and_has_no_parts(own, bptt):
    other = write_text(own / "other.txt", 50)
    assert figures(bptt, "--data", other)["count"] == len(other.read_text()) - 1
    refused = bptt("evaluate", "run", "--data", other, "--part", "valid")
    assert refused.exit_code == 2
    assert "--part valid was held out of another text" in refused.stderr


def test_without_the_text_that_was_learned_there_are_no_n_grams_beside_the_model(own, bptt):
    other = write_text(own / "other.txt", 50)
    assert "baselines" in figures(bptt, "--data", other)
    (own / "own.txt").unlink()
    assert "baselines" not in figures(bptt, "--data", other)
    assert "No n-grams beside it" in bptt("evaluate", "run", "--data", other).stdout


def test_a_run_begins_with_the_weights_and_the_vocabulary_of_another(own, bptt):
    text = (own / "own.txt").read_text().replace("king", "queen")
    (own / "new.txt").write_text(text)
    how = ["--data", "new.txt", "--hidden", "8", "--rows", "4", "--through", "truncated:k1=16", "--epochs", "1"]
    refused = bptt("train", "text", "--start", "run", "--out", "second", *how)
    assert refused.exit_code == 2
    assert "new.txt holds 'q'" in refused.stderr
    (own / "new.txt").write_text(text.replace("queen", "fog"))
    begun = bptt("train", "text", "--start", "run", "--out", "second", *how, "--set", "lr=1e-12")
    assert begun.exit_code == 0, begun.stderr
    assert (own / "second" / "vocabulary.json").read_bytes() == (own / "run" / "vocabulary.json").read_bytes()
    first, second = load_weights("run"), load_weights("second", "last")
    assert all(first[name].allclose(second[name], atol=1e-6) for name in first)
    wider = bptt("train", "text", "--start", "run", "--out", "third", *how, "--hidden", "9")
    assert wider.exit_code == 2
    assert "in the checkpoint and" in wider.stderr
    assert not (own / "third").exists()
    # under way it needs the first run no more
    (own / "run").rename(own / "gone")
    assert bptt("train", "text", "--out", "second", "--epochs", "2").exit_code == 0


def test_two_runs_that_start_together_take_two_folders(own, bptt, monkeypatch):
    from filelock import FileLock

    from bptt.cli import training

    real, asked = training.free_folder, []

    def late(task, data):
        """The first time, the folder is taken by another process after it was found free."""
        folder = real(task, data)
        if not asked:
            folder.mkdir(parents=True)
            asked.append(FileLock(folder / ".lock"))
            asked[0].acquire()
        return folder

    monkeypatch.setattr(training, "free_folder", late)
    try:
        result = bptt("train", "text", "--data", "own.txt", *SMALL)
    finally:
        asked[0].release()
    assert result.exit_code == 0, result.stderr
    assert "runs/text-own-2" in result.stdout


def test_another_text_is_measured_while_a_part_of_its_own_is_gone(own, bptt):
    other, valid = write_text(own / "other.txt", 50), figures(bptt, "--part", "valid")
    before = figures(bptt)
    (own / "valid.txt").rename(own / "elsewhere.txt")
    assert figures(bptt, "--data", other)["count"] == len(other.read_text()) - 1
    assert "baselines" in figures(bptt, "--data", other)
    assert figures(bptt, "--data", "own.txt") == before  # its test part, which is there
    for how in ((), ("--data", "own.txt", "--part", "valid")):
        gone = bptt("evaluate", "run", *how)
        assert gone.exit_code == 2
        assert "valid.txt, is no longer there" in gone.stderr
        assert "--out run --valid FILE" in gone.stderr
        assert "--data FILE" in gone.stderr
    assert bptt("train", "text", "--out", "run", "--valid", "elsewhere.txt").exit_code == 0
    assert figures(bptt, "--part", "valid") == valid
