"""`gradient_flow` against the dense oracle, against autograd from every state, and where the answer is known on paper."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import bptt
from bptt import state as states
from bptt.observe import gradient_flow
from tests.contract import oracle
from tests.contract.models import MODELS, dims, sequence

LOSS = bptt.SquaredError()


class Linear(nn.Module):
    """s_t = a ⊙ s_{t-1} + w x_t, y_t = s_t."""

    def __init__(self, a, w=1.0):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))

    def forward(self, x, state=None):
        state = x.new_zeros(x.shape[1], len(self.a)) if state is None else state
        outputs = []
        for step in x:
            state = self.a * state + self.w * step
            outputs.append(state)
        return torch.stack(outputs), state


def linear_data(steps, size=1, seed=0):
    g = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(steps, 2, size, generator=g, dtype=torch.float64) for _ in range(2))


def by_parameter(model, table):
    """The oracle's ``[T, T, P]``, split by parameter and taken in norm: ``[T, T, W]``."""
    sizes = [p.numel() for p in model.parameters()]
    return np.stack([part.norm(dim=-1).numpy() for part in table.split(sizes, -1)], -1)


@pytest.mark.parametrize("ragged", [False, True], ids=["even", "ragged"])
@pytest.mark.parametrize("name", MODELS)
def test_contributions_equal_the_dense_oracle(name, ragged):
    model = MODELS[name]().double()
    data = sequence(name, 7, ragged)
    table = oracle.contributions(model, LOSS, data, dims)
    expected = by_parameter(model, table)
    flow = gradient_flow(model, LOSS, data)
    assert flow.exact
    assert flow.names == tuple(name for name, _ in model.named_parameters())
    followed = flow.loss_steps
    others = [t for t in range(7) if t not in followed]
    assert not expected[others].any()
    scale = expected.max()
    assert np.abs(flow.contributions_by_weight - expected[followed]).max() <= 1e-9 * scale
    assert np.abs(flow.contributions - table.norm(dim=-1).numpy()[followed]).max() <= 1e-9 * scale

    sizes = [p.numel() for p in model.parameters()]
    whole = table.sum((0, 1)).split(sizes)
    explicit = torch.stack([table[t, t] for t in range(7)]).sum(0).split(sizes)
    for weight, total, own in zip(flow.weights, whole, explicit, strict=True):
        for got, want in ((weight.total, total), (weight.explicit, own), (weight.implicit, total - own)):
            assert got == pytest.approx(float(want.norm()), abs=1e-9 * scale)
        if weight.explicit * weight.implicit > 1e-9:
            cosine = torch.cosine_similarity(own, total - own, dim=0)
            assert weight.cosine == pytest.approx(float(cosine), abs=1e-6)


@pytest.mark.parametrize("name", ["torch.nn.LSTM", "named tuple", "dict", "projection"])
def test_errors_are_the_gradients_by_the_state_that_a_run_from_there_has(name):
    model = MODELS[name]().double()
    x, target, *_ = sequence(name, 6, False)
    flow = gradient_flow(model, LOSS, (x, target))
    assert np.isnan(flow.error[:, 0]).all()
    with torch.no_grad():
        before = [None, *(model(x[:k], None)[1] for k in range(1, 6))]
    for k in range(1, 6):
        for t in [None, *range(6)]:
            if t is not None and t < k:
                assert np.isnan(flow.errors[t, :, k]).all()
                continue
            state = states.inlet(before[k])
            y, _ = model(x[k:], state)
            (LOSS(y, target[k:]) if t is None else LOSS(y[t - k], target[t])).backward()
            expected = []
            for leaf in states.leaves(state):
                if leaf.is_floating_point():
                    parts = leaf.grad.unbind() if leaf.ndim == 3 and len(leaf) > 1 else [leaf.grad]
                    expected += [float(part.norm()) for part in parts]
            got = flow.error[:, k] if t is None else flow.errors[t, :, k]
            assert got == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("k1", range(1, 8))
@pytest.mark.parametrize("k2", range(1, 8))
def test_the_share_lost_is_what_the_definition_of_truncation_leaves_out(k1, k2):
    model = nn.GRU(3, 4).double()
    data = sequence("torch.nn.GRU", 6, False)
    norms = oracle.contributions(model, LOSS, data, dims).norm(dim=-1)
    kept = torch.zeros_like(norms)
    p = 0
    for e in [e for e in range(1, 7) if e % k1 == 0 or e == 6]:
        for t in range(p + 1, e + 1):
            for k in range(max(1, e - k2 + 1), t + 1):
                kept[t - 1, k - 1] = norms[t - 1, k - 1]
        p = e
    lost = gradient_flow(model, LOSS, data).share_lost(bptt.Truncated(k1, k2))
    assert lost.value == pytest.approx(1 - float(kept.sum() / norms.sum()), abs=1e-9)
    assert lost.error == 0


