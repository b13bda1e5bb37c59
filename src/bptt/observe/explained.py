"""Backpropagation through time on a network small enough to read: every number on the way, from the input to the update."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bptt.observe.explain_cells import Array, Cell, Trace, Weights, cells
from bptt.observe.explain_network import check_sequence, check_sizes, draw, from_modules
from bptt.through import Truncated

LONGEST = 60
"""Steps that the page can be drawn out to."""
READOUT = ("W_hy", "b_y")


@dataclass(frozen=True)
class Explained:
    """What `explain` computed. Steps count from 0; t is the step of a loss, k the step whose use of the weights is meant.

    - ``states [T+1, S]``: s_0 and the state after every step (an LSTM's h and c side by side); ``y``, ``losses [T]``.
    - ``jacobians [T, S, S]``: J_t = ∂s_t/∂s_{t-1}.
    - ``own [T, S]``: q_t = ∂⁺E_t/∂s_t, what the step's own loss says of its state.
    - ``back [T, T, S]``: dE_t/ds_k, zero for k > t. ``errors [T, S]``: dE/ds_k, their sum over t.
    - ``contributions[name] [T, T, …]``: C[t,k], of each weight's shape; the diagonal is explicit, what lies below it implicit.
    """

    cell: Cell
    weights: Weights
    x: Array
    target: Array
    counted: Array
    through: Truncated
    clip: float
    rate: float
    states: Array = field(repr=False)
    traces: list[Trace] = field(repr=False)
    y: Array = field(repr=False)
    losses: Array = field(repr=False)
    jacobians: Array = field(repr=False)
    own: Array = field(repr=False)
    back: Array = field(repr=False)
    contributions: dict[str, Array] = field(repr=False)
    longer: tuple[Array, Array] | None = field(default=None, repr=False)
    """``x`` and ``target`` drawn out further, for the page."""

    @property
    def steps(self) -> int:
        return len(self.x)

    @property
    def hidden(self) -> int:
        return int(self.weights["W_hh"].shape[1])

    @property
    def loss(self) -> float:
        """E, the sum over steps of ½ Σ (y_t - target_t)²."""
        return float(self.losses.sum())

    @property
    def errors(self) -> Array:
        found: Array = self.back.sum(0)
        return found

    @property
    def explicit(self) -> Weights:
        """Σ_t C[t,t]: what each loss owes to the weights at its own step."""
        return {name: np.einsum("tt...->...", table) for name, table in self.contributions.items()}

    @property
    def implicit(self) -> Weights:
        """Σ_{k<t} C[t,k]: what it owes to the weights at earlier steps, through the state."""
        explicit = self.explicit
        return {name: table.sum((0, 1)) - explicit[name] for name, table in self.contributions.items()}

    @property
    def gradient(self) -> Weights:
        """dE/dW = Σ_t Σ_{k≤t} C[t,k]: backpropagation through time, whole."""
        return {name: table.sum((0, 1)) for name, table in self.contributions.items()}

    @property
    def norms(self) -> Array:
        """``[T, T]``: ‖C[t,k]‖ over all weights together."""
        squares = [np.square(table).reshape(self.steps, self.steps, -1).sum(-1) for table in self.contributions.values()]
        found: Array = np.sqrt(np.sum(squares, axis=0))
        return found

    def kept(self, through: Truncated | None = None) -> Array:
        """``[T, T]`` of 0 and 1: the contributions that a truncation keeps, `through` unless another is given."""
        through = through or self.through
        assert through.k2 is not None
        ends = np.minimum((np.arange(self.steps) // through.k1 + 1) * through.k1, self.steps)
        k = np.arange(self.steps)
        return ((k[None] <= k[:, None]) & (k[None] >= (ends - through.k2)[:, None])).astype(float)

    def truncated(self, through: Truncated | None = None) -> Weights:
        """The gradient that a truncation gives, all windows together and the weights held: Σ of the C[t,k] that it keeps."""
        kept = self.kept(through)
        return {name: np.einsum("tk,tk...->...", kept, table) for name, table in self.contributions.items()}

    def clipped(self, limit: float | None = None) -> Weights:
        """The gradient scaled to a norm of at most ``limit``: g · c/‖g‖ where ‖g‖ ≥ c."""
        limit = self.clip if limit is None else limit
        norm = length(self.gradient)
        scale = min(1.0, limit / norm) if norm else 1.0
        return {name: scale * value for name, value in self.gradient.items()}

    def step_clipped(self, limit: float) -> Weights:
        """The gradient with every element of the error limited wherever it is passed back to the step before (Graves 2013)."""
        total = self.explicit | {name: np.zeros_like(self.weights[name]) for name in self.weights if name not in READOUT}
        for k, error in enumerate(self.step_clipped_errors(limit, self.own)):
            _, given = self.cell.backward(self.weights, self.x[k], self.states[k], self.traces[k], error)
            for name, value in given.items():
                total[name] = total[name] + value
        return total

    def step_clipped_errors(self, limit: float, own: Array) -> Array:
        """``[T, S]``: dE/ds_k for the losses' ``own`` errors, each element limited wherever it is passed back."""
        errors = own.copy()
        for k in range(self.steps - 1, 0, -1):
            passed, _ = self.cell.backward(self.weights, self.x[k], self.states[k], self.traces[k], errors[k])
            errors[k - 1] += np.clip(passed, -limit, limit)
        return errors

    def updated(self, gradient: Weights | None = None) -> Weights:
        """The weights after a step down the gradient: W - rate · g."""
        gradient = self.gradient if gradient is None else gradient
        return {name: value - self.rate * gradient[name] for name, value in self.weights.items()}

    def again(self, **changed: Any) -> Explained:
        """The same with other ``weights``, ``cell``, ``x``, ``target``, ``through``, ``clip`` or ``rate``."""
        given = {name: getattr(self, name) for name in ("cell", "weights", "x", "target", "counted", "through", "clip", "rate")}
        return replace(_run(**(given | changed)), longer=self.longer)

    def text(self, width: int = 80, colour: bool = False) -> str:
        """The whole story for a terminal of ``width`` columns."""
        from bptt.observe.explain_text import as_text

        return as_text(self, width, colour)

    def html(self) -> str:
        """The interactive page: one file that needs no network and computes everything in the browser."""
        from bptt.observe.explain_page import page_of

        return page_of(self)

    def save_html(self, path: str | Path) -> Path:
        """Writes `html` to ``path``, and gives the path."""
        from bptt.observe.page import save

        return save(self.html(), path)

    def to_dict(self) -> dict[str, Any]:
        """All numbers, as JSON can hold them."""
        named = ("x", "target", "counted", "states", "y", "losses", "jacobians", "own", "back", "errors", "norms")
        found: dict[str, Any] = {name: getattr(self, name).tolist() for name in named}
        for name in ("weights", "explicit", "implicit", "gradient", "contributions"):
            found[name] = {key: value.tolist() for key, value in getattr(self, name).items()}
        return {"cell": self.cell.name, "through": str(self.through), "clip": self.clip, "rate": self.rate, **found}


def explain(
    network: str | Any = "rnn",
    readout: Any = None,
    *,
    hidden: int = 2,
    inputs: int = 1,
    steps: int = 4,
    seed: int = 0,
    loss: Literal["every", "last"] = "every",
    through: Truncated | None = None,
    clip: float = 0.25,
    rate: float = 0.1,
    x: Any = None,
    target: Any = None,
) -> Explained:
    """Carries backpropagation through time out on a tiny network and keeps every number on the way.

        s_t = F(s_{t-1}, x_t; W_xh, W_hh, b_h),   y_t = W_hy h_t,   E = Σ_t ½ ‖y_t - target_t‖²

        print(bptt.observe.explain("lstm", hidden=1).text())
        bptt.observe.explain(layer, readout, x=x, target=target).save_html("mine.html")

    - ``network``: ``"rnn"`` (tanh), ``"relu"``, ``"linear"``, ``"gru"`` or ``"lstm"`` with weights drawn from ``seed``, of
      ``hidden`` units and ``inputs``; or an RNN, GRU or LSTM, a layer or a cell, of `bptt.nn` or ``torch.nn`` with a
      ``torch.nn.Linear`` as ``readout``.
    - ``x [T, I]`` and ``target [T, O]``: your own sequence; unless given, random numbers over ``steps``, of which the first is
      to be said at every step (``loss="last"``: at the last one).
    - ``through``: the truncation to hold beside the full gradient, ``Truncated(k1=2, k2=2)`` unless given; ``clip``: the norm
      that gradients are clipped to; ``rate``: that of the update.

    Cost: T² steps backward, so that every C[t,k] stands alone. Not for networks in use: `gradient_flow` is.

    **Raises** ``ValueError`` for what is too large to be read (4 units, 3 inputs, 12 steps) or does not fit together.
    """
    if loss not in ("every", "last"):
        raise ValueError(f"loss must be 'every' (step) or 'last', got {loss!r}")
    for name, value in (("rate", rate), ("clip", clip)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, got {value!r}")
    if not (rate >= 0 and clip > 0):
        raise ValueError(f"rate must not be below 0 and clip must be above it, got rate={rate!r} and clip={clip!r}")
    if through is not None and not isinstance(through, Truncated):
        raise TypeError(f"through must be bptt.Truncated(k1=…, k2=…), to be held beside the full gradient; got {through!r}")
    if isinstance(network, str):
        if readout is not None:
            raise ValueError(f"readout goes with a layer of your own, not with the name {network!r}")
        if network not in cells:
            raise ValueError(f"no cell is called {network!r}: one of {', '.join(cells)}")
        check_sizes(hidden, inputs, steps)
        cell, weights = cells[network], draw(cells[network], hidden, inputs, seed)
    else:
        cell, weights = from_modules(network, readout)
        inputs = weights["W_xh"].shape[1]
        for name, weight in weights.items():
            if not np.isfinite(weight).all():
                raise ValueError(f"{name} of the layer given is not finite: no number on the way would be")
    longer = None
    if x is None and target is None:
        drawn = np.random.default_rng([seed, 1]).uniform(-1, 1, (LONGEST, inputs)).round(1)
        longer = drawn, np.tile(drawn[0, :1], (LONGEST, len(weights["W_hy"])))
        x, target = (part[:steps] for part in longer)
    x, target = check_sequence(x, target, weights, bool(getattr(network, "batch_first", False)))
    counted = np.ones(len(x)) if loss == "every" else np.arange(len(x)) == len(x) - 1
    found = _run(cell, weights, x, target, counted.astype(float), through or Truncated(2, 2), clip, rate)
    return replace(found, longer=longer)


def _run(
    cell: Cell, weights: Weights, x: Array, target: Array, counted: Array, through: Truncated, clip: float, rate: float
) -> Explained:
    steps, hidden = len(x), weights["W_hh"].shape[1]
    states = [np.zeros(hidden * len(cell.parts))]
    traces = []
    for t in range(steps):
        state, trace = cell.forward(weights, x[t], states[t])
        states.append(state)
        traces.append(trace)
    after = np.stack(states)
    y = after[1:, :hidden] @ weights["W_hy"].T + weights.get("b_y", 0.0)
    miss = (y - target) * counted[:, None]
    own = np.zeros((steps, after.shape[1]))
    own[:, :hidden] = miss @ weights["W_hy"]

    back = np.zeros((steps, steps, after.shape[1]))
    table = {name: np.zeros((steps, steps, *value.shape)) for name, value in weights.items()}
    for t in range(steps):
        for name, value in zip(READOUT, (np.outer(miss[t], after[t + 1, :hidden]), miss[t]), strict=True):
            if name in table:
                table[name][t, t] = value
        error = own[t]
        for k in range(t, -1, -1):
            back[t, k] = error
            error, given = cell.backward(weights, x[k], after[k], traces[k], error)
            for name, value in given.items():
                table[name][t, k] = value
    jacobians = np.stack([
        [cell.backward(weights, x[t], after[t], traces[t], row)[0] for row in np.eye(after.shape[1])] for t in range(steps)
    ])  # fmt: skip
    losses = 0.5 * counted * np.square(y - target).sum(1)
    return Explained(
        cell, weights, x, target, counted, through, clip, rate, after, traces, y, losses, jacobians, own, back, table
    )


def length(gradient: Weights) -> float:
    """The norm of all weights' parts taken as one vector."""
    return float(np.sqrt(sum(np.square(value).sum() for value in gradient.values())))
