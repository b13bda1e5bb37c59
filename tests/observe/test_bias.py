"""A strategy's gradient against the exact one."""

import pytest
import torch
from torch import nn

import bptt
from bptt.observe.bias import gradient_error, whole_gradient
from bptt.through import Full, Truncated


class Counter(nn.Module):
    """s_t = w s_{t-1} + x_t, y = s: with x = (1, 0, 0, …) the gradient is known by hand."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))

    def forward(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        steps = []
        for entering in x:
            state = entering if state is None else self.w * state + entering
            steps.append(state)
        return torch.stack(steps), state  # type: ignore[return-value]


def last(y: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (y * target).sum()


def problem(steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    x, target = torch.zeros(steps, 1, 1, dtype=torch.float64), torch.zeros(steps, 1, 1, dtype=torch.float64)
    x[0], target[-1] = 1, 1
    return x, target


def test_the_bias_of_truncation_is_the_share_that_it_loses() -> None:
    # y_T = w^(T-1): dy/dw = (T-1) w^(T-2), one equal part a step; through the last 2 of 5 steps only 2 of the 4 remain.
    model = Counter(0.5)
    assert float(whole_gradient(model, last, problem(5), Full())) == pytest.approx(4 * 0.5**3)
    error = gradient_error(model, last, problem(5), Truncated(5, 2))
    assert error.bias == pytest.approx(0.5)
    assert (error.deviation, error.draws) == (0, 1)
    assert error.cosine == pytest.approx(1)
    assert gradient_error(model, last, problem(5), Full()).bias == 0


def test_only_the_first_steps_are_used_when_asked() -> None:
    x, target = problem(9)
    target[3] = 1
    assert float(whole_gradient(Counter(0.5), last, (x, target), Full(), steps=4)) == pytest.approx(3 * 0.5**2)


def test_a_random_strategy_scatters_about_the_truth() -> None:
    error = gradient_error(Counter(0.9), last, problem(6), bptt.UORO(k=6), draws=300)
    assert error.draws == 300
    assert error.deviation > 0.1
    assert error.bias < 4 * error.uncertainty


def test_nothing_of_the_model_or_the_random_numbers_changes() -> None:
    model = bptt.nn.LSTM(2, 3, num_layers=2, dropout=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = torch.get_rng_state()
    gradient_error(model, bptt.SquaredError(), (torch.ones(4, 2, 2), torch.ones(4, 2, 3)), bptt.UORO())
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in model.parameters() if p.grad is not None)


def test_no_gradient_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="the exact gradient is zero"):
        gradient_error(Counter(0.5), lambda y, t: (y * 0).sum(), problem(3), Truncated(1))
