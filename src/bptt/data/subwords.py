"""The vocabulary of sub-words: byte-level byte-pair encoding by Hugging Face ``tokenizers``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bptt.data.vocabulary import Ids, Utf8Decoder, checked_ids, ids_type, recut

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Byte-level pre-tokens hold white space only at their beginning, and look ahead only from white space: between a
# visible character and one of these, both sides have the tokens they have in the whole text. The visible character
# must be visible to Python and to the tokenizer alike; isspace() is the wider of the two.
_BREAK = re.compile(r"(?<=\S)(?=[ \n\t\r])")
_BATCH = 1 << 14  # characters; pieces of this length are encoded in parallel, and nothing is gained beyond


class Subwords:
    """Sub-words that start from the 256 bytes, so that any text can be encoded and ``decode(encode(text)) == text``.

    Text is not normalised. Cutting at the places that ``cut`` names changes no token. Needs the extra ``text``.
    Not worth it below about a megabyte of text: the rare sub-words are then seen too seldom.
    """

    unit: ClassVar[str] = "subword"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.size: int = tokenizer.get_vocab_size()
        byte_of = _byte_alphabet()
        self._table = []
        for token in range(self.size):
            symbol = tokenizer.id_to_token(token)
            if symbol is None or any(c not in byte_of for c in symbol):
                raise ValueError(f"token {token} ({symbol!r}) is not made of bytes; expected a byte-level vocabulary")
            self._table.append(bytes(byte_of[c] for c in symbol))

    @classmethod
    def fit(cls, chunks: Iterable[str], size: int = 8000) -> Subwords:
        """Learn at most ``size`` sub-words (fewer when the text has no more pairs) from a text in chunks of any length.

        Raises ValueError for ``size`` < 257, ImportError when ``tokenizers`` is missing.
        """
        if size < 257:
            raise ValueError(f"size={size}: sub-words start from the 256 bytes, so at least 257 are needed; or use --unit byte")
        _require()
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=[], show_progress=False)
        tokenizer.train_from_iterator(recut(chunks, settled), trainer)
        return cls(tokenizer)

    def __repr__(self) -> str:
        return f"Subwords({self.size} tokens)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subwords) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self._tokenizer.to_str())

    def encode(self, text: str) -> Ids:
        batch, start = [], 0
        for match in _BREAK.finditer(text) if len(text) > _BATCH else ():
            if match.start() - start >= _BATCH:
                batch.append(text[start : match.start()])
                start = match.start()
        batch.append(text[start:])
        ids = [np.asarray(piece.ids, dtype=ids_type(self.size)) for piece in self._tokenizer.encode_batch_fast(batch)]
        return np.concatenate(ids)

    def cut(self, text: str) -> int:
        return settled(text)

    def decode(self, ids: ArrayLike) -> str:
        return b"".join(map(self._table.__getitem__, checked_ids(ids, self.size).tolist())).decode("utf-8", "replace")

    def decoder(self) -> Utf8Decoder:
        return Utf8Decoder(self._table)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.unit, "tokenizer": json.loads(self._tokenizer.to_str())}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Subwords:
        _require()
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_str(json.dumps(saved["tokenizer"])))


def settled(text: str) -> int:
    """The length up to the last white space that follows a visible character."""
    for end in range(len(text) - 1, 0, -1):
        if text[end] in " \n\t\r" and not text[end - 1].isspace():
            return end
    return 0


def _byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in byte-level vocabularies (GPT-2's table)."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


def _require() -> None:
    try:
        import tokenizers  # noqa: F401
    except ImportError as error:
        raise ImportError('tokenizers is needed for sub-words: pip install "bptt[text]"') from error
