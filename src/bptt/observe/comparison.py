"""What a check looks at, what it compares, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bptt import state as states
from bptt.call import Caller
from bptt.data.piece import Piece
from bptt.executor import Loss
from bptt.loss import counted
from bptt.state import State


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: what, where (a parameter, a step), and the numbers with a way to mend it."""

    what: str
    where: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what} ({self.where}): {self.detail}" if self.where else f"{self.what}: {self.detail}"


@dataclass(frozen=True)
class Comparison:
    """One thing that was compared, and the largest relative difference."""

    what: str
    worst: float
    right: bool

    def __str__(self) -> str:
        return f"{self.what}, to {self.worst:.1e}"


@dataclass
class Subject:
    """The copy under check. ``eps``: the step of finite differences, ``coarse``: how far they may lie off, relative."""

    model: nn.Module
    loss: Loss
    piece: Piece
    eps: float
    coarse: float
    generator: torch.Generator
    findings: list[Finding] = field(default_factory=list)
    compared: list[Comparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stopped: str = ""

    @property
    def name(self) -> str:
        return type(self.model).__name__

    @property
    def fine(self) -> float:
        """How far two ways of computing the same numbers may lie apart, relative: rounding alone."""
        return 1e-9 if self.eps < 1e-3 else 1e-3

    @property
    def steps(self) -> int:
        return int(states.leaves(self.piece.x)[0].shape[0])

    @property
    def rows(self) -> int:
        return int(states.leaves(self.piece.x)[0].shape[1])

    def part(self, start: int, stop: int) -> Piece:
        """Some of the steps."""
        return Piece(*(states.map_leaves(lambda t: t[start:stop], part) for part in self.piece))

    def run(self, piece: Piece, state: State = None, model: nn.Module | None = None) -> tuple[Tensor, Any, State]:
        """Loss, output and final state of one call."""
        y, after = Caller(self.model if model is None else model)(piece, state, "the stretch under check")
        return counted(self.loss, y, piece, "the stretch under check")[0], y, after

    def one_by_one(self, state: State = None) -> tuple[list[Tensor], list[Any], State]:
        """The same in calls of one step."""
        call, losses, outputs = Caller(self.model), [], []
        for k in range(self.steps):
            piece = self.part(k, k + 1)
            y, state = call(piece, state, f"step {k}")
            losses.append(counted(self.loss, y, piece, f"step {k}")[0])
            outputs.append(y)
        return losses, outputs, state

    def compare(self, what: str, difference: float, allowed: float) -> bool:
        """Notes a comparison; whether it is right."""
        right = difference <= allowed
        self.compared.append(Comparison(what, difference, right))
        return right

    def wrong(self, what: str, where: str, detail: str) -> None:
        self.findings.append(Finding(what, where, detail))

    def direction(self, like: Tensor) -> Tensor:
        """A random direction of length 1."""
        wide = torch.complex128 if like.is_complex() else torch.float64
        drawn: Tensor = torch.randn(like.shape, generator=self.generator, dtype=wide).to(like)
        return drawn.div(torch.linalg.vector_norm(drawn))


def apart(a: Any, b: Any) -> float:
    """The largest difference between two structures of tensors, over the largest value; infinite where shapes differ."""
    first, second = states.leaves(a), states.leaves(b)
    if [leaf.shape for leaf in first] != [leaf.shape for leaf in second]:
        return float("inf")
    worst = 0.0
    for x, y in zip(first, second, strict=True):
        if x.numel():
            wide = torch.complex128 if y.is_complex() else torch.float64
            x, y = x.detach().to(wide), y.detach().to(wide)
            scale = max(float(y.abs().max()), 1e-3)
            difference = float((x - y).abs().max()) / scale
            worst = max(worst, difference if difference == difference else float("inf"))
    return worst


def along(gradient: Tensor | None, direction: Tensor) -> float:
    """The derivative along a direction, from a gradient in torch's convention for complex numbers too."""
    return 0.0 if gradient is None else float((gradient.conj() * direction).real.sum())


def text_of(values: tuple[float, float]) -> str:
    """Autograd's number beside that of finite differences."""
    return f"autograd says {values[0]:.6g}, finite differences {values[1]:.6g}"
