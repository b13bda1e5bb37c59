from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bptt.data import Bytes, Characters, Subwords, UnknownCharacter, Words, vocabulary_from_json
from bptt.data.vocabulary import recut

TEXT = "Über  naïve 中文 words,\r\n\r\n\tand  it's\n 12345  emoji 🙂🙂 \n\n the end the end\n"
TEXTS = st.text(st.sampled_from("ab é中🙂'1., \n\r\t\x1c\x85\u2028\u3000"), max_size=60)

VOCABULARIES = [
    Bytes(),
    Characters.fit([TEXT, "ab é中🙂'1., \n\r\t\x1c\x85\u2028\u3000"]),
    Words.fit([TEXT]),
    Subwords.fit([TEXT * 20], size=300),
]
EACH = pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda v: v.unit)


@EACH
def test_json_makes_an_equal_vocabulary(vocabulary):
    again = vocabulary_from_json(json.loads(json.dumps(vocabulary.to_json())))
    assert again == vocabulary
    assert type(again) is type(vocabulary)
    assert again.encode(TEXT).tolist() == vocabulary.encode(TEXT).tolist()
    assert hash(again) == hash(vocabulary)
    assert vocabulary != Words(["<unk>", "<eos>", "other"])
    assert vocabulary.unit in type(vocabulary).__name__.lower()


@EACH
@settings(deadline=None)
@given(text=TEXTS)
def test_text_comes_back(vocabulary, text):
    ids = vocabulary.encode(text)
    assert ids.dtype == np.min_scalar_type(vocabulary.size - 1)
    back = vocabulary.decode(ids)
    if vocabulary.unit == "word":
        known = [[w if w in vocabulary.symbols else "<unk>" for w in line.split()] for line in text.split("\n")]
        assert back == "\n".join(" ".join(line) for line in known)
    else:
        assert back == text


@EACH
@settings(deadline=None)
@given(data=st.data())
def test_one_by_one_equals_all_at_once(vocabulary, data):
    ids = data.draw(st.lists(st.integers(0, vocabulary.size - 1), max_size=40))
    decoder = vocabulary.decoder()
    assert "".join([*(decoder.push(i) for i in ids), decoder.flush()]) == vocabulary.decode(ids)


@EACH
@settings(deadline=None, max_examples=200)
@given(text=TEXTS, size=st.integers(1, 7))
def test_cutting_never_changes_a_token(vocabulary, text, size):
    chunks = [text[i : i + size] for i in range(0, len(text), size)]
    pieces = list(recut(chunks, vocabulary.cut))
    assert "".join(pieces) == text
    assert [i for piece in pieces for i in vocabulary.encode(piece)] == vocabulary.encode(text).tolist()


@EACH
def test_tokens_outside_are_refused(vocabulary):
    with pytest.raises(ValueError, match=f"token {vocabulary.size} is outside the vocabulary"):
        vocabulary.decode([0, vocabulary.size])
    with pytest.raises(ValueError, match="token -1 is outside"):
        vocabulary.decoder().push(-1)
    with pytest.raises(TypeError, match="whole numbers"):
        vocabulary.decode([0.5])


def test_characters_split_over_tokens_print_once_whole():
    decoder = Bytes().decoder()
    assert [decoder.push(b) for b in "é🙂".encode()] == ["", "é", "", "", "", "🙂"]
    decoder.push(0xF0)
    assert decoder.flush() == "\N{REPLACEMENT CHARACTER}"
    assert decoder.flush() == ""


def test_bytes_keep_what_the_command_line_could_not_decode():
    assert Bytes().encode("a\udcff").tolist() == [97, 255]


def test_an_unseen_character_is_named_with_its_place():
    characters = Characters.fit(["hello", " world"])
    assert characters.symbols == " dehlorw"
    assert characters.encode("low").dtype == np.uint8
    for text, place, name in (
        ("heé", 2, "U+00E9"),
        ("🙂", 0, "U+1F642"),
        ("he\udcff", 2, "U+DCFF"),
        ("a", 0, "U+0061"),
    ):
        with pytest.raises(UnknownCharacter, match=re.escape(name)) as caught:
            characters.encode(text)
        assert caught.value.position == place
        assert "--unit byte" in str(caught.value)


