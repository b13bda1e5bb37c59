"""What the tasks reach on public data, beside published figures and plain baselines: docs/results.md.

    make results                                            all of it: some hours on two cores
    python benchmarks/results.py --only sentiment engines   some rows; the others stay as they were measured
    python benchmarks/results.py --copies FOLDER            data from FOLDER/NAME instead of the network

Each row is what the commands in it print. A run that is complete in build/results is not trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@dataclass(frozen=True)
class Row:
    """One line of the table. ``figure``: where the model's figure stands in the report of ``bptt evaluate --json``."""

    name: str
    what: str
    task: str
    options: str
    figure: str
    goal: str
    published: str
    lower: bool = True
    seeds: int = 1
    form: str = ".2f"
    scale: float = 1.0


_WORDS = (
    "--data ptb --layers 2 --hidden 200 --dropout 0 --through truncated:k1=20 --rows 20 --optimizer sgd --lr 1 "
    "--schedule decay:after=4,rate=0.5 --clip 5 --reduction rows --restart 0 --epochs 13"
)
_NOTTINGHAM = (
    "--data nottingham --dropout 0.3 --input-dropout 0 --rows 4 --epochs 20 --lr 0.004 --optimizer adamw:weight_decay=0.01"
)
_BEIJING = (
    "--data beijing --missing zero --valid 876 --test 35040 --point mean --history 48 --stride 2 --dropout 0.3 --epochs 12 "
    "--lr 0.001"
)
_WEATHER = (
    "--known DEWP --known TEMP --known PRES --known Iws --known Is --known Ir --known cbwd=NW --known cbwd=NE --known cbwd=SE"
)
_NATS = "scores/this model/nats"
ROWS = (
    Row(
        "words", "Penn Treebank, test perplexity", "text", _WORDS, "perplexity", "≤ 116", "114.5 (Zaremba et al. 2014)",
        form=".1f",
    ),
    Row(
        "characters", "Tiny Shakespeare, nats a character", "text",
        "--data shakespeare --hidden 768 --dropout 0.45 --rows 16 --epochs 16 --lr 0.0015", "nats", "≤ 1.50", "–", form=".3f",
    ),
    Row(
        "sentiment", "SST-2, test accuracy %", "classify", "--data sst2", "scores/this model/accuracy", "≥ 81",
        "84.9 (with vectors from outside)", lower=False, seeds=5, scale=100,
    ),
    Row(
        "translation", "Multi30k en→de, test 2016, BLEU", "translate", "--data multi30k", "scores/this model/bleu", "≥ 31",
        "33.7", lower=False,
    ),
    Row(
        "summaries", "news-summary, ROUGE-1", "summarize", "--data news-summary", "scores/this model/rouge1", "above the next",
        "–", lower=False,
    ),
    Row(
        "without copying", "the same network without copying", "summarize", "--data news-summary --no-copy-words",
        "scores/this model/rouge1", "–", "–", lower=False,
    ),
    Row(
        "digits", "spoken digits (fsdd), transcripts without an error, %", "transcribe",
        "--data fsdd --hidden 96 --rows 32 --epochs 20 --dropout 0.3", "scores/this model/exact", "≥ 98", "–",
        lower=False, form=".1f", scale=100,
    ),
    Row(
        "temperature", "Melbourne, next day, MAE", "forecast", "--data melbourne --test 2y",
        "targets/Temp/scores/this model/mae", "below 1.953", "–", form=".3f",
    ),
    Row(
        "transformer", "ETTh1, 24 hours ahead, 7 variables, MSE", "forecast",
        "--data etth1 --horizon 24 --apart --lags 72 --history 168 --norm window --rows 8 --epochs 5",
        "all/scores/this model/mse", "< 0.40", "0.577 (Informer, Zhou et al. 2021)", form=".3f",
    ),
    Row(
        "m4 hourly", "M4 Hourly, 48 hours ahead, sMAPE", "forecast",
        "--data m4-hourly --scale log --lags 168 --history 336 --norm window --stride 84 --rows 16 --hidden 48 --epochs 3",
        "targets/value/scores/this model/smape", "≤ 11.5", "9.33 (best of the competition), 18.38 (Naive2)",
    ),
    Row(
        "beijing", "Beijing, next hour, RMSE, missing cells zeros as published", "forecast", _BEIJING,
        "targets/pm2.5/scores/this model/rmse", "< 25.5", "26.50 (an LSTM)", seeds=3,
    ),
    Row(
        "beijing weather", "the same, told that hour's weather", "forecast", f"{_BEIJING} --set past=[] {_WEATHER}",
        "targets/pm2.5/scores/this model/rmse", "–", "–", seeds=3,
    ),
    Row(
        "returns", "shares and S&P 500, next day's return, MAE in deviations", "forecast",
        "--data stocks --history 60 --epochs 6", "all/scores/this model/mae", "no more than the random walk", "–", form=".4f",
    ),
    Row(
        "swings", "the same, size of the return, MAE in deviations", "forecast",
        "--data stocks --transform volatility --history 60 --epochs 6", "all/scores/this model/mae", "below the next", "–",
        form=".4f",
    ),
    Row("engines", "C-MAPSS FD001, RMSE", "maintain", "--data cmapss", "scores/this model/rmse", "≤ 14.5",
        "14.93 (one-layer LSTM), 16.14 (deep)", seeds=5),
    Row("chorales", "JSB, nats a step", "sequence", "--data jsb", _NATS, "≤ 8.45", "8.45 (LSTM)", form=".3f"),
    Row("tunes", "Nottingham, nats a step", "sequence", _NOTTINGHAM, _NATS, "≤ 3.30", "3.29 (LSTM)", form=".3f"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS], metavar="ROW", help="these rows alone")
    parser.add_argument("--copies", type=Path, help="folder with a copy of each data set in a folder of its name")
    parser.add_argument("--runs", type=Path, default=ROOT / "build" / "results", help="folder of the runs")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    chosen = parser.parse_args()
    kept = chosen.out / "results.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for row in ROWS:
        if chosen.only is None or row.name in chosen.only:
            found[row.name] = measured(row, chosen.runs / row.name.replace(" ", "-"), chosen.copies)
            kept.write_text(json.dumps(found, indent=2) + "\n")
            (chosen.out / "results.md").write_text(page(found))


