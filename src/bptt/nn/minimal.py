"""`MinGRU` and `MinLSTM`: gates that do not look at the state, so that time can be computed in parallel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from bptt.nn.scanned import Gated


class MinGRU(Gated):
    """The minimal gated recurrent unit.

        z_t = σ(W_z x_t + b_z),    v_t = W_v x_t + b_v,    h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ v_t

    See `Scanned` for shapes, masks and resets; the state is ``[L, B, H]``. ``weight_ih_l0 [2H, I]`` holds W_z, then W_v.
    Computed as it stands here, not in logarithms, so v may have any sign.

    Feng et al. 2024, "Were RNNs all we needed?", arXiv 2410.01201. Not where one layer must count or compare over time: its
    gates see the present input alone, so stack layers, or use `bptt.nn.GRU`.
    """

    gates = 2

    def _keep_and_write(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        z, v = projected.chunk(2, -1)
        return torch.sigmoid(-z), torch.sigmoid(z) * v


class MinLSTM(Gated):
    """The minimal LSTM, whose forget and input gates add up to 1; it has no cell beside h.

        f_t = σ(W_f x_t + b_f),    i_t = σ(W_i x_t + b_i),    v_t = W_v x_t + b_v
        h_t = f_t/(f_t + i_t) ⊙ h_{t-1} + i_t/(f_t + i_t) ⊙ v_t

    See `Scanned` for shapes, masks and resets; the state is ``[L, B, H]``. ``weight_ih_l0 [3H, I]`` holds W_f, W_i, W_v.

    Feng et al. 2024, arXiv 2410.01201. Not where one layer must count or compare over time, as for `MinGRU`.
    """

    gates = 3

    def _keep_and_write(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        f, i, v = projected.chunk(3, -1)
        # f/(f + i) = σ(log f - log i), which no small gate can turn into 0/0.
        share = softplus(-i) - softplus(-f)
        return torch.sigmoid(share), torch.sigmoid(-share) * v
