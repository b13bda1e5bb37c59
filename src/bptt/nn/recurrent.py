"""What the recurrent layers share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from bptt import kernels
from bptt.kernels import Layer, Rows, Weights
from bptt.kernels.contract import Cell
from bptt.kernels.fused import Torch
from bptt.kernels.native import Native
from bptt.nn.checks import autocast, check_dropout, check_input, check_sizes, is_number
from bptt.nn.dropout import same_at_every_step

_native = Native()


class Recurrent(nn.Module):
    """What `RNN`, `GRU` and `LSTM` share: torch's constructor, parameters and state_dict, plus masks, resets and a backend.

    ``y, state = layer(x, state, mask=None, reset=None)`` with

    - ``x [T, B, I]`` (``[B, T, I]`` with ``batch_first``; ``[T, I]`` for one sequence without a batch; or torch's
      ``PackedSequence``) and ``y [T, B, D·H]``, D = 2 where ``bidirectional``;
    - ``state``: ``[L·D, B, H]``, for the LSTM a pair (h, c); ``None`` is zero;
    - ``mask``: bool, as x without its last dimension. Where it is false the step does not exist for that row: the state is
      held, the output is zero. The final state is exact for every row, those of length zero included;
    - ``reset``: likewise; where it is true the row's state becomes zero before that step.

    Further settings: ``clip_step`` limits each element of the error that a step passes back through its state to
    ±clip_step (Graves 2013, arXiv 1308.0850); ``backend`` is ``"auto"`` or a name in `bptt.kernels.table`; ``variational``
    lets the dropout between layers drop the same units at every step, as `bptt.nn.VariationalDropout` does. ``hx`` is torch's
    name for ``state``.

    **Raises** ``ValueError`` for sizes that do not fit, naming both, and ``TypeError`` for a state of the wrong structure.
    """

    cell: ClassVar[Cell]
    gates: ClassVar[int]
    parts: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        activation: str | Callable[[Tensor], Tensor],
        clip_step: float | None,
        backend: str,
        device: Any,
        dtype: Any,
        variational: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_sizes(0, proj_size=proj_size)
        if proj_size >= hidden_size:
            raise ValueError(f"proj_size={proj_size} must be smaller than hidden_size={hidden_size}")
        if clip_step is not None and not (is_number(clip_step) and clip_step > 0):
            raise ValueError(f"clip_step must be a number above 0, got {clip_step!r}; None does not clip")
        check_dropout(dropout, num_layers, stacklevel=3)
        kernels.check_name(backend)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size, self.clip_step, self.backend = bidirectional, proj_size, clip_step, backend
        self.variational = bool(variational)
        self._names: list[tuple[Any, ...]] = []
        self._layers: list[Layer] = []
        directions = 2 if bidirectional else 1
        out = proj_size or hidden_size
        self._sizes = (out, hidden_size)[: len(self.parts)]
        for index in range(num_layers * directions):
            depth, reverse = divmod(index, directions)
            size = out * directions if depth else input_size
            layer = Layer(self.cell, size, hidden_size, proj_size, activation, clip_step, bool(reverse))
            shapes = {
                "weight_ih": (self.gates * hidden_size, size),
                "weight_hh": (self.gates * hidden_size, out),
                "bias_ih": (self.gates * hidden_size,) if bias else None,
                "bias_hh": (self.gates * hidden_size,) if bias else None,
                "weight_hr": (proj_size, hidden_size) if proj_size else None,
            }
            suffix = f"_l{depth}" + ("_reverse" if reverse else "")
            for name, shape in shapes.items():
                if shape is not None:
                    self.register_parameter(name + suffix, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
            self._names.append(tuple(name + suffix if shape else None for name, shape in shapes.items()))
            self._layers.append(layer)
        self._quick = num_layers == directions == 1 and not batch_first
        self.reset_parameters()

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer and direction, as torch's layers list them."""
        return [[self.get_parameter(name) for name in names if name is not None] for names in self._names]

    def flatten_parameters(self) -> None:
        """Does nothing: it is here because code written for torch's layers calls it."""

    def reset_parameters(self) -> None:
        """Draws every parameter from U(-1/√H, 1/√H), in torch's order: the same seed gives torch's weights."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: Any = None,
        *,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        hx: Any = None,
    ) -> tuple[Any, Any]:
        state = hx if state is None else state
        if mask is None and reset is None and self._quick and (made := self._made_quickly(x, state)) is not None:
            return made
        if isinstance(x, PackedSequence):
            return self._packed(x, state, mask, reset)
        check_input(self, x, mask, reset, self._parameter("weight_ih_l0"))
        batched = x.ndim == 3
        swap = batched and self.batch_first
        if not batched:
            x = x[:, None]
            mask, reset = (None if flags is None else flags[:, None] for flags in (mask, reset))
        elif swap:
            x = x.transpose(0, 1)
            mask, reset = (None if flags is None else flags.transpose(0, 1) for flags in (mask, reset))
        given = None if state is None else self._given(x, state, batched)
        y, final = self._run(x, given, Rows(mask, reset))
        if not batched:
            y, final = y[:, 0], tuple(part[:, 0] for part in final)
        elif swap:
            y = y.transpose(0, 1)
        return y, final if len(self.parts) > 1 else final[0]

    def _made_quickly(self, x: Any, state: Any) -> tuple[Tensor, Any] | None:
        """What the native kernel finds fit to compute as it stands; the checks that say what is wrong then need not run."""
        if self.backend not in ("auto", "native"):
            return None
        own = self._parameters
        try:
            weights = tuple([name and own[name] for name in self._names[0]])
        except KeyError:  # parametrized
            return None
        return _native.quick(self._layers[0], x, state, weights)

    def backends(self, x: Tensor | None = None, mask: Tensor | None = None, reset: Tensor | None = None) -> dict[str, str]:
        """For every kernel of the table, "serves" or why it does not, for this layer on such an input."""
        if x is None:
            x = next(self.parameters()).new_empty(1, 1, self.input_size)
        found = kernels.explain(self._layers[0], x, Rows(mask, reset))
        return {name: reason or "serves" for name, reason in found.items()}

    def _run(self, x: Tensor, state: tuple[Tensor, ...] | None, rows: Rows) -> tuple[Tensor, tuple[Tensor, ...]]:
        kernel = kernels.choose(self.backend, self._layers[0], x, rows)
        weights = [Weights(*[name and self._parameter(name) for name in names]) for names in self._names]
        native = isinstance(kernel, Native)
        if isinstance(kernel, Native) and len(weights) == 1:  # it takes states as they are stacked, and None for zero
            return kernel.run(self._layers[0], weights[0], x, state, rows)
        if state is None and not native:
            state = tuple(x.new_zeros(len(self._layers), x.shape[1], size) for size in self._sizes)
        if isinstance(kernel, Torch) and rows == (None, None) and state is not None and not self.variational:
            flat = [w for each in weights for w in each if w is not None]
            return kernel.run_stack(self._layers, flat, x, state, self.dropout, self.training)
        directions = 2 if self.bidirectional else 1
        finals = []
        for depth in range(self.num_layers):
            if depth and self.dropout:
                drop = same_at_every_step if self.variational else dropout
                x = drop(x, self.dropout, self.training)
            outputs = []
            for index in range(depth * directions, (depth + 1) * directions):
                own: Any = state and tuple(part[index : index + 1] if native else part[index] for part in state)
                y, final = kernel.run(self._layers[index], weights[index], x, own, rows)
                outputs.append(y)
                finals.append(final)
            x = outputs[0] if directions == 1 else torch.cat(outputs, -1)
        join = torch.cat if native else torch.stack
        return x, tuple(join(part) for part in zip(*finals, strict=True))

    def _parameter(self, name: str) -> Any:
        # By way of the module's attributes a parameter takes ten times as long to find; they serve where it is parametrized.
        return self._parameters[name] if name in self._parameters else getattr(self, name)

    def _given(self, x: Tensor, state: Any, batched: bool) -> tuple[Tensor, ...]:
        depth, batch, sizes = len(self._layers), x.shape[1], self._sizes
        given = (state,) if len(self.parts) == 1 else state
        wanted = "a pair of tensors (h, c)" if len(self.parts) > 1 else "one tensor h"
        if (
            not isinstance(given, (tuple, list))
            or len(given) != len(self.parts)
            or not all(isinstance(s, Tensor) for s in given)
        ):
            raise TypeError(f"the state of {type(self).__name__} is {wanted}, got {_structure(state)}")
        for position, (leaf, size) in enumerate(zip(given, sizes, strict=True)):
            name = f"state[{position}] ({self.parts[position]})" if len(self.parts) > 1 else "state"
            expected = (depth, batch, size) if batched else (depth, size)
            if leaf.shape != expected:
                meaning = "[layers·directions, B, H]" if batched else "[layers·directions, H], as x has no batch"
                raise ValueError(f"{name} is {list(leaf.shape)}, expected {list(expected)}, {meaning}")
            if leaf.device != x.device or (leaf.dtype != x.dtype and not autocast(x)):
                raise ValueError(f"{name} is {leaf.dtype} on {leaf.device} but x is {x.dtype} on {x.device}")
        return tuple(leaf if batched else leaf[:, None] for leaf in given)

    def _packed(self, x: PackedSequence, state: Any, mask: Tensor | None, reset: Tensor | None) -> tuple[PackedSequence, Any]:
        if mask is not None or reset is not None:
            raise ValueError("a PackedSequence carries its own lengths: give a padded x with mask and reset instead")
        padded, lengths = pad_packed_sequence(x, batch_first=self.batch_first)
        time = torch.arange(padded.shape[1 if self.batch_first else 0])
        exists = (time < lengths[:, None]) if self.batch_first else (time[:, None] < lengths)
        y, final = self.forward(padded, state, mask=exists.to(padded.device))
        if x.sorted_indices is not None:
            y = y.index_select(0 if self.batch_first else 1, x.sorted_indices)
            lengths = lengths[x.sorted_indices.cpu()]
        data = pack_padded_sequence(y, lengths, batch_first=self.batch_first).data
        return PackedSequence(data, x.batch_sizes, x.sorted_indices, x.unsorted_indices), final

    def extra_repr(self) -> str:
        said = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "proj_size": 0,
            "clip_step": None,
            "backend": "auto",
            "variational": False,
        }
        said += [f"{name}={getattr(self, name)!r}" for name, default in defaults.items() if getattr(self, name) != default]
        return ", ".join(said)


def _structure(state: Any) -> str:
    if isinstance(state, (tuple, list)):
        return f"a {type(state).__name__} of {len(state)}"
    return "one tensor" if isinstance(state, Tensor) else type(state).__name__
