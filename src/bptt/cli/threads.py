"""How many threads a command computes with."""

from __future__ import annotations

import os

_MOST = 8  # threads for each core; far beyond it the system itself refuses, and ends the program


def use_threads(threads: int | None) -> None:
    """Sets torch's threads; ``None`` leaves them.

    **Raises** ``ValueError`` for many more than there are cores.
    """
    if threads is None:
        return
    cores = os.cpu_count() or 1
    if threads > _MOST * cores:
        raise ValueError(
            f"--threads {threads}: this machine has {cores} cores, more threads than these are slower; leave it out"
        )
    import torch

    torch.set_num_threads(threads)
