"""What a checkpoint of a run holds, when it is due, and how a run goes on from it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bptt.train.checkpoint import Checkpoint, weights_from
from bptt.train.gathering import Share, first_step, merged, row_dims, taken_apart
from bptt.train.ledger import random_state, seed_all, seed_of, set_random_state
from bptt.train.pack import pack
from bptt.train.parts import Begun, begin_together

if TYPE_CHECKING:
    from bptt.train.loop import Loop


class Keeping:
    """The checkpoints of one sitting; ``update``: the newest one's, below 0 where there is none."""

    def __init__(self, loop: Loop) -> None:
        self._loop, self._run, self._processes = loop, loop.run, loop.run.processes
        self.update, self._at = -1, 0.0
        self._within: dict[str, Any] | None = None
        self._own: dict[str, Any] | None = None
        self._random: dict[str, Any] | None = None

    def begin(self) -> None:
        """The time until the next checkpoint counts from now."""
        self._at = self._now()

    def due(self) -> bool:
        """Whether the present update is to be saved."""
        saving, since = self._run.saving, self._loop.at.update - self.update
        if self.update < 0 or (saving.updates is not None and since >= saving.updates):
            return True
        now = time.perf_counter() if self._processes.size == 1 else self._loop.at.seconds
        return saving.seconds is not None and now - self._at >= saving.seconds

    def save(self, lines: int | None = None) -> None:
        """A checkpoint of the present update; nothing where there is one."""
        run, loop = self._run, self._loop
        if loop.at.update == self.update:
            return
        with loop.pace.pause():
            within = None if loop.windows is None else loop.windows.state_dict()
            shares = self._processes.gather(Share(loop.rows(), within, random_state(run.model)))
            begun = self._begun_together()
            self._processes.first(lambda: self._write(shares, lines, begun))
        self.update, self._at = loop.at.update, self._now()

    def resume(self, checkpoint: Checkpoint) -> None:
        """Makes everything as it was at ``checkpoint``, but for the log and the place in the sequence; see `place`."""
        run, loop, saved = self._run, self._loop, checkpoint.train
        run.model.load_state_dict(checkpoint.weights)
        run.optimizer.load_state_dict(saved["optimizer"])
        if loop.schedule is not None:
            loop.schedule.load_state_dict(saved["schedule"])
        loop.at.load_state_dict(saved["ledger"])
        self._within, self._own, self._random = saved["within"], saved.get("processes"), self._random_numbers(saved)
        set_random_state(self._random)
        self.update = loop.telling.resumed_at = checkpoint.update
        loop.telling.lr = float(run.optimizer.param_groups[0]["lr"])
        run.store.write_record(run.record)
        run.store.name_best(loop.at.best_update, loop.at.best)
        if saved["limits"] != self._limits() and run.needs_total:
            loop.display.say("the limits are others than before: the schedule now runs over those of now")
        for name, now in environment(self._processes.size).items():
            before = saved["environment"].get(name, 1 if name == "processes" else None)
            if before != now:
                loop.display.say(f"{name}: {now}, before {before}: the last bits may differ")

    def place(self, sequence: Any) -> dict[str, Any] | None:
        """Where to go on in the sequence that was under way; given once."""
        whole, self._within = self._within, None
        size = self._processes.size
        if whole is None or (size == 1 and self._own is None):
            return whole
        dims = row_dims(self._run.model, first_step(sequence))
        return taken_apart(whole, self._own, dims, self._processes.rank, size, str(self._run.through))

    def put_back_random(self) -> None:
        """Opening a sequence in its middle may have drawn numbers."""
        if self._random is not None:
            set_random_state(self._random)
            self._random = None

    def _begun_together(self) -> Begun | None:
        """What all processes wrote of the checkpoint of a large model."""
        run, limit = self._run, int(self._run.saving.part)
        if self._processes.size == 1 or run.folder is None or _bytes(run.model, run.optimizer) <= limit:
            return None
        optimizer, _ = pack({"optimizer": run.optimizer.state_dict()})  # named as in the whole, see `_write`
        # Buffers that training changes are each process's own: those of the first one are kept, which `_write` adds.
        alike = {name for name, _ in run.model.named_parameters(remove_duplicate=False)}
        weights = {name: value for name, value in weights_from(run.model).items() if name in alike}
        update = self._loop.at.update
        return begin_together(self._processes, lambda: run.store.begin(update), weights, optimizer, limit)

    def _write(self, shares: list[Share], lines: int | None, begun: Begun | None) -> None:
        run, loop = self._run, self._loop
        within, own = shares[0].within, None
        if len(shares) > 1:
            dims = {} if within is None else row_dims(run.model, first_step(loop.sequence))
            within, own = merged(shares, dims)
        train = {
            "ledger": loop.at.state_dict(),
            "within": within,
            "optimizer": run.optimizer.state_dict(),
            "schedule": None if loop.schedule is None else loop.schedule.state_dict(),
            "random": shares[0].random,
            "lines": loop.telling.log.saved() if lines is None else lines,
            "limits": self._limits(),
            "environment": environment(len(shares)),
        }
        if own is not None:
            train["processes"] = own
        checkpoint = Checkpoint(loop.at.update, weights_from(run.model), train, loop.at.best_update)
        run.store.save(checkpoint, run.record, loop.at.best, run.saving.keep, begun)

    def _random_numbers(self, saved: dict[str, Any]) -> dict[str, Any]:
        """Those of this process where it was there before, else new ones."""
        rank = self._processes.rank
        each = [saved["random"]] if saved.get("processes") is None else saved["processes"]["random"]
        if rank < len(each):
            return dict(each[rank])
        seed_all(seed_of(saved["ledger"]["update"], rank))
        return random_state(self._run.model)

    def _limits(self) -> list[float | None]:
        return [self._loop.pace.updates, self._loop.budget.seconds]

    def _now(self) -> float:
        if self._processes.size == 1:
            return time.perf_counter()
        return self._processes.first(self._loop.pace.seconds)


def environment(processes: int) -> dict[str, Any]:
    """What the last bits of a computation may depend on."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads()} | (
        {"processes": processes} if processes > 1 else {}
    )


def _bytes(model: nn.Module, optimizer: Optimizer) -> int:
    of_optimizer = (value for state in optimizer.state.values() for value in state.values())
    return sum(value.nbytes for value in (*model.state_dict().values(), *of_optimizer) if isinstance(value, Tensor))
