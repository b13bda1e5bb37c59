"""The encoder-decoder: a text is read from both its ends, another is written while looking back at it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bptt.nn.attention import Attention
from bptt.tasks.layers import recurrent
from bptt.tasks.seq2seq.special import PAD, UNKNOWN


class Written(NamedTuple):
    """What is known at each step of a text being written: all that the next token's probability is made of.

    ``features [T, B, E]``: what is read out. Of a model that copies, else ``None``: ``gate [T, B, 1]``, the log-odds that a
    token is generated rather than copied, and with which ``weights [T, B, S]`` from where in ``source [T, B, S]``.
    """

    features: Tensor
    weights: Tensor
    source: Tensor | None = None
    gate: Tensor | None = None


class Memory(NamedTuple):
    """What was read: ``places [S, B, H]``, which of them exist ``[S, B]``, and the tokens ``[B, S]``."""

    places: Tensor
    exists: Tensor
    tokens: Tensor


class HeldDropout(nn.Module):
    """Dropout of the same features at all steps ``[T, B, H]`` of a row (Gal & Ghahramani 2016, arXiv 1512.05287).

    So few random numbers are drawn that they cost no time.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.p):
            return x
        kept = torch.empty_like(x[:1]).bernoulli_(1 - self.p).div_(1 - self.p)
        return x * kept

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class Seq2SeqModel(nn.Module):
    """Tokens ``x [T, B]`` written so far, beside those read ``source [T, B, S]``, to what the next one's scores are made of.

    ``written, state = model((x, source), state, mask=None)``; a stateful module over the time of the *written* text, with
    `Seq2SeqLoss`. The text read stands beside every step, so that a stretch of steps has it whole: it is read again for each
    stretch that a strategy cuts, and the error goes back into it from all of them.

    Encoder: embedding and ``layers`` bidirectional layers of hidden/2 units a direction. Decoder: a layer over the tokens
    written, attention of its states to what was read, then ``layers`` layers over both, as in GNMT (Wu et al. 2016, arXiv
    1609.08144): so no step waits for the attention of the one before, and the layers above still remember what was looked at.
    Features: tanh(W [h; c]); the readout has the written tokens' embedding as its weight (Press & Wolf 2017).

    ``joint``: both texts have one vocabulary, whose tokens have one embedding. ``copy``: likewise, and with the pointer of See
    et al. 2017, arXiv 1704.04368: tokens from ``size`` on are words of the text read that the vocabulary lacks.

    **Raises** ``ValueError`` for an odd ``hidden``, and for one vocabulary of two sizes.
    """

    needs_whole = False  # what is read from both ends is whole at every step

    def __init__(
        self,
        source_size: int,
        size: int,
        *,
        cell: str = "lstm",
        embed: int = 256,
        hidden: int = 512,
        layers: int = 1,
        dropout: float = 0.0,
        joint: bool = False,
        copy: bool = False,
        clip_step: float | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if hidden % 2:
            raise ValueError(f"hidden={hidden} is parted among the two directions of the encoder: expected an even number")
        if (joint or copy) and source_size != size:
            raise ValueError(f"one vocabulary for both texts has one size, got {source_size} and {size} tokens")
        how: dict[str, Any] = {"clip_step": clip_step, "backend": backend}
        self.size, self.copy, self.lstm = size, copy, cell == "lstm"
        self.embed = nn.Embedding(size, embed, padding_idx=PAD)
        self.read = self.embed if joint or copy else nn.Embedding(source_size, embed, padding_idx=PAD)
        for table in {self.embed, self.read}:
            nn.init.normal_(table.weight, std=embed**-0.5)
            nn.init.zeros_(table.weight[PAD])
        self.dropout = HeldDropout(dropout)
        self.encoder = recurrent(cell, embed, hidden // 2, layers, dropout=dropout, bidirectional=True, **how)
        self.lower = recurrent(cell, embed, hidden, 1, **how)
        self.attention = Attention(hidden, hidden)
        self.upper = recurrent(cell, 2 * hidden, hidden, layers, dropout=dropout, **how)
        self.begin = nn.Linear(hidden, hidden * (1 + layers))
        self.join = nn.Linear(2 * hidden, embed)
        self.readout = nn.Linear(embed, size)
        self.readout.weight = self.embed.weight
        nn.init.zeros_(self.readout.bias)
        if copy:
            self.gate = nn.Linear(2 * hidden + embed, 1)

    def forward(self, x: tuple[Tensor, Tensor], state: Any = None, *, mask: Tensor | None = None) -> tuple[Written, Any]:
        tokens, source = x
        memory = self.encode(source[0])
        written, _, state = self.write(tokens, memory, self.start(memory) if state is None else state, mask)
        copied = source if self.copy else None
        return written._replace(source=copied), state

    def encode(self, source: Tensor) -> Memory:
        """What there is to look at in the texts ``source [B, S]``."""
        tokens = source.t()
        exists = tokens != PAD
        places, _ = self.encoder(self.dropout(self.read(self._known(tokens))), mask=None if bool(exists.all()) else exists)
        return Memory(self.dropout(places), exists, source)

    def start(self, memory: Memory) -> Any:
        """The state before the first token: a layer on the mean of all places read."""
        mean = memory.places.sum(0) / memory.exists.sum(0)[:, None]
        rows = len(mean)
        first = torch.tanh(self.begin(mean)).view(rows, -1, self.lower.hidden_size).transpose(0, 1).contiguous()
        states = first[:1], first[1:].contiguous()
        return tuple((h, torch.zeros_like(h)) for h in states) if self.lstm else states

    def write(self, tokens: Tensor, memory: Memory, state: Any, mask: Tensor | None = None) -> tuple[Written, Tensor, Any]:
        """The steps of ``tokens [T, B]``; their features and where they looked ``[T, B, S]``, and the state after them."""
        below, above = state
        x = self.dropout(self.embed(self._known(tokens)))
        h, below = self.lower(x, below, mask=mask)
        context, weights = self.attention(h, memory.places, memory.exists)
        y, above = self.upper(torch.cat([self.dropout(h), context], -1), above, mask=mask)
        both = torch.cat([y, context], -1)
        features = self.dropout(torch.tanh(self.join(both)))
        gate = self.gate(torch.cat([both, x], -1)) if self.copy else None
        return Written(features, weights, None, gate), weights, (below, above)

    def _known(self, tokens: Tensor) -> Tensor:
        """Words that stand in one text only, from ``size`` on, have no embedding."""
        return tokens.masked_fill(tokens >= self.size, UNKNOWN) if self.copy else tokens
