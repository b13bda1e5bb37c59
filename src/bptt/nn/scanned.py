"""What the layers share whose recurrence is linear in the state and element-wise: they can be computed in parallel in time."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear

from bptt.nn.checks import autocast, check_dropout, check_input, check_sizes
from bptt.nn.scan import HOW, linear_scan


class Scanned(nn.Module):
    """What `MinGRU`, `MinLSTM` and `LRU` share: masks, resets and states as `Recurrent` has them, and a choice of how.

    ``y, state = layer(x, state, mask=None, reset=None)`` with ``x [T, B, I]`` (``[B, T, I]`` with ``batch_first``; ``[T, I]``
    for one sequence), ``y [T, B, H]`` and ``mask``, ``reset`` bool, as x without its last dimension: where ``mask`` is false
    the row's state is held and its output is zero, where ``reset`` is true its state becomes zero before that step.

    ``how`` is ``"auto"``, ``"steps"`` or ``"scan"``, see `bptt.nn.scan.linear_scan`; it never changes the mathematics.

    **Raises** ``ValueError`` for sizes that do not fit, naming both.
    """

    batch_first: bool
    input_size: int
    hidden_size: int
    how: str

    def forward(
        self, x: Tensor, state: Tensor | None = None, *, mask: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        name = type(self).__name__
        if not isinstance(x, Tensor):
            raise TypeError(f"x is a {type(x).__name__}, expected a tensor: {name} takes ragged rows padded, with a mask")
        check_input(self, x, mask, reset, next(self.parameters()))
        batched = x.ndim == 3
        if not batched:
            x, mask, reset = x[:, None], *(None if flags is None else flags[:, None] for flags in (mask, reset))
        elif self.batch_first:
            x, mask, reset = x.transpose(0, 1), *(None if flags is None else flags.mT for flags in (mask, reset))
        if mask is not None:
            # What stands at steps that do not exist (NaN, say) must not reach the gradient as 0 * NaN.
            x = x.masked_fill(~mask[:, :, None], 0)
        y, final = self._layers(x, self._initial(x, state, batched), mask, reset)
        if not batched:
            return y[:, 0], final[:, 0]
        return y.transpose(0, 1) if self.batch_first else y, final

    def _layers(self, x: Tensor, state: Tensor, mask: Tensor | None, reset: Tensor | None) -> tuple[Tensor, Tensor]:
        """``y [T, B, H]`` and the final state."""
        raise NotImplementedError

    def _scan(self, a: Tensor, b: Tensor, initial: Tensor, mask: Tensor | None, reset: Tensor | None) -> Tensor:
        """Every state ``[T, B, H]`` of h_t = a_t ⊙ h_{t-1} + b_t: held where the mask is false, from zero after a reset."""
        if mask is not None:
            here = mask[:, :, None]
            a, b = torch.where(here, a, 1), torch.where(here, b, 0)
        if reset is not None:
            a = a.masked_fill(reset[:, :, None], 0)
            initial = initial.masked_fill(reset[0, :, None], 0)
        return linear_scan(a.expand_as(b), b, initial, self.how)

    def _state_form(self, x: Tensor) -> tuple[list[int], torch.dtype, str]:
        """The state's shape for such an x, its dtype, and the shape in words."""
        raise NotImplementedError

    def _initial(self, x: Tensor, state: Tensor | None, batched: bool) -> Tensor:
        shape, dtype, words = self._state_form(x)
        if state is None:
            return x.new_zeros(shape, dtype=dtype)
        name = type(self).__name__
        if not isinstance(state, Tensor):
            raise TypeError(f"the state of {name} is one tensor {words}, got a {type(state).__name__}")
        given = state if batched else state[:, None]
        if list(given.shape) != shape:
            expected = shape if batched else [*shape[:1], *shape[2:]]
            raise ValueError(f"state is {list(state.shape)}, expected {expected}, {words}")
        if state.device != x.device or (state.dtype != dtype and not autocast(x)):
            raise ValueError(f"state is {state.dtype} on {state.device}, expected {dtype} on {x.device}, as of x")
        return given.to(dtype)


class Gated(Scanned):
    """What `MinGRU` and `MinLSTM` share: gates that see the input alone, in one matrix a layer, and layers on each other."""

    gates: ClassVar[int]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        device: Any = None,
        dtype: Any = None,
        *,
        how: str = "auto",
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_how(how)
        check_dropout(dropout, num_layers, stacklevel=2)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.how = bias, batch_first, float(dropout), how
        for layer in range(num_layers):
            size = hidden_size if layer else input_size
            shapes = {"weight_ih": (self.gates * hidden_size, size), "bias_ih": (self.gates * hidden_size,) if bias else None}
            for name, shape in shapes.items():
                made = None if shape is None else nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                self.register_parameter(f"{name}_l{layer}", made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws every parameter from U(-1/√I, 1/√I), I the layer's input: what ``torch.nn.Linear`` does."""
        for layer in range(self.num_layers):
            bound = 1 / math.sqrt(self.hidden_size if layer else self.input_size)
            for name in ("weight_ih", "bias_ih"):
                parameter = getattr(self, f"{name}_l{layer}")
                if parameter is not None:
                    nn.init.uniform_(parameter, -bound, bound)

    @property
    def elementwise_state(self) -> int | None:
        """The numbers in a row's state, where each depends on itself alone: what `bptt.RTRL` asks for."""
        return self.hidden_size if self.num_layers == 1 else None

    def _layers(self, x: Tensor, state: Tensor, mask: Tensor | None, reset: Tensor | None) -> tuple[Tensor, Tensor]:
        finals = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = dropout(x, self.dropout, self.training)
            projected = linear(x, getattr(self, f"weight_ih_l{layer}"), getattr(self, f"bias_ih_l{layer}"))
            keep, write = self._keep_and_write(projected)
            h = self._scan(keep, write, state[layer].to(write.dtype), mask, reset)
            finals.append(h[-1])
            x = h if mask is None else torch.where(mask[:, :, None], h, 0)
        return x, torch.stack(finals)

    def _keep_and_write(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        """a and b of h_t = a_t ⊙ h_{t-1} + b_t, from the gates' input ``[T, B, G·H]``."""
        raise NotImplementedError

    def _state_form(self, x: Tensor) -> tuple[list[int], torch.dtype, str]:
        return [self.num_layers, x.shape[1], self.hidden_size], x.dtype, "[layers, B, H]"

    def extra_repr(self) -> str:
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "how": "auto"}
        said = [f"{name}={getattr(self, name)!r}" for name, default in defaults.items() if getattr(self, name) != default]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *said])


def check_how(how: Any) -> None:
    """Refuses a way of computing that does not exist."""
    if how not in HOW:
        raise ValueError(f"how={how!r} does not exist: one of {', '.join(map(repr, HOW))}")
