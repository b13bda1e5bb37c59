"""What a kernel computes and what it is given: one recurrent layer, one direction, over a stretch of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

Cell = Literal["rnn", "gru", "lstm"]


@dataclass(frozen=True)
class Layer:
    """The mathematics of one layer in one direction; see `bptt.kernels.reference` for the equations.

    ``activation`` is the plain RNN's: a function of the summed input, by name (``"tanh"``, ``"relu"``) where kernels may
    know it. ``clip_step`` limits each element of the error that a step passes back through its state (h, and c) to ±clip_step.
    ``reverse`` runs from the last step to the first. ``proj_size`` is the LSTM's: h = W_hr (o ⊙ tanh c).
    """

    cell: Cell
    input_size: int
    hidden_size: int
    proj_size: int = 0
    activation: str | Callable[[Tensor], Tensor] = "tanh"
    clip_step: float | None = None
    reverse: bool = False

    def __post_init__(self) -> None:
        # Kernels keep what they prepare for a layer by the layer; the hash is asked for at every call.
        named = (self.cell, self.input_size, self.hidden_size, self.proj_size, self.activation, self.clip_step, self.reverse)
        object.__setattr__(self, "_hash", hash(named))

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined, no-any-return]


class Weights(NamedTuple):
    """A layer's parameters, in torch's layout: G gates stacked in torch's order (LSTM i f g o, GRU r z n)."""

    w_ih: Tensor  # [G·H, I]
    w_hh: Tensor  # [G·H, H], or [G·H, P] with a projection
    b_ih: Tensor | None  # [G·H]
    b_hh: Tensor | None  # [G·H]
    w_hr: Tensor | None  # [P, H]


class Rows(NamedTuple):
    """Which rows take part when: bool ``[T, B]``, time first, in the order of the input; ``None`` where all do.

    Where ``mask`` is false the row's state is held and its output is zero. Before a step where ``reset`` is true, the
    row's state becomes zero (h, and c), whatever ``mask`` says. A reversed layer meets the same borders from the other side.
    """

    mask: Tensor | None = None
    reset: Tensor | None = None


State = tuple[Tensor, ...]
"""``(h,)`` or, for the LSTM, ``(h, c)``; each ``[B, H]``, h of an LSTM with projection ``[B, P]``."""
