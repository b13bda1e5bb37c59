"""What the executor keeps: tapes until they are reversed, states until they are dropped, the present while steps run again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bptt import state as states
from bptt.call import Caller
from bptt.disk import Folder
from bptt.memory import kept_bytes
from bptt.randomness import Randomness
from bptt.state import State


@dataclass
class Tape:
    """A taped run; ``before`` is the state before it as leaves whose ``grad`` is the error there, where a run will take it."""

    start: int
    before: State
    after: State
    loss: Tensor | None


@dataclass
class Kept:
    """A state kept, the random state before the run that began there, and whether random numbers were drawn since."""

    state: State
    random: Randomness
    drew: bool = False


@dataclass(frozen=True)
class Place:
    """Where the last window ended; ``strategy`` is the moment that `bptt.ask.Answers` was at."""

    windows: int
    position: int
    present: State
    kept: dict[int, Kept]
    strategy: Any


class Store:
    """The states kept, by boundary, in memory or in files of ``folder``; knows what they take, and took at most."""

    def __init__(self, folder: str | None = None) -> None:
        self._kept: dict[int, Kept] = {}
        self._bytes: dict[int, int] = {}
        self._hidden: dict[int, tuple[Kept, int]] = {}
        self._random: Randomness | None = None
        self._folder = None if folder is None else Folder(folder)
        self.bytes = self.most = 0

    def __contains__(self, at: object) -> bool:
        return at in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, at: int) -> Kept:
        kept = self._kept[at]
        if self._folder is not None and at in self._folder:
            return Kept(self._folder.read(at, kept.state), kept.random, kept.drew)
        return kept

    def random(self, at: int | None) -> Randomness:
        """The random state that was kept there."""
        assert at is not None
        return self._kept[at].random

    def drew(self, at: int | None) -> bool:
        """Whether random numbers have been drawn since this state was kept."""
        return at is not None and at in self._kept and self._kept[at].drew

    def mark_drawn(self, at: int | None) -> None:
        """Random numbers have been drawn since this state was kept."""
        assert at is not None
        self._kept[at].drew = True

    def put(self, at: int, kept: Kept, disk: bool = False) -> None:
        """Keeps it; a random state that is that of the one before is kept once. What is kept there already is hidden by it."""
        known = self._random
        if at in self._kept:
            first = self._kept[at]
            self._hidden[at] = first, self._bytes[at]
            kept.drew, known = first.drew, first.random  # of the first run, which a replay meets again
        same = known is not None and (at in self._kept or kept.random == known)
        if same and known is not None:
            kept.random = known
        self._random = kept.random
        self._bytes[at] = kept_bytes(None if disk else kept.state, None if same else kept.random)
        if disk:
            if self._folder is None:
                raise ValueError("the plan keeps a state on disk, but the strategy names no folder for it: disk=...")
            kept.state = self._folder.write(at, kept.state)
        self._kept[at] = kept
        self.bytes += self._bytes[at]
        self.most = max(self.most, self.bytes)

    def drop(self, at: int) -> None:
        """Forgets it, its file too."""
        del self._kept[at]
        self.bytes -= self._bytes.pop(at)
        if at in self._hidden:
            self._kept[at], self._bytes[at] = self._hidden.pop(at)
            return
        if self._folder is not None:
            self._folder.drop(at)

    def oldest(self, otherwise: int) -> int:
        """The first boundary kept."""
        return min(self._kept, default=otherwise)

    def snapshot(self) -> dict[int, Kept]:
        """All that is kept, by boundary; what happens to the store later does not change it."""
        return {at: self[at] for at in self._kept}

    def close(self) -> None:
        """Removes the files."""
        if self._folder is not None:
            self._folder.close()


class Aside:
    """The present random numbers and buffers, while steps run again; also a context."""

    def __init__(self, call: Caller) -> None:
        self._random, self._buffers = call.randomness(), call.other_buffers()
        self._buffers.__enter__()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.put_back()

    def put_back(self) -> None:
        self._random.put_back()
        self._buffers.__exit__(None, None, None)


class Compact:
    """Copies of states as they are kept: without the larger tensors that parts of them may be views of, small ones together.

    A small tensor alone, made in a run and kept when the large ones of that run are freed, would lie in their place: the next
    run's go beyond it, and the process grows with every state kept. A row is given out once, so no copy ever changes.
    """

    def __init__(self) -> None:
        self._slabs: dict[tuple[Any, ...], list[Tensor]] = {}

    def __call__(self, state: State) -> State:
        return states.map_leaves(self._copy, state)

    def _copy(self, leaf: Tensor) -> Tensor:
        if leaf.device.type != "cpu" or not 0 < 2 * leaf.nbytes <= _SLAB:
            return leaf.clone() if leaf.untyped_storage().nbytes() > leaf.nbytes else leaf
        free = self._slabs.setdefault((leaf.shape, leaf.dtype), [])
        if not free:
            # .data: rows of one slab would else count changes together, and autograd take the filling of one for another's.
            free.extend(row.data for row in leaf.new_empty((_SLAB // leaf.nbytes, *leaf.shape)))
        return free.pop().copy_(leaf)


_SLAB = 4096  # bytes
