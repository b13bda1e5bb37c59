"""What is looked up in a memory at every step: attention of all steps at once, by two products."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bptt.nn.checks import check_sizes


class Attention(nn.Module):
    """c_t = Σ_s a_ts m_s with a_t = softmax_s(h_t · W m_s / √I), as in Luong et al. 2015, arXiv 1508.04025 ("general").

    ``context, weights = attention(h, memory, exists)`` with ``h [T, B, H]``, ``memory [S, B, I]``, ``exists`` bool ``[S, B]``
    (``None``: all), ``context [T, B, I]`` and ``weights [T, B, S]``, whose sum over S is 1. Places that do not exist have
    weight 0, and what stands there reaches neither the context nor a gradient. Divided by √I (Vaswani et al. 2017, arXiv
    1706.03762), scores stay where softmax has a gradient: without, weights soon sit on one place, and stay there.

    Not for a memory of thousands of places: the weights of all steps stand in memory at once.

    **Raises** ``ValueError`` for sizes that do not fit.
    """

    def __init__(self, input_size: int, memory_size: int) -> None:
        super().__init__()
        check_sizes(input_size=input_size, memory_size=memory_size)
        self.input_size, self.memory_size = input_size, memory_size
        self.look = nn.Linear(input_size, memory_size, bias=False)

    def forward(self, h: Tensor, memory: Tensor, exists: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if h.ndim != 3 or memory.ndim != 3 or h.shape[1] != memory.shape[1]:
            raise ValueError(f"h is {list(h.shape)} and memory {list(memory.shape)}: expected [T, B, H] and [S, B, I], B alike")
        if h.shape[2] != self.input_size or memory.shape[2] != self.memory_size:
            raise ValueError(
                f"h has {h.shape[2]} features and memory {memory.shape[2]}, but Attention({self.input_size}, "
                f"{self.memory_size}) expects {self.input_size} and {self.memory_size}"
            )
        if exists is not None and exists.shape != memory.shape[:2]:
            raise ValueError(f"exists is {list(exists.shape)}, expected [S, B] = {list(memory.shape[:2])} as in memory")
        if exists is not None:
            memory = memory.masked_fill(~exists[..., None], 0)
        places = memory.transpose(0, 1)
        scores = torch.bmm(self.look(h).transpose(0, 1), places.transpose(1, 2)) / self.memory_size**0.5
        if exists is not None:
            scores = scores.masked_fill(~exists.t()[:, None], -torch.inf)
        weights = torch.softmax(scores, -1)
        return torch.bmm(weights, places).transpose(0, 1), weights.transpose(0, 1)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.memory_size}"