def test_words_keep_the_frequent_and_name_the_rest():
    text = "b b b a a c\nb <unk> d\nc"
    words = Words.fit([text[:5], text[5:]])
    assert words.symbols == ("<unk>", "<eos>", "b", "a", "c", "d")
    assert words.encode(text).tolist() == [2, 2, 2, 3, 3, 4, 1, 2, 0, 5, 1, 4]
    assert words.encode("zz\n").tolist() == [0, 1]
    assert Words.fit([text], size=4).symbols == ("<unk>", "<eos>", "b", "a")
    assert Words.fit([text], min_count=2).symbols == ("<unk>", "<eos>", "b", "a", "c")
    assert words.decode([2, 3, 1, 1, 4, 0]) == "b a\n\nc <unk>"


def test_words_are_whole_over_the_borders_of_chunks():
    assert Words.fit(iter("one two\nthree two")) == Words.fit(["one two\nthree two"])


def test_subwords_learn_and_print_right():
    subwords = VOCABULARIES[3]
    assert 256 < subwords.size <= 300
    ids = subwords.encode(TEXT)
    assert len(ids) < len(TEXT.encode())
    pushed = subwords.decoder()
    assert [pushed.push(i) for i in subwords.encode("中")][-1] == "中"
    assert Subwords.fit(iter(TEXT * 20), size=300) == subwords


@settings(deadline=None, max_examples=200)
@given(text=TEXTS)
def test_long_text_is_encoded_in_batches_like_in_one(text):
    subwords = VOCABULARIES[3]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bptt.data.subwords._BATCH", 3)
        assert subwords.encode(text).tolist() == subwords._tokenizer.encode(text).ids


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Characters.fit([]), ValueError, "at least one character"),
        (lambda: Characters("ba"), ValueError, "order of their code points"),
        (lambda: Words.fit([" \n"]), ValueError, "holds no word$"),
        (lambda: Words.fit(["a"], min_count=2), ValueError, "no word that occurs at least 2 times"),
        (lambda: Words.fit(["a"], min_count=0), ValueError, "min_count=0"),
        (lambda: Words.fit(["a"], size=2), ValueError, "size=2.*at least 3"),
        (lambda: Words(["a", "b", "c"]), ValueError, "<unk>, <eos>"),
        (lambda: Words(["<unk>", "<eos>", "a", "a"]), ValueError, "must be different"),
        (lambda: Subwords.fit(["a"], size=256), ValueError, "size=256.*at least 257"),
        (lambda: vocabulary_from_json({"kind": "letter"}), ValueError, "byte, character, word, subword; got 'letter'"),
        (lambda: vocabulary_from_json({"kind": "word"}), ValueError, "lacks its entry 'symbols'"),
        (lambda: vocabulary_from_json([]), ValueError, "got None"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_subwords_of_another_make_are_refused():
    from tokenizers import Tokenizer, models

    with pytest.raises(ValueError, match="not made of bytes"):
        Subwords(Tokenizer(models.WordLevel({"a b": 0}, unk_token="a b")))


def test_without_tokenizers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r'pip install "bptt\[text\]"'):
        Subwords.fit(["abc"], size=300)


DATA = Path(__file__).parents[2] / "../shared/data"


@pytest.mark.skipif(not (DATA / "ptb").is_dir(), reason="the development data are not beside the repository")
def test_penn_treebank_has_its_known_counts():
    from bptt.data import encode_file, fit_vocabulary

    words = fit_vocabulary("word", DATA / "ptb/ptb.train.txt")
    assert words.size == 10_000
    counts = [len(encode_file(DATA / f"ptb/ptb.{part}.txt", words)) for part in ("train", "valid", "test")]
    assert counts == [929_589, 73_760, 82_430]
