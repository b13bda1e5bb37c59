"""The influence on the few parts of the state that each parameter reaches; see `bptt.SnAp`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bptt.layout import Layout
from bptt.online.influence import Influence
from bptt.online.pattern import Pattern, colours
from bptt.online.step import Step


class Sparse(Influence):
    """M on a fixed pattern ``[n, P]`` of bool for each parameter.

    I_t is read from few backward passes: states that no parameter reaches together share one (their *colour*), and so do
    rows of J_t without a common entry.
    """

    def __init__(self, layout: Layout, names: list[str], pattern: Pattern, masks: dict[int, Tensor]) -> None:
        super().__init__(layout, names)
        like = torch.empty(0, dtype=layout.dtype, device=layout.device)
        self._links = pattern.by_state.to(layout.device)
        self._row_colour = colours([pattern.by_state]).to(layout.device)
        self._colour = colours([torch.zeros(layout.size, 1, dtype=torch.bool), *masks.values()]).to(layout.device)
        self._blocks: dict[int, _Few | _Many] = {}
        for place, mask in masks.items():
            few, here = _few(mask), mask.to(layout.device)
            self._blocks[place] = _Few(here, few, layout.rows, like) if few else _Many(here, layout.rows, like)

    @staticmethod
    def bytes(layout: Layout, masks: dict[int, Tensor]) -> int:
        """The memory that it takes at the moment in which it advances."""
        wide = layout.dtype.itemsize
        return sum(
            (_few(mask) or len(mask)) * mask.shape[1] * (2 * layout.rows * wide + torch.int64.itemsize)
            for mask in masks.values()
        )

    def gradient(self, error: Tensor) -> dict[int, Tensor]:
        return {place: block.gradient(error) for place, block in self._blocks.items()}

    def advance(self, step: Step) -> None:
        rows, size = self.layout.rows, self.layout.size
        eye = torch.eye(rows, dtype=step.after.dtype, device=step.after.device)
        jacobian = self._jacobian(step)
        each = int(self._colour.max()) + 1
        chosen = torch.nn.functional.one_hot(self._colour, each).T.to(eye)  # [C, n]
        vectors = (chosen[:, None, None] * eye[None, :, :, None]).reshape(each * rows, rows, size)
        for place, found in enumerate(step.by_parameters(vectors)):
            block = self._blocks.get(place)
            if block is not None:
                direct = None if found is None else found.reshape(each, rows, -1)
                block.advance(jacobian, direct, self._colour)

    def _jacobian(self, step: Step) -> Tensor | None:
        """J_t ``[R, n, n]``, from as many passes as its rows have colours."""
        each = int(self._row_colour.max()) + 1
        chosen = torch.nn.functional.one_hot(self._row_colour, each).T.to(step.after)
        found = step.by_state(chosen[:, None].expand(-1, self.layout.rows, -1))
        if found is None:
            return None
        return found[self._row_colour].transpose(0, 1) * self._links

    def tensors(self) -> dict[str, Tensor]:
        return {self.names[place]: block.m for place, block in self._blocks.items()}

    def restore(self, saved: dict[str, Any]) -> None:
        for place, block in self._blocks.items():
            given = saved.get(self.names[place])
            if given is None or given.shape != block.m.shape:
                raise ValueError(
                    f"the saved influence of {self.names[place]} does not fit what this module's parameters reach: resume with "
                    "the module and the sequence that it was saved with"
                )
            block.m = given.clone()


def _few(mask: Tensor) -> int | None:
    """The most states that one parameter reaches, where they are so few that each is cheaper carried by itself."""
    most = int(mask.sum(0).max())
    return most if most * most <= len(mask) else None


class _Few:
    """Parameters that reach at most K states each: M ``[R, K, P]``, and which states these are ``[K, P]``."""

    def __init__(self, mask: Tensor, most: int, rows: int, like: Tensor) -> None:
        order = [part.to(torch.uint8).sort(dim=0, descending=True, stable=True) for part in torch.split(mask, 1 << 16, 1)]
        self._states = torch.cat([part.indices[:most] for part in order], 1)
        self._valid = torch.cat([part.values[:most] for part in order], 1).bool()
        self.m = like.new_zeros(rows, *self._states.shape)

    def gradient(self, error: Tensor) -> Tensor:
        total = torch.zeros_like(self.m[0, 0])
        for k, states in enumerate(self._states):
            total += (error[:, states] * self.m[:, k]).sum(0)
        return total

    def advance(self, jacobian: Tensor | None, direct: Tensor | None, colour: Tensor) -> None:
        new = torch.zeros_like(self.m)
        for k, states in enumerate(self._states):
            if direct is not None:
                places = colour[states].expand(1, len(self.m), -1)
                new[:, k] = direct.gather(0, places)[0]
            if jacobian is not None:
                for other, before in enumerate(self._states):
                    new[:, k] += jacobian[:, states, before] * self.m[:, other]
        self.m = new * self._valid


class _Many:
    """Parameters that reach many states: M ``[R, n, P]``, zero outside the mask."""

    def __init__(self, mask: Tensor, rows: int, like: Tensor) -> None:
        self._mask = mask
        self.m = like.new_zeros(rows, *mask.shape)

    def gradient(self, error: Tensor) -> Tensor:
        return (error.reshape(1, -1) @ self.m.flatten(0, 1))[0]

    def advance(self, jacobian: Tensor | None, direct: Tensor | None, colour: Tensor) -> None:
        new = torch.zeros_like(self.m) if direct is None else direct[colour].transpose(0, 1)
        self.m = (new if jacobian is None else torch.baddbmm(new, jacobian, self.m)) * self._mask
