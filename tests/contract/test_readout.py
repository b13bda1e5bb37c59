"""Readout and cross-entropy in one, against torch's two."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear

from bptt.kernels.native import readout as native
from bptt.nn import ReadoutCrossEntropy, readout, readout_cross_entropy

WAYS = [
    "torch",
    pytest.param("native", marks=pytest.mark.skipif(not hasattr(native._native, "readout"), reason="not built")),
]


@pytest.fixture(params=WAYS, autouse=True)
def way(request, monkeypatch):
    """Both ways of computing it; what the native kernels cannot serve goes torch's way in either."""
    if request.param == "torch":
        monkeypatch.setattr(native, "serves", lambda *_: False)
    return request.param


def problem(rows=(7, 5), hidden=6, symbols=11, bias=True, dtype=torch.float64):
    h = torch.randn(*rows, hidden, dtype=dtype, requires_grad=True)
    weight = torch.randn(symbols, hidden, dtype=dtype, requires_grad=True)
    b = torch.randn(symbols, dtype=dtype, requires_grad=True) if bias else None
    return h, weight, b, torch.randint(symbols, rows)


def both(h, weight, bias, target, scale=1.0):
    leaves = [t for t in (h, weight, bias) if t is not None]
    plain = cross_entropy(linear(h, weight, bias).flatten(0, -2), target.flatten(), reduction="sum")
    ours = readout_cross_entropy(h, weight, bias, target)
    return (ours, *torch.autograd.grad(ours * scale, leaves)), (plain, *torch.autograd.grad(plain * scale, leaves))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("elements", [1 << 21, 33])
@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_torch_is_met_in_any_number_of_pieces(bias, elements, scale, monkeypatch):
    monkeypatch.setattr(readout, "_ELEMENTS", elements)
    monkeypatch.setattr(readout, "_LEAST_ROWS", 2)
    for got, expected in zip(*both(*problem(bias=bias), scale), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_the_scores_never_stand_in_memory_at_once(way, monkeypatch):
    if way == "native":
        pytest.skip("its memory is bounded by held_scores in C++")
    monkeypatch.setattr(readout, "_ELEMENTS", 1 << 10)
    monkeypatch.setattr(readout, "_LEAST_ROWS", 2)
    seen = []
    original = torch.addmm

    def watched(*given, **named):
        made = original(*given, **named)
        seen.append(made.numel())
        return made

    monkeypatch.setattr(torch, "addmm", watched)
    readout_cross_entropy(*problem((40, 20), symbols=100))
    assert max(seen) <= 1 << 10
    assert sum(seen) == 40 * 20 * 100


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("rows", "hidden", "symbols", "bias"),
    [((1,), 1, 1, True), ((3, 5), 7, 2, False), ((33,), 17, 300, True), ((9, 23), 64, 1031, True), ((40, 20), 40, 7001, False)],
)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_size(rows, hidden, symbols, bias, dtype, threads, request):
    before = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(before))
    torch.set_num_threads(threads)
    given = problem(rows, hidden, symbols, bias, dtype)
    exact = both(*(t if t is None or not t.is_floating_point() else t.detach().double().requires_grad_() for t in given))[1]
    got, again = both(*given, 0.7)[0], both(*given, 0.7)[0]
    tolerance = 1e-11 if dtype == torch.float64 else 1e-5
    loss, known = float(got[0].detach()), float(exact[0].detach())
    assert abs(loss - known) <= tolerance * (abs(known) + 1)
    for mine, plain in zip(got[1:], exact[1:], strict=True):
        assert float((mine - 0.7 * plain).abs().max()) <= tolerance * (float(plain.abs().max()) + 1)
    assert all(torch.equal(a, b) for a, b in zip(got, again, strict=True))


def test_a_layout_that_is_not_dense():
    h, weight, bias, target = problem()
    lying = h.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    turned = weight.detach().t().contiguous().t().requires_grad_()
    for mine, plain in zip(both(lying, turned, bias, target)[0], both(h, weight, bias, target)[0], strict=True):
        torch.testing.assert_close(mine, plain)


