"""What a transcriber takes from its training part, and keeps; and how it makes examples of recordings."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bptt.data import Piece
from bptt.data.features import Floats, stacked
from bptt.data.grouped import Grouped
from bptt.tasks.transcribe.alphabet import Alphabet
from bptt.tasks.transcribe.config import TranscribeSettings
from bptt.tasks.transcribe.corpus import Corpus, Part
from bptt.tasks.transcribe.loss import ABSENT


@dataclass(frozen=True)
class Fitted:
    """The alphabet, mean and deviation of each band, the transcripts learned (spelled), and the columns they stood in."""

    alphabet: Alphabet
    mean: Floats
    deviation: Floats
    texts: tuple[str, ...]
    file_column: str | None
    text_column: str | None

    @classmethod
    def fit(cls, corpus: Corpus, settings: TranscribeSettings) -> Fitted:
        """From the training part alone."""
        train = corpus.train
        alphabet = Alphabet.fit(train.texts, settings.lower, settings.punctuation)
        frames = np.concatenate(train.frames)
        mean, deviation = frames.mean(0, dtype=np.float64), frames.std(0, dtype=np.float64)
        scale = np.maximum(deviation, 1e-3 * (deviation.max() or 1.0))  # of a band that never changes
        return cls(alphabet, mean.astype(np.float32), scale.astype(np.float32), train.spelled,
                   corpus.file_column, corpus.text_column)  # fmt: skip

    def of(self, corpus: Corpus) -> Fitted:
        """The same alphabet and scale, which a network's weights go with, for other recordings."""
        return replace(self, texts=corpus.train.spelled, file_column=corpus.file_column, text_column=corpus.text_column)

    @property
    def commonest(self) -> str:
        """The transcript learned most often."""
        return Counter(self.texts).most_common(1)[0][0]

    def steps(self, frames: Floats, stack: int) -> Floats:
        """Frames ``[T, M]`` as the network reads them, normalised ``[⌈T / stack⌉, stack · M]``."""
        return stacked((frames - self.mean) / self.deviation, stack)

    def batches(self, part: Part, settings: TranscribeSettings, rows: int, *, shuffle: bool = False) -> Grouped:
        """The recordings as batches for training or measuring, with their copies."""
        features, symbols = [], []
        for text, own, others in zip(part.texts, part.frames, part.copies, strict=True):
            for frames in (own, *others):
                features.append(self.steps(frames, settings.stack))
                symbols.append(self.alphabet.encode(text))
        source = repr((part.hashes, part.spelled, self.to_json(), settings.stack, settings.rate, settings.speed)).encode()
        examples = Spoken(features, symbols, hashlib.blake2b(source, digest_size=8).hexdigest())
        return Grouped(examples, rows, shuffle=shuffle, seed=settings.seed)

    def to_json(self) -> dict[str, Any]:
        return {
            "alphabet": self.alphabet.to_json(),
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
            "texts": list(self.texts),
            "file_column": self.file_column,
            "text_column": self.text_column,
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Fitted:
        return cls(
            Alphabet.from_json(saved["alphabet"]),
            np.array(saved["mean"], dtype=np.float32),
            np.array(saved["deviation"], dtype=np.float32),
            tuple(map(str, saved["texts"])),
            saved["file_column"],
            saved["text_column"],
        )


class Spoken:
    """Recordings as examples for `bptt.data.Batches`: ``x = (features [T, B, F], exists [T, B])``, target as `CTC` takes it.

    There is no mask in the piece, whose loss is of whole rows and not of steps. ``digest`` tells these recordings from others.
    """

    def __init__(self, features: Sequence[Floats], symbols: Sequence[Sequence[int]], digest: str) -> None:
        self._features, self._symbols, self._digest = features, symbols, digest
        self.lengths: NDArray[np.int64] = np.array([len(each) for each in features], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._features)

    @property
    def steps(self) -> int | None:
        """The steps of every recording, or None where they differ."""
        lengths = set(self.lengths.tolist())
        return lengths.pop() if len(lengths) == 1 else None

    def piece(self, indices: ArrayLike) -> Piece:
        """The recordings of these numbers ``[B]`` as the rows of one piece."""
        rows = np.atleast_1d(np.asarray(indices)).tolist()
        features, exists = padded([self._features[row] for row in rows])
        target = torch.where(exists, 0, ABSENT)
        for column, row in enumerate(rows):
            own = self._symbols[row]
            target[: len(own), column] = torch.tensor(own, dtype=torch.int64)
        return Piece((features, exists), target)

    def fingerprint(self) -> str:
        """How many recordings, how many steps in all, and a hash of their files."""
        return f"{len(self)} recordings of {int(self.lengths.sum())} steps in all, {self._digest}"


def padded(features: Sequence[Floats]) -> tuple[torch.Tensor, torch.Tensor]:
    """Recordings ``[T_i, F]`` side by side ``[T, B, F]``, zeros at their ends, and which steps exist ``[T, B]``."""
    lengths = np.array([len(each) for each in features])
    made = np.zeros((int(lengths.max()), len(features), features[0].shape[1]), np.float32)
    for column, each in enumerate(features):
        made[: len(each), column] = each
    return torch.from_numpy(made), torch.from_numpy(np.arange(len(made))[:, None] < lengths)
