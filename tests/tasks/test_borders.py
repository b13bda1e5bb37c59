"""A vocabulary of words or sub-words knows nothing of what is held out, and the parts are the text in its order."""

import random

import numpy as np
import pytest

from bptt.data import Subwords, Words, encode_file
from bptt.tasks.config import settle
from bptt.tasks.text.borders import SETTLED, borders, fit, tokens_after
from bptt.tasks.text.config import TextSettings
from bptt.tasks.text.corpus import read_corpus
from bptt.tasks.text.task import TextTask


def words(n, names, seed=0):
    rng = random.Random(seed)
    return "".join(rng.choice(names) + rng.choice([" ", " ", "\n", "  "]) for _ in range(n))


TEXT = words(900, ["so", "it", "goes", "häppily", "on"]) + words(100, ["quite", "otherwise", "it"], 1)


def settings(path, **how):
    return settle(TextSettings, options={"data": str(path), **how})


@pytest.mark.parametrize("unit", SETTLED)
@pytest.mark.parametrize("piece", [1, 7, 64, 10_000])
@pytest.mark.parametrize("shares", [(0.1, 0.0), (0.1, 0.05), (0.0, 0.2), (0.0, 0.0), (0.3, 0.3)])
def test_borders_lie_where_tokens_part_and_at_most_a_token_before_their_share(unit, piece, shares):
    def chunks():
        return [TEXT[i : i + piece] for i in range(0, len(TEXT), piece)]

    first, second = borders(chunks, unit, shares)
    wanted = len(TEXT) - round(len(TEXT) * shares[1])
    for found, share in ((second, wanted), (first, wanted - round(len(TEXT) * shares[0]))):
        assert share - 12 < found <= share
    vocabulary = fit(chunks, unit, 300 if unit == "subword" else None, first)
    parts = [TEXT[:first], TEXT[first:second], TEXT[second:]]
    whole = vocabulary.encode(TEXT)
    np.testing.assert_array_equal(np.concatenate([vocabulary.encode(part) for part in parts]), whole)
    assert tokens_after(chunks, vocabulary, first, second) == tuple(len(vocabulary.encode(part)) for part in parts[1:])


@pytest.mark.parametrize("unit", SETTLED)
def test_what_is_held_out_does_not_change_the_vocabulary(tmp_path, unit):
    made = []
    for name, end in (("a", "quite otherwise"), ("b", "not this way...")):
        path = tmp_path / f"{name}.txt"
        path.write_text(TEXT[:4000] + end * 20)
        how = {"vocabulary": 280} if unit == "subword" else {}
        made.append(read_corpus(settings(path, unit=unit, valid=0.1, **how)))
    assert made[0].vocabulary == made[1].vocabulary
    np.testing.assert_array_equal(made[0].train, made[1].train)
    assert isinstance(made[0].vocabulary, Words | Subwords)
    learned = made[0].vocabulary.decode(made[0].train).split()
    assert learned == (TEXT[:4000]).split()[: len(learned)]


def test_words_that_occur_once_teach_what_an_unknown_word_is():
    def known(text, size=None):
        return fit(lambda: [text], "word", size, len(text)).symbols[2:]

    assert known("a b a c b d") == ("a", "b")
    assert known("a b a b") == ("a", "b"), "there is none to leave out"
    assert known("a b a c <unk>") == ("a", "b", "c"), "the text has unknown words of its own"
    assert known("a b a c b d", 5) == ("a", "b", "c"), "a bound leaves some out already"
    assert known("a b c") == ("a", "b", "c"), "every word occurs once"


def test_the_report_counts_unknown_words_and_unseen_characters(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    for unit, figure, said in (("word", "unknown", "are <unk>"), ("character", "unseen", "that the training part lacks")):
        task = TextTask(settings(path, unit=unit, hidden=4, rows=4, epochs=1, through="truncated:k1=16", valid=0.2))
        task.fit(tmp_path / unit, progress=False)
        report = task.open(tmp_path / unit).evaluate()
        tail = task.corpus.valid[1:]
        known = {0} if unit == "word" else set(range(task.vocabulary.size)) - set(task.corpus.train.tolist())
        assert report.figures[figure] == sum(int(token) in known for token in tail) > 0
        assert any(said in remark for remark in report.remarks)


def test_a_run_of_words_ends_as_if_it_had_not_stopped(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    how = {"unit": "word", "hidden": 4, "rows": 4, "through": "truncated:k1=16", "schedule": "constant"}
    whole = TextTask(settings(path, **how, epochs=3))
    whole.fit(tmp_path / "whole", progress=False)
    for epochs in (1, 3):
        parts = TextTask(settings(path, **how, epochs=epochs), tmp_path / "parts")
        parts.fit(tmp_path / "parts", progress=False)
    for name, weights in whole.model.state_dict().items():
        assert weights.equal(parts.model.state_dict()[name]), name


def test_a_file_of_its_own_takes_no_share_of_the_text(tmp_path):
    path, valid = tmp_path / "a.txt", tmp_path / "v.txt"
    path.write_text("abcdefghij" * 100)
    valid.write_text("abc")
    corpus = read_corpus(settings(path, valid=str(valid)))
    assert (len(corpus.train), len(corpus.valid), len(corpus.test)) == (1000, 3, 0)
    assert len(encode_file(path, corpus.vocabulary)) == 1000


@pytest.mark.parametrize("unit", ["character", "word"])
def test_shares_that_leave_nothing_are_refused(tmp_path, unit):
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    with pytest.raises(ValueError, match="leave nothing to train on"):
        read_corpus(settings(path, unit=unit, valid=0.5, test=0.5))
    path.write_text("a b c d e")
    with pytest.raises(ValueError, match=r"too few: the part 'valid' would hold [01]"):
        read_corpus(settings(path, unit=unit, valid=0.1))
