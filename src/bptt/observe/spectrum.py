"""Spectra: the step Jacobians, their products, and the Lyapunov exponents."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bptt.observe.chain import untouched
from bptt.observe.plain import as_dict, write_json
from bptt.observe.profile import Array, lasting
from bptt.observe.replica import Replica, exponents
from bptt.state import State
from bptt.through.base import whole

_LARGEST = 2048


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The Jacobians J_t = ∂s_t/∂s_{t-1} of K steps of one row, with a state of n numbers.

    - ``looked_at [S]``: the steps (from 0) whose Jacobians were decomposed, evenly spread; ``singular [S, n]``: their singular
      values, greatest first; ``radius [S]``: their spectral radius, the greatest |eigenvalue|.
    - ``product_steps [M]``: how many of the last Jacobians were multiplied, 1, 2, 4, …, K; ``product_singular [M, n]`` and
      ``product_radius [M]``: of J_K ⋯ J_{K-m+1}, as natural logarithms, -inf where below rounding.
    - ``lyapunov [n]``: exponents, greatest first: mean growth of a perturbation a step, in nats, after ``settled`` steps.
      Above 0 errors grow without end; far under 0 for all, the past is forgotten.
    - ``log_det``: mean log|det J_t| over the same steps; the exponents' sum.
    """

    model: str
    size: int
    steps: int
    looked_at: NDArray[np.int64]
    singular: Array
    radius: Array
    product_steps: NDArray[np.int64]
    product_singular: Array
    product_radius: Array
    lyapunov: Array
    log_det: float
    settled: int

    def to_dict(self) -> dict[str, Any]:
        """Everything as lists, dicts, numbers and text; what is not finite as ``None``."""
        return as_dict(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_dict` as JSON."""
        write_json(path, self.to_dict())

    def __repr__(self) -> str:
        greatest = float(self.lyapunov[0])
        lasts = f"{lasting(greatest):.3g} steps to 1/e" if greatest < 0 else "errors do not die"
        return (
            f"Spectrum of {self.model} over {self.steps} steps, a state of {self.size}\n"
            f"  Lyapunov exponents  {greatest:.3g} to {self.lyapunov[-1]:.3g} nats a step ({lasts})\n"
            f"  spectral radius     {self.radius.mean():.3g} (mean of {len(self.looked_at)} steps)\n"
            f"  singular values     {self.singular[:, 0].mean():.3g} to {self.singular[:, -1].mean():.3g} (likewise)"
        )


def spectrum(
    model: nn.Module,
    sequence: Any,
    *,
    state: State = None,
    row: int = 0,
    steps: int = 64,
    looked_at: int = 8,
    settle: int | None = None,
) -> Spectrum:
    """Singular values, spectral radii and Lyapunov exponents of the step from state to state, along one row of ``sequence``.

        Q_t R_t = J_t Q_{t-1},   λ_i = mean_t log|R_t,ii|

    - ``model``, ``sequence``, ``state``: as in `bptt.backprop`; targets are not used. Evaluation mode; nothing changes.
    - ``steps``: at most so many Jacobians, up to where the row ends or starts afresh; ``looked_at``: of how many of them the
      singular values and eigenvalues are taken; ``settle``: steps before the exponents count, a fifth unless given.

    Cost: a forward and a backward step with n rows for each Jacobian, an O(n³) decomposition for each step. Benettin et al.
    1980; Engelken, Wolf & Abbott 2023, arXiv 2006.02427. Not for states beyond 2048 numbers: `lyapunov` takes a few exponents.

    **Raises** ``ValueError`` for a module without a state, one that mixes rows in its state, one whose state is too large, a
    row with less than 2 steps.
    """
    steps, looked_at = whole("steps", steps), whole("looked_at", looked_at)
    with untouched(model):
        replica = Replica(model, sequence, state, row, steps)
        n = replica.size
        if n > _LARGEST:
            raise ValueError(
                f"the state of {replica.name} has {n} numbers, and a Jacobian is taken of at most {_LARGEST}: "
                "bptt.observe.lyapunov(model, sequence, count=8) takes a few exponents of any"
            )
        one = torch.eye(n, dtype=torch.float64)
        jacobians = [replica.vjp(step, one).cpu().numpy() for step in replica.run(n)][:steps]
    settled = _settled(settle, len(jacobians))
    q = np.eye(n)
    diagonals, log_dets = [], []
    for jacobian in jacobians:
        q, r = np.linalg.qr(jacobian @ q)
        diagonals.append(np.diag(r))
        log_dets.append(float(np.linalg.slogdet(jacobian)[1]))
    chosen = np.unique(np.linspace(0, len(jacobians) - 1, looked_at).round().astype(np.int64))
    sizes = np.unique([*(2**i for i in range(int(math.log2(len(jacobians))) + 1)), len(jacobians)])
    products = [_product(jacobians[len(jacobians) - size :]) for size in sizes]
    return Spectrum(
        model=replica.name,
        size=n,
        steps=len(jacobians),
        looked_at=chosen + (state is None),
        singular=np.stack([np.linalg.svd(jacobians[k], compute_uv=False) for k in chosen]),
        radius=np.array([np.abs(np.linalg.eigvals(jacobians[k])).max() for k in chosen]),
        product_steps=sizes,
        product_singular=np.stack([values for values, _ in products]),
        product_radius=np.array([radius for _, radius in products]),
        lyapunov=exponents(diagonals, settled),
        log_det=float(np.mean(log_dets[settled:])),
        settled=settled,
    )


def lyapunov(
    model: nn.Module,
    sequence: Any,
    *,
    count: int | None = None,
    state: State = None,
    row: int = 0,
    steps: int = 256,
    settle: int | None = None,
) -> Array:
    """The ``count`` greatest Lyapunov exponents ``[count]`` along one row, in nats a step, for states of any size.

    Unless given, 8, or as many as the state has numbers.

    As `spectrum`, but with the transposed Jacobians from the last step to the first, Q_{t-1} R_t = J_tᵀ Q_t: the way the error
    goes, and the same exponents in the long run. Cost: one forward and one backward pass with ``count`` rows; memory likewise.

    **Raises** ``ValueError`` as `spectrum`, and for a ``count`` beyond the size of the state.
    """
    steps = whole("steps", steps)
    with untouched(model):
        replica = Replica(model, sequence, state, row, steps)
        count = min(8, replica.size) if count is None else whole("count", count)
        if count > replica.size:
            raise ValueError(f"count={count} exponents of a state of {replica.size} numbers: at most count={replica.size}")
        taped = list(replica.run(count))[:steps]
        random = np.random.default_rng(0).standard_normal((replica.size, count))
        q = np.linalg.qr(random)[0]
        diagonals = []
        for step in reversed(taped):
            q, r = np.linalg.qr(replica.vjp(step, torch.from_numpy(q.T)).cpu().numpy().T)
            diagonals.append(np.diag(r))
    return exponents(diagonals, _settled(settle, len(diagonals)))


def _settled(settle: int | None, steps: int) -> int:
    chosen = steps // 5 if settle is None else whole("settle", settle, 0)
    if chosen >= steps:
        raise ValueError(f"settle={chosen} leaves none of {steps} steps to measure")
    return chosen


def _product(jacobians: list[Array]) -> tuple[Array, float]:
    """Log singular values and log spectral radius of a product, scaled on the way so that it neither over- nor underflows."""
    product, log = np.eye(len(jacobians[0])), 0.0
    for jacobian in jacobians:
        product = jacobian @ product
        size = float(np.abs(product).max())
        if size == 0:
            break
        product, log = product / size, log + math.log(size)
    values = np.linalg.svd(product, compute_uv=False)
    radius = float(np.abs(np.linalg.eigvals(product)).max())
    floor = np.finfo(np.float64).eps * len(product) * values[0]
    with np.errstate(divide="ignore"):
        return np.log(np.where(values > floor, values, 0.0)) + log, float(np.log(radius) + log)
