"""The parts of the transcribe task: spelling, the loss, the search, splits, the network."""

import itertools
import math

import numpy as np
import pytest
import torch

from bptt.data.grams import Grams
from bptt.tasks.transcribe.alphabet import Alphabet, spelled
from bptt.tasks.transcribe.decode import Search, greedy, prefix_beam
from bptt.tasks.transcribe.heard import log_probabilities, log_probability, parts
from bptt.tasks.transcribe.loss import ABSENT, CTC, steps_needed
from bptt.tasks.transcribe.model import TranscribeModel
from bptt.tasks.transcribe.score import error_rate, nearest


def scores_of(steps, size, seed=0, sharp=1.0):
    drawn = np.random.default_rng(seed).normal(size=(steps, size)) * sharp
    return drawn - np.log(np.exp(drawn).sum(1, keepdims=True))


def collapsed(path):
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)


def by_all_paths(scores):
    """log P of every transcript, from all paths there are."""
    found = {}
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        p = math.exp(sum(scores[t, symbol] for t, symbol in enumerate(path)))
        found[collapsed(path)] = found.get(collapsed(path), 0.0) + p
    return {text: math.log(p) for text, p in found.items()}


def test_the_loss_is_of_all_paths_that_spell_the_transcript():
    scores = [scores_of(4, 3, 1), scores_of(3, 3, 2)]
    y = torch.zeros(4, 2, 3, dtype=torch.float64)
    y[:, 0], y[:3, 1] = torch.from_numpy(scores[0]) + 7.0, torch.from_numpy(scores[1])
    y[3, 1] = 50.0  # beyond the end of the second row
    target = torch.tensor([[1, 2], [1, 0], [0, 0], [0, ABSENT]])
    wanted = -by_all_paths(scores[0])[(1, 1)] - by_all_paths(scores[1])[(2,)]
    assert float(CTC()(y, target)) == pytest.approx(wanted)
    assert CTC().count(target) == 3
    assert log_probability(scores[0], [1, 1]) == pytest.approx(by_all_paths(scores[0])[(1, 1)])
    assert log_probability(scores[1], []) == pytest.approx(by_all_paths(scores[1])[()])
    with pytest.raises(ValueError, match="one dimension more"):
        CTC()(y, target[:3])
    with pytest.raises(ValueError, match="has its symbols first"):
        CTC()(y, target.flip(0))


def test_a_row_without_symbols_has_a_loss_too():
    y = torch.from_numpy(scores_of(3, 3))[:, None]
    assert float(CTC()(y, torch.zeros(3, 1, dtype=torch.int64))) == pytest.approx(-float(y[:, 0, 0].sum()))


def test_the_same_symbol_twice_needs_a_step_between():
    assert [steps_needed(each) for each in ([], [1], [1, 2], [1, 1], [1, 1, 1, 2, 2])] == [0, 1, 2, 3, 8]


def test_the_likeliest_path_is_collapsed():
    for path, wanted in (((0, 1, 1, 0, 1, 2), [1, 1, 2]), ((0, 0), []), ((), []), ((2, 2, 2), [2])):
        scores = np.full((len(path), 3), -5.0)
        scores[np.arange(len(path)), path] = -0.1
        assert greedy(scores) == wanted
        assert Search()(scores) == wanted


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_search_finds_the_likeliest_transcript(seed):
    scores = scores_of(6, 3, seed)
    chances = by_all_paths(scores)
    assert tuple(prefix_beam(scores, 300)) == max(chances, key=chances.__getitem__)


@pytest.mark.parametrize("seed", range(4))
def test_with_an_n_gram_it_finds_what_both_make_likeliest(seed):
    scores = scores_of(6, 4, seed, 0.5)
    grams, weight = Grams([[1, 2, 3], [1, 2], [3, 3, 1, 2]], 4, 3), 0.7

    def both(text):
        told = sum(grams.after(text[:i])[symbol] for i, symbol in enumerate((*text, 0)))
        return chances[text] + weight * (told + len(text) * math.log(grams.size))

    chances = by_all_paths(scores)
    wanted = max(chances, key=both)
    assert tuple(Search(400, grams, weight)(scores)) == wanted
    assert tuple(Search(400, grams, 0.0)(scores)) == max(chances, key=chances.__getitem__)


