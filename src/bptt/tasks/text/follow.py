"""A text as it comes, line by line."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bptt.data import Vocabulary
from bptt.tasks.follow import Follower
from bptt.tasks.text.model import TextModel
from bptt.tasks.text.sample import line_end

_NEXT = 5  # tokens told of what may come next


class Reader(Follower):
    """How expected each line of a text is, in nats, given all lines before it; and what is expected next.

        nats = -Σ_i ln P(token_i | all tokens before it)

    A line's end counts as one of its tokens, where the vocabulary has it. A line of sub-words is split by itself.
    """

    reads = "lines"

    def __init__(self, model: TextModel, vocabulary: Vocabulary) -> None:
        self._model, self._vocabulary = model.eval(), vocabulary
        end = line_end(vocabulary)
        self._end = "" if end is None else "\n"
        self._expected, self._state = self._after([end or 0], None)

    def step(self, row: Any) -> dict[str, Any] | None:
        if not isinstance(row, str):
            raise ValueError(f"got {str(row)[:60]}, expected a line of text")
        ids = [int(token) for token in self._vocabulary.encode(row + self._end)]
        if not ids:
            return None
        expected, state = self._after(ids, self._state)
        before = torch.cat([self._expected, expected[:-1]])
        nats = (-before.gather(1, torch.tensor(ids)[:, None])[:, 0]).tolist()
        self._expected, self._state = expected[-1:].clone(), state
        likeliest = expected[-1].exp().topk(min(_NEXT, self._vocabulary.size))
        return {
            "text": row,
            "nats": round(sum(nats), 6),
            "per_token": round(sum(nats) / len(nats), 6),
            "tokens": [[self._shown(token), round(each, 6)] for token, each in zip(ids, nats, strict=True)],
            "next": [
                [self._shown(token), round(share, 6)]
                for token, share in zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
            ],
        }

    def _after(self, ids: list[int], state: Any) -> tuple[Tensor, Any]:
        """ln P [T, V] of what comes after each token, and the state."""
        with torch.no_grad():
            logits, state = self._model(torch.tensor(ids)[:, None], state)
        return torch.log_softmax(logits[:, 0].double(), -1), state

    def _shown(self, token: int) -> str:
        return self._vocabulary.decode([token])
