import math

import pytest
import torch
from torch import nn

from bptt.train import Clip, clip_norm, clip_value, grad_norm


def parameters(*gradients: list[float] | None) -> list[nn.Parameter]:
    made = []
    for gradient in gradients:
        parameter = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        parameter.grad = None if gradient is None else torch.tensor(gradient, dtype=torch.float64)
        made.append(parameter)
    return made


def test_norm_is_over_all_gradients_as_one_vector() -> None:
    assert grad_norm(parameters([3.0, 0.0], None, [0.0, 4.0])).item() == 5.0


def test_norm_is_scaled_to_the_limit_exactly_without_epsilon() -> None:
    a, b = parameters([3.0, 0.0], [0.0, 4.0])
    before = clip_norm([a, b], 1.0)
    assert before.item() == 5.0
    assert a.grad.tolist() == [0.6000000000000001, 0.0]
    assert math.isclose(grad_norm([a, b]).item(), 1.0, rel_tol=1e-15)


def test_norm_below_the_limit_changes_nothing() -> None:
    (a,) = parameters([3.0, 4.0])
    clip_norm(a, 5.0)
    assert a.grad.tolist() == [3.0, 4.0]
    clip_norm(a, 6.0)
    assert a.grad.tolist() == [3.0, 4.0]


def test_max_norm() -> None:
    (a,) = parameters([3.0, -4.0])
    assert clip_norm(a, 2.0, norm_type=math.inf).item() == 4.0
    assert a.grad.tolist() == [1.5, -2.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_norm_that_is_not_finite_changes_nothing_and_is_returned(bad: float) -> None:
    a, b = parameters([bad, 1.0], [3.0, 4.0])
    before = clip_norm([a, b], 1.0)
    assert not math.isfinite(before.item())
    assert b.grad.tolist() == [3.0, 4.0]
    assert not math.isfinite(Clip(norm=1.0, value=0.5)([a, b]))
    assert b.grad.tolist() == [3.0, 4.0]


def test_without_gradients_the_norm_is_zero() -> None:
    assert clip_norm(parameters(None), 1.0).item() == 0.0
    assert grad_norm(nn.Linear(2, 2)).item() == 0.0


def test_takes_a_module_and_any_iterable() -> None:
    model = nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    assert clip_norm(model, 10.0).item() == 5.0
    assert clip_norm(model.parameters(), 10.0).item() == 5.0


def test_value_limits_each_element_and_keeps_nan() -> None:
    (a,) = parameters([3.0, -0.1])
    clip_value(a, 0.5)
    assert a.grad.tolist() == [0.5, -0.1]
    (b,) = parameters([math.nan, -2.0])
    clip_value(b, 0.5)
    assert math.isnan(b.grad[0])
    assert b.grad[1] == -0.5


def test_norm_comes_before_value() -> None:
    (a,) = parameters([3.0, 4.0])
    assert Clip(norm=1.0, value=0.7)(a) == 5.0
    torch.testing.assert_close(a.grad, torch.tensor([0.6, 0.7], dtype=torch.float64))


def test_sparse_gradients_count_an_element_once() -> None:
    embedding = nn.Embedding(5, 1, sparse=True)
    embedding(torch.tensor([1, 1, 2])).sum().backward()
    assert math.isclose(clip_norm(embedding, 1.0).item(), math.sqrt(5), rel_tol=1e-6)
    scale = 1 / math.sqrt(5)
    torch.testing.assert_close(embedding.weight.grad.to_dense().flatten(), torch.tensor([0, 2 * scale, scale, 0, 0]))


@pytest.mark.parametrize("limit", [0, -1.0, math.nan, True, "1"])
def test_limits_must_be_positive(limit: object) -> None:
    model = nn.Linear(1, 1)
    for call in (clip_norm, clip_value):
        with pytest.raises(ValueError, match="must be a number above 0"):
            call(model, limit)
    with pytest.raises(ValueError, match="norm must be a number above 0"):
        Clip(norm=limit)
