import math
import re

import numpy as np
import pytest
import torch
from torch import nn

import bptt
from bptt.observe.explain_cells import cells
from bptt.observe.explain_network import draw
from bptt.observe.explain_variants import variants
from bptt.observe.explained import explain
from tests.observe.explain_oracle import Autograd, Net

CASES = [(cell, hidden, inputs, loss) for cell in cells for hidden, inputs, loss in ((2, 1, "every"), (3, 2, "last"))]
TOLERANCE = {"rtol": 1e-10, "atol": 1e-12}  # float64 sums of some dozens of terms


@pytest.fixture(params=CASES, ids=lambda case: "-".join(map(str, case)))
def pair(request):
    cell, hidden, inputs, loss = request.param
    of = explain(cell, hidden=hidden, inputs=inputs, steps=6, seed=3, loss=loss)
    return of, Autograd(cell, of.weights, of.x, of.target, of.counted)


def test_forward_numbers_are_those_of_our_layers(pair):
    of, autograd = pair
    np.testing.assert_allclose(of.states[1:], autograd.states, **TOLERANCE)
    np.testing.assert_allclose(of.y, autograd.y, **TOLERANCE)
    np.testing.assert_allclose(of.losses, autograd.losses, **TOLERANCE)


def test_every_contribution_is_autograds(pair):
    of, autograd = pair
    assert set(of.contributions) == set(autograd.contributions)
    for name, table in of.contributions.items():
        for (t, k), value in autograd.contributions[name].items():
            np.testing.assert_allclose(table[t, k], value, err_msg=f"{name} t={t} k={k}", **TOLERANCE)


def test_explicit_and_implicit_parts_add_up_to_the_plain_backward_pass(pair):
    of, autograd = pair
    for name, value in autograd.gradient().items():
        np.testing.assert_allclose(of.explicit[name] + of.implicit[name], value, err_msg=name, **TOLERANCE)
        np.testing.assert_allclose(of.gradient[name], value, err_msg=name, **TOLERANCE)
        own = sum(autograd.contributions[name][t, t] for t in range(6))
        np.testing.assert_allclose(of.explicit[name], own, err_msg=name, **TOLERANCE)


def test_the_error_at_each_state_is_autograds(pair):
    of, autograd = pair
    np.testing.assert_allclose(of.back, autograd.back, **TOLERANCE)
    np.testing.assert_allclose(of.errors, autograd.back.sum(0), **TOLERANCE)


def test_jacobians_are_autograds(pair):
    of, _ = pair
    net = Net(of.cell.name, of.weights)
    hidden, parts = of.hidden, len(of.cell.parts)
    for t in range(of.steps):

        def step(s, t=t):
            split = tuple(part.reshape(1, 1, hidden) for part in s.split(hidden))
            _, after = net.layer(torch.tensor(of.x[t]).reshape(1, 1, -1), split if parts == 2 else split[0])
            return torch.cat([part.flatten() for part in (after if parts == 2 else (after,))])

        found = torch.autograd.functional.jacobian(step, torch.tensor(of.states[t]))
        np.testing.assert_allclose(of.jacobians[t], found, err_msg=f"t={t}", **TOLERANCE)


def test_an_errors_way_back_is_by_the_jacobians(pair):
    of, _ = pair
    for t in range(of.steps):
        np.testing.assert_allclose(of.back[t, t], of.own[t], **TOLERANCE)
        for k in range(t):
            np.testing.assert_allclose(of.back[t, k], of.jacobians[k + 1].T @ of.back[t, k + 1], **TOLERANCE)


@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 3), (2, 2), (2, 4), (4, 2), (4, 6), (6, 6), (3, 9)])
@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_truncation_is_that_of_the_executor(cell, k1, k2):
    of = explain(cell, steps=6, through=bptt.Truncated(k1, k2))
    net = Net(cell, of.weights)
    x, target = (torch.tensor(part)[:, None] for part in (of.x, of.target))

    def loss(y, target):
        return 0.5 * (y - target).square().sum()

    for _ in bptt.backprop(net, loss, (x, target), through=bptt.Truncated(k1, k2)):
        pass
    expected = net.taken({name: p.grad for name, p in net.named().items()})
    for name, value in of.truncated().items():
        np.testing.assert_allclose(value, expected[name], err_msg=name, **TOLERANCE)


