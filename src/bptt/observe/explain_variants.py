"""What a truncation, clipping, another initialisation or another cell in its place would change, each computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bptt.observe.explain_cells import Array, Weights, cells
from bptt.observe.explain_network import draw
from bptt.observe.explained import Explained, length
from bptt.through import Truncated


@dataclass(frozen=True)
class Variant:
    """One change and what comes of it.

    - ``norm``: of its gradient. ``off``: ‖g' - g‖/‖g‖ against the full gradient of the same network; ``None`` for another.
    - ``before``, ``after``: the loss, and the loss after one update with this gradient.
    - ``reach``: of the error that the last loss makes at its own step, the share left at the first: ‖dE_T/ds_1‖/‖dE_T/ds_T‖.
    """

    name: str
    norm: float
    off: float | None
    before: float
    after: float
    reach: float


def variants(of: Explained) -> Iterator[Variant]:
    """The full gradient first, then every change."""
    yield _same(of, "full", of.gradient)
    assert of.through.k2 is not None
    told = {(of.through.k1, of.through.k2): None, (1, 1): None, (1, 2): None}
    for k1, k2 in told:
        through = Truncated(k1, k2)
        yield _same(of, f"Truncated(k1={k1}, k2={k2})", of.truncated(through), _reach(of, of.kept(through)))
    yield _same(of, f"clip_norm {of.clip:g}", of.clipped())
    limit = of.clip / 10
    last = of.own * (np.arange(of.steps) == of.steps - 1)[:, None]
    reach = _share(of.step_clipped_errors(limit, last))
    yield _same(of, f"clip_step {limit:g}", of.step_clipped(limit), reach)
    if of.cell.gates == ("",):
        yield _other(of.again(cell=cells["relu"], weights=identity(of.weights)), "ReLU, W_hh = I")
        yield _other(of.again(weights=orthogonal(of.weights)), "W_hh orthogonal")
    outputs = len(of.weights["W_hy"])
    for name in ("rnn", "gru", "lstm"):
        if name != of.cell.name and not (name == "rnn" and of.cell.gates == ("",)):
            weights = draw(cells[name], of.hidden, of.x.shape[1], 0, outputs)
            yield _other(of.again(cell=cells[name], weights=weights), f"{name.upper()} in its place")
            if name == "lstm":
                weights = {**weights, "b_h": weights["b_h"].copy()}
                weights["b_h"][of.hidden : 2 * of.hidden] = 5
                yield _other(of.again(cell=cells[name], weights=weights), "LSTM, b_f = 5")


def identity(weights: Weights) -> Weights:
    """W_hh = I and b_h = 0, as an IRNN begins (Le, Jaitly & Hinton 2015); W_xh stays."""
    return {**weights, "W_hh": np.eye(len(weights["W_hh"])), "b_h": np.zeros_like(weights["b_h"])}


def orthogonal(weights: Weights) -> Weights:
    """W_hh as the orthogonal matrix next to it: its singular values become 1."""
    u, _, v = np.linalg.svd(weights["W_hh"])
    return {**weights, "W_hh": u @ v}


def _same(of: Explained, name: str, gradient: Weights, reach: float | None = None) -> Variant:
    full = of.gradient
    off = length({key: gradient[key] - full[key] for key in full}) / (length(full) or 1.0)
    after = of.again(weights=of.updated(gradient)).loss
    return Variant(name, length(gradient), off, of.loss, after, _reach(of) if reach is None else reach)


def _other(it: Explained, name: str) -> Variant:
    after = it.again(weights=it.updated()).loss
    return Variant(name, length(it.gradient), None, it.loss, after, _reach(it))


def _reach(of: Explained, kept: Array | None = None) -> float:
    return _share(of.back[-1]) * (1.0 if kept is None else float(kept[-1, 0]))


def _share(errors: Array) -> float:
    norms = np.linalg.norm(errors, axis=1)
    return float(norms[0] / norms[-1]) if norms[-1] else 0.0
