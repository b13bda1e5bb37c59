"""Spectra and Lyapunov exponents where a textbook gives them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import bptt
from bptt.observe import lyapunov, spectrum
from tests.contract.models import MODELS, sequence
from tests.observe.test_flow import Linear, linear_data


class Matrix(nn.Module):
    """s_t = A s_{t-1} + x_t."""

    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(torch.as_tensor(a, dtype=torch.float64))

    def forward(self, x, state=None):
        state = x.new_zeros(x.shape[1], len(self.a)) if state is None else state
        outputs = []
        for step in x:
            state = state @ self.a.T + step
            outputs.append(state)
        return torch.stack(outputs), state


def random_matrix(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, n)) / math.sqrt(n)


def test_a_linear_network_has_the_logarithms_of_its_eigenvalues():
    basis = random_matrix(4, 1)
    values = np.array([1.3, 0.9, 0.5, 0.1])
    a = basis @ np.diag(values) @ np.linalg.inv(basis)
    found = spectrum(Matrix(a), linear_data(120, 4), steps=110)
    assert found.lyapunov == pytest.approx(np.log(values), abs=1e-3)
    assert found.radius == pytest.approx(1.3)
    assert found.singular == pytest.approx(np.tile(np.linalg.svd(a, compute_uv=False), (8, 1)))
    assert found.size == 4
    assert lyapunov(Matrix(a), linear_data(120, 4), count=2, steps=110) == pytest.approx(np.log(values[:2]), abs=1e-3)


def test_products_are_powers_of_a_linear_network():
    a = random_matrix(3)
    found = spectrum(Matrix(a), linear_data(30, 3), steps=10)
    assert found.steps == 10
    assert found.product_steps.tolist() == [1, 2, 4, 8, 10]
    for m, values, radius in zip(found.product_steps, found.product_singular, found.product_radius, strict=True):
        power = np.linalg.matrix_power(a, m)
        assert np.exp(values) == pytest.approx(np.linalg.svd(power, compute_uv=False), rel=1e-6, abs=1e-9)
        assert math.exp(radius) == pytest.approx(np.abs(np.linalg.eigvals(power)).max(), rel=1e-9)


def test_products_neither_overflow_nor_underflow():
    for a in (1e9, 1e-9):
        found = spectrum(Linear([a]), linear_data(80), steps=60)
        assert found.product_singular[-1] == pytest.approx([60 * math.log(a)], rel=1e-9)
        assert found.lyapunov == pytest.approx([math.log(a)], rel=1e-9)


@pytest.mark.parametrize("name", ["torch.nn.LSTM", "torch.nn.GRU", "task model", "named tuple", "projection"])
def test_the_exponents_sum_to_the_mean_log_determinant(name):
    model = MODELS[name]().double()
    found = spectrum(model, sequence(name, 30, False))
    assert np.isfinite(found.log_det) or name == "projection"
    if name != "projection":  # h is made of fewer numbers than c, so c's part that W_hr drops is all that h can tell
        assert float(found.lyapunov.sum()) == pytest.approx(found.log_det, rel=1e-9)


def test_a_complex_number_counts_as_two():
    class Turn(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.tensor(0.8 + 0.3j, dtype=torch.complex128))

        def forward(self, x, state=None):
            state = x.new_zeros(x.shape[1:], dtype=torch.complex128) if state is None else state
            outputs = []
            for step in x:
                state = self.a * state + step
                outputs.append(state.real)
            return torch.stack(outputs), state

    found = spectrum(Turn(), linear_data(20))
    assert found.lyapunov == pytest.approx([math.log(abs(0.8 + 0.3j))] * 2)
    assert found.radius == pytest.approx(abs(0.8 + 0.3j))


@pytest.mark.parametrize("name", ["torch.nn.LSTM", "named tuple", "dict"])
def test_jacobians_are_autograds(name):
    from bptt import state as states
    from bptt.observe.replica import Replica

    model = MODELS[name]().double().eval()
    x, *_ = data = sequence(name, 4, False)
    replica = Replica(model, data, None, 1, 3)
    with torch.no_grad():
        _, state = model(x[:1, 1:2], None)
    for k, step in enumerate(replica.run(replica.size), 1):
        got = replica.vjp(step, torch.eye(replica.size, dtype=torch.float64))
        inlet = states.inlet(state)
        _, after = model(x[k : k + 1, 1:2], inlet)
        rows = []
        for leaf in states.leaves(after):
            for number in leaf.flatten() if leaf.is_floating_point() else []:
                ins = [b for b in states.leaves(inlet) if b.is_floating_point()]
                g = torch.autograd.grad(number, ins, retain_graph=True, allow_unused=True)
                rows.append(
                    torch.cat([(torch.zeros_like(b) if a is None else a).flatten() for a, b in zip(g, ins, strict=True)])
                )
        assert torch.allclose(got, torch.stack(rows), atol=1e-12)
        state = states.detach(after)


def test_a_state_given_is_where_the_first_jacobian_is_taken():
    model, data = nn.GRU(3, 4).double(), sequence("torch.nn.GRU", 6, False)
    state = torch.randn(1, 2, 4, dtype=torch.float64)
    assert spectrum(model, data, state=state).looked_at.tolist() == [0, 1, 2, 3, 4, 5]
    assert spectrum(model, data).looked_at.tolist() == [1, 2, 3, 4, 5]


def test_steps_that_do_not_exist_are_left_out_and_a_fresh_start_ends_it():
    model = nn.GRU(3, 4).double()
    data = sequence("torch.nn.GRU", 8, True)
    assert spectrum(model, data, row=0).steps == 2  # row 0 starts afresh before step 3
    x = torch.randn(6, 1, 3, dtype=torch.float64)
    mask = torch.tensor([True, True, False, True, False, True])[:, None]
    gap = spectrum(model, bptt.Piece(x, torch.zeros(6, 1, 4), mask))
    assert np.array_equal(gap.singular, spectrum(model, (x[mask[:, 0]], torch.zeros(4, 1, 4))).singular)


def test_nothing_changes_and_dropout_does_not_matter():
    model = bptt.nn.LSTM(3, 4, num_layers=2, dropout=0.5).train()
    data = tuple(t.float() for t in sequence("torch.nn.LSTM", 9, False)[:2])
    random = torch.get_rng_state()
    a, b = spectrum(model, data), spectrum(model, data)
    assert np.array_equal(a.singular, b.singular)
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in model.parameters())


def test_bad_input():
    model, data = nn.GRU(3, 4).double(), sequence("torch.nn.GRU", 6, False)
    for call, says in (
        (lambda: spectrum(model, data, row=2), "row must be one of the 2 rows, 0 to 1, got 2"),
        (lambda: spectrum(model, (data.x[:1], data.target[:1])), "takes at least 2"),
        (lambda: spectrum(model, data, settle=5), "settle=5 leaves none of 5 steps"),
        (lambda: lyapunov(model, data, count=5), "count=5 exponents of a state of 4 numbers"),
        (lambda: spectrum(nn.GRU(3, 3000).double(), data), r"at most 2048: bptt.observe.lyapunov\(model, sequence, count=8\)"),
        (lambda: spectrum(nn.GRU(3, 4, bidirectional=True).double(), data), "bidirectional"),
    ):
        with pytest.raises(ValueError, match=says):
            call()


def test_a_small_state_has_all_its_exponents():
    model, data = nn.GRU(3, 4).double(), sequence("torch.nn.GRU", 6, False)
    np.testing.assert_array_equal(lyapunov(model, data), lyapunov(model, data, count=4))


def test_without_history_nothing_is_measured():
    model, data = nn.GRU(3, 4).double(), sequence("torch.nn.GRU", 6, False)
    for instrument in (spectrum, lyapunov):
        with torch.inference_mode(), pytest.raises(RuntimeError, match=r"keeps no history.*leave it out"):
            instrument(model, data)


def test_results_are_strict_json(tmp_path):
    found = spectrum(nn.RNN(3, 4, nonlinearity="relu").double(), sequence("torch.nn.RNN", 9, False))
    found.save(tmp_path / "spectrum.json")
    assert "Lyapunov" in repr(found)
