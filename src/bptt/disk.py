"""States in files: written whole or not at all, read back to the last bit, removed at the end."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bptt import state as states
from bptt.state import State


class Folder:
    """A folder of states by number, in a folder of its own below ``path``, so that several runs may share the path.

    **Raises** ``ValueError`` where nothing can be written there.
    """

    def __init__(self, path: str) -> None:
        self._held: dict[int, list[torch.device]] = {}
        self._here: Path | None = None
        parent = Path(path)
        self._made = [each for each in (parent, *parent.parents) if not each.exists()]
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self._here = Path(tempfile.mkdtemp(prefix="states-", dir=parent))
        except OSError as error:
            raise ValueError(
                f"disk={path}: states cannot be kept there ({error.strerror}): name a folder to write to"
            ) from None

    def __contains__(self, at: object) -> bool:
        return at in self._held

    def write(self, at: int, state: State) -> State:
        """Writes the tensors of the state; what is left has its structure and no memory.

        **Raises** ``OSError`` where the folder cannot be written to.
        """
        leaves = states.leaves(state)
        self._held[at] = [leaf.device for leaf in leaves]
        path = self._path(at)
        made = path.with_suffix(".part")
        save_file({str(index): _real(leaf.contiguous().clone()) for index, leaf in enumerate(leaves)}, made)
        made.replace(path)
        return states.map_leaves(lambda t: torch.empty_like(t, device="meta"), state)

    def read(self, at: int, left: State) -> State:
        """The state again, from what `write` left."""
        tensors = load_file(self._path(at))
        found = iter([tensors[str(index)].to(device) for index, device in enumerate(self._held[at])])
        return states.map_leaves(lambda t: torch.view_as_complex(next(found)) if t.is_complex() else next(found), left)

    def drop(self, at: int) -> None:
        """Removes the file, where there is one."""
        if self._held.pop(at, None) is not None:
            self._path(at).unlink(missing_ok=True)

    def close(self) -> None:
        """Removes every file, and the folders that this made, where nothing else is in them."""
        self._held.clear()
        if self._here is not None:
            shutil.rmtree(self._here, ignore_errors=True)
            self._here = None
            with contextlib.suppress(OSError):
                for folder in self._made:
                    folder.rmdir()

    def _path(self, at: int) -> Path:
        if self._here is None:
            raise RuntimeError("the folder of states has been closed")
        return self._here / f"{at}.safetensors"

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def _real(leaf: Tensor) -> Tensor:
    return torch.view_as_real(leaf) if leaf.is_complex() else leaf
