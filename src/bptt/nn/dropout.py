"""Dropout for recurrent networks: of the same features at every step, and of the weights from state to state."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils import parametrize


class VariationalDropout(nn.Module):
    """Drops the same features at every step of a call: y_t = m ⊙ x_t / (1 - p), with one mask m of Bernoulli(1 - p) a row.

    ``x [T, B, …]`` gives ``y`` of the same shape; in evaluation mode, or for ``p=0``, x itself. A call is a window, or a part
    of one where the strategy runs it in pieces (`bptt.Checkpointed` draws the same mask again when it runs a piece twice).
    Gal & Ghahramani 2016, arXiv 1512.05287. Not where a step means something else than the one before it, as in a padded row
    of tokens that are classified one by one: ``torch.nn.Dropout`` draws anew at each step.

    **Raises** ``ValueError`` unless 0 ≤ p < 1.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = _share(p)

    def forward(self, x: Tensor) -> Tensor:
        return same_at_every_step(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def same_at_every_step(x: Tensor, p: float, training: bool) -> Tensor:
    """See `VariationalDropout`."""
    if not training or not p:
        return x
    return x * dropout(x.new_ones(1, *x.shape[1:]), p)


class _Dropped(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, weight: Tensor) -> Tensor:
        return dropout(weight, self.p, self.training)


def weight_drop(layer: Any, p: float = 0.5) -> Any:
    """Makes ``layer`` drop weights from state to state in training, the same at all steps of a call; and gives it back.

    Every W_hh of an RNN, GRU or LSTM of `bptt.nn` becomes m ⊙ W_hh / (1 - p) with a mask m of Bernoulli(1 - p),
    drawn at each call. It is a parametrization of torch (``torch.nn.utils.parametrize``): in a state_dict the weight is
    ``parametrizations.weight_hh_l0.original``. Merity, Keskar & Socher 2018, arXiv 1708.02182. Not for single steps in a loop,
    each of which would draw weights of its own.

    **Raises** ``ValueError`` unless 0 ≤ p < 1; ``TypeError`` for another module (torch's layers read such a weight more
    than once a call, and find another mask each time).
    """
    from bptt.nn.recurrent import Recurrent

    if not isinstance(layer, Recurrent):
        raise TypeError(
            f"weight_drop takes an RNN, GRU or LSTM of bptt.nn, got {type(layer).__module__}.{type(layer).__name__}"
        )
    dropped = _Dropped(_share(p))
    for name in [name for name, _ in layer.named_parameters(recurse=False) if name.startswith("weight_hh")]:
        parametrize.register_parametrization(layer, name, dropped)
    return layer


def _share(p: Any) -> float:
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p < 1:
        raise ValueError(f"p must be a share of at least 0 and below 1, got {p!r}")
    return float(p)
