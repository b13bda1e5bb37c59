"""What a pass will do, and what it took, in words."""

from __future__ import annotations

from bptt.through.plan import Action, Outline, Reach
from bptt.through.size import shown


class Outlook:
    """What is known of a pass; see `bptt.Backprop.plan`.

    - ``outline``: segments, slots, forward steps and the predicted peak, for a strategy that runs steps again to save memory
      (`bptt.through.plan.Outline`), else ``None``;
    - ``reach``: how far back windows go at present and the relative bias to be expected, for a strategy that measures it;
    - ``measured``: the peak, in bytes, once a window is done: what torch allocated while the first whole segment, and each that
      rows cut into more parts, ran and was reversed, its graph, the states kept at most, the gradients, and the input held.
      Of a module with very many operations a step, what malloc had given out instead (glibc).
    """

    def __init__(self, strategy: str) -> None:
        self.strategy = strategy
        self.outline: Outline | None = None
        self.reach: Reach | None = None
        self.measured: int | None = None
        self.gradients = 0

    def told(self, action: Action) -> bool:
        """Takes note of what a plan says of itself; whether it was that."""
        if isinstance(action, Outline):
            self.outline = action
        elif isinstance(action, Reach):
            self.reach = action
        else:
            return False
        return True

    def saw(self, taped: int, kept: int, held: int) -> None:
        """Takes note of what a window took."""
        if taped:
            self.measured = max(self.measured or 0, taped + kept + held + self.gradients)

    def summary(self) -> str:
        """All of it, a few lines."""
        lines = [self.strategy]
        made = self.outline
        if made is not None:
            steps = made.stop - made.start
            disk = f", {made.on_disk:,} of them on disk" if made.on_disk else ""
            once = f", the last {made.once:,} of them run once" if made.once > 1 else ""
            lines += [
                f"  {steps:,} steps in {_some(made.segments, 'segment')} of {_some(made.segment, 'step')}{once}",
                f"  {_some(made.slots, 'slot')} for states{disk}",
                f"  {made.forward:,} forward steps executed, {made.forward / steps:.2f} for each step",
            ]
            if made.predicted is not None:
                budget = f" of {shown(made.budget)}" if made.budget is not None else ""
                measured = f", measured {shown(self.measured)}" if self.measured is not None else ""
                lines.append(f"  peak memory: predicted {shown(made.predicted)}{measured}{budget}")
        if self.reach is not None:
            lines.append(f"  windows reach back {_some(self.reach.k2, 'step')}; relative bias about {self.reach.bias:.2g}")
        return "\n".join(lines)


def _some(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
