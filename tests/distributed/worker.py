"""One of several processes of a test: ``python -m tests.distributed.worker JOB FOLDER``, with torchrun's variables."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import safetensors.torch
import torch
import torch.distributed as dist

from tests.distributed.cases import CASES, LONG, UPDATES, make, outcome


def equal(folder: Path) -> None:
    """Every case, one after the other."""
    for number, case in enumerate(CASES):
        found = outcome(make(case), LONG.get(case, UPDATES))
        if dist.get_rank() == 0:
            safetensors.torch.save_file(found, folder / f"{dist.get_world_size()}-{number}.safetensors")


def main(job: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    {"equal": equal}[job](Path(folder))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
