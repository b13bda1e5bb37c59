"""A search tries other settings than those given, counts the trials of all processes, and loses none."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import optuna
import pytest
from typer.testing import CliRunner

from bptt.cli.main import app
from bptt.tasks.config import gather
from bptt.tasks.registry import entry
from bptt.tasks.search import Search, space
from bptt.tasks.shared import database
from bptt.train import read_log

TASK = entry("text")


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "input.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 30)
    return path


def given(data, **more):
    small = {"hidden": 4, "rows": 2, "through": "truncated:k1=8", "epochs": 1, "layers": 1, "threads": 1}
    return gather(TASK.load_settings(), options={"data": str(data), **small, **more})


def search(data, folder, trials, **more):
    return Search(TASK, given(data, **more), folder, trials)


def test_what_is_given_is_not_searched():
    kind = TASK.load_settings()
    assert list(space(kind, {})) == ["lr", "hidden", "layers", "cell", "dropout"]
    assert list(space(kind, {"lr": 0.1, "cell": "gru"})) == ["hidden", "layers", "dropout"]
    assert list(space(kind, {"start": "runs/a"})) == ["lr", "dropout"]
    with pytest.raises(ValueError, match="nothing is left to search for: --lr, --hidden"):
        space(kind, dict.fromkeys(["lr", "hidden", "layers", "cell", "dropout"]))
    assert "word_dropout" in space(entry("classify").load_settings(), {})


def test_the_first_trial_has_the_defaults_and_the_best_comes_first(data, tmp_path):
    told = []
    found = search(data, tmp_path / "s", 3)
    found.run(told.append)
    assert [each.number for each in told] == [0, 1, 2]
    assert told[0].settings == {"lr": 3e-3, "cell": "lstm", "dropout": 0.2}
    tried = found.tried()
    complete = [each.value for each in tried if each.state == "complete"]
    assert complete == sorted(complete)
    assert min(line["validation"] for line in read_log(tried[0].folder) if "validation" in line) == tried[0].value
    assert json.loads((tried[0].folder / "config.json").read_bytes())["config"]["settings"]["hidden"] == 4


def test_another_sitting_goes_on_and_other_settings_are_refused(data, tmp_path):
    search(data, tmp_path / "s", 1).run()
    again = search(data, tmp_path / "s", 2)
    again.run()
    again.run()
    assert sorted(each.number for each in again.tried()) == [0, 1]
    with pytest.raises(ValueError, match="holds a search with other settings"):
        search(data, tmp_path / "s", 3, rows=3)


def test_a_trial_whose_process_is_gone_is_gone_on_with_in_its_folder(data, tmp_path):
    first = search(data, tmp_path / "s", 2)
    with first._next() as lost:
        pass  # its lock is free, as after SIGKILL, and its state is still that of a trial under way
    second = search(data, tmp_path / "s", 2)
    second.run()
    tried = {each.folder.name: each for each in second.tried() if each.state == "complete"}
    assert tried.keys() == {"trial-1", "trial-3"}
    assert tried["trial-1"].settings == lost.params


def test_processes_that_search_together_never_share_a_trial_nor_make_too_many(data, tmp_path):
    both = [search(data, tmp_path / "s", 5) for _ in range(2)]

    def ask(one):
        with ExitStack() as held:
            return [trial and trial.number for trial in (held.enter_context(one._next()) for _ in range(4))]

    # Each leaves its trials to the other when it is done: what is checked is that none is handed out twice while it is held.
    with ExitStack() as held, ThreadPoolExecutor(2) as pool:
        mine = [held.enter_context(both[0]._next()).number for _ in range(2)]
        theirs = pool.submit(ask, both[1]).result()
    assert mine == [0, 1]
    assert theirs == [2, 3, 4, None]


def test_a_trial_that_fails_is_told_and_the_others_go_on(data, tmp_path, monkeypatch):
    found = search(data, tmp_path / "s", 3)
    task = found._class
    plain = task.fit

    def fit(self, folder, **how):
        if folder.name == "trial-2":
            raise MemoryError("no memory")
        return plain(self, folder, **how)

    monkeypatch.setattr(task, "fit", fit)
    found.run()
    assert [(each.state, each.why) for each in found.tried()][-1] == ("fail", "no memory")
    assert len(found.tried()) == 3


def test_what_fails_at_once_ends_the_search(data, tmp_path):
    with pytest.raises(ValueError, match="needs something to validate on"):
        search(data, tmp_path / "s", 3, valid=0.0).run()
    with pytest.raises(FileNotFoundError):
        search(tmp_path / "none.txt", tmp_path / "t", 3).run()


def test_poor_trials_are_given_up_early(data, tmp_path, monkeypatch):
    found = search(data, tmp_path / "s", 2)
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda self: self.number == 1)
    found.run()
    assert [each.state for each in found.tried()] == ["complete", "pruned"]


def test_a_search_ends_in_time(data, tmp_path):
    found = Search(TASK, given(data, epochs=1000), tmp_path / "s", 5, minutes=0.02)
    found.run()
    assert len(found.tried()) == 1


def test_the_command(data, tmp_path):
    base = ["train", "text", "--data", str(data), "--hidden", "4", "--rows", "2", "--through", "truncated:k1=8"]
    base += ["--epochs", "1", "--threads", "1", "--out", str(tmp_path / "s")]
    done = CliRunner().invoke(app, [*base, "--search", "2"])
    assert done.exit_code == 0, done.output
    assert "trial 2 of 2" in done.output
    assert "--lr, --layers, --cell, --dropout" in done.output
    assert (tmp_path / "s" / "best.toml").exists()
    assert json.loads((tmp_path / "s" / "search.json").read_text())["judged by"] == "validation loss"
    config = ["--config", str(tmp_path / "s" / "best.toml")]
    more = CliRunner().invoke(app, ["train", "text", "--out", str(tmp_path / "one"), *config])
    assert more.exit_code == 0, more.output
    best = json.loads((tmp_path / "s" / "search.json").read_text())["trials"][0]
    assert min(line["validation"] for line in read_log(tmp_path / "one") if "validation" in line) == best["value"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--search-minutes", "1"], "--search-minutes is for a search"),
        (["--storage", "sqlite:///a.db"], "--storage is for a search"),
    ],
)
def test_misuse(data, options, said):
    done = CliRunner().invoke(app, ["train", "text", "--data", str(data), *options])
    assert isinstance(done.exception, (ValueError, SystemExit))
    assert said in f"{done.exception} {done.output}"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "postgresql+psycopg://ann:secret@localhost:1/none",
            "localhost:1/none needs the package psycopg: pip install",
        ),
        ("nosuch://here", "nosuch://here cannot be opened"),
        ("sqlite:////no/such/folder/a.db", "unable to open database file"),
    ],
)
def test_a_database_that_does_not_answer_is_told_without_its_password(data, tmp_path, monkeypatch, address, said):
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as where it is not installed
    with pytest.raises(ValueError, match=said) as told:
        Search(TASK, given(data), tmp_path / "s", 1, storage=address)
    assert "secret" not in str(told.value)
    assert not (tmp_path / "s").exists()


def test_those_that_come_at_once_to_an_empty_database_wait_for_its_tables(monkeypatch):
    class IntegrityError(Exception):
        pass

    came = []

    def open_storage(address):
        came.append(address)
        if len(came) < 3:
            raise IntegrityError("duplicate key value")
        return "storage"

    monkeypatch.setattr(optuna.storages, "get_storage", open_storage)
    monkeypatch.setattr("bptt.tasks.shared.time.sleep", lambda seconds: None)
    assert database("postgresql://here/a") == "storage"
    came.clear()
    with pytest.raises(ValueError, match=r"cannot be opened \(duplicate key"):
        database("postgresql://here/a", tries=2)
