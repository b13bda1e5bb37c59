"""Strategies that carry influence forward in time instead of the error backward: no history is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bptt.through.base import Strategy, whole
from bptt.through.plan import Action, HandBack, Run, Upto


@dataclass(frozen=True)
class ForwardInTime(Strategy):
    """What `RTRL`, `SnAp` and `UORO` share: a window every ``k`` steps, after which the optimizer may step.

    A window's gradient is that of its own ``k`` losses, with respect to the parameters used at *every* step so far, not only
    since the last window. After an optimizer step the influence that was gathered is that of the weights of then: the
    gradient is exact while the weights stand still, and nearly so while they move slowly.

    Gradients reach the parameters of the model and of the loss, and nothing before them: not x, nor an initial state that
    is itself learned (one that the module makes from its own parameters learns as they do).

    **Raises** ``ValueError`` where k is no whole number of at least 1.
    """

    k: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", whole("k", self.k))

    def plan(self, upto: Upto) -> Iterator[Action]:
        start = 0
        while (stop := upto(start + self.k)) > start:
            yield Run(start, stop, tape=False)
            yield HandBack(start, stop)
            start = stop


@dataclass(frozen=True)
class RTRL(ForwardInTime):
    """Real-time recurrent learning: exact, with the influence M_t = ds_t/dW of every parameter on the state carried along.

        M_t = J_t M_{t-1} + I_t,        dE_t/dW = ∂⁺E_t/∂W + (∂E_t/∂s_{t-1}) M_{t-1}

    J_t = ∂s_t/∂s_{t-1}, I_t = ∂⁺s_t/∂W. Each of B rows has its own M ``[n, P]``, n the numbers in its state and P those
    in the parameters that reach the state; a readout's do not, and get their gradient from each step's loss.

    Cost per step: B·n backward passes of that step and B·n²·P multiplications, whatever T is; memory B·n·P. Where all layers
    that carry a state declare an element-wise recurrence (`bptt.nn.MinGRU` and the like) and there is one of them, the
    influence has one entry a parameter or a few: memory B·P, a few backward passes, and still exact. Not across layers: a
    parameter of a lower one reaches every unit above it, and each of these needs an entry of its own.

    Williams & Zipser 1989, "A learning algorithm for continually running fully recurrent neural networks". Not for modules
    of any size: more than 1 GiB is refused with the memory that it would take, unless ``force``.

    **Raises** ``ValueError`` for such a module, and where k is no whole number of at least 1.
    """

    force: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _flag("force", self.force)


@dataclass(frozen=True)
class SnAp(ForwardInTime):
    """`RTRL` with the influence masked to the entries that a parameter reaches within ``n`` steps.

    What reaches what is found by probing the module: entries of J_t and I_t that are zero at several random states, inputs
    and weights are taken to be zero always, and computed no more. Where x holds symbols, parameters that the first step does
    not touch (the other rows of an embedding) are taken to reach all that their tensor reaches.

    Exact where n steps reach all that can be reached: n = 1 for element-wise recurrences, n = 2 for a dense vanilla
    network; biased elsewhere. The last step's error enters through ∂E_t/∂s_{t-1}, so it is never masked; this
    keeps somewhat more than the paper does.

    Cost per step: with c the most states that a parameter reaches within n steps (1 for a vanilla network, 2 for an LSTM,
    n = 1), about B·c backward passes for I_t, and as many as J_t has overlapping rows (1 if element-wise, the state's
    size if dense) for J_t; memory B·c·P. So for a dense cell it is not the paper's cost, which is that of backpropagation and
    needs J's diagonal in closed form: a module that is only called does not give it. By `benchmarks/online.py` a step of
    a dense GRU or LSTM takes as long as RTRL's where H = 16 or 32 and B = 1, and less from B = 8 on; what it saves is memory.

    Menick et al. 2020, "A practical sparse approximation for real time recurrent learning", arXiv 2006.07232. Not where
    dependencies between units carry what must be learned. More than 1 GiB is refused, unless ``force``.

    **Raises** ``ValueError`` where n or k is no whole number of at least 1, and for a module too large.
    """

    n: int = 1
    force: bool = False

    def __init__(self, n: int = 1, k: int = 1, force: bool = False) -> None:
        object.__setattr__(self, "k", k)
        object.__setattr__(self, "n", n)
        object.__setattr__(self, "force", force)
        self.__post_init__()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "n", whole("n", self.n))
        _flag("force", self.force)


@dataclass(frozen=True)
class UORO(ForwardInTime):
    """Unbiased online recurrent optimisation: the influence as one random product s̃ θ̃ᵀ a row, right on average.

        s̃ ← ρ0 J s̃ + ρ1 ν,   θ̃ ← θ̃/ρ0 + νᵀI/ρ1,   ν ∈ {±1}ⁿ,   ρ0 = √(‖θ̃‖/‖J s̃‖),   ρ1 = √(‖νᵀI‖/‖ν‖)
        g_t = ∂⁺E_t/∂W + (∂E_t/∂s_{t-1} · s̃) θ̃

    Each row has its own s̃, θ̃ and signs. The signs come from a generator of their own, seeded by ``seed`` (``None``: by
    torch's random numbers), whose state goes into ``state_dict``. One seed means the same signs in every pass; `Run` gives each
    sequence its own.

    Cost per step: the step's own backward pass, B for νᵀI and two for J s̃; memory B·(n + P). A module whose backward pass
    has none itself (a kernel of its own) gives J s̃ by n passes instead. Unbiased while the weights stand still; its
    variance grows with n and with the length of what is remembered.

    Tallec & Ollivier 2017, arXiv 1702.05043. Not with large learning rates, nor where `RTRL` or `SnAp` is affordable.

    **Raises** ``ValueError`` where k or seed is no whole number.
    """

    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed is not None:
            object.__setattr__(self, "seed", whole("seed", self.seed, least=0))


def _flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")