def test_full_loses_nothing_and_a_readout_does_not_count():
    model = MODELS["task model"]().double()
    flow = gradient_flow(model, LOSS, sequence("task model", 6, False))
    assert float(flow.share_lost(bptt.Full())) == 0
    with_readout = flow.contributions.sum()
    without = flow.contributions_by_weight[:, :, [not name.startswith("readout") for name in flow.names]]
    norms = np.sqrt((without**2).sum(-1))
    assert norms.sum() < with_readout
    own = np.trace(norms)
    assert float(flow.share_lost(bptt.Truncated(1, 1))) == pytest.approx(1 - own / norms.sum())
    with pytest.raises(TypeError, match=r"bptt.Truncated\(k1, k2\)"):
        flow.share_lost("full")


@pytest.mark.parametrize("a", [0.5, 0.9])
def test_decay_and_horizon_of_a_linear_network_are_those_on_paper(a):
    flow = gradient_flow(Linear([a]), LOSS, linear_data(80), samples=80)
    assert flow.exact
    # Where every loss sees a lag, φ(lag) is a^lag times a mean over somewhat fewer losses.
    assert flow.profile.decay == pytest.approx(a, abs=0.02)
    expected = 1 + math.ceil(math.log(0.01) / math.log(a))
    assert flow.horizon == pytest.approx(expected, rel=0.1, abs=1)
    assert flow.profile.time_constant == pytest.approx(-1 / math.log(a), rel=0.1)
    assert flow.profile.lags[0] == 1


def test_a_gradient_that_grows_has_no_horizon_and_is_told_to_be_clipped():
    flow = gradient_flow(Linear([1.2]), LOSS, linear_data(60))
    assert flow.profile.decay == pytest.approx(1.2, abs=0.05)
    assert math.isinf(flow.horizon)
    assert any("grows" in s and "bptt.clip_norm(model, 1.0)" in s for s in flow.advice)


def test_parts_are_named_as_the_user_knows_them():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = bptt.nn.LSTM(3, 4, num_layers=2), nn.GRU(4, 4)

        def forward(self, x, state=None):
            a, b = state if state is not None else (None, None)
            y, a = self.first(x, a)
            y, b = self.second(y, b)
            return y, (a, b)

    data = sequence("torch.nn.GRU", 5, False)
    flow = gradient_flow(Own().double(), LOSS, data)
    assert flow.parts == (
        "first.h, layer 0", "first.h, layer 1", "first.c, layer 0", "first.c, layer 1", "second.h",
    )  # fmt: skip
    assert gradient_flow(nn.LSTM(3, 4).double(), LOSS, data).parts == ("h", "c")
    flow = gradient_flow(MODELS["dict"]().double(), LOSS, data)
    assert flow.parts == ("state['h'][0]", "state['h'][1]")
    assert set(flow.profile_by_part) == set(flow.parts)


class Noisy(nn.Module):
    """Dropout, a batch norm whose buffers count, and a state."""

    def __init__(self):
        super().__init__()
        self.cell, self.norm, self.dropout = nn.GRUCell(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)

    def forward(self, x, state=None):
        state = x.new_zeros(x.shape[1], 4) if state is None else state
        outputs = []
        for step in x:
            state = self.cell(step, state)
            outputs.append(self.dropout(self.norm(state)))
        return torch.stack(outputs), state


@pytest.mark.parametrize("training", [True, False])
def test_nothing_of_the_model_changes(training):
    model = Noisy().train(training)
    model.dropout.eval()
    x, target = torch.randn(8, 5, 3), torch.randn(8, 5, 4)
    LOSS(model(x)[0], target).backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    oneDNN = torch.backends.mkldnn.enabled
    model.dropout.train(training)
    modes[3] = training
    gradient_flow(model, LOSS, (x, target))
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.backends.mkldnn.enabled == oneDNN


def test_a_state_given_is_where_the_first_error_arrives():
    model = nn.GRU(3, 4).double()
    x, target, *_ = sequence("torch.nn.GRU", 5, False)
    state = torch.randn(1, 2, 4, dtype=torch.float64, requires_grad=True)
    LOSS(model(x, state)[0], target).backward()
    flow = gradient_flow(model, LOSS, (x, target), state=state)
    assert flow.error[0, 0] == pytest.approx(float(state.grad.norm()), rel=1e-12)


