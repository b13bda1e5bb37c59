import collections
import math

import pytest
import torch

from bptt.data import Bytes, Characters, Words
from bptt.tasks.text.model import TextModel
from bptt.tasks.text.sample import draw, generate


def drawn(logits, n=400, **how):
    generator = torch.Generator().manual_seed(1)
    return collections.Counter(draw(torch.tensor(logits), generator=generator, **how) for _ in range(n))


def log(*probabilities):
    return [math.log(p) for p in probabilities]


def test_draws_in_proportion():
    counts = drawn(log(0.1, 0.6, 0.3), n=3000)
    assert [counts[i] / 3000 for i in range(3)] == pytest.approx([0.1, 0.6, 0.3], abs=0.03)


def test_temperature_sharpens_as_a_power():
    counts = drawn(log(0.2, 0.8), n=3000, temperature=0.5)
    assert counts[1] / 3000 == pytest.approx(0.64 / 0.68, abs=0.03)


def test_temperature_zero_is_the_likeliest_and_the_first_of_equals():
    assert drawn([1.0, 3.0, 3.0], temperature=0) == {1: 400}


def test_a_tiny_temperature_does_not_overflow():
    assert drawn([1000.0, 999.0], temperature=1e-6) == {0: 400}


@pytest.mark.parametrize("k", [3, 4, 10**9])
def test_top_k_of_the_whole_vocabulary_or_more_keeps_all(k):
    assert set(drawn(log(0.3, 0.3, 0.4), top_k=k)) == {0, 1, 2}


def test_top_k_keeps_exactly_k_even_of_equals():
    assert len(drawn([0.0] * 6, top_k=2)) == 2
    assert set(drawn(log(0.2, 0.5, 0.3), top_k=1)) == {1}


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(1.0, {0, 1, 2, 3}), (0.96, {0, 1, 2, 3}), (0.94, {0, 1, 2}), (0.5, {0}), (0.49, {0}), (0.51, {0, 1}), (1e-12, {0})],
)
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(top_p, kept):
    assert set(drawn([math.log2(0.5) * math.log(2), *log(0.3, 0.15, 0.05)], n=1500, top_p=top_p)) == kept


def test_the_nucleus_that_reaches_top_p_exactly_takes_no_more():
    assert len(drawn([0.0] * 4, top_p=0.5)) == 2


def test_the_nucleus_is_of_what_top_k_has_left():
    # 0.5 and 0.3 alone are 0.625 and 0.375: the first one does not reach 0.6 in the whole, but does among the two
    assert set(drawn(log(0.5, 0.3, 0.2), top_k=2, top_p=0.6)) == {0}
    assert set(drawn(log(0.5, 0.3, 0.2), top_p=0.6)) == {0, 1}


def test_a_long_tail_keeps_its_share():
    tail = [math.log(0.5), *[math.log(0.5 / 5000)] * 5000]
    counts = drawn(tail, n=600, top_p=1.0)
    assert counts[0] / 600 == pytest.approx(0.5, abs=0.07)


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="diverged"):
        draw(torch.tensor([0.0, float("nan")]))


def model_for(vocabulary):
    torch.manual_seed(0)
    return TextModel(vocabulary.size, hidden=8, embed=4)


def test_a_seed_gives_one_text_and_its_pieces_are_the_text():
    vocabulary = Characters(" abcdefgh")
    model = model_for(vocabulary)
    first, second, other = ("".join(generate(model, vocabulary, "abc", 50, seed=seed)) for seed in (3, 3, 4))
    assert first == second != other
    assert len(first) == 50


def test_the_carried_state_gives_what_reading_from_the_beginning_gives():
    vocabulary = Characters(" abcdefgh")
    model = model_for(vocabulary).eval()
    text = "abc"
    for letter in generate(model, vocabulary, "abc", 20, temperature=0):
        with torch.no_grad():
            logits, _ = model(torch.tensor(vocabulary.encode(text).astype("int64"))[:, None])
        assert letter == vocabulary.decode([int(logits[-1, 0].argmax())])
        text += letter


def test_dropout_is_off_while_writing_and_on_again_afterwards():
    vocabulary = Characters(" abcdefgh")
    model = TextModel(vocabulary.size, hidden=8, embed=4, dropout=0.9).train()
    texts = {"".join(generate(model, vocabulary, "a", 30, temperature=0)) for _ in range(3)}
    assert len(texts) == 1
    assert model.training


def test_a_character_of_several_bytes_comes_whole():
    class Parrot(torch.nn.Module):
        """Says the bytes of "é" over and over."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x, state=None):
            said = {0xC3: 0xA9}.get(int(x[-1, 0]), 0xC3)
            return torch.nn.functional.one_hot(torch.tensor([[said]]), 256).float() * 50, state

    assert list(generate(Parrot(), Bytes(), "", 4, seed=0)) == ["é", "é"]
    assert list(generate(Parrot(), Bytes(), "", 3, seed=0)) == ["é", "\N{REPLACEMENT CHARACTER}"]


def test_a_word_that_follows_the_prompt_has_its_space():
    vocabulary = Words(["<unk>", "<eos>", "so", "it"])
    text = "".join(generate(model_for(vocabulary), vocabulary, "so", 1, top_k=1))
    assert text in (" so", " it", " <unk>", "\n")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"length": -1}, "length"),
        ({"prompt": "Z"}, "'Z'"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(how, said):
    vocabulary = Characters("abc")
    with pytest.raises(ValueError, match=said):
        generate(model_for(vocabulary), vocabulary, **how)
