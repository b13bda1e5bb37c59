"""Readout and cross-entropy by the native kernels: every product, the softmax and the gradients in one call."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bptt.kernels.native import calls

_PLAIN = (Tensor, nn.Parameter)
_native = calls.module()
Found = tuple[Tensor | None, Tensor | None, Tensor | None]


def serves(h: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor) -> bool:
    """Whether the native kernels compute this: dense float32 or float64 on the CPU, nobody else looking on."""
    given = (h, weight) if bias is None else (h, weight, bias)
    return (
        hasattr(_native, "readout")
        and not torch.compiler.is_compiling()
        and torch._C._len_torch_dispatch_stack() == 0
        and not torch.is_autocast_enabled("cpu")
        and h.dtype in (torch.float32, torch.float64)
        and target.dtype is torch.int64
        and min(h.shape + weight.shape) > 0
        and all(type(t) in _PLAIN and t.is_cpu and t.dtype is h.dtype and t.layout is torch.strided for t in given)
        and type(target) in _PLAIN
        and target.is_cpu
    )


def cross_entropy(
    h: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, wanted: tuple[bool, ...]
) -> tuple[float, Found]:
    """E and, where wanted, the gradients of h ``[N, H]``, weight ``[V, H]`` and bias ``[V]``; see `readout_cross_entropy`.

    **Raises** ``ValueError`` for a target that is no symbol, ``MemoryError``.
    """
    tensors = [None if t is None else calls.dense(t) for t in (h, weight, bias, target)]
    try:
        found = [
            torch.empty_like(t, memory_format=torch.contiguous_format) if want and t is not None else None
            for t, want in zip((h, weight, bias), wanted, strict=False)
        ]
    except RuntimeError as error:
        raise MemoryError(f"no memory for the gradients of a readout of {list(weight.shape)}: {error}") from error
    loss = _native.readout(
        h.dtype is torch.float64,
        len(h),
        h.shape[1],
        len(weight),
        calls.threads(),
        tuple(0 if t is None else t.data_ptr() for t in (*tensors, *found)),
    )
    return loss, (found[0], found[1], found[2])