def test_one_loss_at_the_end_is_followed_exactly_however_long():
    model = nn.GRU(2, 3)
    x, target = torch.randn(300, 2, 2), torch.full((300, 2, 3), math.nan)
    target[-1] = 1.0
    flow = gradient_flow(model, LOSS, (x, target))
    assert flow.losses == 1
    assert flow.exact
    assert flow.loss_steps.tolist() == [299]
    assert len(flow.profile.lags) == 299


def trained(kind, seed):
    """A small network trained for a moment on a sum over the last steps."""
    torch.manual_seed(seed)

    class Task(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.readout = kind(2, 16), nn.Linear(16, 1)

        def forward(self, x, state=None):
            y, state = self.layer(x, state)
            return self.readout(y), state

    model = Task()
    x = torch.randn(72, 8, 2)
    sums = x.sum(-1, keepdim=True).cumsum(0)
    target = sums - torch.cat([torch.zeros(12, 8, 1), sums[:-12]])
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(40):
        for _ in bptt.backprop(model, LOSS, (x, target), reduction="mean"):
            bptt.clip_norm(model, 1.0)
            optimizer.step()
            optimizer.zero_grad()
    return model.double(), (x.double(), target.double())


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, bptt.nn.LSTM])
def test_sampled_agrees_with_exact_on_trained_networks(kind):
    model, data = trained(kind, 3)
    exact = gradient_flow(model, LOSS, data, samples=72)
    assert exact.exact
    for seed in range(2):
        sampled = gradient_flow(model, LOSS, data, seed=seed)
        assert 2 <= len(sampled.loss_steps) <= 32
        assert not sampled.exact
        assert sampled.horizon == pytest.approx(exact.horizon, rel=0.1)
        k2 = max(2, int(exact.horizon) // 3)
        through = bptt.Truncated(k2, k2)
        known, got = exact.share_lost(through), sampled.share_lost(through)
        assert known.error == 0 < got.error
        assert abs(float(got) - float(known)) <= max(4 * got.error, 0.02)


def test_a_share_too_small_to_be_sampled_is_not_told_as_exact():
    model, data = trained(nn.RNN, 3)
    through = bptt.Truncated(1, 64)
    exact, sampled = gradient_flow(model, LOSS, data, samples=72), gradient_flow(model, LOSS, data)
    known, got = exact.share_lost(through), sampled.share_lost(through)
    assert 0 < float(known) < 1e-4
    assert abs(float(got) - float(known)) <= got.error == 1e-4


def test_a_horizon_beyond_the_densely_measured_lags_is_that_of_all_losses():
    """Beyond 64 lags the gradient by the weights is taken at some steps alone."""
    torch.manual_seed(0)
    model, steps = bptt.nn.GRU(1, 6), 150
    bptt.nn.init.chrono_(model, longest=30)
    data = torch.randn(steps, 2, 1), torch.randn(steps, 2, 6)
    exact = gradient_flow(model, LOSS, data, samples=steps)
    assert 64 < exact.horizon < 140
    for seed in range(2):
        sampled = gradient_flow(model, LOSS, data, seed=seed)
        assert len(sampled.loss_steps) < 40
        assert sampled.horizon == pytest.approx(exact.horizon, rel=0.1)
        assert sampled.profile_of_contributions.horizon == pytest.approx(exact.profile_of_contributions.horizon, rel=0.1)


def test_the_stated_error_covers_what_sampling_misses():
    model, data = trained(nn.GRU, 4)
    exact = gradient_flow(model, LOSS, data, samples=72).profile.mean
    within = []
    for seed in range(6):
        sampled = gradient_flow(model, LOSS, data, samples=16, seed=seed).profile
        within.append(np.abs(sampled.mean[:5] - exact[:5]) <= 2 * sampled.error[:5])
    # Of a normal distribution it were 95 %; norms are spread less evenly, and 16 of them leave their spread uncertain too.
    assert np.mean(within) >= 0.75


def test_saved_results_are_strict_json(tmp_path):
    flow = gradient_flow(Linear([1.2]), LOSS, linear_data(10))
    flow.save(tmp_path / "flow.json")
    content = json.loads((tmp_path / "flow.json").read_text(), parse_constant=pytest.fail)
    assert content["horizon"] is None
    assert content["contributions"] == flow.contributions.tolist()
    assert content["error"][0][0] is None
    assert content["weights"][0]["name"] == "a"


def test_a_page_can_be_saved(tmp_path):
    flow = gradient_flow(Linear([0.9]), LOSS, linear_data(10), through=bptt.Truncated(2, 4))
    flow.save_html(tmp_path / "flow.html")
    assert "Linear" in (tmp_path / "flow.html").read_text()
