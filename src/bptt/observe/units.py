"""What the units do over time: gates, saturation, dead units, the size of the state."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bptt import state as states
from bptt.call import Caller
from bptt.data.reader import reader
from bptt.observe.chain import untouched
from bptt.observe.gates import inside_of, watching
from bptt.observe.parts import Part, differentiable, named_by_layers, parts_of
from bptt.observe.plain import as_dict, write_json
from bptt.observe.profile import Array
from bptt.observe.together import Call, Calls, copied, together
from bptt.state import State
from bptt.through.base import whole

_AT_ONCE = 32  # steps whose gates are computed in one product
_KEEPS = {"forget gate", "update gate"}
_SIGMOIDS = {"input gate", "forget gate", "output gate", "reset gate", "update gate"}


@dataclass(frozen=True, eq=False)
class Gate:
    """A gate, or another activation, of one layer, over all steps, rows and units that took part.

    - ``low`` and ``high``: the shares near the ends of its range: of a gate under 0.1 and over 0.9, of a tanh under -0.9 and
      over 0.9; of a ReLU ``low`` is the share that is 0. NaN where there is no such end.
    - ``mean_by_unit [H]``. ``time_constant [H]``, of the gate that keeps the state: steps until it has fallen to 1/e,
      τ = -1 / mean(log f); empty for others.
    - ``dead``: units that never left 0 (of ReLU-like ones).
    """

    layer: str
    gate: str
    mean: float
    low: float
    high: float
    mean_by_unit: Array
    time_constant: Array
    dead: int

    def __str__(self) -> str:
        said = f"{self.layer}: {self.gate} {self.mean:.2f}"
        said += "" if math.isnan(self.low) else f", low {self.low:.0%}"
        said += "" if math.isnan(self.high) else f", high {self.high:.0%}"
        if len(self.time_constant):
            said += f", time constant {np.median(self.time_constant):.3g} steps (longest {self.time_constant.max():.3g})"
        return said + (f", {self.dead} of {len(self.mean_by_unit)} units dead" if self.dead else "")


@dataclass(frozen=True, eq=False)
class Units:
    """See `units`.

    ``state_norm [P, T]``: the state's norm after each step, its root mean square over rows; ``state_saturated [P]`` and
    ``output_saturated``: the share beyond ±0.99 of what stays within ±1, NaN of what does not.
    """

    model: str
    steps: int
    rows: int
    parts: tuple[str, ...]
    gates: tuple[Gate, ...]
    state_norm: Array
    state_saturated: Array
    output_saturated: float

    def to_dict(self) -> dict[str, Any]:
        """Everything as lists, dicts, numbers and text; what is not finite as ``None``."""
        return as_dict(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_dict` as JSON."""
        write_json(path, self.to_dict())

    def __repr__(self) -> str:
        lines = [f"Units of {self.model} over {self.steps} steps of {self.rows} rows"]
        lines += [f"  {gate}" for gate in self.gates]
        lines += [f"  {part}: norm {norm[-1]:.3g} at the end" for part, norm in zip(self.parts, self.state_norm, strict=True)]
        return "\n".join(lines)


def units(model: nn.Module, sequence: Any, *, state: State = None, steps: int = 256) -> Units:
    """What the units do over the first ``steps`` of ``sequence``: gates, saturation, dead units, norms of the state.

    Gates are computed again from weights, inputs and states, for the layers of `bptt.nn`, torch's LSTM, GRU and RNN, and its
    cells; ``nn.ReLU``, ``nn.Tanh`` and ``nn.Sigmoid`` are watched too. Of other modules the state and the output are seen.
    Evaluation mode; nothing of the model changes. Steps that do not exist (mask) do not count.

    Cost: little more than a forward pass in calls of one step, without gradients. Not for what a layer computes inside in its
    own way: that is told by its state alone.

    **Raises** ``ValueError`` for an empty sequence, a module without a state, numbers that are not finite, and what
    `bptt.evaluate` refuses.
    """
    steps = whole("steps", steps)
    call, source = Caller(model), reader(sequence)
    end = source.upto(math.inf if call.whole is not None else steps)
    if not end:
        raise ValueError("the sequence has no steps")
    stride = end if call.whole is not None else 1
    seen: dict[tuple[str, str], _Sums] = {}
    over_time: list[list[Tensor]] = []
    outputs = _Bounded()
    with untouched(model), torch.no_grad():
        first = source.read(0, 1)
        rows = states.leaves(first.x)[0].shape[1]
        with named_by_layers(model) as known:
            structure = None if call.whole is not None else call.structure(first)
        parts = () if structure is None else parts_of(structure, rows, known)
        if call.whole is None and not parts:
            raise ValueError(f"{type(model).__name__} carries no state: nothing passes from step to step")
        bounded = [_Bounded() for _ in parts]
        pending: list[Calls] = []
        for start in range(0, end, stride):
            piece = source.read(start, start + stride)
            with watching(model) as calls, _activations(model) as plain:
                y, state = call(piece, state, f"steps {start}..{start + stride}")
            _plain(plain, piece.mask, seen)
            pending.append((copied(calls), piece.mask))
            if len(pending) == _AT_ONCE or start + stride >= end:
                for joined, mask in together(pending):
                    _gates(joined, mask, seen)
                pending.clear()
            if not all(bool(torch.isfinite(leaf).all()) for leaf in (*differentiable(state), *differentiable(y))):
                raise ValueError(
                    f"the state or the output of {type(model).__name__} is not finite at step {start}: "
                    "bptt.observe.gradient_flow tells where that begins"
                )
            over_time.append(_norms(parts, state, rows, bounded))
            for leaf in states.leaves(y):
                outputs.add(leaf)
            source.forget(start + stride)
    return Units(
        model=type(model).__name__,
        steps=end,
        rows=rows,
        parts=tuple(part.name for part in parts),
        gates=tuple(sums.gate(*key) for key, sums in seen.items()),
        state_norm=np.array([[float(norm) for norm in step] for step in over_time]).reshape(len(over_time), len(parts)).T,
        state_saturated=np.array([each.share for each in bounded]),
        output_saturated=outputs.share,
    )


