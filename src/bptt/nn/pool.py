"""One vector of all steps so far: the running maximum, mean, last value or attention of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bptt.nn.checks import check_input, check_sizes
from bptt.nn.scan import linear_scan

POOLS = ("max", "mean", "last", "attention")

PoolState = tuple[Tensor, Tensor, Tensor]
"""Steps so far ``[B, 1]``, their pooled vector ``[B, I]``, and log Σ exp of their scores ``[B, 1]``; zeros: none yet."""


class Pool(nn.Module):
    """y_t is pooled from x_0 … x_t: their maximum, mean or last, or Σ softmax(s)_i x_i with s_i = v·tanh(W x_i + b).

    ``y, state = pool(x, state, mask=None)`` with ``x, y [T, B, I]``. It carries a state, so a sequence may come in pieces and
    any strategy runs it; where ``mask [T, B]`` is false a step counts for nothing and y stays as it was (zero before the
    first). The last y of a row is what its whole sequence is pooled to.

    ``backward``: so many of the last features come from a layer that runs against time, whose last value is at the first
    step: ``"last"`` takes it there. Attention as in Yang et al. 2016, "Hierarchical attention networks".

    Not where only the newest steps count: nothing is ever forgotten.

    **Raises** ``ValueError`` for another ``how``, and for sizes that do not fit.
    """

    batch_first = False

    def __init__(self, how: str, input_size: int, backward: int = 0) -> None:
        super().__init__()
        if how not in POOLS:
            raise ValueError(f"how={how!r} does not exist: one of {', '.join(map(repr, POOLS))}")
        check_sizes(input_size=input_size)
        check_sizes(0, backward=backward)
        if backward > input_size:
            raise ValueError(f"backward={backward} features run against time, but there are {input_size} in all")
        self.how, self.input_size, self.backward = how, input_size, backward
        if how == "attention":
            self.look = nn.Linear(input_size, input_size)
            self.score = nn.Linear(input_size, 1, bias=False)

    def forward(self, x: Tensor, state: PoolState | None = None, mask: Tensor | None = None) -> tuple[Tensor, PoolState]:
        check_input(self, x, mask, None, x)
        rows = x.shape[1]
        count, pooled, total = state or (x.new_zeros(rows, 1), x.new_zeros(rows, self.input_size), x.new_zeros(rows, 1))
        here = torch.ones_like(x[..., :1], dtype=torch.bool) if mask is None else mask[..., None]
        counts = count + here.cumsum(0)
        x = x.masked_fill(~here, 0)  # what stands at steps that do not exist must not reach the gradient as 0 * NaN
        if self.how == "max":
            y = _greatest(x, here, count, pooled)
        elif self.how == "mean":
            y = (pooled * count + x.cumsum(0)) / counts.clamp(min=1)
        elif self.how == "last":
            y = self._ends(x, here, counts, pooled)
        else:
            y, total = self._attended(x, here, count, pooled, total)
        return y, (counts[-1], y[-1], total)

    def _ends(self, x: Tensor, here: Tensor, counts: Tensor, pooled: Tensor) -> Tensor:
        """The newest step that exists, and of the features that run against time the first one."""
        first = here & (counts == 1)
        keep = torch.cat([here.expand(*here.shape[:2], self.input_size - self.backward),
                          first.expand(*here.shape[:2], self.backward)], -1)  # fmt: skip
        return linear_scan((~keep).to(x.dtype), x * keep, pooled)

    def _attended(self, x: Tensor, here: Tensor, count: Tensor, pooled: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        score = self.score(torch.tanh(self.look(x))).masked_fill(~here, -torch.inf)
        begun = total.masked_fill(count == 0, -torch.inf)
        totals = torch.logcumsumexp(torch.cat([begun[None], score]), 0)
        # The share that this step has in the softmax so far; before the first step there is none.
        share = torch.exp(score - totals[1:].masked_fill(~here, 0)).masked_fill(~here, 0)
        y = linear_scan((1 - share).expand_as(x), share * x, pooled)
        return y, totals[-1].masked_fill(totals[-1] == -torch.inf, 0)

    def extra_repr(self) -> str:
        return f"{self.how!r}, {self.input_size}" + (f", backward={self.backward}" if self.backward else "")


def _greatest(x: Tensor, here: Tensor, count: Tensor, pooled: Tensor) -> Tensor:
    begun = pooled.masked_fill(count == 0, -torch.inf)
    best = torch.cat([begun[None], x.masked_fill(~here, -torch.inf)]).cummax(0).values[1:]
    return best.masked_fill(best == -torch.inf, 0)
