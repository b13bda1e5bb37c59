"""A run that was stopped and went on ends bit-identical to one that was never stopped."""

import signal
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch

import bptt
from bptt.train import Interrupted, Logs, Run, Saving, Validation, load_weights, read_log
from bptt.train.checkpoint import checkpoints
from tests.train.runs import (
    QUIET,
    Killed,
    assert_same,
    batches,
    die_after,
    fresh,
    outcome,
    plateau,
    stop_after,
    streamed,
    text,
)

EVERY = Logs(every=1, progress=False, tensorboard=False)
BUILDS = {"text": (text, 3), "batches": (batches, 4), "plateau": (plateau, 5), "streamed": (streamed, 2)}


@lru_cache
def uninterrupted(name: str) -> Any:
    build, epochs = BUILDS[name]
    folder = Path(mkdtemp()) / name
    result = fresh(build, folder, logs=EVERY).fit(epochs=epochs)
    return outcome(folder), result


STOPS = (
    [("text", k) for k in (1, 2, 3, 4, 7, 8, 9, 12, 16, 20, 23)]
    + [("batches", k) for k in (1, 4, 5, 6, 10, 11, 15, 19)]
    + [("plateau", k) for k in (1, 2, 3, 4, 6, 7, 8, 11)]
    + [("streamed", k) for k in (1, 3, 6, 7, 8, 9, 13)]
)


@pytest.mark.parametrize(("name", "k"), STOPS)
def test_interrupted_after_update_k(tmp_path: Path, name: str, k: int) -> None:
    build, epochs = BUILDS[name]
    expected, result = uninterrupted(name)
    with pytest.raises(Interrupted) as raised:
        fresh(build, tmp_path / "run", logs=EVERY, callbacks=[stop_after(k)]).fit(epochs=epochs)
    assert raised.value.code == 130
    assert checkpoints(tmp_path / "run" / "checkpoints")[-1] == k < result.updates
    run = fresh(build, tmp_path / "run", logs=EVERY)
    again = run.fit(epochs=epochs)
    assert_same(outcome(tmp_path / "run"), expected)
    assert (again.reason, again.updates, again.best, again.best_update) == (
        result.reason,
        result.updates,
        result.best,
        result.best_update,
    )


@pytest.mark.parametrize("name", BUILDS)
def test_killed_and_gone_on_from_the_last_checkpoint_several_times(tmp_path: Path, name: str) -> None:
    build, epochs = BUILDS[name]
    expected, result = uninterrupted(name)
    more = {"logs": EVERY, "saving": Saving(seconds=None, updates=3, keep=1)}
    for k in range(2, result.updates, 5):
        with pytest.raises(Killed):
            fresh(build, tmp_path, callbacks=[die_after(k)], **more).fit(epochs=epochs)
        assert checkpoints(tmp_path / "checkpoints")[-1] < k
    fresh(build, tmp_path, **more).fit(epochs=epochs)
    assert_same(outcome(tmp_path), expected)


def test_log_lines_between_sums_go_on_too(tmp_path: Path) -> None:
    fresh(text, tmp_path / "a", logs=Logs(5, False, False)).fit(epochs=2)
    with pytest.raises(Killed):
        fresh(text, tmp_path / "b", logs=Logs(5, False, False), saving=Saving(None, 1), callbacks=[die_after(8)]).fit(epochs=2)
    fresh(text, tmp_path / "b", logs=Logs(5, False, False)).fit(epochs=2)
    assert_same(outcome(tmp_path / "b"), outcome(tmp_path / "a"))


@pytest.mark.parametrize("first", [1, 5, 8, 9, 16])
def test_a_run_that_was_asked_for_more_ends_as_one_asked_for_all(tmp_path: Path, first: int) -> None:
    more: dict[str, Any] = {"schedule": "cosine:updates=30", "logs": QUIET}
    fresh(text, tmp_path / "a", **more).fit(updates=20)
    fresh(text, tmp_path / "b", **more).fit(updates=first)
    fresh(text, tmp_path / "b", **more).fit(updates=20)
    a, b = outcome(tmp_path / "a"), outcome(tmp_path / "b")
    assert_same(a["weights"], b["weights"])
    assert_same(a["train"]["optimizer"], b["train"]["optimizer"])
    assert_same(a["train"]["random"], b["train"]["random"])
    assert_same(a["log"], b["log"])


def test_going_on_with_the_same_run_object_in_memory_is_the_same_as_in_a_folder(tmp_path: Path) -> None:
    more: dict[str, Any] = {"schedule": None}
    fresh(text, tmp_path, **more).fit(updates=13)
    run = fresh(text, None, **more)
    run.fit(updates=6)
    result = run.fit(updates=13)
    assert result.best_update is not None
    assert_same(dict(run.model.state_dict()), load_weights(tmp_path))
    run.validation = Validation(run.validation.data, every=4, keep_best=False)
    run.fit(updates=13)
    assert_same(dict(run.model.state_dict()), load_weights(tmp_path, "last"))


def test_a_complete_run_is_not_trained_further_and_gives_its_result(tmp_path: Path, capsys: Any) -> None:
    first = fresh(batches, tmp_path).fit(epochs=2)
    log = (tmp_path / "log.jsonl").read_bytes()
    run = fresh(batches, tmp_path, logs=Logs(3, True, False))
    again = run.fit(epochs=2)
    assert (again.reason, again.updates, again.best, again.history) == ("epochs", 10, first.best, first.history)
    assert "is complete (epochs, after update 10)" in capsys.readouterr().err
    assert (tmp_path / "log.jsonl").read_bytes() == log
    assert_same(dict(run.model.state_dict()), load_weights(tmp_path, "best"))


def test_an_interruption_in_memory_goes_on(tmp_path: Path) -> None:
    expected, _ = uninterrupted("batches")
    run = fresh(batches, None, logs=EVERY, callbacks=[stop_after(7, signal.SIGTERM)])
    with pytest.raises(Interrupted) as raised:
        run.fit(epochs=4)
    assert raised.value.code == 143
    torch.manual_seed(99)
    run.fit(epochs=4)
    last = load_last(run)
    assert_same(last, expected["weights"])


def load_last(run: Run) -> Any:
    with run.store.held(run.record) as newest:
        assert newest is not None
        return newest.weights


def test_a_callback_that_draws_random_numbers_changes_nothing(tmp_path: Path) -> None:
    def draw(moment: Any) -> None:
        moment.model.eval()
        torch.rand(3)

    expected, _ = uninterrupted("text")
    fresh(text, tmp_path, logs=EVERY, callbacks=[draw]).fit(epochs=3)
    assert_same(outcome(tmp_path), expected)


def test_resuming_where_threads_or_torch_differ_says_so(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh(batches, tmp_path).fit(epochs=1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    fresh(batches, tmp_path, logs=Logs(3, True, False)).fit(epochs=2)
    assert "threads: 64, before 1: the last bits may differ" in capsys.readouterr().err


def test_every_stop_was_in_a_different_place() -> None:
    """The stops above hit the middle of a sequence, its end, and an epoch's end, for each kind of run."""
    for name, (_, epochs) in BUILDS.items():
        _, result = uninterrupted(name)
        assert result.updates > max(k for other, k in STOPS if other == name), name
        assert result.epochs == epochs or result.reason == "patience", name
    assert uninterrupted("plateau")[1].reason == "patience"
    assert [line["epoch"] for line in uninterrupted("batches")[1].history if "validation" in line][:3] == [0, 1, 2]
    assert bptt.train.read_log is read_log
