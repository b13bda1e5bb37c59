"""Initialisations that let gradients travel further. Each works on `bptt.nn` and ``torch.nn`` layers, in place."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def identity_(layer: nn.Module, scale: float = 1.0, input_std: float = 0.001) -> None:
    """W_hh = scale · I, biases 0, W_ih ~ N(0, input_std²): with ``nonlinearity="relu"`` this is the IRNN.

    Le, Jaitly & Hinton 2015, arXiv 1504.00941, who take a scale of 0.01 where only short memory is wanted.

    **Raises** ``ValueError`` for a gated layer.
    """
    for name, parameter, gates in _parameters(layer):
        if gates != 1:
            raise ValueError(f"identity initialisation is for plain RNNs, got {type(layer).__name__}")
        with torch.no_grad():
            if name.startswith("weight_hh"):
                nn.init.eye_(parameter).mul_(scale)
            elif name.startswith("weight_ih"):
                nn.init.normal_(parameter, std=input_std)
            elif name.startswith("bias"):
                nn.init.zeros_(parameter)


def orthogonal_(layer: nn.Module, gain: float = 1.0) -> None:
    """Every gate's W_hh orthogonal times ``gain``: the Jacobian of the linear part keeps the error's length.

    Saxe et al. 2014, arXiv 1312.6120. With a projection, the columns or rows are orthonormal.
    """
    for name, parameter, gates in _parameters(layer):
        if name.startswith("weight_hh"):
            for block in parameter.data.chunk(gates):
                nn.init.orthogonal_(block, gain)


def forget_bias_(layer: nn.Module, value: float = 1.0) -> None:
    """The forget gate's bias (the GRU's update gate, which keeps the state, likewise) becomes ``value``.

    Gers et al. 2000; Jozefowicz et al. 2015 take 1. torch adds two bias vectors: all of it is written into ``bias_ih``.

    **Raises** ``ValueError`` for a layer without such a gate or without biases.
    """
    for bias_ih, bias_hh, keep, _ in _gate_biases(layer):
        bias_ih[keep] = value
        bias_hh[keep] = 0


def chrono_(layer: nn.Module, longest: float) -> None:
    """Forget gates for memories of up to ``longest`` steps: b_f ~ log U(1, longest - 1), b_i = -b_f.

    For the GRU, b_z likewise, as its update gate keeps the state. Tallec & Ollivier 2018, arXiv 1804.11188. torch adds two
    bias vectors: all of it is written into ``bias_ih``. Not for short memories: gates that stand open learn them slowly.

    **Raises** ``ValueError`` for a layer without gates or biases, or ``longest`` not above 2.
    """
    if not longest > 2:
        raise ValueError(f"longest must be more than 2 steps, got {longest!r}")
    for bias_ih, bias_hh, keep, write in _gate_biases(layer):
        drawn = torch.empty_like(bias_ih[keep]).uniform_(1, longest - 1).log_()
        bias_ih[keep] = drawn
        bias_hh[keep] = 0
        if write is not None:
            bias_ih[write] = -drawn
            bias_hh[write] = 0


def _parameters(layer: nn.Module) -> Iterator[tuple[str, Tensor, int]]:
    hidden, recurrent = getattr(layer, "hidden_size", None), getattr(layer, "weight_hh_l0", None)
    if not isinstance(hidden, int) or not isinstance(recurrent, Tensor):
        raise ValueError(f"expected an RNN, GRU or LSTM of bptt.nn or torch.nn, got {type(layer).__name__}")
    gates = recurrent.shape[0] // hidden
    for name, parameter in layer.named_parameters(recurse=False):
        yield name, parameter, gates


def _gate_biases(layer: nn.Module) -> Iterator[tuple[Tensor, Tensor, slice, slice | None]]:
    """Both bias vectors of each layer, the place of the gate that keeps the state, and of the one that writes to it."""
    found = [(name, parameter.data, gates) for name, parameter, gates in _parameters(layer) if name.startswith("bias_ih")]
    if not found:
        raise ValueError(f"{type(layer).__name__} was made with bias=False: there is no gate bias to set")
    for name, bias_ih, gates in found:
        if gates == 1:
            raise ValueError(f"{type(layer).__name__} has no gates: see bptt.nn.init.identity_ for plain RNNs")
        hidden = len(bias_ih) // gates
        bias_hh = getattr(layer, name.replace("bias_ih", "bias_hh")).data
        yield bias_ih, bias_hh, slice(hidden, 2 * hidden), slice(0, hidden) if gates == 4 else None
