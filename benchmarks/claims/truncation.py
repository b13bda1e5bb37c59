"""What truncation costs, and what it leaves out of the gradient."""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import torch
from claim import CONDITIONAL, FALSE, TRUE, Claim, Found, Part, Table, number
from interleave import interleaved
from networks import network, spread
from torch import Tensor, nn

import bptt
from bptt.tasks.pictures import BLUE, GREEN, ORANGE, finish, picture

K1, REACHES = 16, (16, 32, 64, 128, 256, 512)
STEPS, ROWS, HIDDEN = 1024, 16, 128
LAG = 100
UPDATES = 600
SMALL = 0.05  # a relative bias that a step of training does not notice
PROPORTIONAL = (0.5, 1.5)  # how near time is to forward + backward over k2 / k1 windows


def cost() -> dict[str, float]:
    """Seconds of training on ``STEPS`` steps by each k2, and by the whole gradient."""
    torch.set_num_threads(1)
    model, loss, sequence = network("LSTM", 32, HIDDEN, 32), bptt.CrossEntropy(), _input()

    def step(through: bptt.Strategy) -> None:
        model.zero_grad(set_to_none=True)
        for _ in bptt.backprop(model, loss, sequence, through=through):
            pass

    ways: dict[str, bptt.Strategy] = {"full": bptt.Full()} | {str(k2): bptt.Truncated(K1, k2) for k2 in REACHES}
    timing = interleaved({name: lambda way=way: step(way) for name, way in ways.items()}, rounds=5, least=0.01, budget=60)
    return {name: taken.seconds for name, taken in timing.items()}


def _input() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(STEPS, ROWS, 32, generator=random), torch.randint(0, 32, (STEPS, ROWS), generator=random)


def bias(jobs: int) -> list[dict[str, Any]]:
    return [line for lines in spread(_bias, ["text", "recall"], jobs) for line in lines]


def _bias(task: str) -> list[dict[str, Any]]:
    """How far each truncated gradient of one stretch is from the whole one, before and after training."""
    make = {"text": _text, "recall": _recall}[task]
    train, held = make(UPDATES * 64, 0), make(STEPS, 1)
    classes = train[0].shape[-1]
    model = (
        network("LSTM", classes, 64, classes, longest=LAG)
        if task == "text"
        else network("LSTM, chrono", classes, 64, classes, longest=LAG)
    )
    found = _biases(task, "untrained", model, held)
    steps = bptt.train.make_optimizer("adam", list(model.parameters()), 5e-3)
    for _ in bptt.backprop(model, bptt.CrossEntropy(), train, through=bptt.Truncated(64, 192), reduction="mean"):
        bptt.clip_norm(model, 1.0)
        steps.step()
        steps.zero_grad()
    return found + _biases(task, "trained", model, held)


def _biases(task: str, when: str, model: nn.Module, sequence: tuple[Tensor, Tensor]) -> list[dict[str, Any]]:
    whole = _gradient(model, sequence, bptt.Full())
    found = []
    for k2 in REACHES:
        part = _gradient(model, sequence, bptt.Truncated(K1, k2))
        found.append({
            "task": task, "when": when, "k2": k2,
            "bias": float((part - whole).norm() / whole.norm()),
            "cosine": float(part @ whole / part.norm() / whole.norm()),
        })  # fmt: skip
    return found


def _gradient(model: nn.Module, sequence: tuple[Tensor, Tensor], through: bptt.Strategy) -> Tensor:
    model.zero_grad(set_to_none=True)
    for _ in bptt.backprop(model, bptt.CrossEntropy(), sequence, through=through):
        pass
    found = torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])
    model.zero_grad(set_to_none=True)
    return found


