"""What a GRU costs beside an LSTM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from claim import CONDITIONAL, FALSE, TRUE, Claim, Found, Part, Table
from interleave import interleaved
from networks import Network

import bptt
from bptt.tasks.pictures import BLUE, GREEN, INK, ORANGE, finish, picture

SIZES, ROWS, STEPS = (64, 128, 256, 512), 32, 100
BACKENDS = ("auto", "torch")
PROMISED, SLACK = 0.75, 0.1  # three blocks of weights for four


def times() -> list[dict[str, Any]]:
    """Seconds of a forward and backward pass of both, in turns."""
    torch.set_num_threads(1)
    found = []
    for hidden in SIZES:
        x = torch.randn(STEPS, ROWS, hidden, generator=torch.Generator().manual_seed(0))
        target = torch.zeros(STEPS, ROWS, 1)
        for backend in BACKENDS:
            models = {
                kind: Network(layer(hidden, hidden, backend=backend), 1)
                for kind, layer in (("LSTM", bptt.nn.LSTM), ("GRU", bptt.nn.GRU))
            }
            calls = {kind: lambda model=model, given=(x, target): _step(model, *given) for kind, model in models.items()}
            timing = interleaved(calls, rounds=9, least=0.02, budget=8)
            lstm, gru = timing["LSTM"], timing["GRU"]
            found.append({
                "hidden": hidden, "backend": backend, "lstm": lstm.seconds, "gru": gru.seconds, "ratio": gru.ratio,
                "low": gru.low, "high": gru.high,
                "weights": sum(p.numel() for p in models["GRU"].layer.parameters())
                / sum(p.numel() for p in models["LSTM"].layer.parameters()),
            })  # fmt: skip
    return found


def _step(model: Network, x: torch.Tensor, target: torch.Tensor) -> None:
    model.zero_grad(set_to_none=True)
    (_,) = bptt.backprop(model, bptt.SquaredError(), (x, target))


def judge(found: Found) -> tuple[str, str]:
    each = found["times"]
    ratios = [e["ratio"] for e in each]
    weights = each[0]["weights"]
    kept = [e for e in each if abs(e["ratio"] - PROMISED) <= SLACK]
    cheaper = [e for e in each if e["high"] < 1]
    said = (
        f"A GRU has {weights:.2f} of the weights; its training step takes {min(ratios):.2f} to {max(ratios):.2f} of the LSTM's "
        f"time, within {SLACK} of {PROMISED} in {len(kept)} of {len(each)} cases, and surely less in {len(cheaper)}."
    )
    off = [f"H = {e['hidden']}, {_shown(e['backend'])}: {e['ratio']:.2f}" for e in each if e not in kept]
    if off:
        said += f" Otherwise: {'; '.join(off)}."
    return (TRUE if len(kept) == len(each) else CONDITIONAL if cheaper else FALSE), said


def _shown(backend: str) -> str:
    return {"auto": "this package's kernels", "torch": "torch's"}[backend]


def table(found: Found) -> Table:
    rows = [
        [str(e["hidden"]), _shown(e["backend"]), f"{e['lstm'] * 1e3:.2f}", f"{e['gru'] * 1e3:.2f}", f"{e['ratio']:.2f}",
         f"{e['low']:.2f}–{e['high']:.2f}"] for e in found["times"]
    ]  # fmt: skip
    return Table(["H", "kernels", "LSTM, ms", "GRU, ms", "ratio, median of the rounds'", "middle half"], rows)


def draw(found: Found, path: Path) -> None:
    with picture(path) as panels:
        (axes,) = panels
        for colour, backend in zip((BLUE, ORANGE), BACKENDS, strict=True):
            each = [e for e in found["times"] if e["backend"] == backend]
            sizes, ratios = [e["hidden"] for e in each], [e["ratio"] for e in each]
            axes.plot(sizes, ratios, color=colour, marker="o", markersize=4, label=_shown(backend))
            axes.fill_between(sizes, [e["low"] for e in each], [e["high"] for e in each], color=colour, alpha=0.2, linewidth=0)
        axes.axhline(PROMISED, color=GREEN, linewidth=1.2, linestyle=(0, (4, 3)), label="weights: three for four")
        axes.axhline(1, color=INK, linewidth=1, linestyle=(0, (1, 2)))
        axes.set_xscale("log", base=2)
        axes.set_ylim(0.5, 1.05 * max(1.2, *(e["high"] for e in found["times"])))
        axes.set_xlabel("units H")
        axes.set_ylabel("GRU's time / LSTM's")
        finish(panels)


CLAIM = Claim(
    name="gru",
    title="A GRU's cost against an LSTM's",
    asserted="A GRU is cheaper than an LSTM: it has three quarters of the weights, and takes three quarters of the time.",
    how=f"A forward and a backward pass over {STEPS} steps of {ROWS} rows with I = H, one thread, both in turns (middle half "
    "of the rounds), with the kernels that are taken by themselves and with torch's. How well both learn: see vanishing.",
    parts={"times": Part(times, timed=True)},
    judge=judge,
    table=table,
    draw=draw,
)
