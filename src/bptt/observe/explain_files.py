"""A network and a sequence to explain from files: a state dict as safetensors, numbers as CSV."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from bptt.data.cells import is_number
from bptt.observe.explain_cells import Array

_LAYER = re.compile(r"(.*)weight_hh(_l0)?$")
_MANY = re.compile(r"weight_hh_l(0_reverse|[1-9]\d*)")
_KINDS = {3: nn.GRU, 4: nn.LSTM}
_PLAIN = {"rnn": "tanh", "relu": "relu", "linear": "identity"}


def network_from(path: Path, cell: str) -> tuple[nn.Module, nn.Linear]:
    """A recurrent layer and the readout after it from a state dict saved as safetensors.

    The layer's tensors are named as torch names them (``rnn.weight_ih_l0``, a cell's ``weight_ih``), what stands before is
    free; the one other matrix is the readout's. As many rows as units, times 3 or 4, tell a GRU or an LSTM; of a plain RNN
    ``cell`` tells the activation.

    **Raises** ``FileNotFoundError``, ``ValueError`` where one layer and one readout cannot be told apart.
    """
    given = _read(path)
    many = [name for name in given if _MANY.search(name)]
    if many:
        raise ValueError(f"{path} holds {many[0]}: one layer that runs forward in time can be read step by step")
    found = [match for name in given if (match := _LAYER.match(name))]
    if len(found) != 1:
        raise ValueError(f"{path} must hold one recurrent layer, with weight_ih_l0 and weight_hh_l0; it holds {_list(given)}")
    before, suffix = found[0][1], found[0][2] or ""
    names = {name: f"{before}{name}{suffix}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    taken = {name: given.pop(full) for name, full in names.items() if full in given}
    matrices = [name for name, value in given.items() if value.ndim == 2]
    if len(matrices) != 1:
        raise ValueError(f"{path} must hold one matrix beside the layer's, its readout's; it holds {_list(given)}")
    layer, readout = _layer(path, taken, cell), given.pop(matrices[0])
    bias = [value for value in given.values() if value.shape == readout.shape[:1]]
    if len(given) != len(bias) or len(bias) > 1:
        raise ValueError(f"{path} holds more than a recurrent layer and its readout: {_list(given)}")
    linear = nn.Linear(readout.shape[1], readout.shape[0], bias=bool(bias))
    linear.load_state_dict({"weight": readout, **({"bias": bias[0]} if bias else {})})
    return layer, linear


def _layer(path: Path, taken: dict[str, Tensor], cell: str) -> nn.Module:
    from bptt.nn import RNN

    if "weight_ih" not in taken or len(taken) not in (2, 4):
        raise ValueError(f"{path}: a layer has weight_ih and weight_hh, and bias_ih with bias_hh or none; got {_list(taken)}")
    rows, hidden = taken["weight_hh"].shape
    inputs, gates = taken["weight_ih"].shape[1], rows // hidden if rows % hidden == 0 else 0
    told = {3: "gru", 4: "lstm"}.get(gates, cell if cell in _PLAIN else None)
    if gates not in (1, 3, 4) or told is None:
        raise ValueError(f"{path}: weight_hh is [{rows}, {hidden}]: [H, H] of an RNN, [3 H, H] of a GRU or [4 H, H] of an LSTM")
    if cell not in (told, "rnn"):
        raise ValueError(f"{path}: weight_hh is [{rows}, {hidden}], which is a {told.upper()}'s and not a {cell}'s")
    bias = len(taken) == 4
    if gates == 1:
        layer: nn.Module = RNN(inputs, hidden, bias=bias, nonlinearity=_PLAIN[told])
    else:
        layer = _KINDS[gates](inputs, hidden, bias=bias)
    layer.load_state_dict({f"{name}_l0": value for name, value in taken.items()})
    return layer.double()


def sequence_from(path: Path, inputs: int, outputs: int) -> tuple[Array, Array]:
    """``x [T, I]`` and ``target [T, O]`` from a CSV of a line for each step: the inputs, then the targets; a header may lead.

    **Raises** ``FileNotFoundError``, ``ValueError`` with the line of what is no number or too many.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [(at, cells) for at, cells in enumerate(csv.reader(file), 1) if any(cell.strip() for cell in cells)]
    if lines and not any(is_number(cell) for cell in lines[0][1]):
        lines = lines[1:]
    if not lines:
        raise ValueError(f"{path} has no line with numbers: {inputs} of x and {outputs} of target for each step")
    for at, cells in lines:
        if len(cells) != inputs + outputs:
            raise ValueError(
                f"{path}, line {at} has {len(cells)} cells, expected {inputs + outputs}: {inputs} of x and {outputs} of target"
            )
        for cell in cells:
            if not is_number(cell):
                raise ValueError(f"{path}, line {at}: {cell!r} is no number")
    table = np.array([[float(cell) for cell in cells] for _, cells in lines])
    return table[:, :inputs], table[:, inputs:]


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(
            f"no file {path}: give a state dict saved by safetensors.torch.save_file(model.state_dict(), …)"
        )
    try:
        return {name: value.double() for name, value in load_file(path).items()}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no safetensors file ({error}): safetensors.torch.save_file(model.state_dict(), …)"
        ) from None


def _list(tensors: dict[str, Any]) -> str:
    return ", ".join(f"{name} {list(value.shape)}" for name, value in tensors.items()) or "nothing"
