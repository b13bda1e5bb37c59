"""Backpropagation through time against search that needs no gradient."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from claim import CONDITIONAL, FALSE, TRUE, Claim, Found, Part, Table, number
from interleave import interleaved
from networks import Network, network, spread
from torch import Tensor

import bptt
from bptt.data.problems import Adding
from bptt.tasks.pictures import BLUE, GREEN, ORANGE, PURPLE, finish, picture

LENGTH, SIZES, ROWS = 20, (4, 32), 64
POPULATION = 32
EVALUATIONS = 60_000  # batches that a search may run through a network
UPDATES, SEEDS = 2000, (0, 1)
GOAL = 0.02  # mean squared error; the constant answer has 0.167
FASTER = 3.0
WAYS = ("BPTT", "evolution strategy", "CMA-ES", "random search")
COLOURS = (BLUE, ORANGE, PURPLE, GREEN)
CMA_AT_MOST = 1000  # parameters: its covariance has the square of that


def curves(jobs: int) -> list[dict[str, Any]]:
    ways = [(way, hidden) for hidden in SIZES for way in WAYS if way != "CMA-ES" or _size(hidden) <= CMA_AT_MOST]
    return spread(_curve, [(*each, seed) for each in ways for seed in SEEDS], jobs)


def _size(hidden: int) -> int:
    return sum(p.numel() for p in network("GRU", 2, hidden, 1).parameters())


def _curve(case: tuple[str, int, int]) -> dict[str, Any]:
    """(evaluations, unseen loss) on the way; an update of BPTT is one evaluation, which takes longer."""
    way, hidden, seed = case
    model = network("GRU", 2, hidden, 1, seed)
    search = {"BPTT": _bptt, "evolution strategy": _evolution, "CMA-ES": _cma, "random search": _random}[way]
    points: list[tuple[int, float]] = []
    unseen = _batch(1_000_000, 512)

    def tell(evaluations: int, weights: Tensor) -> bool:
        with torch.no_grad():
            torch.nn.utils.vector_to_parameters(weights, model.parameters())
            y = model(unseen.x)[0][-1]
        points.append((evaluations, float(((y - unseen.target[-1]) ** 2).mean())))
        return points[-1][1] < GOAL

    search(model, tell, seed)
    return {"way": way, "hidden": hidden, "seed": seed, "curve": points}


def _batch(n: int, rows: int = ROWS) -> bptt.Piece:
    return next(iter(Adding(length=LENGTH, rows=rows, sequences=1).epoch(n)))


def _first(seed: int) -> int:
    """The first batch that a search of that seed sees."""
    return 1 + 100_000 * seed


def _bptt(model: Network, tell: Callable[[int, Tensor], bool], seed: int) -> None:
    steps = bptt.train.make_optimizer("adam", list(model.parameters()), 1e-2)
    for update in range(1, UPDATES + 1):
        _update(model, _batch(_first(seed) + update))
        bptt.clip_norm(model, 1.0)
        steps.step()
        if update % 10 == 0 and tell(update, torch.nn.utils.parameters_to_vector(model.parameters())):
            return


def _update(model: Network, piece: bptt.Piece) -> None:
    model.zero_grad(set_to_none=True)
    (_,) = bptt.backprop(model, bptt.SquaredError(), piece, reduction="mean")


def _losses(weights: Tensor, piece: bptt.Piece, hidden: int) -> Tensor:
    """The loss ``[N]`` of each of N GRUs ``weights [N, P]``, laid out as the parameters of `network`, on the same batch."""
    shapes = [(3 * hidden, 2), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,), (1, hidden), (1,)]
    w_ih, w_hh, b_ih, b_hh, w_y, b_y = (
        part.reshape(len(weights), *shape)
        for part, shape in zip(weights.split([int(np.prod(s)) for s in shapes], 1), shapes, strict=True)
    )
    h = weights.new_zeros(len(weights), piece.x.shape[1], hidden)
    for x in piece.x:
        a_r, a_z, a_n = torch.baddbmm(b_ih[:, None], x.expand(len(weights), -1, -1), w_ih.mT).chunk(3, -1)
        u_r, u_z, u_n = torch.baddbmm(b_hh[:, None], h, w_hh.mT).chunk(3, -1)
        n = torch.tanh(a_n + torch.sigmoid(a_r + u_r) * u_n)
        h = n + torch.sigmoid(a_z + u_z) * (h - n)
    y = torch.baddbmm(b_y[:, None], h, w_y.mT)
    return ((y - piece.target[-1]) ** 2).mean((1, 2))


def _evolution(model: Network, tell: Callable[[int, Tensor], bool], seed: int) -> None:
    """Salimans et al. 2017, arXiv 1703.03864: mirrored perturbations, ranks for losses, Adam."""
    mean = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    random = torch.Generator().manual_seed(seed)
    steps, sigma = torch.optim.Adam([mean], 0.03), 0.1
    ranks = torch.linspace(-0.5, 0.5, POPULATION)
    for generation in range(EVALUATIONS // POPULATION):
        noise = torch.randn(POPULATION // 2, len(mean), generator=random)
        noise = torch.cat([noise, -noise])
        order = _losses(mean + sigma * noise, _batch(_first(seed) + generation), model.layer.hidden_size).argsort().argsort()
        mean.grad = ranks[order] @ noise / POPULATION / sigma
        steps.step()
        if generation % 10 == 9 and tell((generation + 1) * POPULATION, mean):
            return


def _cma(model: Network, tell: Callable[[int, Tensor], bool], seed: int) -> None:
    """Hansen & Ostermeier 2001, as in pycma; the same batch for all of a generation."""
    import cma

    first = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it plots where matplotlib is, and says much about it
        search = cma.CMAEvolutionStrategy(first.double().numpy(), 0.3, {"seed": 1 + seed, "verbose": -9, "popsize": POPULATION})
    for generation in range(EVALUATIONS // POPULATION):
        asked = search.ask()
        losses = _losses(torch.from_numpy(np.stack(asked)).float(), _batch(_first(seed) + generation), model.layer.hidden_size)
        search.tell(asked, losses.double().tolist())
        if generation % 10 == 9 and tell((generation + 1) * POPULATION, torch.from_numpy(search.mean).float()):
            return


def _random(model: Network, tell: Callable[[int, Tensor], bool], seed: int) -> None:
    """A random step, kept where it is better on the same batch; steps grow with success, shrink without (the 1/5 rule)."""
    best = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    random, sigma = torch.Generator().manual_seed(seed), 0.1
    for tried in range(EVALUATIONS // 2):
        other = best + sigma * torch.randn(len(best), generator=random)
        before, after = _losses(torch.stack([best, other]), _batch(_first(seed) + tried), model.layer.hidden_size).tolist()
        if after < before:
            best, sigma = other, sigma * 1.5
        else:
            sigma = max(sigma * 1.5**-0.25, 1e-4)
        if tried % 100 == 99 and tell(2 * (tried + 1), best):
            return


def seconds() -> dict[str, dict[str, float]]:
    """Seconds of an evaluation in each way, with its own arithmetic but the batch's making."""
    torch.set_num_threads(1)
    found = {}
    for hidden in SIZES:
        model, piece = network("GRU", 2, hidden, 1), _batch(0)
        steps = bptt.train.make_optimizer("adam", list(model.parameters()), 1e-2)
        first = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
        many, two = first + 0.1 * torch.randn(POPULATION, len(first)), first.expand(2, -1)

        def update(model: Network = model, piece: bptt.Piece = piece, steps: torch.optim.Optimizer = steps) -> None:
            _update(model, piece)
            bptt.clip_norm(model, 1.0)
            steps.step()

        calls: dict[str, Callable[[], object]] = {
            "BPTT": update,
            "population": lambda many=many, piece=piece, hidden=hidden: _losses(many, piece, hidden),
            "pair": lambda two=two, piece=piece, hidden=hidden: _losses(two, piece, hidden),
        }
        timing = interleaved(calls, rounds=11, least=0.05, budget=15)
        each = {"BPTT": timing["BPTT"].seconds, "random search": timing["pair"].seconds / 2}
        each |= dict.fromkeys(("evolution strategy", "CMA-ES"), timing["population"].seconds / POPULATION)
        found[str(hidden)] = each
    return found


