"""One step of a module with its graph, from which products with J_t and I_t are taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from bptt.jacobian import products


@contextmanager
def many_errors() -> Iterator[None]:
    """Forward passes inside leave out oneDNN's LSTM, whose backward pass takes one error at a time: here come many at once."""
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


class Step:
    """s_t = F(s_{t-1}, x_t; W): ``before [R, n]``, a leaf (``None``: from the initial state), and ``after [R, n]``."""

    def __init__(self, before: Tensor | None, after: Tensor, parameters: list[Tensor]) -> None:
        self.before, self.after, self.parameters = before, after, parameters

    def by_parameters(self, vectors: Tensor) -> list[Tensor | None]:
        """vᵀI_t for each v ``[V, R, n]``: for each parameter ``[V, P]``, or ``None`` where it does not reach the state.

        P counts real numbers: a complex one is two.
        """
        return self._products(self.parameters, vectors)

    def by_state(self, vectors: Tensor) -> Tensor | None:
        """vᵀJ_t for each v ``[V, R, n]``: ``[V, R, n]``; ``None`` where the state before does not matter."""
        if self.before is None:
            return None
        [found] = self._products([self.before], vectors)
        return None if found is None else found.reshape(-1, *self.before.shape)

    def by_both(self, vectors: Tensor) -> tuple[Tensor | None, list[Tensor | None]]:
        """`by_state` and `by_parameters` in one pass."""
        if self.before is None:
            return None, self.by_parameters(vectors)
        found = self._products([self.before, *self.parameters], vectors)
        state = found[0]
        return None if state is None else state.reshape(-1, *self.before.shape), found[1:]

    def jacobian(self) -> Tensor | None:
        """J_t ``[R, n, n]`` of rows that do not depend on each other, by n passes over all rows at once."""
        rows, size = self.after.shape
        units = torch.eye(size, dtype=self.after.dtype, device=self.after.device)[:, None].expand(size, rows, size)
        found = self.by_state(units)
        return None if found is None else found.transpose(0, 1)

    def forward(self, tangent: Tensor) -> Tensor:
        """J_t s̃ for s̃ ``[R, n]``, as the derivative of vᵀJ_t by v; zero, or wrong, where the backward pass has none itself."""
        nothing = torch.zeros_like(tangent)
        if self.before is None or not self.after.requires_grad:
            return nothing
        v = torch.zeros_like(self.after, requires_grad=True)
        try:
            [product] = torch.autograd.grad(
                self.after, [self.before], v, create_graph=True, retain_graph=True, allow_unused=True
            )
            if product is None or not product.requires_grad:
                return nothing
            [found] = torch.autograd.grad(product, [v], tangent, allow_unused=True)
        except RuntimeError:
            return nothing
        return nothing if found is None else found.detach()

    def _products(self, inputs: list[Tensor], vectors: Tensor) -> list[Tensor | None]:
        found = products(self.after, inputs, vectors)
        return [None if g is None else _real(g).reshape(len(vectors), -1) for g in found]


def _real(t: Tensor) -> Tensor:
    return torch.view_as_real(t.resolve_conj()) if t.is_complex() else t
