"""Linear element-wise recurrences, h_t = a_t ⊙ h_{t-1} + b_t, one step after the other or by an associative scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

HOW = ("auto", "steps", "scan")
# Measured on two cores, forward and backward (benchmarks/parallel.py): the tree is the faster one from so many steps on, as
# long as a step is no wider than so many numbers. An accelerator has both sooner and without that limit.
_LONG, _LONG_ELSEWHERE = 128, 16
_WIDE = 2048


def linear_scan(a: Tensor, b: Tensor, initial: Tensor, how: str = "auto") -> Tensor:
    """h ``[T, B, H]`` of h_t = a_t ⊙ h_{t-1} + b_t from a, b ``[T, B, H]`` and h_{-1} = ``initial [B, H]``, real or complex.

    ``"steps"``: T steps, one after the other. ``"scan"``: the work-efficient tree of Blelloch 1990, "Prefix sums and their
    applications", of depth 2 log₂ T, on products of a: no logarithms, so signs are free, and 0 ends a memory exactly.
    ``"auto"``: the one that is faster for such sizes; on a CPU that is the loop where a step is wide or T is small.

    The gradient is exact: λ_t = q_t + a*_{t+1} ⊙ λ_{t+1} is the same recurrence run back, and so can be differentiated again.
    Memory: a and h are kept. Not where |a| > 1 over long stretches: products overflow, as the state would.
    """
    if how == "auto":
        if b.device.type == "cpu":
            how = "scan" if len(b) >= _LONG and b[0].numel() <= _WIDE else "steps"
        else:
            how = "scan" if len(b) >= _LONG_ELSEWHERE else "steps"
    return _Scan.apply(a, b, initial, how)  # type: ignore[no-any-return, no-untyped-call]


class _Scan(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor, initial: Tensor, how: str) -> Tensor:
        if how == "steps":
            h, outputs = initial, []
            for a_t, b_t in zip(a.unbind(), b.unbind(), strict=True):
                h = torch.addcmul(b_t, a_t, h)
                outputs.append(h)
            return torch.stack(outputs)
        return tree(a, torch.cat([torch.addcmul(b[:1], a[:1], initial), b[1:]]), _applied, torch.mul)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        a, _, initial, how = inputs
        ctx.save_for_backward(a, initial, output)
        ctx.how = how

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        a, initial, h = ctx.saved_tensors
        turned = a.conj().resolve_conj()
        # λ_t = q_t + a*_{t+1} λ_{t+1}: the same recurrence in reversed time, whose first factor meets a zero.
        factors = torch.cat([torch.zeros_like(turned[:1]), turned[1:].flip(0)])
        error = linear_scan(factors, errors[0].flip(0), torch.zeros_like(initial), ctx.how).flip(0)
        before = torch.cat([initial[None], h[:-1]]).conj()
        return error * before, error, turned[0] * error[0], None


Applied = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(A, h, b) to A h + b, for many steps at once."""


def tree(a: Tensor, b: Tensor, applied: Applied, composed: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """h_t = A_t h_{t-1} + b_t from h = 0: pairs of steps as one, their ends by the tree of half the length.

    ``composed(later, earlier)``: what two steps multiply by, one after the other.
    """
    steps = len(b)
    if steps == 1:
        return b
    whole = steps - steps % 2
    first, second = slice(0, whole, 2), slice(1, whole, 2)
    ends = tree(composed(a[second], a[first]), applied(a[second], b[first], b[second]), applied, composed)
    starts = torch.cat([b[:1], applied(a[2::2], ends[: (steps - 1) // 2], b[2::2])])
    h = torch.stack([starts[: whole // 2], ends], 1).flatten(0, 1)
    return h if whole == steps else torch.cat([h, starts[-1:]])


def _applied(a: Tensor, h: Tensor, b: Tensor) -> Tensor:
    return torch.addcmul(b, a, h)
