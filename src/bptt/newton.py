"""Any stateful module, all of its time steps at once, by Newton's method on the states."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bptt import state as states
from bptt.call import Caller
from bptt.data.piece import Piece
from bptt.jacobian import products
from bptt.layout import Layout
from bptt.nn.scan import linear_scan, tree
from bptt.randomness import Randomness
from bptt.state import State
from bptt.through.base import number

_TOGETHER = 16  # backward passes at once
_FEW = 4


@dataclass(frozen=True)
class Convergence:
    """How a parallel pass went: ``residuals[k]`` is max |F(s) - s| / (1 + max |s|) after k iterations.

    ``converged`` false: after these iterations the pass went back to one step after the other, whose result it is.
    """

    converged: bool
    iterations: int
    residuals: tuple[float, ...]
    steps: int


class Newton(nn.Module):
    """Runs a stateful module over all steps at once: s_1..s_T as the root of s_t = F(s_{t-1}, x_t), by Newton's method.

        s_t ← F(s̄_{t-1}, x_t) + J_t (s_{t-1} - s̄_{t-1}),     J_t = ∂F/∂s at the states s̄ of the iteration before

    Each iteration is one call of the module on T·B rows, J_t, and one linear scan over time. ``jacobian="full"`` (DEER)
    converges quadratically; ``"diagonal"`` (quasi-DEER) keeps J_t's diagonal alone: cheaper scans, more iterations.
    It ends where neither what one step leaves open nor the last correction of any state exceeds ``tolerance`` (some roundings,
    unless given). The gradient is exact: at the root it is one linear scan back in time over the full J_t, whatever the
    iterations were.

    ``y, state = newton(x, state, mask=None, reset=None)`` as the module itself, ``x [T, B, ...]``, whatever the module knows
    of masks and resets. After each pass ``newton.report`` is a `Convergence`. Where ``iterations`` do not suffice, or a value
    is not finite, the module is run one step after the other, and the report says so.

    The module's steps may depend on each other through its state alone (no convolution over time), its rows not at all (no
    batch statistics); its state must be real or complex, and its initial
    state zero or what its method ``initial_state(rows)`` gives. Dropout inside it draws anew for each step, once a pass.

    Cost per iteration: n backward passes over T·B rows for J_t, n numbers in a row's state, whichever part of it is kept;
    memory T·B·n². For long sequences of a few units it is faster than one step after the other even on a CPU, and slower from
    some dozens of units and rows on (benchmarks/parallel.py). Not for chaotic dynamics, which take as many iterations as
    steps.

    Lim et al. 2024, "Parallelizing non-linear sequential models over the sequence length", arXiv 2309.12252; Gonzalez et al.
    2024, "Towards scalable and stable parallelization of nonlinear RNNs", arXiv 2407.19115.

    **Raises** ``ValueError`` for settings out of range and for a module it cannot serve.
    """

    def __init__(
        self, module: nn.Module, *, jacobian: str = "full", iterations: int = 32, tolerance: float | None = None
    ) -> None:
        super().__init__()
        if jacobian not in ("full", "diagonal"):
            raise ValueError(f"jacobian={jacobian!r} does not exist: 'full' (DEER) or 'diagonal' (quasi-DEER)")
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise ValueError(f"iterations must be a whole number of at least 1, got {iterations!r}")
        if tolerance is not None:
            tolerance = number("tolerance", tolerance)
            if not 0 < tolerance < 1:
                raise ValueError(f"tolerance must lie between 0 and 1, relative to the states, got {tolerance:g}")
        Caller(module)
        self.module, self.jacobian, self.iterations, self.tolerance = module, jacobian, iterations, tolerance
        self.report: Convergence | None = None
        self._stepwise = False

    def forward(
        self, x: Any, state: State = None, *, mask: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Any, State]:
        call = Caller(self.module)
        if call.whole is not None:
            raise ValueError(f"Newton runs single steps, and a bidirectional layer ({call.whole}) needs the whole sequence")
        steps, rows = states.leaves(x)[0].shape[:2]
        if not steps or not rows:
            raise ValueError(f"x is {list(states.leaves(x)[0].shape)}, expected [T, B, ...] with at least one step and one row")
        if steps == 1:
            self.report = Convergence(True, 0, (), 1)
            return call(Piece(x, x, mask, reset), state, "step 0")
        random = call.randomness()
        problem = _Problem(self.module, call, x, state, mask, reset, random)
        solved, residuals = self._solve(problem)
        self.report = Convergence(solved is not None, len(residuals) - 1, tuple(residuals), steps)
        random.put_back()
        if solved is None:
            return call(Piece(x, x, mask, reset), state, f"steps 0..{steps}")
        made = problem.finish(solved)
        if not self._stepwise:
            problem.check_stepwise(Piece(x, x, mask, reset), state, made[0], solved, self.tolerance or 0.0)
            self._stepwise = True
        return made

    def _solve(self, problem: _Problem) -> tuple[Tensor | None, list[float]]:
        """The states ``[T, B, n]`` after each step, or ``None``, and the residual before each iteration."""
        eps = torch.finfo(problem.initial.dtype).eps
        tolerance = self.tolerance or 100 * eps * problem.initial.shape[1] ** 0.5
        residuals: list[float] = []
        solved = torch.zeros(problem.steps, *problem.initial.shape, dtype=problem.initial.dtype, device=problem.initial.device)
        initial = problem.initial.detach()
        while True:
            with torch.enable_grad():
                before = torch.cat([initial[None], solved[:-1]]).requires_grad_()
                _, after = problem.call(before)
            residual = float((after.detach() - solved).abs().max() / (1 + solved.abs().max()))
            residuals.append(residual)
            if len(residuals) > self.iterations + (residual <= tolerance) or not math.isfinite(residual):
                return None, residuals
            if self.jacobian == "full":
                jacobian = torch.stack(list(_rows(after, before)), 2)
                closer = _affine_scan(jacobian, after.detach() - _apply(jacobian, before.detach()), initial)
            else:
                slope = torch.stack([row[:, :, i] for i, row in enumerate(_rows(after, before))], 2)
                closer = linear_scan(slope, after.detach() - slope * before.detach(), initial)
            # What one step leaves open may add up over all that the network remembers: the states must stand still too.
            moved = float((closer - solved).abs().max() / (1 + closer.abs().max()))
            if residual <= tolerance and moved <= tolerance:
                return closer, residuals
            solved = closer

    def extra_repr(self) -> str:
        return f"jacobian={self.jacobian!r}, iterations={self.iterations}"


class _Problem:
    """A module's steps, all at once: s̄ ``[T, B, n]`` before each step to F(s̄) ``[T, B, n]`` after it."""

    def __init__(
        self,
        module: nn.Module,
        call: Caller,
        x: Any,
        state: State,
        mask: Tensor | None,
        reset: Tensor | None,
        random: Randomness,
    ) -> None:
        self._call, self._wide_call, self._random = call, Caller(module), random
        self._mask, self._reset = (None if flags is None else flags[:, :, None] for flags in (mask, reset))
        if mask is not None:
            # What stands at steps that do not exist (NaN, say) must not reach the gradient as 0 * NaN.
            x = states.map_leaves(lambda t: t.masked_fill(~mask.reshape(mask.shape + (1,) * (t.ndim - 2)), 0), x)
        self.steps, self._rows = states.leaves(x)[0].shape[:2]
        self._x = states.map_leaves(lambda t: t.flatten(0, 1)[None], x)
        template = call.structure(Piece(x, x))
        for name, leaf in states.named_leaves(template):
            if not (leaf.is_floating_point() or leaf.is_complex()):
                raise ValueError(f"{name} holds {leaf.dtype}: Newton solves for real or complex states alone")
        places = {name: states.likely_batch_dim(name, leaf, self._rows) for name, leaf in states.named_leaves(template)}
        shared = next((name for name, place in places.items() if place is None), None)
        if shared is not None:
            raise ValueError(f"{shared} is shared by all rows: Newton needs a state for each")
        fresh = call.fresh(template, self._rows)
        layout = Layout(template, self._rows, lambda name, _: places[name])
        self._fresh = layout.flatten(fresh)
        self.initial = self._fresh if state is None else layout.flatten(state)
        if state is None:
            self._check_initial(x, fresh, layout)
        several = torch.zeros(self.steps * self._rows, dtype=torch.long, device=self.initial.device)
        named = iter(places.values())
        self._wide_template = states.map_leaves(lambda leaf: leaf.index_select(next(named) or 0, several), template)
        self._wide = Layout(self._wide_template, self.steps * self._rows, lambda name, _: places[name])
        self._template, self._layout = template, layout

    def call(self, before: Tensor) -> tuple[Any, Tensor]:
        """y ``[T, B, ...]`` and the states after each step, from those before each; each call meets the same random numbers."""
        self._random.put_back()
        if self._reset is not None:
            before = torch.where(self._reset, self._fresh, before)
        given = self._wide.build(before.flatten(0, 1), self._wide_template)
        y, after = self._wide_call(Piece(self._x, self._x), given, f"steps 0..{self.steps}")
        y = states.map_leaves(lambda t: self._by_step(t[0]), y)
        flat = self._by_step(self._wide.flatten(after))
        return y, flat if self._mask is None else torch.where(self._mask, flat, before)

    def _by_step(self, flat: Tensor) -> Tensor:
        return flat.reshape(self.steps, self._rows, *flat.shape[1:])

    def finish(self, solved: Tensor) -> tuple[Any, State]:
        """y and the final state, through which the error finds its way."""
        if torch.is_grad_enabled():
            earlier = solved[:-1].detach().requires_grad_()
            _, after = self.call(torch.cat([self.initial[None], earlier]))
            if after.requires_grad:
                rows = torch.stack(list(_rows(after, earlier)), 2)
                solved = _Root.apply(after, rows[1:])  # type: ignore[no-untyped-call]
        y, _ = self.call(torch.cat([self.initial[None], solved[:-1]]))
        return y, self._layout.build(solved[-1], self._template)

    def check_stepwise(self, piece: Piece, state: State, y: Any, solved: Tensor, tolerance: float) -> None:
        """Refuses a module that makes of its first steps together something else than of each by itself.

        Not where it draws random numbers, which differ then.
        """
        few = Piece(*(states.map_leaves(lambda t: t[:_FEW], part) for part in piece))
        now = self._call.randomness()
        self._random.put_back()
        with torch.no_grad(), self._call.other_buffers():
            together, after = self._call(few, state, f"steps 0..{_FEW}")
        drew = self._call.randomness() != self._random
        now.put_back()
        if drew:
            return
        stray = 1e-3 + 10 * tolerance
        pairs = [(self._layout.flatten(after), solved[:_FEW][-1])]
        if piece.mask is None:
            pairs += zip(states.leaves(together), states.leaves(y), strict=True)
        if not all(torch.allclose(a, b[: len(a)].detach(), rtol=stray, atol=stray, equal_nan=True) for a, b in pairs):
            raise ValueError(
                "the module's steps depend on each other, or on other rows, through more than its state (a convolution over "
                "time, say, or batch statistics), so it cannot run all of them at once: use the module itself"
            )

    def _check_initial(self, x: Any, fresh: State, layout: Layout) -> None:
        first = Piece(states.map_leaves(lambda t: t[:1], x), states.map_leaves(lambda t: t[:1], x))
        with torch.no_grad():
            self._random.put_back()
            own = layout.flatten(self._call(first, None, "step 0")[1])
            self._random.put_back()
            given = layout.flatten(self._call(first, fresh, "step 0")[1])
        if not torch.allclose(own, given, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise ValueError(
                "the module does not begin from zero: give it a method initial_state(rows) with the state it begins from, or "
                "give newton(x, state) one"
            )


class _Root(torch.autograd.Function):
    """The identity on s = F(s), whose backward pass is λ_t = q_t + J_{t+1}ᵀ λ_{t+1}: implicit differentiation at the root."""

    @staticmethod
    def forward(ctx: Any, after: Tensor, jacobian: Tensor) -> Tensor:
        ctx.save_for_backward(jacobian)
        return after.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *errors: Tensor) -> tuple[Tensor, None]:
        (jacobian,) = ctx.saved_tensors
        q = errors[0].flip(0)
        turned = jacobian.mT.flip(0)
        first = turned.new_zeros(1, *turned.shape[1:])
        return _affine_scan(torch.cat([first, turned]), q, torch.zeros_like(q[0])).flip(0), None


