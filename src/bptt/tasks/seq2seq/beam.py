"""Writing: the likeliest text, searched for along several beginnings at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bptt.call import evaluating
from bptt.state import map_leaves
from bptt.tasks.seq2seq.examples import padded
from bptt.tasks.seq2seq.model import Memory, Seq2SeqModel, Written
from bptt.tasks.seq2seq.special import END, PAD, UNKNOWN
from bptt.tasks.seq2seq.tokens import Ids

_TINY = 1e-10


@dataclass(frozen=True)
class Beam:
    """How texts are searched for: ``width`` beginnings at a time, at most ``a + b·S`` tokens for S tokens read.

    A text of T tokens is rated log P / ((5 + T)/6)^``length`` + ``coverage`` Σ_s log min(1, Σ_t a_ts): Wu et al. 2016, arXiv
    1609.08144. The second term is 0 where all of what was read has been looked at, and never rises by looking there again.
    Without ``stutter`` no token is written twice in a row.
    """

    width: int = 5
    length: float = 1.0
    coverage: float = 0.0
    stutter: bool = True
    most: tuple[int, float] = (10, 2.0)


@dataclass(frozen=True)
class Found:
    """A text written: its tokens without the end, log P a token, and where it looked at each (the end last) ``[T, S]``."""

    tokens: tuple[int, ...]
    score: float
    weights: Tensor
    ended: bool
    """Whether it came to its end, rather than to the most tokens that were to be written."""


def write(model: Seq2SeqModel, sources: Sequence[Ids], how: Beam) -> list[Found]:
    """The best text for each of the token sequences read, in their order; side by side, which changes nothing."""
    with evaluating(model), torch.no_grad():
        memory = model.encode(padded(sources))
        return _Search(model, memory, how, max(map(len, sources))).run()


class _Search:
    """``B·K`` beginnings: row b·K + k is the k-th of text b."""

    def __init__(self, model: Seq2SeqModel, memory: Memory, how: Beam, longest: int) -> None:
        self.model, self.how, self.texts = model, how, len(memory.tokens)
        every = torch.arange(self.texts).repeat_interleave(how.width)
        self.state = _rows(model.start(memory), every)
        self.memory = Memory(memory.places[:, every], memory.exists[:, every], memory.tokens[every])
        self.steps = int(how.most[0] + how.most[1] * longest)
        room = how.most[0] + how.most[1] * memory.exists.sum(0)
        self.room = room.long().tolist()
        self.total = torch.full((self.texts, how.width), -torch.inf)
        self.total[:, 0] = 0  # the beginnings are alike at first: one of them is gone on with
        self.written = torch.full((0, self.texts * how.width), PAD)
        self.looked = memory.places.new_zeros(0, self.texts * how.width, memory.tokens.shape[1])
        self.done: list[list[tuple[float, Found]]] = [[] for _ in range(self.texts)]

    def run(self) -> list[Found]:
        open_texts = set(range(self.texts))
        for step in range(self.steps):
            scores = self._next()
            every = (self.total[..., None] + scores).flatten(1)
            best, at = torch.topk(every, min(2 * self.how.width, every.shape[1]))
            kept_rows, kept_tokens = [], []
            for text in range(self.texts):
                rows, tokens = self._part(text, best[text].tolist(), at[text].tolist(), scores.shape[-1], step, open_texts)
                kept_rows += rows
                kept_tokens += tokens
            if not open_texts:
                break
            self._keep(torch.tensor(kept_rows), torch.tensor(kept_tokens))
        return [max(found, key=lambda each: each[0])[1] for found in self.done]

    def _next(self) -> Tensor:
        """log P of each next token ``[B, K, V + own]``."""
        last = self.written[-1:] if len(self.written) else self.written.new_full((1, self.written.shape[1]), END)
        written, weights, self.state = self.model.write(last, self.memory, self.state)
        self.looked = torch.cat([self.looked, weights])
        scores = likely(self.model, written, self.memory.tokens)[0]
        scores[:, PAD] = scores[:, UNKNOWN] = -torch.inf
        if not self.how.stutter and len(self.written):
            scores.scatter_(1, last.t(), -torch.inf)
        return scores.view(self.texts, self.how.width, -1)

    def _part(
        self, text: int, totals: list[float], places: list[int], size: int, step: int, open_texts: set[int]
    ) -> tuple[list[int], list[int]]:
        """Which rows of a text are gone on with, by which tokens; its ended ones are put aside."""
        width = self.how.width
        rows, tokens, kept = list[int](), list[int](), list[float]()
        last = step + 1 >= self.room[text]
        for rank, (total, place) in enumerate(zip(totals, places, strict=True)):
            beginning, token = divmod(place, size)
            row = text * width + beginning
            if token == END or last:
                if text in open_texts and total > -torch.inf and rank < width:  # an end less likely than those goes on nowhere
                    self._end(text, row, token, total)
            elif len(rows) < width:
                rows.append(row)
                tokens.append(token)
                kept.append(total)
        while len(rows) < width:
            rows.append(text * width)
            tokens.append(END)
            kept.append(-torch.inf)
        self.total[text] = torch.tensor(kept)
        if text in open_texts and self._settled(text, max(kept), step):
            open_texts.remove(text)
        return rows, tokens

    def _end(self, text: int, row: int, token: int, total: float) -> None:
        looked = self.looked[:, row, : int(self.memory.exists[:, row].sum())]
        tokens = self.written[:, row].tolist() + [token] * (token != END)
        count = len(looked)
        rated = total / _longer(count, self.how.length)
        if self.how.coverage:
            rated += self.how.coverage * float(looked.sum(0).clamp(_TINY, 1).log().sum())
        self.done[text].append((rated, Found(tuple(tokens), total / count, looked, token == END)))

    def _settled(self, text: int, best: float, step: int) -> bool:
        """Whether as many texts have ended as are kept side by side, or nothing is left to go on with."""
        return best == -torch.inf or step + 1 >= self.room[text] or len(self.done[text]) >= self.how.width

    def _keep(self, rows: Tensor, tokens: Tensor) -> None:
        self.state = _rows(self.state, rows)
        self.written = torch.cat([self.written[:, rows], tokens[None]])
        self.looked = self.looked[:, rows]


def likely(model: Seq2SeqModel, written: Written, source: Tensor) -> Tensor:
    """log P of every next token ``[T, B, V]``; where the model copies also of words of the texts' own ``[T, B, V + own]``."""
    scores = torch.log_softmax(model.readout(written.features), -1)
    if written.gate is None:
        return scores
    own = max(0, int(source.max()) + 1 - model.size)
    share = torch.sigmoid(written.gate)
    made = nn.functional.pad(scores.exp() * share, (0, own))
    copied = (written.weights * (1 - share)).masked_fill(source == PAD, 0)
    return made.scatter_add(-1, source.expand_as(copied), copied).clamp_min(_TINY).log()


def _rows(state: Any, rows: Tensor) -> Any:
    return map_leaves(lambda leaf: leaf[:, rows], state)


def _longer(count: int, alpha: float) -> float:
    return float(((5 + count) / 6) ** alpha)
