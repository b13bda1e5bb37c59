"""What torch may be doing with a computation besides running it, that not every kernel can take part in."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad

_transform = torch._C._functorch.peek_interpreter_stack


def transformed() -> str | None:
    """The transform under way, in words; ``None`` where there is none."""
    if _transform() is not None:
        return "torch.func's transforms (grad, vmap, jvp)"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation"
    return None
