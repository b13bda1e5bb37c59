"""Nested values as tensors beside a JSON skeleton, and back, to the last bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Json = Any
Nested = Any


def pack(nested: Nested) -> tuple[dict[str, Tensor], Json]:
    """Takes a nested value apart: its tensors by name, on the CPU, and a skeleton that JSON can hold.

    ``nested``: dicts with any plain keys, lists, tuples, tensors, ints, floats (NaN and infinities too), strings, bools and
    ``None``, at any depth. A tensor that stands in several places is kept once. The tensors are copies, so that what goes on
    changing does not change what was packed.

    **Raises** ``TypeError`` naming the place of anything else (named tuples among them, which would come back as tuples).
    """
    packer = _Packer()
    skeleton = packer.node(nested, "")
    return packer.tensors, skeleton


def unpack(tensors: Mapping[str, Tensor], skeleton: Json) -> Nested:
    """What was packed: the inverse of `pack`; each tensor on the device it came from.

    **Raises** ``ValueError`` where the skeleton is none, or names a tensor that is not there.
    """
    return _Unpacker(tensors).value(skeleton)


class _Packer:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._nodes: dict[tuple[Any, ...], Json] = {}

    def node(self, value: Nested, path: str) -> Json:
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, Tensor):
            return self._tensor(value, path)
        if type(value) is list:
            return [self.node(item, f"{path}.{i}") for i, item in enumerate(value)]
        if type(value) in (tuple, torch.Size):
            return {"tuple": [self.node(item, f"{path}.{i}") for i, item in enumerate(value)]}
        if isinstance(value, dict):
            if all(type(key) is str for key in value):
                return {"dict": {key: self.node(item, f"{path}.{key}") for key, item in value.items()}}
            return {"items": [[self.node(key, path), self.node(item, f"{path}.{key}")] for key, item in value.items()]}
        raise TypeError(
            f"{path.lstrip('.') or 'the value'} is a {type(value).__name__}, which cannot be saved exactly: use tensors, "
            "numbers, strings, None, and lists, tuples and dicts of these"
        )

    def _tensor(self, tensor: Tensor, path: str) -> Json:
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise TypeError(f"{path.lstrip('.')} is a {tensor.layout} tensor; only ordinary (strided) ones can be saved")
        tensor = tensor.detach()
        same = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.is_conj(), tensor.is_neg())
        if tensor.numel() and same in self._nodes:
            return self._nodes[same]
        name = path.lstrip(".") or "value"
        while name in self.tensors:
            name += "'"
        node = {"tensor": name}
        if tensor.is_complex():
            node["complex"] = "yes"
        if tensor.device.type != "cpu":
            node["device"] = str(tensor.device)
        self.tensors[name] = plain(tensor)
        self._nodes[same] = node
        return node


class _Unpacker:
    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self._made: dict[str, Tensor] = {}

    def value(self, node: Json) -> Nested:
        if node is None or isinstance(node, (bool, str, int, float)):
            return node
        if isinstance(node, list):
            return [self.value(item) for item in node]
        match node:
            case {"tensor": name}:
                return self._tensor(name, node)
            case {"float": text}:
                return float(text)
            case {"tuple": items}:
                return tuple(self.value(item) for item in items)
            case {"dict": entries}:
                return {key: self.value(item) for key, item in entries.items()}
            case {"items": pairs}:
                return {self.value(key): self.value(item) for key, item in pairs}
        raise ValueError(f"not the skeleton of a packed value: {node!r}")

    def _tensor(self, name: str, node: dict[str, str]) -> Tensor:
        if name not in self._made:
            if name not in self._tensors:
                raise ValueError(f"the skeleton names the tensor {name!r}, which is not there")
            tensor = self._tensors[name]
            if "complex" in node:
                tensor = torch.view_as_complex(tensor)
            self._made[name] = tensor.to(node["device"]) if "device" in node else tensor
        return self._made[name]


def plain(tensor: Tensor) -> Tensor:
    """A contiguous copy on the CPU; a complex tensor as its real and imaginary parts ``[..., 2]``."""
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)
