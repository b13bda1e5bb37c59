"""``bptt doctor``: what this machine has, and which kernel serves which layer."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from bptt.cli.say import console, examples, table

EXAMPLES = examples(
    ("bptt doctor", "look at this machine"),
    ("bptt doctor --json", "the same for a program, or for a bug report"),
)

_EXTRAS = {
    "tokenizers": ("text", "sub-words"),
    "polars": ("tables", "tables: CSV, Parquet"),
    "matplotlib": ("plots", "pictures"),
    "tensorboard": ("logs", "TensorBoard logs"),
}
_SETS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")


def doctor(json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False) -> None:
    """Show versions, cores, instruction sets, and which kernel serves which layer and why."""
    found = {"versions": _versions(), "machine": dict(_machine()), "extras": _extras(), "kernels": _kernels()}
    if json:
        import json as format_json

        print(format_json.dumps(found, indent=2))
        return
    out = console()
    for title in ("versions", "machine"):
        out.print(table((title, ""), [(key, str(value)) for key, value in found[title].items()]))
    extras = [(name, each["version"] or "missing", each["for"], each["install"]) for name, each in found["extras"].items()]
    out.print(table(("extras", "version", "for", "install"), extras))
    names = list(next(iter(found["kernels"].values())))
    rows = [(layer, _chosen(serves), *(serves[name] for name in names)) for layer, serves in found["kernels"].items()]
    out.print(table(("layer", "auto takes", *names), rows))


def _versions() -> dict[str, str]:
    names = ("bptt", "torch", "numpy", "safetensors", "pydantic", "typer", "rich")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def _machine() -> Iterator[tuple[str, Any]]:
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "system", f"{platform.system()} {platform.release()}, {platform.machine()}"
    yield "processor", _processor()
    yield "cores", f"{usable} usable of {os.cpu_count()}"
    asked = os.environ.get("OMP_NUM_THREADS")
    yield "threads of torch", f"{torch.get_num_threads()}" + (f" (OMP_NUM_THREADS={asked})" if asked else "")
    yield "instruction sets", ", ".join(_instruction_sets()) or "unknown"
    yield "torch computes with", torch.backends.cpu.get_cpu_capability()
    yield "oneDNN", "yes" if torch.backends.mkldnn.is_available() else "no"  # type: ignore[no-untyped-call]
    devices = [f"cuda:{n} {torch.cuda.get_device_name(n)}" for n in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    yield "accelerators", ", ".join(devices) or "none"


def _processor() -> str:
    lines = _cpuinfo()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "") or platform.processor()


def _instruction_sets() -> list[str]:
    flags = next((line for line in _cpuinfo() if line.lower().startswith(("flags", "features"))), "")
    there = set(flags.partition(":")[2].split())
    return [name for name in _SETS if name in there]


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _extras() -> dict[str, dict[str, str]]:
    def state(name: str, extra: str) -> dict[str, str]:
        if importlib.util.find_spec(name) is None:
            return {"version": "", "install": f'pip install "bptt[{extra}]"'}
        return {"version": metadata.version(name), "install": ""}

    return {name: {**state(name, extra), "for": use} for name, (extra, use) in _EXTRAS.items()}


def _kernels() -> dict[str, dict[str, str]]:
    """Layers with settings that matter to kernels: what each kernel says of them."""
    import torch

    from bptt import nn

    x = torch.zeros(2, 1, 4)
    flags = torch.ones(2, 1, dtype=torch.bool)
    found = {}
    for name, kind in (("RNN", nn.RNN), ("GRU", nn.GRU), ("LSTM", nn.LSTM)):
        found[name] = kind(4, 4).backends(x)
        found[f"{name}, mask and reset"] = kind(4, 4).backends(x, flags, flags)
        found[f"{name}, clip_step"] = kind(4, 4, clip_step=1.0).backends(x)
    found["RNN, relu"] = nn.RNN(4, 4, nonlinearity="relu").backends(x)
    found["RNN, softplus"] = nn.RNN(4, 4, nonlinearity="softplus").backends(x)
    found["LSTM, proj_size"] = nn.LSTM(4, 4, proj_size=2).backends(x)
    found["LSTM, bidirectional"] = nn.LSTM(4, 4, bidirectional=True).backends(x)
    return found


def _chosen(serves: dict[str, str]) -> str:
    return next(name for name, answer in serves.items() if answer == "serves")