def _rows(after: Tensor, before: Tensor) -> Iterator[Tensor]:
    """Row i of every J_t, ``[T, B, n]``, for each i; ``before`` may hold the last steps alone, the others' rows are zero."""
    size = after.shape[2]
    missing = len(after) - len(before)
    for start in range(0, size, _TOGETHER):
        stop = min(start + _TOGETHER, size)
        units = torch.zeros(stop - start, *after.shape, dtype=after.dtype, device=after.device)
        units[range(stop - start), :, :, range(start, stop)] = 1
        [found] = products(after, [before], units)
        for part in torch.zeros_like(before).expand(len(units), *before.shape) if found is None else found:
            yield torch.cat([part.new_zeros(missing, *part.shape[1:]), part]) if missing else part


def _apply(matrices: Tensor, vectors: Tensor) -> Tensor:
    return (matrices @ vectors[..., None])[..., 0]


def _applied(matrices: Tensor, states: Tensor, vectors: Tensor) -> Tensor:
    return _apply(matrices, states) + vectors


def _affine_scan(matrices: Tensor, vectors: Tensor, initial: Tensor) -> Tensor:
    """h_t = A_t h_{t-1} + b_t, ``[T, B, n]``: on a CPU step by step, which takes n² work a step where a tree takes n³."""
    if vectors.device.type == "cpu":
        h, found = initial, []
        for a, b in zip(matrices.unbind(), vectors.unbind(), strict=True):
            h = torch.baddbmm(b[..., None], a, h[..., None])[..., 0]
            found.append(h)
        return torch.stack(found)
    vectors = torch.cat([_applied(matrices[:1], initial[None], vectors[:1]), vectors[1:]])
    return tree(matrices, vectors, _applied, torch.matmul)