def measured(row: Row, folder: Path, copies: Path | None) -> dict[str, Any]:
    """Trains the row's runs, and measures them."""
    values, seconds, plain = [], [], dict[str, list[float]]()
    for seed in range(row.seeds):
        run = folder / f"seed-{seed}"
        more = [] if copies is None else ["--data-dir", str(copies / row.options.split()[1])]
        begun = time.monotonic()
        if not (run / "done").exists():
            bptt("train", row.task, *row.options.split(), *more, "--seed", str(seed), "--out", str(run))
            (run / "done").write_text(f"{time.monotonic() - begun} {CORES}\n")
        taken, cores = (run / "done").read_text().split()
        seconds.append(float(taken))
        report = json.loads(bptt("evaluate", str(run), "--json"))
        values.append(row.scale * float(at(report, row.figure)))
        for label, value in beside(report, row.figure).items():
            plain.setdefault(label, []).append(row.scale * value)
    middle = {label: statistics.median(each) for label, each in plain.items()}
    return {**asdict(row), "values": values, "seconds": statistics.median(seconds), "cores": int(cores), "plain": middle}


def bptt(*given: str) -> str:
    command = [sys.executable, "-m", "bptt", *given]
    print(f"$ bptt {shlex.join(given)}", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bptt {shlex.join(given)} ended with {done.returncode}\n{done.stdout}")
    return done.stdout


def at(report: Any, path: str) -> Any:
    for key in path.split("/"):
        report = report[key]
    return report


def beside(report: Any, path: str) -> dict[str, float]:
    """The same figure of everything that stands in the table with the model."""
    if "baselines" in report:
        bits = float(report["baselines"]["ngram"])
        nats = bits * 0.6931471805599453
        return {f"{report['baselines']['order']}-gram": nats if path == "nats" else 2**bits}
    before, _, after = path.partition("this model/")
    scores = at(report, before.rstrip("/"))
    return {label: float(each[after]) for label, each in scores.items() if not label.startswith("this model") and after in each}


def page(found: dict[str, Any]) -> str:
    """The table as Markdown."""
    lines = [
        "# Results", "",
        "What the tasks reach on public data, beside what takes no network and what was published. Written by `make results`;",
        "each row's command prints its figure. Of several seeds the median counts, and all stand beside it.", "",
        "| | here | goal | best without a network | published | minutes a run | cores |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in ROWS:
        if row.name not in found:
            continue
        each = found[row.name]
        values = [format(value, row.form) for value in each["values"]]
        here = format(statistics.median(each["values"]), row.form) + (f" ({', '.join(values)})" if len(values) > 1 else "")
        pick = min if row.lower else max
        best = pick(each["plain"], key=each["plain"].get) if each["plain"] else None
        plain = "–" if best is None else f"{format(each['plain'][best], row.form)} ({best})"
        took = f"{each['seconds'] / 60:.1f} | {each['cores']}"
        lines.append(f"| {row.what} | {here} | {row.goal} | {plain} | {row.published} | {took} |")
    lines += ["", "The commands:", "", "```"]
    lines += [f"bptt train {row.task} {row.options}" for row in ROWS if row.name in found]
    return "\n".join([*lines, "```", ""])


if __name__ == "__main__":
    main()
