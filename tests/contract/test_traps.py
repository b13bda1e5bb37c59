"""Each trap that other implementations fell into, by name; the numbers are those of the trap."""

import itertools

import pytest
import torch
from torch import nn

import bptt
from tests.contract import oracle
from tests.contract.models import sequence
from tests.contract.registry import fake, room
from tests.tolerances import assert_close

LOSS = bptt.SquaredError()


class Scalar(nn.Module):
    """s_t = w · s_{t-1}, from s_0 = 0.9; the loss is s itself at the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.2, dtype=torch.float64))

    def forward(self, x, state):
        state = x.new_full((1, 1), 0.9) if state is None else state
        outputs = []
        for _ in x:
            state = self.w * state
            outputs.append(state)
        return torch.stack(outputs), state


def test_boundary_gradients_do_not_accumulate_over_overlapping_windows():
    """Trap 1: the forum recipe gives 0.288 where the truth is 0.108."""
    model = Scalar()
    for window in bptt.backprop(
        model, lambda y, t: y.sum(), (torch.zeros(3, 1, 1).double(), torch.zeros(3, 1, 1)), through=bptt.Truncated(1, 3)
    ):
        if window.stop < 3:
            model.zero_grad()
    assert float(model.w.grad) == pytest.approx(0.108, abs=1e-12)


@pytest.mark.parametrize(("k1", "k2"), [(1, 4), (2, 5), (3, 3), (4, 2)])
def test_optimizer_steps_between_overlapping_windows(k1, k2):
    """Trap 2: no "modified by an inplace operation"; and the gradient after a step is that of the present weights."""
    model = bptt.nn.LSTM(3, 4).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = sequence("", 9, False)
    before = [p.detach().clone() for p in model.parameters()]
    windows = 0
    for _ in bptt.backprop(model, LOSS, data, through=bptt.Truncated(k1, k2)):
        optimizer.step()
        optimizer.zero_grad()
        windows += 1
    assert windows == -(-9 // k1)
    assert not any(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_gradient_after_a_step_is_exact_for_the_present_weights():
    """Trap 2, the value: the last window's gradient is autograd's through a replay from the kept state."""
    torch.manual_seed(1)
    model = bptt.nn.RNN(3, 4).double()
    data = sequence("", 4, False)
    states = [None]
    for window in bptt.backprop(model, LOSS, data, through=bptt.Truncated(1, 2)):
        got = oracle.gradient(model)
        if window.stop > 1:
            model.zero_grad()
            e = window.stop
            y, _ = model(data.x[e - 2 : e], states[e - 2])
            LOSS(y[1:], data.target[e - 1 : e]).backward()
            assert_close(got, oracle.gradient(model), f"window {e}")
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
        model.zero_grad()
        states.append(window.state)


BUDGETS = [
    (k1, k2, steps, dropout)
    for (k1, k2), steps, dropout in itertools.product([(1, 5), (2, 5), (2, 6), (3, 12), (5, 7)], [1, 2, 5, 100], [False, True])
    if steps >= k1 or not dropout  # masks are drawn alike where the segments are the same
]


@pytest.mark.parametrize(("k1", "k2", "steps", "dropout"), BUDGETS)
def test_a_budget_changes_no_gradient_while_the_optimizer_steps(monkeypatch, k1, k2, steps, dropout):
    """Trap 2, within a budget: the error must not cross a boundary at which the state kept is of other weights."""
    monkeypatch.setattr("bptt.executor.probe", lambda *given: fake(given[-1]))
    found = []
    for through in (bptt.Truncated(k1, k2), bptt.Truncated(k1, k2, memory=room(steps, 64))):
        torch.manual_seed(0)
        model = Noisy().double().train(dropout)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        windows = []
        for _ in bptt.backprop(model, LOSS, sequence("", 26, False), through=through):
            windows.append(oracle.gradient(model))
            optimizer.step()
            optimizer.zero_grad()
            torch.rand(3)  # numbers drawn between the windows change no replay
        found.append(windows)
    for number, (without, within) in enumerate(zip(*found, strict=True)):
        assert_close(within, without, f"window {number}")


def test_sums_and_counts_not_means_of_means():
    """Trap 3: chunks of 4, 4 and 1 steps; the mean of the chunk means would be 13.67, the mean is 12."""
    errors = torch.tensor([10.0] * 4 + [12.0] * 4 + [20.0])
    model = nn.RNN(1, 1)
    total = count = 0.0
    for window in bptt.backprop(
        model, lambda y, t: (t + 0 * y).sum(), (torch.zeros(9, 1, 1), errors.reshape(9, 1, 1)), through=bptt.Truncated(4)
    ):
        total, count = total + float(window.loss), count + window.count
    assert total / count == pytest.approx(12.0)


def test_k1_is_a_length_not_a_number_of_chunks():
    """Trap 4: 40 steps by k1=10 are 4 windows of 10."""
    model = nn.RNN(1, 1)
    zeros = torch.zeros(40, 1, 1)
    windows = list(bptt.backprop(model, LOSS, (zeros, zeros), through=bptt.Truncated(10)))
    assert [window.steps for window in windows] == [10] * 4


def test_every_part_of_a_tuple_state_is_detached_and_carried():
    """Trap 5: h and c of an LSTM, both without history, both carried."""
    model = bptt.nn.LSTM(3, 4).double()
    data = sequence("", 6, False)
    windows = list(bptt.backprop(model, LOSS, data, through=bptt.Truncated(2)))
    assert all(part.grad_fn is None and not part.requires_grad for window in windows for part in window.state)
    _, final = model(data.x)
    for got, expected in zip(windows[-1].state, final, strict=True):
        assert_close(got, expected.detach(), "carried state")


def test_only_the_row_that_ended_starts_afresh():
    """Trap 5: a reset of one row leaves the state of the others."""
    model = bptt.nn.LSTM(3, 4).double()
    data = sequence("", 6, False)
    reset = torch.zeros(6, 2, dtype=torch.bool)
    reset[3, 0] = True
    y, _ = model(data.x, reset=reset)
    plain, _ = model(data.x)
    afresh, _ = model(data.x[3:])
    assert_close(y[:, 1], plain[:, 1], "the other row")
    assert_close(y[3:, 0], afresh[:, 0], "the row that started afresh")


def test_the_error_crosses_segment_boundaries():
    """Trap 6: k2 > k1 cuts a window into segments; the error must cross them."""
    model = bptt.nn.GRU(3, 4).double()
    data = sequence("", 6, False)
    table = oracle.contributions(model, LOSS, data, lambda leaf: 1)
    *_, _ = bptt.backprop(model, LOSS, data, through=bptt.Truncated(2, 6))
    expected = torch.stack(oracle.truncated(table, 2, 6)).sum(0)
    assert_close(oracle.gradient(model), expected, "sum over windows")
    cut = torch.stack(oracle.truncated(table, 2, 2)).sum(0)
    assert float((expected - cut).abs().max()) > 1e-3


def test_the_error_enters_the_graph_that_made_the_initial_state():
    """Trap 6: an encoder before the sequence gets its gradient."""
    encoder, decoder = nn.Linear(2, 4).double(), bptt.nn.GRU(3, 4).double()
    data, seed = sequence("", 5, False), torch.randn(2, 2, dtype=torch.float64)
    list(bptt.backprop(decoder, LOSS, data, state=encoder(seed)[None]))
    got = encoder.weight.grad.clone()
    encoder.zero_grad()
    LOSS(decoder(data.x, encoder(seed)[None])[0], data.target).backward()
    assert_close(got, encoder.weight.grad, "encoder")


def test_a_graph_in_the_initial_state_is_entered_once():
    decoder = bptt.nn.GRU(3, 4).double()
    start = nn.Linear(2, 4).double()(torch.randn(2, 2, dtype=torch.float64))[None]
    with pytest.raises(ValueError, match=r"carries a graph.*through=bptt.Full"):
        list(bptt.backprop(decoder, LOSS, sequence("", 5, False), state=start, through=bptt.Truncated(1, 3)))


def test_clipping_acts_on_the_gradient_and_leaves_it_standing():
    """Trap 7: after a window the gradient stands, clipping changes it, and nothing is zeroed behind the user's back."""
    model = bptt.nn.RNN(3, 4).double()
    for _ in bptt.backprop(model, LOSS, sequence("", 6, False), through=bptt.Truncated(3)):
        norm = oracle.gradient(model).norm()
        assert float(norm) > 0.01
        assert float(bptt.clip_norm(model, 0.01)) == pytest.approx(float(norm))
        assert float(oracle.gradient(model).norm()) == pytest.approx(0.01)
        model.zero_grad()


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = bptt.nn.GRU(3, 4)

    def forward(self, x, state):
        y, state = self.layer(nn.functional.dropout(x, 0.5, self.training), state)
        return nn.functional.dropout(y, 0.5, self.training), state


