"""What the tests look at, made in one go: ``python -m tests.distributed.scenarios FOLDER`` writes ``told.json`` there."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

os.environ["TORCH_CPP_LOG_LEVEL"] = "FATAL"  # as bptt.cli.launch sets it, before torch is there

import safetensors.torch
import torch
import torch.distributed as dist
import torch.distributed.run
import torch.utils.tensorboard

import bptt
import bptt.cli.main
import bptt.cli.training
import bptt.data.encode
import bptt.data.outline
import bptt.tasks.text
from bptt.train import Saving
from tests.distributed.cases import CASES, RESUMED, STOPS, Counting, Dropping, make, outcome, tokens, updates
from tests.distributed.forks import Forks, free_port

TEXT = "To be, or not to be, that is the question. " * 60
SMALL = ["--hidden", "4", "--rows", "4", "--epochs", "1", "--valid", "0", "--threads", "1", "--through", "truncated:k1=8"]
Told = list[dict[str, Any]]


def joined(job: Callable[[], None]) -> Callable[[int], None]:
    """The job, inside a process group."""

    def run(_: int) -> None:
        torch.set_num_threads(1)
        dist.init_process_group("gloo", timeout=timedelta(minutes=10))
        job()
        dist.destroy_process_group()

    return run


def equal(folder: Path) -> None:
    """Every case, and those that are gone on with."""
    size, leads = dist.get_world_size(), dist.get_rank() == 0
    for number, case in enumerate(CASES):
        found = outcome(make(case), updates(case))
        if leads:
            safetensors.torch.save_file(found, folder / f"{size}-{number}.safetensors")
    for case in RESUMED:
        make(case, folder / f"resumed {case}").fit(updates=STOPS[1 if size == 4 else 2])


def exact(folder: Path) -> None:
    """Two processes that draw random numbers, stopped in mid-sequence, and not."""
    more = {"model": Dropping, "data": tokens(5)}
    case = "truncated, k2 longer"
    whole = make(case, **more)
    whole.fit(updates=12)
    make(case, folder / "exact", **more).fit(updates=5)
    again = make(case, folder / "exact", saving=Saving(seconds=1e-6, keep=99), **more)
    again.fit(updates=12)
    make(case, folder / "buffers", data=tokens(5), model=Counting).fit(updates=2)
    same = all(map(torch.equal, whole.model.state_dict().values(), again.model.state_dict().values()))
    print("same bits" if same else "other bits", float(torch.rand(())))


def refused(folder: Path) -> None:
    """What processes that were not started alike, or cannot go on, are told."""
    rank = dist.get_rank()
    for name, settings in (
        ("rate", {"lr": 0.1 + rank}),
        ("data", {"data": tokens(4 + rank)}),
        ("version", {}),
        ("limits", {}),
    ):
        run = make("truncated, equal", folder / "refused", **settings)
        if name == "version":
            run.record["bptt"] = f"0.{rank}"
        try:
            run.fit(updates=3 + (rank if name == "limits" else 0))
        except ValueError as error:
            print(f"{name}: {error}")
    make("forward in time", folder / "forward", through=bptt.RTRL(5)).fit(updates=1)


def text(folder: Path, *options: str, command: str = "train") -> Callable[[int], None]:
    """``bptt train text`` as a command; ``{rank}`` in an option is the process's."""

    def run(rank: int) -> None:
        os.chdir(folder)
        given = ["--data", "in.txt", "--out", "run", *SMALL, *(each.replace("{rank}", str(rank)) for each in options)]
        sys.argv = ["bptt", command, "text", *given]
        bptt.cli.main.entry()

    return run


def paged(job: Callable[[int], None]) -> Callable[[int], None]:
    """The job, as if its text were too large to hold."""

    def run(rank: int) -> None:
        bptt.data.encode.SPILL, bptt.data.outline.PAGE = 1000, 100
        job(rank)

    return run


def until_saved(forks: Forks, folder: Path, then: Callable[[], None], but: int | None = None) -> Told:
    """Does ``then`` once the run has saved itself."""
    end = time.monotonic() + 300
    while not (folder / "run" / "config.json").exists() and time.monotonic() < end:
        time.sleep(0.01)
    then()
    return forks.wait(but)


def commands(folder: Path) -> dict[str, Told]:
    """What ``bptt train`` says, of two processes, to what goes wrong."""
    told: dict[str, Told] = {}

    def place(name: str) -> Path:
        made = folder / name
        made.mkdir()
        for given in ("in.txt", "in0.txt"):
            (made / given).write_text(TEXT)
        for number, start in enumerate(range(0, len(TEXT), 700)):
            for rank in range(2):
                (made / f"shards{rank}").mkdir(exist_ok=True)
                if (name, rank, number) != ("lacks", 1, 2):
                    (made / f"shards{rank}" / f"{number}.txt").write_text(TEXT[start : start + 700])
        return made

    def begin(name: str, *options: str, port: int | None = None) -> Forks:
        return Forks(2, text(place(name), *options), folder / name / "said", port)

    told["misuse"] = begin("misuse", "--lr", "-1").wait()
    told["missing"] = begin("missing", "--data", "in{rank}.txt").wait()
    told["lacks"] = begin("lacks", "--data", "shards{rank}").wait()
    told["unlike"] = begin("unlike", "--lr", "0.{rank}1").wait()
    told["search"] = begin("search", "--search", "3").wait()
    told["whole"] = begin("whole").wait()
    told["paged"] = Forks(2, paged(text(place("paged"), "--data", "shards0")), folder / "paged" / "said").wait()
    told["taken"] = Forks(2, text(folder / "whole", "--hidden", "5"), folder / "whole" / "taken").wait()
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        told["port"] = begin("port", "--timeout", "2", port=port).wait()
    long = ["--epochs", "1000000"]
    for name, number, patience, but in (
        ("hangs", signal.SIGSTOP, 15, 1),
        ("killed", signal.SIGKILL, 300, None),
        ("asked", signal.SIGTERM, 300, None),
    ):
        forks = begin(name, *long, "--timeout", str(patience))
        told[name] = until_saved(forks, folder / name, lambda f=forks, n=number: os.kill(f.pids[1], n), but)  # type: ignore[misc]
    return told


def restarted(folder: Path) -> Told:
    """One of torchrun's workers is killed after the first checkpoint."""
    folder.mkdir()
    (folder / "in.txt").write_text(TEXT)

    def run(_: int) -> None:
        os.chdir(folder)
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            del os.environ[name]
        how = ["--standalone", "--nproc-per-node", "2", "--max-restarts", "2", "-m", "bptt"]
        torch.distributed.run.main([*how, "train", "text", "--data", "in.txt", "--out", "run", *SMALL])

    def kill() -> None:
        os.kill(json.loads((folder / "run" / ".owner").read_text())["pid"], signal.SIGKILL)

    return until_saved(Forks(1, run, folder / "said"), folder, kill)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    told: dict[str, Told] = {}
    started = time.monotonic()
    for name, size, job in (
        ("equal 4", 4, equal),
        ("equal 2", 2, equal),
        ("exact", 2, exact),
        ("refused", 2, refused),
    ):
        told[name] = Forks(size, joined(lambda job=job: job(folder)), folder / "said" / name).wait()  # type: ignore[misc]
        print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)
    told |= commands(folder)
    print(f"commands: {time.monotonic() - started:.1f} s", flush=True)
    told["restarted"] = restarted(folder / "restarted")
    print(f"restarted: {time.monotonic() - started:.1f} s", flush=True)
    (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
