"""How fast the native kernels are, beside torch, torch.compile and JAX, taking turns in one process.

    make bench                                          the grid: two thread counts, forward alone and with backward
    python benchmarks/kernels.py --threads 2 --cells GRU --shapes 100,32,64,128
    python benchmarks/kernels.py --random 50            is it slower than torch anywhere?
    python benchmarks/kernels.py --ragged               rows of lengths uniform in 1..T beside padding
    python benchmarks/kernels.py --float64

Times are medians over rounds; a ratio is the median of the rounds' own ratios (the better torch over native: more is faster),
and its middle half stands beside it. The peak is that of multiply-adds in registers, measured within the same rounds. Nothing
is measured while the native tests fail.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cells", nargs="+", default=["RNN", "GRU", "LSTM"], choices=["RNN", "GRU", "LSTM"])
    parser.add_argument("--shapes", nargs="+", metavar="T,B,I,H", help="instead of the grid")
    parser.add_argument("--random", type=int, metavar="N", help="N random shapes instead of the grid, a cell each in turn")
    parser.add_argument("--passes", nargs="+", default=["forward", "both"], choices=["forward", "both"])
    parser.add_argument("--ragged", action="store_true", help="rows of uniform lengths under a mask, beside padding")
    parser.add_argument("--float64", action="store_true")
    parser.add_argument("--without", nargs="+", default=[], choices=["compile", "jax"])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=20.0, help="after which no further round of one size begins")
    parser.add_argument("--compile-seconds", type=float, default=180.0, help="after which a compilation is given up")
    parser.add_argument("--compile-steps", type=int, default=100, help="longer loops, which it unrolls, are not compiled")
    parser.add_argument("--unchecked", action="store_true", help="do not run the native tests first")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)  # one thread count, in a process of its own
    return parser.parse_args()


def main() -> None:
    chosen = parsed()
    if chosen.part:
        chosen.part.write_text(json.dumps(measured(chosen)))
        return
    if not chosen.unchecked:
        command = [sys.executable, "-m", "pytest", "tests/native", "-q", "-x", "-p", "no:cacheprovider"]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            raise SystemExit("the native tests fail (or bptt_native is not installed: make native): nothing is measured")
    from report import draw, save, show

    rows, machine = [], {}
    for threads in chosen.threads:
        part = chosen.out / f"part-{threads}.json"
        part.parent.mkdir(parents=True, exist_ok=True)
        # A process a thread count: JAX takes the processors that it is given when it is loaded.
        subprocess.run([sys.executable, *sys.argv, "--threads", str(threads), "--part", str(part)], check=True)
        made = json.loads(part.read_text())
        part.unlink()
        machine, found = made["machine"], made["rows"]
        kind = "float64" if chosen.float64 else "float32"
        title = f"{machine['processor']}, {machine['isa']}, {threads} threads, {kind}, torch {machine['torch']}"
        for each in chosen.passes:
            show(title, [row for row in found if row["pass"] == each])
        both = [row for row in found if row["pass"] == chosen.passes[-1]]
        name = "random" if chosen.random else "ragged" if chosen.ragged else kind
        draw(chosen.out / f"{name}-{threads}.png", f"{title}\n{chosen.passes[-1]}", both)
        rows += found
        save(chosen.out / f"{name}.json", machine, rows)
    if any(row["device"] == "cuda" for row in rows):
        print("rows of device cuda compare bptt's layers, which take cuDNN there, with torch's")
    print(f"saved in {chosen.out}")


def measured(chosen: argparse.Namespace) -> dict[str, Any]:
    """Everything at one number of threads."""
    (threads,) = chosen.threads
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[: max(1, min(threads, len(cores)))])
    import shapes
    import torch
    from rich.progress import track

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    dtype = torch.float64 if chosen.float64 else torch.float32
    if chosen.random:
        drawn = shapes.sample(chosen.random)
        cases = [(chosen.cells[n % len(chosen.cells)], shape) for n, shape in enumerate(drawn)]
    else:
        given = [tuple(map(int, text.split(","))) for text in chosen.shapes] if chosen.shapes else shapes.GRID
        cases = [(cell, shape) for shape in given for cell in chosen.cells]
    rows = []
    for cell, shape in track(cases, f"{threads} threads", transient=True):
        for each in chosen.passes:
            rows.append(one(chosen, threads, cell, shape, dtype, each == "both"))
            if torch.cuda.is_available() and not chosen.ragged:
                rows.append(on_gpu(chosen, threads, cell, shape, dtype, each == "both"))
    return {"machine": machine(), "rows": rows}


def one(chosen: Any, threads: int, cell: str, shape: Any, dtype: Any, backward: bool) -> dict[str, Any]:
    import bptt_native
    import torch
    from interleave import interleaved
    from peers import compiled_step, jax_step, layers, torch_step
    from shapes import operations

    ours, theirs, x = layers(cell, shape, dtype)
    peaks: list[float] = []
    without: dict[str, str] = {}
    existing = 1.0
    candidates: dict[str, Any] = {"native": torch_step(ours, x, backward)}
    peak_of_now = {"peak": lambda: peaks.append(bptt_native.peak(threads, 0.002))}
    if chosen.ragged:
        lengths = torch.randint(1, shape[0] + 1, (shape[1],))
        mask = torch.arange(shape[0])[:, None] < lengths
        existing = float(mask.float().mean())
        candidates = {"native": torch_step(ours, x, backward, mask=mask)} | peak_of_now | {"padded": candidates["native"]}
    else:
        candidates |= peak_of_now | {"torch": torch_step(theirs, x, backward)}
        wanted = {"jax": lambda: jax_step(cell, theirs, x, backward)} if "jax" not in chosen.without else {}
        if "compile" not in chosen.without and not chosen.random:
            limits = (chosen.compile_steps, chosen.compile_seconds)
            wanted["compile"] = lambda: compiled_step(cell, shape, theirs, x, backward, *limits)
        for name, make in wanted.items():
            made = make()
            if isinstance(made, str):
                without[name] = made
            else:
                candidates[name] = made
    timing = interleaved(candidates, chosen.rounds, budget=chosen.seconds)
    # The best of them: JAX's threads go on spinning for a while, and a peak beside them is none.
    peak = max(peaks) / (2 if dtype == torch.float64 else 1)
    rate = existing * operations(cell, shape, backward) / timing["native"].seconds
    return row("cpu", threads, cell, shape, backward, timing, rate, peak, without)


def on_gpu(chosen: Any, threads: int, cell: str, shape: Any, dtype: Any, backward: bool) -> dict[str, Any]:
    """The same layers on the GPU, where bptt takes torch's own."""
    import torch
    from interleave import interleaved
    from peers import layers, torch_step
    from shapes import operations

    ours, theirs, x = layers(cell, shape, dtype)
    ours.backend = "auto"
    there = x.detach().cuda().requires_grad_()
    calls = {"native": torch_step(ours.cuda(), there, backward), "torch": torch_step(theirs.cuda(), there, backward)}

    def whole(call: Any) -> Any:
        return lambda: (call(), torch.cuda.synchronize())

    timing = interleaved({name: whole(call) for name, call in calls.items()}, chosen.rounds, budget=chosen.seconds)
    rate = operations(cell, shape, backward) / timing["native"].seconds
    return row("cuda", threads, cell, shape, backward, timing, rate, float("inf"), {})


def row(
    device: str, threads: int, cell: str, shape: Any, backward: bool, timing: Any, rate: float, peak: float, without: Any
) -> Any:
    rivals = [name for name in ("padded", "torch", "compile") if name in timing]
    best = min(rivals, key=lambda name: timing[name].seconds)
    return {
        "device": device,
        "threads": threads,
        "cell": cell,
        "shape": list(shape),
        "pass": "both" if backward else "forward",
        "ms": {name: each.seconds * 1e3 for name, each in timing.items() if name != "peak"},
        "rounds_ms": {name: [s * 1e3 for s in each.rounds] for name, each in timing.items() if name != "peak"},
        "best": best,
        "ratio": timing[best].ratio,
        "low": timing[best].low,
        "high": timing[best].high,
        "against": {name: each.ratio for name, each in timing.items() if name not in ("native", "peak")},
        "gflops": rate / 1e9,
        "of_peak": rate / peak,
        "without": without,
    }


def machine() -> dict[str, Any]:
    import bptt_native
    import torch

    info = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        if info.exists()
        else []
    )
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "isa": bptt_native.isa(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


if __name__ == "__main__":
    main()
