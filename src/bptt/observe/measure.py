"""`gradient_flow`: the gradient of a stretch of steps, taken apart."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bptt.executor import Loss
from bptt.observe.advice import advise
from bptt.observe.chain import Chain, Errors
from bptt.observe.flow import CUT, Flow, Weight, acting_norms
from bptt.observe.profile import Array, profile_of
from bptt.observe.trouble import Trouble, in_forward
from bptt.state import State
from bptt.through import Strategy
from bptt.through.base import whole

_EXACT = 2080  # steps back that are always afforded: every loss of 64 steps
_STRETCHES = 2  # and of longer ones, so many times their length
_ENOUGH = 32  # losses, whose mean is then known to some per cent
_WIDE = 4_000_000  # weights, from which on even these are too many
_EVERY, _DENSE = 4, 64  # a weight's gradient costs more than the error: beyond 64 lags every 4th step, then every 16th part


def gradient_flow(
    model: nn.Module,
    loss: Loss,
    sequence: Any,
    *,
    state: State = None,
    through: Strategy | None = None,
    steps: int = 1000,
    samples: int | None = None,
    seed: int = 0,
) -> Flow:
    """Where the gradient comes from and how far it reaches: C[t,k] = q_t J_t ⋯ J_{k+1} I_k in norm, and the error at each step.

    - ``model``, ``loss``, ``sequence``, ``state``: as in `bptt.backprop`, of any stateful module that runs forward in time.
    - ``through``: the strategy in use, which the advice is then about.
    - ``steps``: at most so many, from the start of the sequence, are looked at.
    - ``samples``: how many losses are followed back; ``None``: all of them where that takes no more than 2080 steps back (64
      steps, a loss at each), else as many, spread evenly over the losses by ``seed``, as 2·T steps back can afford, at most 32.

    The network is run in the mode that it is in, in calls of one step, and nothing of it changes: gradients, buffers, modes
    and random numbers stay. Dropout then draws other masks than in one long call. Hooks on its weights see every part of the
    gradient, one by one.

    Cost: a forward pass, two backward passes, and for each loss followed one backward pass over the steps its error reaches;
    memory as `bptt.Full` over these steps. Not for every update of a training: see `bptt.observe.every`. With ``clip_step``
    every error is clipped as if it came alone, and the contributions no longer add up to the gradient.

    **Raises** ``ValueError`` for a module without a state, one that cuts its state from the graph, one that needs the whole
    sequence, a loss without connection, and fewer than 2 steps; ``TypeError`` as `bptt.backprop` does.
    """
    steps = whole("steps", steps, 2)
    if samples is not None:
        samples = whole("samples", samples)
    if through is not None and not isinstance(through, Strategy):
        raise TypeError(f"through must be a strategy such as bptt.Truncated(k1=20), got {through!r}")
    chain = Chain(model, loss, sequence, state, steps)
    trouble = None if chain.broken is None else in_forward(model, chain.broken, chain.parts)
    if len(chain) < 2:
        raise ValueError(f"{trouble}: there are no two steps to look at before it")
    own, explicit = chain.explicit()
    cut = _cut(chain)
    error, implicit, overflow, severed = _whole(chain, own)
    if severed:  # at some steps only, which all side by side cannot tell
        chain.alone()
        own, explicit = chain.explicit()
        error, implicit, overflow, severed = _whole(chain, own)
    overflow = overflow or _in_weights(chain, [*explicit, *implicit])
    losses = _with_gradient(chain, own)
    followed, contributions, errors = _follow(chain, losses, samples, seed)
    population = len(losses)
    by_lag = _by_lag(errors, followed)
    flow = Flow(
        model=chain.name,
        steps=len(chain),
        rows=chain.rows,
        parts=tuple(part.name for part in chain.parts),
        names=tuple(chain.parameters),
        loss_steps=np.array(followed, dtype=np.int64),
        losses=population,
        exact=len(followed) == population,
        contributions=np.sqrt((contributions**2).sum(-1)),
        contributions_by_weight=contributions,
        errors=errors,
        error=error,
        profile=profile_of(np.sqrt((by_lag**2).sum(1)), 1, population),
        profile_by_part={part.name: profile_of(by_lag[:, i], 1, population) for i, part in enumerate(chain.parts)},
        profile_of_contributions=profile_of(
            _by_lag(acting_norms(contributions, np.array(followed))[:, None], followed)[:, 0], 0, population
        ),
        weights=tuple(_weight(name, e, i) for name, e, i in zip(chain.parameters, explicit, implicit, strict=True)),
        cut=cut,
        severed={name: steps for name, steps in severed.items() if name not in cut},
        trouble=trouble or overflow,
        through=through,
        advice=(),
    )
    return dataclasses.replace(flow, advice=advise(flow, model, through))


def _cut(chain: Chain) -> tuple[str, ...]:
    """The parts of the state that no error comes back through, at no step.

    **Raises** ``ValueError`` where that is the whole state.
    """
    cut = set(chain.parts)
    for k in range(1, len(chain)):
        back, _ = chain.back(k, [torch.ones_like(leaf) for leaf in chain.links[k].after], loss=True, weights=False)
        cut -= {part for part in cut if back[part.leaf] is not None}
        if not cut:
            break
    if len(cut) == len(chain.parts):
        raise ValueError(
            f"{chain.name} cuts its state off: neither y nor the state after a step depends on the state before it by torch "
            "operations, so no gradient goes back through time. Look inside for .detach(), .data, .item(), NumPy or "
            "torch.no_grad(), or for a state that is not used; bptt.check(model, loss, sequence) tells which"
        )
    return tuple(part.name for part in chain.parts if part in cut)


def _whole(chain: Chain, own: list[Errors]) -> tuple[Array, list[Tensor], Trouble | None, dict[str, tuple[int, ...]]]:
    """The whole loss's error before each step ``[P, T]``, the implicit part of the gradient, where the error breaks first, and
    the steps that let no error of the state after them pass."""
    steps = len(chain)
    found = np.full((len(chain.parts), steps), math.nan)
    after: list[Errors | None] = [None] * steps
    severed: dict[str, tuple[int, ...]] = {}
    trouble = None
    for k in range(steps - 1, -1, -1):
        if not chain.links[k].before:
            break
        passed = chain.back(k, after[k])[0]
        errors = [a if b is None else b if a is None else a + b for a, b in zip(passed, own[k], strict=True)]
        found[:, k] = chain.norms(errors)
        arrived = after[k] or []
        for part in chain.parts:
            if passed[part.leaf] is None and part.leaf < len(arrived) and arrived[part.leaf] is not None:
                severed[part.name] = (k, *severed.get(part.name, ()))
        bad = np.flatnonzero(~np.isfinite(found[:, k]))
        if len(bad) and trouble is None:
            told = " and ".join(f"the error of {chain.parts[i].name} is {found[i, k]}" for i in bad)
            trouble = Trouble("backward", k, f"{told} just before it")
        if k:
            after[k - 1] = errors
    return found, chain.implicit(after), trouble, severed


def _in_weights(chain: Chain, gradients: list[Tensor]) -> Trouble | None:
    """The last step at which the gradient by a weight is not finite though all errors are; ``None`` where all is well."""
    if np.isfinite(_norms(gradients)).all():
        return None
    errors: Errors | None = None
    for k in range(len(chain) - 1, -1, -1):
        passed, by = chain.back(k, errors, loss=True, weights=True)
        for name, norm in zip(chain.parameters, _norms(by), strict=True):
            if not math.isfinite(norm):
                return Trouble("backward", k, f"the gradient by {name} is {norm}")
        errors = passed
    return None


def _with_gradient(chain: Chain, own: list[Errors]) -> list[int]:
    """The steps whose loss has a gradient, by the state before it or by the weights.

    **Raises** ``ValueError`` where there is none.
    """
    found = []
    for t, link in enumerate(chain.links):
        if not link.loss.requires_grad or not chain.counts[t]:
            continue
        sends = any(error is not None and bool(error.any()) for error in own[t])
        if sends or _norms(chain.back(t, None, loss=True, weights=True)[1]).any():
            found.append(t)
    if not found:
        raise ValueError(
            f"no loss of these {len(chain)} steps has a gradient: are all targets left out, is the loss at its least, are "
            "the units dead (bptt.observe.units tells), or does y pass through something whose derivative is zero everywhere "
            "(round, sign, argmax)?"
        )
    return found


def _follow(chain: Chain, losses: list[int], samples: int | None, seed: int) -> tuple[list[int], Array, Array]:
    """Losses followed back one by one: their steps, ‖C[t,k]‖ ``[n, T, W]`` and errors ``[n, P, T]``."""
    afford = max(_EXACT, _STRETCHES * len(chain))
    every = samples is None and sum(t + 1 for t in losses) <= afford
    if every or (samples is not None and samples >= len(losses)):
        order, floor, least = losses, 0.0, len(losses)
    else:
        order, floor, least = _spread(losses, seed), CUT, min(samples or 2, len(losses))
    followed: dict[int, tuple[Array, Array]] = {}
    spent = 0
    for t in order:
        n = len(followed)
        if n >= least and (samples is not None or n >= _ENOUGH or spent * (n + 1) / n > afford):
            break
        contributions, errors, cost = _back_from(chain, t, floor)
        followed[t] = (contributions, errors)
        spent += cost
    ordered = sorted(followed)
    return ordered, np.stack([followed[t][0] for t in ordered]), np.stack([followed[t][1] for t in ordered])


def _back_from(chain: Chain, t: int, floor: float) -> tuple[Array, Array, int]:
    """One loss followed back; with a ``floor``, until its error is under it, and C[t,k] partly between neighbours."""
    contributions = np.zeros((len(chain), len(chain.parameters)))
    found = np.full((len(chain.parts), len(chain)), math.nan)
    found[:, 1 if not chain.links[0].before else 0 : t + 1] = 0.0
    errors: Errors | None = None
    measured: list[int] = []
    greatest = 0.0
    wide = sum(weight.numel() for weight in chain.parameters.values()) > _WIDE
    dense, due = 8 if wide else _DENSE, 0
    for k in range(t, -1, -1):
        weights = not floor or t - k == due or k == 0
        if weights:
            due = t - k + (1 if t - k < dense else max(_EVERY, (t - k) // (4 if wide else 16)))
        errors, gradients = chain.back(k, errors, loss=k == t, weights=weights)
        if weights:
            contributions[k] = _norms(gradients)
            measured.insert(0, k)
        if not errors:
            break
        found[:, k] = chain.norms(errors)
        size = float(np.linalg.norm(found[:, k]))
        greatest = max(greatest, size)
        if size <= floor * greatest:
            break
    for w in range(contributions.shape[1]):
        between = np.arange(measured[0], t + 1)
        contributions[between, w] = np.interp(between, measured, contributions[measured, w])
    return contributions, found, t - k + 1


def _spread(losses: list[int], seed: int) -> list[int]:
    """All losses in an order of which every beginning is spread evenly over time: steps of the golden ratio."""
    n = len(losses)
    start = np.random.default_rng(seed).random()
    # Twice as many points as losses leave few unvisited; those come last.
    visited = dict.fromkeys(int(((start + i * (math.sqrt(5) - 1) / 2) % 1.0) * n) for i in range(2 * n))
    return [losses[i] for i in (*visited, *(i for i in range(n) if i not in visited))]


def _by_lag(values: Array, losses: list[int]) -> Array:
    """``values [n, P, T]`` at step k, moved to t - k: ``[n, P, T]``."""
    moved = np.full(values.shape, math.nan)
    for i, t in enumerate(losses):
        moved[i, :, : t + 1] = values[i, :, t::-1]
    return moved


def _weight(name: str, explicit: Tensor, implicit: Tensor) -> Weight:
    explicit, implicit = (_reals(g).double() for g in (explicit, implicit))
    total, own, earlier = (float(torch.linalg.vector_norm(g)) for g in (explicit + implicit, explicit, implicit))
    both = own * earlier
    return Weight(name, total, own, earlier, float(explicit @ implicit) / both if both > 0 else math.nan)


def _norms(gradients: list[Tensor]) -> Array:
    flat = [_reals(g) for g in gradients]
    squares = np.array([float(torch.dot(g, g)) for g in flat])
    if not np.isfinite(squares).all():  # overflow, perhaps of the square alone
        return np.array([float(torch.linalg.vector_norm(g.double())) for g in flat])
    return np.asarray(np.sqrt(squares))


def _reals(gradient: Tensor) -> Tensor:
    dense = (gradient.to_dense() if gradient.is_sparse else gradient).detach()
    return (torch.view_as_real(dense.resolve_conj()) if dense.is_complex() else dense).flatten()