def test_a_search_through_no_steps_says_nothing():
    assert prefix_beam(np.zeros((0, 3)), 4) == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Your PIN, please!", "your pin please"),
        ("That’s 'it'.", "that's it"),
        ("pre-paid  3\tcalls", "pre paid 3 calls"),
        ("café — 北京", "café 北京"),
        ("...", ""),
    ],
)
def test_transcripts_have_one_spelling(text, wanted):
    assert spelled(text, lower=True, punctuation=False) == wanted


def test_capitals_and_marks_stay_where_asked():
    assert spelled(" Yes,  No. ", lower=False, punctuation=True) == "Yes, No."


def test_an_alphabet_spells_what_it_learned_and_tells_what_it_lacks():
    alphabet = Alphabet.fit(["Ab c", "cab"], True, False)
    assert alphabet.characters == " abc"
    assert alphabet.decode(alphabet.encode("a cab")) == "a cab"
    assert alphabet.decode([1, 2, 1, 1, 3, 1]) == "a b"
    assert (alphabet.strange("A dab!"), alphabet.encode("dab")) == ("d", alphabet.encode("ab"))
    assert Alphabet.from_json(alphabet.to_json()) == alphabet


def test_error_rates_are_edits_over_what_was_wanted():
    assert error_rate(["abc", "de"], ["abd", "de"]) == pytest.approx(1 / 5)
    assert error_rate(["ab"], ["xaybz"]) == pytest.approx(3 / 2)
    assert error_rate(["ab", "c"], ["", ""]) == 1


def test_the_most_similar_recording_is_found_at_any_loudness_and_speed():
    rng = np.random.default_rng(0)
    known = [rng.normal(size=(40, 5)).cumsum(0).astype(np.float32) for _ in range(6)]
    asked = [np.repeat(known[i], 2, 0) + 3 for i in (4, 1)]
    assert nearest(known, list("abcdef"), asked) == ["e", "b"]


def test_long_recordings_are_cut_where_it_is_quiet_and_nothing_is_lost():
    frames = np.ones((1000, 4), np.float32)
    frames[250:270] = frames[520:540] = -9
    found = parts(frames, 3.0)
    assert [len(each) <= 300 for each in found] == [True] * len(found)
    np.testing.assert_array_equal(np.concatenate(found), frames)
    assert 250 <= len(found[0]) < 270
    assert parts(frames, 20.0)[0] is frames
    assert [len(each) for each in parts(frames[:3], 0.01)] == [1, 1, 1]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_what_is_read_beside_a_recording_changes_nothing(cell):
    model = TranscribeModel(4, 2, 5, cell=cell, hidden=6, layers=2, mask_time=0.5, mask_bands=0.5, dropout=0.5)
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(n, 8)).astype(np.float32) for n in (7, 0, 3, 12)]
    together = log_probabilities(model, features)
    assert [len(each) for each in together] == [7, 0, 3, 12]
    assert model.training
    for each, own in zip(together, features, strict=True):
        if len(own):
            np.testing.assert_allclose(each, log_probabilities(model, [own])[0], atol=1e-5)
            np.testing.assert_allclose(np.exp(each).sum(1), 1, rtol=1e-6)


def test_spans_are_blanked_in_training_alone_and_no_more_than_asked():
    model = TranscribeModel(10, 3, 5, mask_time=0.3, mask_bands=0.4)
    features, exists = torch.ones(40, 50, 30), torch.ones(40, 50, dtype=torch.bool)
    exists[20:, :25] = False
    blanked = model._blanked(features, exists) == 0
    steps, bands = blanked.all(2), blanked.all(0)
    assert not steps[20:, :25].any()
    assert int(steps[:, :25].sum(0).max()) <= 6
    assert 6 < int(steps[:, 25:].sum(0).max()) <= 12
    assert 0 < int(bands.sum(1).max()) <= 12
    assert torch.equal(bands[:, :10], bands[:, 10:20])  # one band is blank in all frames of a step
    assert len({tuple(row) for row in bands.tolist()}) > 5