def _text(steps: int, part: int) -> tuple[Tensor, Tensor]:
    """Python's own manual, as characters: its first nine tenths, or the rest."""
    text = "\n\n".join(topics[name] for name in sorted(topics))
    letters = {letter: i for i, letter in enumerate(sorted({c for c in text if c.isascii()}))}
    codes = torch.tensor([letters[c] for c in text if c in letters])
    border = len(codes) * 9 // 10
    codes = codes[border:] if part else codes[:border]
    each = min(steps, (len(codes) - 1) // ROWS)
    rows = torch.stack([codes[i * ((len(codes) - 1) // ROWS) :][: each + 1] for i in range(ROWS)], 1)
    return torch.nn.functional.one_hot(rows[:-1], len(letters)).float(), rows[1:]


def _recall(steps: int, part: int) -> tuple[Tensor, Tensor]:
    """Now and then one of four symbols; ``LAG`` steps later a question, and the symbol is to be said. Else nothing."""
    random = torch.Generator().manual_seed(part)
    x = torch.zeros(steps, ROWS, dtype=torch.long)
    wanted = torch.zeros(steps, ROWS, dtype=torch.long)
    for begin in range(0, steps - LAG - 2, LAG + 20):
        symbols = torch.randint(1, 5, (ROWS,), generator=random)
        x[begin], x[begin + LAG], wanted[begin + LAG] = symbols, 5, symbols
    return torch.nn.functional.one_hot(x, 6).float(), wanted


def _of(found: Found, task: str, when: str) -> dict[int, float]:
    return {e["k2"]: e["bias"] for e in found["bias"] if (e["task"], e["when"]) == (task, when)}


def _expected(found: Found, k2: int) -> float:
    """Seconds if time went with the steps run: k2/k1 windows' backward, and forward once more where k2 > k1."""
    return float(found["cost"][str(K1)]) * (k2 / K1)


def judge(found: Found) -> tuple[str, str]:
    times = found["cost"]
    ratios = {k2: times[str(k2)] / _expected(found, k2) for k2 in REACHES}
    longest = max(REACHES)
    linear = PROPORTIONAL[0] <= ratios[longest] <= PROPORTIONAL[1]
    cheaper = times[str(K1)] < times["full"]
    enough = {}
    for task, when in _cases(found):
        biases = _of(found, task, when)
        enough[task, when] = next((k2 for k2 in REACHES if biases[k2] < SMALL), None)
    said = (
        f"By k2 = {longest} with k1 = {K1} the steps take {times[str(longest)] / times[str(K1)]:.1f} times as long as by "
        f"k2 = {K1} ({longest // K1} times as many are run back), and k1 = k2 = {K1} takes "
        f"{times[str(K1)] / times['full']:.2f} of the whole gradient's time. The least k2 with a relative bias under "
        f"{SMALL:.0%}: "
        + "; ".join(f"{task}, {when}: {k2 or f'none up to {longest}'}" for (task, when), k2 in enough.items())
        + "."
    )
    falls = all(_of(found, *case)[longest] <= _of(found, *case)[K1] for case in enough)
    if not cheaper:
        update, whole = (times[key] / STEPS * steps * 1e3 for key, steps in ((str(K1), K1), ("full", STEPS)))
        said += (
            f" With windows of {K1} steps truncation saves memory and the wait for an update ({update:.1f} in place of "
            f"{whole:.0f} ms), not time a step."
        )
    if not falls:
        said += " The bias does not fall everywhere as k2 grows."
    same = len(set(enough.values())) == 1
    if not same:
        said += " Which k2 is enough depends on what is to be learnt and on how far training is: measure it (bptt inspect)."
    if not linear:
        said += " Its time does not grow in proportion to the steps that are run back."
    holds = (linear, cheaper, falls and same)
    return (TRUE if all(holds) else CONDITIONAL if any((linear, cheaper, falls)) else FALSE), said


def _cases(found: Found) -> list[tuple[str, str]]:
    return list(dict.fromkeys((e["task"], e["when"]) for e in found["bias"]))


def table(found: Found) -> Table:
    cases = _cases(found)
    rows = []
    for k2 in REACHES:
        biases = [number(_of(found, *case)[k2], 2) for case in cases]
        rows.append(
            [
                str(k2),
                f"{found['cost'][str(k2)] / STEPS * 1e6:.0f}",
                f"{found['cost'][str(k2)] / found['cost']['full']:.2f}",
                *biases,
            ]
        )
    rows.append(["whole gradient", f"{found['cost']['full'] / STEPS * 1e6:.0f}", "1.00", *["0"] * len(cases)])
    return Table([f"k2 (k1 = {K1})", "µs a step", "of Full's time", *(f"bias, {task}, {when}" for task, when in cases)], rows)


def draw(found: Found, path: Path) -> None:
    with picture(path, panels=2) as panels:
        above, below = panels
        above.plot(
            REACHES,
            [found["cost"][str(k2)] / STEPS * 1e6 for k2 in REACHES],
            color=BLUE,
            marker="o",
            markersize=4,
            label="measured",
        )
        above.plot(
            REACHES,
            [_expected(found, k2) / STEPS * 1e6 for k2 in REACHES],
            color=ORANGE,
            linestyle=(0, (4, 3)),
            label="k2 / k1 times that of k2 = k1",
        )
        above.axhline(found["cost"]["full"] / STEPS * 1e6, color=GREEN, linewidth=1.2, label="whole gradient")
        above.set_yscale("log")
        above.set_ylabel("µs a step")
        for (task, when), colour in zip(_cases(found), (BLUE, BLUE, ORANGE, ORANGE), strict=True):
            biases = _of(found, task, when)
            below.plot(list(biases), [max(v, 1e-8) for v in biases.values()], color=colour, marker="o", markersize=4,
                       linestyle="-" if when == "trained" else (0, (4, 3)), label=f"{task}, {when}")  # fmt: skip
        below.set_yscale("log")
        below.set_ylabel("relative bias")
        for axes in panels:
            axes.set_xscale("log", base=2)
            axes.set_xlabel(f"k2 (k1 = {K1})")
        finish(panels)
        below.legend(loc="lower left")


CLAIM = Claim(
    name="truncation",
    title="What truncation costs, and its bias",
    asserted="Truncation makes backpropagation cheaper, at a cost that grows in proportion to k2, and biases the gradient the "
    "less the larger k2 is.",
    how=f"Time: LSTM, H = {HIDDEN}, {ROWS} rows, {STEPS} steps, k1 = {K1}, one thread. Bias: ‖g_k2 - g‖ / ‖g‖ of an LSTM of 64 "
    f"units over {STEPS} unseen steps, before and after {UPDATES} updates, on characters of Python's manual and on recalling a "
    f"symbol after {LAG} steps.",
    parts={"cost": Part(cost, timed=True), "bias": Part(bias)},
    judge=judge,
    table=table,
    draw=draw,
)