class _Sums:
    """Running sums over one activation ``[..., H]``."""

    def __init__(self, kind: str, keeps: bool) -> None:
        self.kind, self.keeps = kind, keeps
        self.count = 0
        self.low = self.high = 0
        self.total: Tensor | None = None
        self.logs: Tensor | None = None
        self.greatest: Tensor | None = None

    def add(self, values: Tensor) -> None:
        if not len(values):
            return
        ends = {"sigmoid": (values < 0.1, values > 0.9), "tanh": (values < -0.9, values > 0.9)}
        low, high = ends.get(self.kind, (values == 0, values != values))
        self.count += len(values)
        self.low, self.high = self.low + int(low.sum()), self.high + int(high.sum())
        self.total = _plus(self.total, values.double().sum(0))
        if self.keeps:
            self.logs = _plus(self.logs, values.double().log().sum(0))
        greatest = values.abs().amax(0)
        self.greatest = greatest if self.greatest is None else torch.maximum(self.greatest, greatest)

    def gate(self, layer: str, gate: str) -> Gate:
        if self.total is None or self.greatest is None:
            return Gate(layer, gate, math.nan, math.nan, math.nan, np.zeros(0), np.zeros(0), 0)
        numbers = self.count * len(self.total)
        times = np.zeros(0) if self.logs is None else (-self.count / self.logs).cpu().numpy()
        known = self.kind in ("sigmoid", "tanh")
        mean = (self.total / self.count).cpu().numpy()
        return Gate(
            layer,
            gate,
            float(mean.mean()),
            self.low / numbers if known or self.kind == "relu" else math.nan,
            self.high / numbers if known else math.nan,
            mean,
            times,
            int((self.greatest == 0).sum()) if self.kind == "relu" else 0,
        )


class _Bounded:
    """The share of numbers beyond ±0.99, of what stays within ±1."""

    def __init__(self) -> None:
        self._beyond = self._count = 0
        self._within = True

    def add(self, values: Tensor) -> None:
        if values.is_floating_point() and values.numel():
            sizes = values.abs()
            self._within = self._within and bool((sizes <= 1).all())
            self._beyond += int((sizes > 0.99).sum())
            self._count += values.numel()

    @property
    def share(self) -> float:
        return self._beyond / self._count if self._within and self._count else math.nan


def _gates(calls: list[Call], mask: Tensor | None, seen: dict[tuple[str, str], _Sums]) -> None:
    for each in calls:
        for inside in inside_of(*each):
            present = inside.present
            if mask is not None and mask.shape == present.shape:
                present = present & mask  # the module may not have been told
            values = dict(inside.gates)
            if "c" in inside.after:
                values["tanh(c)"] = torch.tanh(inside.after["c"])
            for gate, value in values.items():
                kind = "sigmoid" if gate in _SIGMOIDS else inside.activation if gate == "activation" else "tanh"
                sums = seen.setdefault((inside.name, gate), _Sums(kind, gate in _KEEPS))
                sums.add(value[present])


def _plain(activations: list[tuple[str, str, Tensor]], mask: Tensor | None, seen: dict[tuple[str, str], _Sums]) -> None:
    for name, kind, values in activations:
        flat = values.flatten(0, -2) if values.ndim > 1 else values[None]
        if mask is not None and values.shape[:2] == mask.shape and values.ndim > 2:
            flat = values[mask].flatten(0, -2)
        seen.setdefault((name, kind), _Sums(kind, False)).add(flat)


@contextmanager
def _activations(model: nn.Module) -> Iterator[list[tuple[str, str, Tensor]]]:
    found: list[tuple[str, str, Tensor]] = []
    kinds = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}

    def hook(name: str, kind: str) -> Any:
        return lambda _module, _inputs, output: found.append((name, kind, output))

    handles = [
        part.register_forward_hook(hook(name or type(part).__name__, kinds[type(part)]))
        for name, part in model.named_modules()
        if type(part) in kinds
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _norms(parts: tuple[Part, ...], state: State, rows: int, bounded: list[_Bounded]) -> list[Tensor]:
    leaves = differentiable(state) if parts else []
    found = []
    for part, each in zip(parts, bounded, strict=True):
        values = leaves[part.leaf] if part.layer is None else leaves[part.leaf][part.layer]
        each.add(values)
        found.append(torch.linalg.vector_norm(values) / math.sqrt(rows))
    return found


def _plus(a: Tensor | None, b: Tensor) -> Tensor:
    return b if a is None else a + b