def test_once_more_through_a_graph_that_was_kept():
    h, weight, bias, target = problem()
    loss = readout_cross_entropy(h, weight, bias, target)
    first = torch.autograd.grad(loss * 0.5, (h, weight, bias), retain_graph=True)
    for gradient in first:
        gradient.zero_()  # what was handed out belongs to whoever has it
    second = torch.autograd.grad(loss, (h, weight, bias))
    for mine, plain in zip(second, both(h, weight, bias, target)[1][1:], strict=True):
        torch.testing.assert_close(mine, plain)


def test_scores_that_cannot_be():
    h, weight, bias, target = problem((2, 3), dtype=torch.float32)
    target = target % 7
    hidden = torch.cat([bias[:-3].detach(), torch.full((3,), -float("inf"))]).requires_grad_()
    got, expected = both(h, weight, hidden, target)
    for mine, plain in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, plain)
    one = h.detach().clone()
    one[0, 0] = float("nan")
    one.requires_grad_()
    dh = torch.autograd.grad(readout_cross_entropy(one, weight, bias, target), one)[0]
    assert torch.isnan(dh[0, 0]).all()
    assert torch.isfinite(dh[1:]).all()


def test_extreme_scores():
    h, weight, bias, target = problem(dtype=torch.float32)
    got, expected = both(h * 1e3, weight, bias, target)
    for mine, plain in zip(got[1:], expected[1:], strict=True):
        torch.testing.assert_close(mine, plain)
    torch.testing.assert_close(got[0], expected[0])
    assert torch.isnan(readout_cross_entropy(h * float("nan"), weight, bias, target))


def test_targets_that_do_not_count():
    h, weight, bias, target = problem()
    target[2:4] = -100
    for mine, plain in zip(*both(h, weight, bias, target), strict=True):
        torch.testing.assert_close(mine, plain)
    none = torch.full_like(target, -100)
    loss = readout_cross_entropy(h, weight, bias, none)
    found = (loss.detach(), *torch.autograd.grad(loss, (h, weight, bias)))
    assert [float(t.abs().sum()) for t in found] == [0, 0, 0, 0]


def test_only_what_is_wanted():
    h, weight, bias, target = problem()
    loss = readout_cross_entropy(h.detach(), weight.detach(), bias, target)
    assert torch.autograd.grad(loss, bias)[0].shape == bias.shape
    with torch.no_grad():
        assert not readout_cross_entropy(h, weight, bias, target).requires_grad
    scale = torch.ones((), dtype=h.dtype, requires_grad=True)
    made = torch.autograd.grad(readout_cross_entropy(h, weight, bias, target) * scale, h, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        made.sum().backward()


def test_as_a_loss():
    readout = nn.Linear(6, 11)
    loss = ReadoutCrossEntropy(readout, ignore_index=3)
    h, target = torch.randn(4, 2, 6), torch.tensor([[0, 3], [1, 2], [3, 3], [10, 9]])
    expected = cross_entropy(readout(h).flatten(0, 1), target.flatten(), ignore_index=3, reduction="sum")
    torch.testing.assert_close(loss(h, target), expected)
    assert loss.count(target) == 5
    assert list(loss.parameters()) == []


def test_what_does_not_fit():
    h, weight, bias, target = problem()
    with pytest.raises(ValueError, match=r"expected \[\.\.\., H\]"):
        readout_cross_entropy(h[..., :3], weight, bias, target)
    with pytest.raises(ValueError, match="target is"):
        readout_cross_entropy(h, weight, bias, target[:3])
    with pytest.raises(ValueError, match="bias is"):
        readout_cross_entropy(h, weight, bias[:3], target)
    with pytest.raises(IndexError, match=r"expected 0\.\.10"):
        readout_cross_entropy(h, weight, bias, target + 8)
