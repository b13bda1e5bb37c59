"""`LRU`: a linear recurrence on complex numbers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from bptt.nn.checks import check_sizes, is_number
from bptt.nn.scanned import Scanned, check_how


class LRU(Scanned):
    """The linear recurrent unit, on H complex numbers.

        h_t = λ ⊙ h_{t-1} + γ ⊙ (B x_t),    y_t = Re(C h_t) + D x_t,    λ = exp(-exp(ν) + i exp(θ)),  γ = exp(γ_log)

    so |λ| < 1 whatever is learned. See `Scanned` for shapes, masks and resets; the state is complex ``[1, B, H]``, and
    y ``[T, B, H]``. D is a matrix ``[H, I]``, as input and output need not have one size.

    At first |λ| is drawn uniformly by area between ``r_min`` and ``r_max``, its angle between 0 and ``max_phase`` radians,
    and γ = √(1 - |λ|²), which keeps the state's size.

    Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences", arXiv 2303.06349. Not by itself: it is
    linear in time, so put a nonlinear layer after each, and stack them.

    **Raises** ``ValueError`` for sizes or radii out of range.
    """

    nu: nn.Parameter
    theta: nn.Parameter
    gamma_log: nn.Parameter
    b_real: nn.Parameter
    b_imag: nn.Parameter
    c_real: nn.Parameter
    c_imag: nn.Parameter
    d: nn.Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        batch_first: bool = False,
        r_min: float = 0.4,
        r_max: float = 0.99,
        max_phase: float = 2 * math.pi,
        device: Any = None,
        dtype: Any = None,
        *,
        how: str = "auto",
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        check_how(how)
        if not (is_number(r_min) and is_number(r_max) and 0 <= r_min < r_max < 1):
            raise ValueError(f"r_min and r_max must be 0 ≤ r_min < r_max < 1, got {r_min!r} and {r_max!r}")
        if not is_number(max_phase) or not 0 < max_phase <= 2 * math.pi:
            raise ValueError(f"max_phase must be above 0 and at most 2π, got {max_phase!r}")
        self.input_size, self.hidden_size, self.batch_first, self.how = input_size, hidden_size, batch_first, how
        self.r_min, self.r_max, self.max_phase = r_min, r_max, max_phase
        shapes = {
            "nu": (hidden_size,),
            "theta": (hidden_size,),
            "gamma_log": (hidden_size,),
            "b_real": (hidden_size, input_size),
            "b_imag": (hidden_size, input_size),
            "c_real": (hidden_size, hidden_size),
            "c_imag": (hidden_size, hidden_size),
            "d": (hidden_size, input_size),
        }
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    @property
    def elementwise_state(self) -> int:
        """The numbers in a row's state, each of which depends on itself and its other half alone; see `bptt.RTRL`."""
        return 2 * self.hidden_size

    def reset_parameters(self) -> None:
        """Draws λ from the ring between r_min and r_max, and every matrix from a normal distribution of variance 1/(2·inputs)
        (1/inputs for D)."""
        with torch.no_grad():
            square = torch.rand_like(self.nu) * (self.r_max**2 - self.r_min**2) + self.r_min**2
            square = square.clamp_min(1e-12)
            self.nu.copy_((-0.5 * square.log()).log())
            self.theta.copy_((self.max_phase * torch.rand_like(self.theta).clamp_min(1e-6)).log())
            self.gamma_log.copy_(0.5 * torch.log1p(-square))
            for name, scale in (("b_real", 2), ("b_imag", 2), ("c_real", 2), ("c_imag", 2), ("d", 1)):
                matrix = self.get_parameter(name)
                matrix.normal_(std=1 / math.sqrt(scale * matrix.shape[1]))

    def _layers(self, x: Tensor, state: Tensor, mask: Tensor | None, reset: Tensor | None) -> tuple[Tensor, Tensor]:
        scaled = torch.exp(self.gamma_log)
        write = torch.complex(linear(x, self.b_real) * scaled, linear(x, self.b_imag) * scaled)
        decay = torch.polar(torch.exp(-torch.exp(self.nu)), torch.exp(self.theta))
        h = self._scan(decay.expand_as(write), write, state[0], mask, reset)
        y = linear(h.real, self.c_real) - linear(h.imag, self.c_imag) + linear(x, self.d)
        return y if mask is None else torch.where(mask[:, :, None], y, 0), h[-1:]

    def _state_form(self, x: Tensor) -> tuple[list[int], torch.dtype, str]:
        dtype = torch.complex128 if x.dtype == torch.float64 else torch.complex64
        return [1, x.shape[1], self.hidden_size], dtype, "[1, B, H]"

    def extra_repr(self) -> str:
        defaults = {"batch_first": False, "r_min": 0.4, "r_max": 0.99, "max_phase": 2 * math.pi, "how": "auto"}
        said = [f"{name}={getattr(self, name)!r}" for name, default in defaults.items() if getattr(self, name) != default]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *said])
