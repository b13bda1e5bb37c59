"""`RNN`, `GRU` and `LSTM`: they take the place of torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from bptt.kernels.reference import activations
from bptt.nn.recurrent import Recurrent


class RNN(Recurrent):
    """The plain recurrent network, h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh); takes the place of ``torch.nn.RNN``.

    ``nonlinearity`` f is ``"tanh"``, ``"relu"``, another name in `bptt.kernels.reference.activations`, or any function of a
    tensor. See `Recurrent` for shapes and the settings that torch does not have. Elman 1990. Not for dependencies beyond some
    tens of steps, unless initialised for it (`bptt.nn.init.identity_`): its gradient dies or blows up.
    """

    cell = "rnn"
    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str | Callable[[Tensor], Tensor] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        clip_step: float | None = None,
        backend: str = "auto",
        variational: bool = False,
    ) -> None:
        if not callable(nonlinearity) and nonlinearity not in activations:
            known = ", ".join(map(repr, activations))
            raise ValueError(f"nonlinearity={nonlinearity!r} is unknown: one of {known}, or a function of a tensor")
        self.nonlinearity = nonlinearity
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, nonlinearity, clip_step,
            backend, device, dtype, variational,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity!r}")


class GRU(Recurrent):
    """The gated recurrent unit, reset after the product as in torch and cuDNN; takes the place of ``torch.nn.GRU``.

    r = σ(a_r + u_r), z = σ(a_z + u_z), n = tanh(a_n + r ⊙ u_n), h_t = (1-z) ⊙ n + z ⊙ h_{t-1}, with a = W_ih x_t + b_ih and
    u = W_hh h_{t-1} + b_hh. See `Recurrent` for shapes and the settings that torch does not have. Cho et al. 2014,
    arXiv 1406.1078. Not where a count must be kept over long times: its state is a bounded average, an LSTM's cell is not.
    """

    cell = "gru"
    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        clip_step: float | None = None,
        backend: str = "auto",
        variational: bool = False,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, "tanh", clip_step,
            backend, device, dtype, variational,
        )  # fmt: skip


class LSTM(Recurrent):
    """Long short-term memory; takes the place of ``torch.nn.LSTM``. Its state is the pair (h, c).

    i, f, o = σ(a + u), g = tanh(a_g + u_g), c_t = f ⊙ c_{t-1} + i ⊙ g, h_t = o ⊙ tanh(c_t), with a = W_ih x_t + b_ih and
    u = W_hh h_{t-1} + b_hh; with ``proj_size`` P > 0, h_t = W_hr (o ⊙ tanh c_t) and h is ``[L·D, B, P]``. See `Recurrent` for
    shapes and the settings that torch does not have. Hochreiter & Schmidhuber 1997; forget gate of Gers et al. 2000.
    For long memory begin with open forget gates: `bptt.nn.init.forget_bias_` or `bptt.nn.init.chrono_`.
    """

    cell = "lstm"
    gates = 4
    parts = ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        clip_step: float | None = None,
        backend: str = "auto",
        variational: bool = False,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, "tanh", clip_step,
            backend, device, dtype, variational,
        )  # fmt: skip
