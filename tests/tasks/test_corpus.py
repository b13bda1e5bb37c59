import numpy as np
import pytest

from bptt.tasks.config import settle
from bptt.tasks.task import NothingHeldOut
from bptt.tasks.text.config import TextSettings
from bptt.tasks.text.corpus import evaluation, read_corpus, training


def test_rows_start_afresh_only_where_a_window_starts():
    stream = training(np.arange(10_007) % 50, rows=7, restart=0.25, every=16, seed=1)
    reset = stream[: len(stream)].reset
    steps, _ = np.nonzero(reset.numpy())
    assert len(steps)
    assert (steps % 16 == 0).all()
    assert 0 not in steps
    assert len(steps) / (7 * (len(stream) // 16)) == pytest.approx(0.25, abs=0.05)
    assert reset.any(0).all()


def test_the_same_seed_starts_afresh_at_the_same_places():
    streams = [training(np.arange(5000) % 50, 4, 0.1, 16, seed) for seed in (1, 1, 2)]
    prints = [stream.fingerprint() for stream in streams]
    assert prints[0] == prints[1] != prints[2]


def test_no_restart_is_the_plain_stream():
    assert training(np.arange(5000) % 50, 4, 0.0, 16, 0)[:1000].reset is None


def test_rows_of_an_evaluation_are_long():
    assert evaluation(np.zeros(50_000, int), 32).rows == 32
    assert evaluation(np.zeros(5_000, int), 32).rows == 4
    assert evaluation(np.zeros(50, int), 32).rows == 1


def test_the_parts_are_the_text_in_its_order(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("abcdefghij" * 100)
    corpus = read_corpus(settle(TextSettings, options={"data": str(path), "valid": "0.2", "test": "0.1"}))
    assert [len(part) for part in (corpus.train, corpus.valid, corpus.test)] == [700, 200, 100]
    assert corpus.vocabulary.decode(corpus.valid[:3]) == "abc"
    assert corpus.held_out()[0] == "test"
    with pytest.raises(NothingHeldOut, match="--data"):
        read_corpus(settle(TextSettings, options={"data": str(path), "valid": 0})).held_out()