def _curves(found: Found, way: str, hidden: int) -> list[Any]:
    return [e["curve"] for e in found["curves"] if (e["way"], e["hidden"]) == (way, hidden)]


def _ways(found: Found, hidden: int) -> list[str]:
    return list(dict.fromkeys(e["way"] for e in found["curves"] if e["hidden"] == hidden))


def _costs(found: Found, way: str, hidden: int) -> tuple[int, float, int, int]:
    """Evaluations and seconds until the goal or the limit, medians of the seeds; how many reached it, and of how many."""
    curves = _curves(found, way, hidden)
    spent = round(statistics.median(curve[-1][0] for curve in curves))
    reached = sum(curve[-1][1] < GOAL for curve in curves)
    return spent, spent * found["seconds"][str(hidden)][way], reached, len(curves)


def judge(found: Found) -> tuple[str, str]:
    said, faster = [], []
    for hidden in SIZES:
        evaluations, seconds, reached, seeds = _costs(found, "BPTT", hidden)
        if reached < seeds:
            said.append(f"With {_size(hidden)} weights BPTT did not reach the goal with every seed.")
            faster.append(False)
            continue
        others = []
        for way in _ways(found, hidden)[1:]:
            n, taken, there, of = _costs(found, way, hidden)
            more = "" if there == of else "at least "
            many, long = number(n / evaluations, 2), number(taken / seconds, 2)
            others.append(f"{way} {more}{many} times the evaluations, {more}{long} times the time")
            faster.append(taken / seconds >= FASTER)
            if there < of:
                others[-1] += f" (reached by {there} of {of})"
        said.append(f"With {_size(hidden)} weights: {'; '.join(others)}.")
    return (TRUE if all(faster) else CONDITIONAL if any(faster) else FALSE), (
        f"Until a loss of {GOAL}, beside BPTT (at least {FASTER:g} times its time counts as slower). " + " ".join(said)
    )