def test_a_replay_meets_the_random_numbers_of_the_first_run():
    """Trap 8: with dropout, windows that run steps again give the gradient of the one network that the first run drew."""
    model = Noisy().double()
    data = sequence("", 8, False)
    torch.manual_seed(5)
    *_, _ = bptt.backprop(model, LOSS, data, through=bptt.Truncated(2, 2))
    drawn_once = torch.get_rng_state()
    model.zero_grad()
    torch.manual_seed(5)
    losses = [float(w.loss) for w in bptt.backprop(model, LOSS, data, through=bptt.Truncated(2, 8))]
    assert torch.equal(torch.get_rng_state(), drawn_once)
    got = oracle.gradient(model)
    model.zero_grad()
    torch.manual_seed(5)
    state, expected = None, torch.zeros((), dtype=torch.float64)
    for a in range(0, 8, 2):
        y, state = model(data.x[a : a + 2], state)
        part = LOSS(y, data.target[a : a + 2])
        assert float(part.detach()) == pytest.approx(losses[a // 2])
        expected = expected + part
    expected.backward()
    assert_close(got, oracle.gradient(model), "gradient through replayed dropout")


def test_numbers_drawn_between_windows_do_not_change_a_replay():
    """Trap 8: sampling a text between two windows must not change the masks of the steps that run again."""
    model, data = Noisy().double(), sequence("", 6, False)
    torch.manual_seed(3)
    for window in bptt.backprop(model, LOSS, data, through=bptt.Truncated(3, 6)):
        got = oracle.gradient(model)
        model.zero_grad()
        if window.stop == 3:
            torch.manual_seed(99)
    torch.manual_seed(3)
    _, state = model(data.x[:3], None)
    torch.manual_seed(99)
    LOSS(model(data.x[3:], state)[0], data.target[3:]).backward()
    assert_close(got, oracle.gradient(model), "second window")


@pytest.mark.parametrize("kind", [bptt.nn.LSTM, bptt.nn.GRU, nn.LSTM, nn.GRU])
def test_chrono_bias_is_written_once(kind):
    """Trap 9: torch adds two bias vectors; their sum must lie in log U(1, longest - 1)."""
    layer = kind(3, 50)
    bptt.nn.init.chrono_(layer, 100)
    total = (layer.bias_ih_l0 + layer.bias_hh_l0).detach()
    keep = total[50:100]
    assert float(keep.min()) >= 0
    assert float(keep.max()) <= float(torch.tensor(99.0).log()) + 1e-6
    assert float(keep.max()) > 3
    if total.numel() == 200:
        assert torch.equal(total[:50], -keep)


def test_truncation_does_not_detach_inside_the_step_loop():
    """Trap 10: with k1 = k2 = 3 the third loss reaches three steps back, not one."""
    model = bptt.nn.RNN(3, 4).double()
    data = sequence("", 3, False)
    table = oracle.contributions(model, LOSS, data, lambda leaf: 1)
    list(bptt.backprop(model, LOSS, data, through=bptt.Truncated(3)))
    got = oracle.gradient(model)
    assert_close(got, table.sum((0, 1)), "all lags")
    one_step = sum(table[t, t] for t in range(3))
    assert float((got - one_step).abs().max()) > 1e-3
