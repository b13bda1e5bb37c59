"""The gates of recurrent layers, computed again from weights, inputs and states: ours, torch's, and torch's cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from bptt.kernels.reference import activations
from bptt.nn import Recurrent
from bptt.state import leaves

KNOWN = (Recurrent, nn.RNNBase, nn.RNNCellBase)


@dataclass(frozen=True)
class Inside:
    """One layer in one direction over T steps: every gate ``[T, B, H]`` by name, the state, and where steps exist ``[T, B]``.

    ``before``: what the state was before each step, ``after``: what it became; h, and the LSTM's c.
    """

    name: str
    cell: str
    activation: str
    gates: dict[str, Tensor]
    before: dict[str, Tensor]
    after: dict[str, Tensor]
    present: Tensor


def inside_of(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Inside]:
    """Every layer and direction of a recurrent module, for the call ``module(*args, **kwargs)`` in evaluation mode."""
    given = dict(zip(("x", "state"), args, strict=False)) | kwargs
    x: Any = given.get("x", given.get("input"))
    state = given.get("state") if given.get("state") is not None else given.get("hx")
    mask, reset = given.get("mask"), given.get("reset")
    if isinstance(module, nn.RNNCellBase):
        batched = x.ndim == 2
        x = x[None] if batched else x[None, None]
        initial = None if state is None else [s if batched else s[None] for s in leaves(state)]
        return [_walk(_title(name, module, None), module, "", x, initial, None, None, False)[0]]
    assert isinstance(module, (Recurrent, nn.RNNBase))
    if isinstance(x, PackedSequence):
        x, lengths = pad_packed_sequence(x)
        mask = torch.arange(len(x))[:, None] < lengths
    else:
        batched = x.ndim == 3
        flip: Callable[[Tensor], Tensor] = lambda t: t.transpose(0, 1) if module.batch_first else t  # noqa: E731
        x = flip(x) if batched else x[:, None]
        mask, reset = (None if f is None else (flip(f) if batched else f[:, None]) for f in (mask, reset))
        if state is not None and not batched:
            state = tuple(s[:, None] for s in leaves(state))
    found = []
    directions = 2 if module.bidirectional else 1
    for depth in range(module.num_layers):
        outputs = []
        for direction in range(directions):
            suffix = f"_l{depth}" + ("_reverse" if direction else "")
            initial = None if state is None else [s[depth * directions + direction] for s in leaves(state)]
            title = _title(name, module, depth if module.num_layers > 1 else None) + (", reverse" if direction else "")
            inside, y = _walk(title, module, suffix, x, initial, mask, reset, bool(direction))
            found.append(inside)
            outputs.append(y)
        x = torch.cat(outputs, -1)
    return found


@contextmanager
def watching(model: nn.Module) -> Iterator[list[tuple[str, nn.Module, tuple[Any, ...], dict[str, Any]]]]:
    """While it runs, keeps what every recurrent layer of ``model`` is called with."""
    calls: list[tuple[str, nn.Module, tuple[Any, ...], dict[str, Any]]] = []

    def hook(name: str) -> Any:
        def saw(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _output: Any) -> None:
            calls.append((name, module, args, kwargs))

        return saw

    handles = [
        part.register_forward_hook(hook(name), with_kwargs=True)
        for name, part in model.named_modules()
        if isinstance(part, KNOWN)
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _title(name: str, module: nn.Module, depth: int | None) -> str:
    return (name or type(module).__name__) + ("" if depth is None else f", layer {depth}")


def _walk(
    title: str,
    module: Any,
    suffix: str,
    x: Tensor,
    initial: list[Tensor] | None,
    mask: Tensor | None,
    reset: Tensor | None,
    reverse: bool,
) -> tuple[Inside, Tensor]:
    """Runs one layer as `bptt.kernels.reference` does, and keeps its gates."""
    weight: dict[str, Any] = {
        kind: getattr(module, kind + suffix, None) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    }
    hidden = module.hidden_size
    cell = {1: "rnn", 3: "gru", 4: "lstm"}[weight["weight_hh"].shape[0] // hidden]
    sizes = [weight["weight_hh"].shape[1]] + ([hidden] if cell == "lstm" else [])
    state = [x.new_zeros(x.shape[1], size) for size in sizes] if initial is None else initial
    if reverse and reset is not None:
        reset = torch.cat([reset[1:], torch.zeros_like(reset[:1])])  # as the reference: a border seen from the other side
    present = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
    activation = getattr(module, "nonlinearity", "tanh")
    a = linear(x.masked_fill(~present[:, :, None], 0), weight["weight_ih"], weight["bias_ih"])
    step = _STEPS[cell]
    kept: list[tuple[list[Tensor], dict[str, Tensor], list[Tensor]] | None] = [None] * len(x)
    outputs: list[Tensor] = [x] * len(x)
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        if reset is not None:
            state = [s.masked_fill(reset[t, :, None], 0) for s in state]
        gates, after = step(weight, a[t], state, activation)
        if mask is not None:
            exists = mask[t, :, None]
            after = [torch.where(exists, new, old) for new, old in zip(after, state, strict=True)]
        kept[t] = (state, gates, after)
        outputs[t] = after[0] if mask is None else torch.where(mask[t, :, None], after[0], torch.zeros_like(after[0]))
        state = after
    every = [item for item in kept if item is not None]
    symbols = "hc"[: len(sizes)]
    inside = Inside(
        title,
        cell,
        activation if isinstance(activation, str) else getattr(activation, "__name__", "function"),
        {gate: torch.stack([gates[gate] for _, gates, _ in every]) for gate in every[0][1]},
        {symbol: torch.stack([before[i] for before, _, _ in every]) for i, symbol in enumerate(symbols)},
        {symbol: torch.stack([after[i] for _, _, after in every]) for i, symbol in enumerate(symbols)},
        present,
    )
    return inside, torch.stack(outputs)


Gates = dict[str, Tensor]


def _rnn(weight: Any, a: Tensor, state: list[Tensor], activation: Any) -> tuple[Gates, list[Tensor]]:
    act = activations[activation] if isinstance(activation, str) else activation
    h = act(a + linear(state[0], weight["weight_hh"], weight["bias_hh"]))
    return {"activation": h}, [h]


def _gru(weight: Any, a: Tensor, state: list[Tensor], _activation: Any) -> tuple[Gates, list[Tensor]]:
    h = state[0]
    a_r, a_z, a_n = a.chunk(3, -1)
    u_r, u_z, u_n = linear(h, weight["weight_hh"], weight["bias_hh"]).chunk(3, -1)
    r, z = torch.sigmoid(a_r + u_r), torch.sigmoid(a_z + u_z)
    n = torch.tanh(a_n + r * u_n)
    return {"reset gate": r, "update gate": z, "candidate": n}, [n + z * (h - n)]


def _lstm(weight: Any, a: Tensor, state: list[Tensor], _activation: Any) -> tuple[Gates, list[Tensor]]:
    h, c = state
    i, f, g, o = (a + linear(h, weight["weight_hh"], weight["bias_hh"])).chunk(4, -1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    c = f * c + i * g
    h = o * torch.tanh(c)
    h = h if weight["weight_hr"] is None else linear(h, weight["weight_hr"])
    return {"input gate": i, "forget gate": f, "candidate": g, "output gate": o}, [h, c]


_STEPS: dict[str, Callable[..., tuple[Gates, list[Tensor]]]] = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}
