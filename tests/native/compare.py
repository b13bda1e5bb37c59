"""A layer on the native kernels beside the same on the reference: outputs, final states, all gradients."""

import torch

from bptt.kernels import Layer, Rows, Weights
from bptt.kernels.native import Native
from bptt.kernels.reference import Reference

GATES = {"rnn": 1, "gru": 3, "lstm": 4}

# Largest difference over the largest value. In float64 only the order of sums differs. In float32 a gradient may be the small
# rest of large cancelling terms: this is for shapes to some hundred units and tens of steps.
RELATIVE = {torch.float64: 1e-10, torch.float32: 5e-4}


def problem(layer, steps, rows, dtype, bias=True, mask=False, reset=False, half=False, seed=0):
    """x, the state and the weights, leaves that want gradients; and the flags. ``half``: the others never take part."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype)

    hidden, out = layer.hidden_size, layer.proj_size or layer.hidden_size
    stacked, scale = GATES[layer.cell] * hidden, hidden**-0.5
    x = normal(steps, rows, layer.input_size)
    state = (normal(rows, out), normal(rows, hidden)) if layer.cell == "lstm" else (normal(rows, out),)
    weights = Weights(
        normal(stacked, layer.input_size) * scale,
        normal(stacked, out) * scale,
        normal(stacked) * scale if bias else None,
        normal(stacked) * scale if bias else None,
        normal(layer.proj_size, hidden) * scale if layer.proj_size else None,
    )
    flags = Rows(
        torch.rand(steps, rows, generator=draw) > 0.3 if mask else None,
        torch.rand(steps, rows, generator=draw) > 0.7 if reset else None,
    )
    if half:
        flags = Rows((torch.arange(rows) >= rows // 2).expand(steps, rows).contiguous(), flags.reset)
    return x, state, weights, flags


def results(kernel, layer, x, state, weights, flags, seed=1):
    """y, final states, and the gradients of x, state and weights, for fixed random weights on all outputs."""
    draw = torch.Generator().manual_seed(seed)
    leaves = [t.detach().clone().requires_grad_() for t in (x, *state, *(w for w in weights if w is not None))]
    remaining = iter(leaves[1 + len(state) :])
    given = Weights(*(None if w is None else next(remaining) for w in weights))
    y, final = kernel.run(layer, given, leaves[0], tuple(leaves[1 : 1 + len(state)]), flags)
    made = (y, *final)
    sum((part * torch.randn(part.shape, generator=draw, dtype=torch.float64).to(part)).sum() for part in made).backward()
    return [*(part.detach() for part in made), *(torch.zeros_like(t) if t.grad is None else t.grad for t in leaves)]


def worst(got, expected):
    """The largest relative error among all parts."""
    found = 0.0
    for g, e in zip(got, expected, strict=True):
        assert g.shape == e.shape
        if e.numel():
            assert torch.isfinite(g).all()
            found = max(found, float((g.double() - e.double()).abs().max() / e.double().abs().max().clamp(min=1e-2)))
    return found


def check(layer, steps, rows, dtype, **settings):
    """Asserts that the native kernels give what the reference gives; with and without a tape."""
    given = problem(layer, steps, rows, dtype, **settings)
    exact = problem(layer, steps, rows, torch.float64, **settings)
    got, expected = results(Native(), layer, *given), results(Reference(), layer, *exact)
    error = worst(got, expected)
    assert error <= RELATIVE[dtype], f"{layer} T={steps} B={rows} {dtype} {settings}: relative error {error:.1e}"
    with torch.no_grad():
        x, state, weights, flags = given
        y, final = Native().run(layer, weights, x, state, flags)
    for kept, free in zip(got, (y, *final), strict=False):
        assert torch.equal(kept, free), "inference without a tape gives the same bits"


def layer_of(cell, inputs, hidden, proj=0, activation="tanh", clip_step=None, reverse=False):
    return Layer(cell, inputs, hidden, proj, activation, clip_step, reverse)