@pytest.mark.parametrize("cell", sorted(cells))
def test_clipping_is_that_of_the_layers_and_of_clip_norm(cell):
    of = explain(cell, steps=6, clip=0.1)
    x, target = (torch.tensor(part)[:, None] for part in (of.x, of.target))
    limit = 0.02
    for more, found in (({}, of.clipped()), ({"clip_step": limit}, of.step_clipped(limit))):
        net = Net(cell, of.weights, **more)
        y, _ = net(x, None)
        (0.5 * (y - target).square().sum()).backward()
        if cell == "gru":
            net.layer.bias_hh_l0.grad[: 2 * of.hidden] = 0  # the explanation has them in b_h alone
        if not more:
            before = bptt.clip_norm([p for name, p in net.named().items()], 0.1)
            assert before > 0.1
        expected = net.taken({name: p.grad for name, p in net.named().items()})
        for name, value in found.items():
            np.testing.assert_allclose(value, expected[name], err_msg=f"{name} {more}", **TOLERANCE)
    assert any(np.abs(of.step_clipped(limit)[name] - of.gradient[name]).max() > 1e-6 for name in of.weights)


def test_the_update_is_a_step_of_sgd():
    of = explain("lstm", rate=0.3)
    net = Net("lstm", of.weights)
    x, target = (torch.tensor(part)[:, None] for part in (of.x, of.target))
    (0.5 * (net(x, None)[0] - target).square().sum()).backward()
    torch.optim.SGD(net.parameters(), lr=0.3).step()
    for name, value in net.taken(net.named()).items():
        if name != "b_h":  # torch trains two vectors where one is shown
            np.testing.assert_allclose(of.updated()[name], value, err_msg=name, **TOLERANCE)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("room", [bptt.nn, torch.nn], ids=["bptt", "torch"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_of_the_users_own(kind, room, bias):
    layer, readout = getattr(room, kind)(2, 3, bias=bias).double(), nn.Linear(3, 2, bias=bias).double()
    x, target = torch.randn(5, 2).double(), torch.randn(5, 2).double()
    of = explain(layer, readout, x=x, target=target)
    (0.5 * (readout(layer(x[:, None])[0]) - target[:, None]).square().sum()).backward()
    np.testing.assert_allclose(of.gradient["W_xh"], layer.weight_ih_l0.grad, **TOLERANCE)
    np.testing.assert_allclose(of.gradient["W_hh"], layer.weight_hh_l0.grad, **TOLERANCE)
    np.testing.assert_allclose(of.gradient["W_hy"], readout.weight.grad, **TOLERANCE)
    if bias:
        np.testing.assert_allclose(of.gradient["b_h"], layer.bias_ih_l0.grad, **TOLERANCE)
        np.testing.assert_allclose(of.gradient["b_y"], readout.bias.grad, **TOLERANCE)
        if kind == "GRU":
            np.testing.assert_allclose(of.gradient["b_hn"], layer.bias_hh_l0.grad[6:], **TOLERANCE)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_and_a_layer_with_its_weights_are_one(kind, bias):
    cell, layer = getattr(nn, f"{kind}Cell")(2, 3, bias=bias).double(), getattr(nn, kind)(2, 3, bias=bias, batch_first=True)
    layer.double().load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    readout = nn.Linear(3, 1).double()
    x, target = torch.randn(5, 2), torch.randn(5, 1)
    one = explain(cell, readout, x=x, target=target)
    other = explain(layer, readout, x=x[None], target=target[None])
    assert one.cell is other.cell
    for name, value in one.gradient.items():
        np.testing.assert_array_equal(value, other.gradient[name])


def test_the_text_shows_autograds_numbers():
    of = explain("rnn", steps=5, seed=1)
    autograd = Autograd("rnn", of.weights, of.x, of.target, of.counted)
    text, whole = of.text(), autograd.gradient()
    row = re.compile(r"^(\w+)\[([\d,]+)\] +(\S+) +(\S+) +(\S+) +(\S+) +(\S+) *$", re.M)
    seen = 0
    for name, place, *numbers in row.findall(text):
        at = tuple(int(i) - 1 for i in place.split(","))
        own = sum(autograd.contributions[name][t, t] for t in range(5))[at]
        value = whole[name][at]
        weight = of.weights[name][at]
        for shown, expected in zip(numbers, (own, value - own, value, weight, weight - 0.1 * value), strict=True):
            assert float(shown) == pytest.approx(expected, rel=0.06 if "e" in shown else 0, abs=1e-9 if "e" in shown else 6e-5)
            seen += 1
    assert seen == 5 * sum(value.size for value in of.weights.values())


@pytest.mark.parametrize("cell", sorted(cells))
@pytest.mark.parametrize(("hidden", "inputs", "steps"), [(1, 1, 1), (2, 1, 5), (4, 3, 12)])
def test_the_text_keeps_to_80_columns(cell, hidden, inputs, steps):
    text = explain(cell, hidden=hidden, inputs=inputs, steps=steps).text()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text.replace("tanh(…)", "")  # nothing was cut off
    for number in range(1, 8):
        assert re.search(rf"^{number}  \w", text, re.M)


def test_what_a_variant_says_is_computed_of_that_variant():
    of = explain("rnn", steps=6, through=bptt.Truncated(2, 3))
    found = {each.name: each for each in variants(of)}
    assert found["full"].off == 0
    assert found["full"].after == pytest.approx(of.again(weights=of.updated()).loss)
    cut = found["Truncated(k1=2, k2=3)"]
    assert cut.reach == 0
    assert cut.off > 0
    assert found["clip_norm 0.25"].norm == pytest.approx(0.25)
    irnn = explain("relu", steps=6).again(weights={**of.weights, "W_hh": np.eye(2)})
    assert found["ReLU, W_hh = I"].norm == pytest.approx(math.sqrt(sum((g**2).sum() for g in irnn.gradient.values())))
    assert found["LSTM, b_f = 5"].reach > found["LSTM in its place"].reach


def test_the_same_seed_gives_the_same_network():
    assert explain(seed=4).text() == explain(seed=4).text()
    assert explain(seed=4).loss != explain(seed=5).loss
    assert np.array_equal(draw(cells["lstm"], 2, 1, 0)["b_h"], [0, 0, 1, 1, 0, 0, 0, 0])


def test_all_numbers_as_json():
    import json

    of = explain("gru", hidden=1)
    back = json.loads(json.dumps(of.to_dict()))
    np.testing.assert_array_equal(back["contributions"]["W_hh"], of.contributions["W_hh"])


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: explain("transformer"), ValueError, "one of rnn, relu, linear, gru, lstm"),
        (lambda: explain(hidden=5), ValueError, r"hidden=5.*1\.\.4"),
        (lambda: explain(steps=0), ValueError, r"steps=0.*1\.\.12"),
        (lambda: explain(steps=2.0), TypeError, "whole number"),
        (lambda: explain(loss="first"), ValueError, "'every'"),
        (lambda: explain(clip=0), ValueError, "clip"),
        (lambda: explain(rate=math.nan), ValueError, "rate"),
        (lambda: explain(through=bptt.Full()), TypeError, "Truncated"),
        (lambda: explain("rnn", nn.Linear(2, 1)), ValueError, "layer of your own"),
        (lambda: explain(nn.Linear(2, 1)), TypeError, "got Linear"),
        (lambda: explain(nn.RNN(1, 2)), TypeError, "readout"),
        (lambda: explain(nn.RNN(1, 2), nn.Linear(3, 1)), ValueError, "3 features"),
        (lambda: explain(nn.RNN(1, 2, 2), nn.Linear(2, 1)), ValueError, "num_layers=2"),
        (lambda: explain(nn.GRU(1, 9), nn.Linear(9, 1)), ValueError, "hidden=9"),
        (lambda: explain(bptt.nn.RNN(1, 2, nonlinearity="sin"), nn.Linear(2, 1)), ValueError, "'sin'"),
        (lambda: explain(x=[[1.0]]), ValueError, "go together"),
        (lambda: explain(x=[[1.0, 2.0]], target=[[1.0]]), ValueError, r"x is \[1, 2\]"),
        (lambda: explain(x=[1.0, 2.0], target=[1.0]), ValueError, "2 steps"),
        (lambda: explain(x=[1.0, math.inf], target=[1.0, 1.0]), ValueError, "not finite, at step 1"),
        (lambda: explain(x=[0.0] * 13, target=[0.0] * 13), ValueError, "steps=13"),
        (lambda: explain(x="abc", target=[1.0]), TypeError, "x must hold numbers, one line of 1 for each step, got 'abc'"),
        (lambda: explain(x=[[1.0], [1.0, 2.0]], target=[1.0]), TypeError, "x must hold numbers"),
        (lambda: explain(x=np.zeros((5, 2, 1)), target=np.zeros((5, 2, 1))), ValueError, r"2 rows.* give x\[:, :1\]"),
        (
            lambda: explain(
                nn.RNN(1, 2, batch_first=True), nn.Linear(2, 1), x=torch.zeros(5, 1, 1), target=torch.zeros(5, 1, 1)
            ),
            ValueError,
            r"\(batch_first\): 5 rows, and one is explained: give x\[:1\]",
        ),
        (lambda: explain(nn.LSTM(1, 3, proj_size=2), nn.Linear(2, 1)), ValueError, "proj_size=2"),
    ],
)
def test_bad_input_is_refused_in_the_users_words(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_numbers_that_are_not_finite_are_refused():
    for more in ({"rate": float("inf")}, {"clip": float("inf")}, {"rate": float("nan")}, {"clip": "0.3"}):
        with pytest.raises(ValueError, match="must be a finite number"):
            bptt.observe.explain("rnn", **more)
    layer, readout = torch.nn.GRU(1, 2), torch.nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight_hh_l0[0, 0] = float("nan")
    with pytest.raises(ValueError, match="W_hh of the layer given is not finite"):
        bptt.observe.explain(layer, readout, x=torch.randn(3, 1), target=torch.randn(3, 1))