def table(found: Found) -> Table:
    rows = []
    for hidden in SIZES:
        for way in _ways(found, hidden):
            n, taken, there, of = _costs(found, way, hidden)
            least = "" if there == of else "at least "
            each = f"{found['seconds'][str(hidden)][way] * 1e6:,.0f}"
            rows.append([str(_size(hidden)), way, f"{least}{n:,}", least + number(taken, 2), each, f"{there} of {of}"])
    return Table(["weights", "", f"evaluations to {GOAL}", f"seconds to {GOAL}", "µs an evaluation", "reached by"], rows)


def draw(found: Found, path: Path) -> None:
    with picture(path, panels=2 * len(SIZES)) as panels:
        for at, hidden in enumerate(SIZES):
            counted, timed = panels[2 * at : 2 * at + 2]
            for colour, way in zip(COLOURS, WAYS, strict=True):
                for each in found["curves"]:
                    if (each["way"], each["hidden"]) == (way, hidden):
                        n, loss = zip(*each["curve"], strict=True)
                        counted.plot(n, loss, color=colour, label=None if each["seed"] else way)
                        timed.plot([found["seconds"][str(hidden)][way] * k for k in n], loss, color=colour)
            for axes, label in ((counted, "evaluations"), (timed, "seconds")):
                axes.set_xscale("log")
                axes.set_yscale("log")
                axes.axhline(GOAL, color="#7a7a7a", linewidth=1, linestyle=(0, (5, 4)))
                axes.set_ylabel(f"{_size(hidden):,} weights: loss")
                axes.set_xlabel(label)
        finish(panels)


CLAIM = Claim(
    name="evolution",
    title="BPTT against evolution strategy and random search",
    asserted="Backpropagation through time trains recurrent networks much faster than general-purpose optimisation such as "
    "evolution.",
    how=f"GRUs of {' and '.join(map(str, SIZES))} units on the adding problem over {LENGTH} steps, batches of {ROWS}, until a "
    f"loss of {GOAL} on unseen rows, {len(SEEDS)} seeds (medians). "
    f"An evaluation is a batch run through one network (of BPTT: and back); searches get at "
    f"most {EVALUATIONS:,}. Evolution strategy: Salimans et al. 2017; CMA-ES: pycma, up to {CMA_AT_MOST:,} weights; "
    f"populations of {POPULATION}, all in one product. Random search: a random step, kept if better. Seconds: evaluations "
    "times the time of one, measured apart on one thread (CMA-ES's own arithmetic, which grows with the square of the weights, "
    "left out).",
    parts={"curves": Part(curves), "seconds": Part(seconds, timed=True)},
    judge=judge,
    table=table,
    draw=draw,
)
