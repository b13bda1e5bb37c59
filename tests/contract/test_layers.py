"""`bptt.nn` against torch's layers, on every kernel; masks, resets and clipping against their meaning."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import bptt
from bptt import kernels
from tests.contract.models import BACKENDS
from tests.tolerances import assert_close

KINDS = {"RNN": (bptt.nn.RNN, nn.RNN), "GRU": (bptt.nn.GRU, nn.GRU), "LSTM": (bptt.nn.LSTM, nn.LSTM)}
SETTINGS = {
    "plain": {},
    "two layers": {"num_layers": 2},
    "three layers both ways": {"num_layers": 3, "bidirectional": True},
    "no bias": {"bias": False},
    "batch first": {"batch_first": True, "num_layers": 2},
}
EXTRA = {
    "RNN": {"relu": {"nonlinearity": "relu"}},
    "GRU": {},
    "LSTM": {"projection": {"proj_size": 3, "num_layers": 2}, "projection both ways": {"proj_size": 3, "bidirectional": True}},
}
COMBINATIONS = [
    pytest.param(kind, {**setting}, backend, id=f"{kind}-{label}-{backend}")
    for kind in KINDS
    for label, setting in {**SETTINGS, **EXTRA[kind]}.items()
    for backend in BACKENDS
]
T, B, I, H = 7, 4, 3, 5


def _pair(kind, setting, backend, dtype=torch.float64):
    ours, theirs = KINDS[kind]
    theirs = theirs(I, H, dtype=dtype, **setting)
    ours = ours(I, H, dtype=dtype, backend=backend, **setting)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def _gradients(layer, x, state, weights, **flags):
    """Outputs, final states, and every gradient, with weights on all outputs and final states."""
    x = x.clone().requires_grad_()
    leaves = [s.clone().requires_grad_() for s in state]
    layer.zero_grad()
    y, final = layer(x, leaves[0] if len(leaves) == 1 else tuple(leaves), **flags)
    finals = (final,) if len(leaves) == 1 else final
    sum((part * w).sum() for part, w in zip((y, *finals), weights, strict=True)).backward()
    found = [x, *leaves, *layer.parameters()]
    return [y, *finals, *(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in found)]


def _inputs(layer, steps=T, rows=B, dtype=torch.float64):
    x = torch.randn(steps, rows, I, dtype=dtype)
    y, final = layer(x.transpose(0, 1) if layer.batch_first else x)
    finals = final if isinstance(final, tuple) else (final,)
    state = [torch.randn_like(part) for part in finals]
    weights = [torch.randn_like(y), *(torch.randn_like(part) for part in finals)]
    return x.transpose(0, 1) if layer.batch_first else x, state, weights


@pytest.mark.parametrize(("kind", "setting", "backend"), COMBINATIONS)
def test_takes_the_place_of_torchs_layer(kind, setting, backend):
    ours, theirs = _pair(kind, setting, backend)
    x, state, weights = _inputs(theirs)
    for got, expected in zip(_gradients(ours, x, state, weights), _gradients(theirs, x, state, weights), strict=True):
        assert_close(got, expected, f"{kind} {setting}")
    assert_close(ours(x)[0], theirs(x)[0], "without a state")
    one, alone = (x[0] if setting.get("batch_first") else x[:, 0]), theirs
    assert_close(ours(one)[0], alone(one)[0], "without a batch")


@pytest.mark.parametrize(("kind", "setting", "backend"), COMBINATIONS)
def test_parameters_are_torchs(kind, setting, backend):
    torch.manual_seed(3)
    theirs = KINDS[kind][1](I, H, **setting)
    torch.manual_seed(3)
    ours = KINDS[kind][0](I, H, backend=backend, **setting)
    assert [(n, p.shape) for n, p in ours.named_parameters()] == [(n, p.shape) for n, p in theirs.named_parameters()]
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other), "the same seed gives the same weights"
    theirs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_between_layers_is_torchs(kind):
    ours, theirs = _pair(kind, {"num_layers": 3, "dropout": 0.4}, "torch")
    x, state, weights = _inputs(theirs)
    torch.manual_seed(1)
    got = _gradients(ours, x, state, weights)
    torch.manual_seed(1)
    for mine, other in zip(got, _gradients(theirs, x, state, weights), strict=True):
        assert torch.equal(mine, other)
    reference, _ = _pair(kind, {"num_layers": 3, "dropout": 0.4}, "reference")
    reference.load_state_dict(theirs.state_dict())
    assert_close(reference.eval()(x)[0], theirs.eval()(x)[0], "without dropout in evaluation")
    assert not torch.equal(reference.train()(x)[0], reference(x)[0])


def _flags():
    mask = torch.rand(T, B) > 0.3
    mask[:, 3] = False  # a row of length zero
    mask[5:, 0] = False
    reset = torch.rand(T, B) > 0.7
    return mask, reset


@pytest.mark.parametrize(("kind", "setting", "backend"), COMBINATIONS)
@pytest.mark.parametrize("which", ["mask", "reset", "both"])
def test_masks_and_resets_are_row_by_row_what_they_say(kind, setting, backend, which):
    """Each row alone, its missing steps left out and cut at its resets, is what a batch with flags must give."""
    layer = KINDS[kind][0](I, H, dtype=torch.float64, backend=backend, **setting)
    x, state, weights = _inputs(layer)
    mask, reset = _flags()
    flags = {"mask": mask, "reset": reset} if which == "both" else {which: mask if which == "mask" else reset}
    if layer.batch_first:
        given = {name: flag.transpose(0, 1) for name, flag in flags.items()}
    else:
        given = flags
    got = _gradients(layer, x, state, weights, **given)
    by_row = copy.deepcopy(layer)
    expected = _gradients(RowByRow(by_row, flags), x, state, weights)
    for index, (g, e) in enumerate(zip(got, expected, strict=True)):
        assert_close(g, e, f"part {index}")


class RowByRow(nn.Module):
    """A layer served row by row, from its plain form: no flags are ever given to it."""

    def __init__(self, layer, flags):
        super().__init__()
        self.layer, self.flags = layer, flags

    def forward(self, x, state):
        layer = self.layer
        directions = 2 if layer.bidirectional else 1
        time_first = x.transpose(0, 1) if layer.batch_first else x
        steps, rows = time_first.shape[:2]
        mask = self.flags.get("mask", torch.ones(steps, rows, dtype=torch.bool))
        reset = self.flags.get("reset", torch.zeros(steps, rows, dtype=torch.bool))
        parts = state if isinstance(state, tuple) else (state,)
        outputs, finals = [], []
        for row in range(rows):
            y = time_first[:, row]
            ends = []
            for depth in range(layer.num_layers):
                made = []
                for direction in range(directions):
                    index = depth * directions + direction
                    single = self._single(index)
                    y_d, final = self._one(
                        single, y, tuple(p[index, row] for p in parts), mask[:, row], reset[:, row], direction
                    )
                    made.append(y_d)
                    ends.append(final)
                y = torch.cat(made, -1)
            outputs.append(y)
            finals.append([torch.stack(part) for part in zip(*ends, strict=True)])
        y = torch.stack(outputs, 1)
        final = tuple(torch.stack(part, 1) for part in zip(*finals, strict=True))
        return (y.transpose(0, 1) if layer.batch_first else y), final if isinstance(state, tuple) else final[0]

    def _single(self, index):
        layer = self.layer
        directions = 2 if layer.bidirectional else 1
        depth, reverse = divmod(index, directions)
        suffix = f"_l{depth}" + ("_reverse" if reverse else "")
        return {n.removesuffix(suffix): p for n, p in layer.named_parameters() if n.endswith(suffix)}

    def _one(self, weights, x, state, mask, reset, reverse):
        steps = range(len(x))
        outputs = [None] * len(x)
        for t in reversed(steps) if reverse else steps:
            border = (t + 1 < len(x) and bool(reset[t + 1])) if reverse else bool(reset[t])
            if border:
                state = tuple(torch.zeros_like(s) for s in state)
            if mask[t]:
                state = self._step(weights, x[t], state)
                outputs[t] = state[0]
            else:
                outputs[t] = torch.zeros_like(state[0])
        return torch.stack(outputs), state

    def _step(self, weights, x, state):
        """One step by torch's own cell functions."""
        zeros = torch.zeros(len(weights["weight_ih"]), dtype=x.dtype)
        b_ih, b_hh = weights.get("bias_ih", zeros), weights.get("bias_hh", zeros)
        w_ih, w_hh = weights["weight_ih"], weights["weight_hh"]
        row = tuple(s[None] for s in state)
        if isinstance(self.layer, bptt.nn.LSTM):
            if "weight_hr" in weights:
                gates = w_ih @ x + b_ih + w_hh @ state[0] + b_hh
                i, f, g, o = gates.chunk(4)
                c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
                return weights["weight_hr"] @ (o.sigmoid() * c.tanh()), c
            return tuple(s[0] for s in torch.lstm_cell(x[None], row, w_ih, w_hh, b_ih, b_hh))
        if isinstance(self.layer, bptt.nn.GRU):
            return (torch.gru_cell(x[None], row[0], w_ih, w_hh, b_ih, b_hh)[0],)
        cell = torch.rnn_relu_cell if self.layer.nonlinearity == "relu" else torch.rnn_tanh_cell
        return (cell(x[None], row[0], w_ih, w_hh, b_ih, b_hh)[0],)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_at_missing_steps_reaches_nothing(kind, backend):
    layer = KINDS[kind][0](I, H, num_layers=2, bidirectional=True, dtype=torch.float64, backend=backend)
    x, state, weights = _inputs(layer)
    mask, reset = _flags()
    expected = _gradients(layer, x, state, weights, mask=mask, reset=reset)
    dirty = torch.where(mask[:, :, None], x, torch.full_like(x, float("nan")))
    for got, want in zip(_gradients(layer, dirty, state, weights, mask=mask, reset=reset), expected, strict=True):
        assert_close(got, want, "with NaN at missing steps")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_in_pieces_is_the_whole(kind, backend):
    layer = KINDS[kind][0](I, H, num_layers=2, dtype=torch.float64, backend=backend)
    x, _, _ = _inputs(layer)
    mask, reset = _flags()
    whole, final = layer(x, mask=mask, reset=reset)
    state, parts = None, []
    for a, b in itertools.pairwise([0, 1, 4, 7]):
        y, state = layer(x[a:b], state, mask=mask[a:b], reset=reset[a:b])
        parts.append(y)
    assert_close(torch.cat(parts), whole, "y")
    for got, expected in zip(_tuple(state), _tuple(final), strict=True):
        assert_close(got, expected, "final state")


def _tuple(state):
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sort", [True, False])
def test_packed_sequences_give_what_torch_gives(kind, sort):
    ours, theirs = _pair(kind, {"num_layers": 2, "bidirectional": True}, "auto")
    lengths = torch.tensor([7, 5, 5, 1] if sort else [2, 7, 1, 5])
    packed = pack_padded_sequence(torch.randn(T, B, I).double(), lengths, enforce_sorted=sort)
    mine, final = ours(packed)
    other, expected = theirs(packed)
    assert_close(mine.data, other.data, "data")
    assert_close(pad_packed_sequence(mine)[0], pad_packed_sequence(other)[0], "padded")
    for got, want in zip(_tuple(final), _tuple(expected), strict=True):
        assert_close(got, want, "final state")


@pytest.mark.parametrize("kind", KINDS)
def test_clip_step_limits_the_error_of_every_step(kind):
    """Against the definition: a loop of single steps, whose error is clamped where one step hands it to the one before."""
    limit = 0.02
    layer = KINDS[kind][0](I, H, dtype=torch.float64, clip_step=limit)
    plain = KINDS[kind][0](I, H, dtype=torch.float64)
    plain.load_state_dict(layer.state_dict())
    x, state, weights = _inputs(layer)
    got = _gradients(layer, x, state, weights)

    def loop(x, state):
        parts, outputs = _tuple(state), []
        for step in x.split(1):
            clamped = tuple(p.clone() for p in parts)
            for p in clamped:
                p.register_hook(lambda error: error.clamp(-limit, limit))
            y, after = plain(step, clamped if isinstance(state, tuple) else clamped[0])
            parts = _tuple(after)
            outputs.append(y)
        return torch.cat(outputs), parts if isinstance(state, tuple) else parts[0]

    loop.zero_grad, loop.parameters = plain.zero_grad, plain.parameters
    expected = _gradients(loop, x, state, weights)
    for index, (g, e) in enumerate(zip(got, expected, strict=True)):
        assert_close(g, e, f"part {index}")
    unclipped = _gradients(plain, x, state, weights)
    assert float((unclipped[-1] - got[-1]).abs().max()) > 1e-3
    with pytest.raises(ValueError, match="clip_step"):
        KINDS[kind][0](I, H, dtype=torch.float64, clip_step=limit, backend="torch")(x)


@pytest.mark.parametrize("name", ["tanh", "relu", "identity", "sigmoid", "softplus", "elu", "gelu", "silu", "sin"])
def test_any_activation(name):
    from bptt.kernels.reference import activations

    layer = bptt.nn.RNN(I, H, nonlinearity=name, dtype=torch.float64)
    same = bptt.nn.RNN(I, H, nonlinearity=activations[name], dtype=torch.float64)
    same.load_state_dict(layer.state_dict())
    x = torch.randn(4, 2, I).double()
    assert_close(layer(x)[0], same(x)[0], name)
    torch.autograd.gradcheck(lambda x: layer(x)[0], x.requires_grad_())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_and_their_gradients_by_finite_differences(kind):
    layer = KINDS[kind][0](2, 3, dtype=torch.float64, clip_step=100.0, backend="reference")
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_100_training_steps_are_those_of_torchs_layer(dtype):
    """Swapping torch.nn.LSTM for bptt.nn.LSTM: the same losses, to 1e-6 and 1e-10 relative."""

    def losses(layer):
        torch.manual_seed(0)
        model = nn.ModuleDict({"layer": layer(8, 16, 2, dropout=0.1), "readout": nn.Linear(16, 8)}).to(dtype)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        data = torch.randn(100, 12, 4, 8, dtype=dtype)
        found = []
        for x in data:
            y, _ = model["layer"](x)
            loss = (model["readout"](y) - x.roll(1, 0)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return torch.tensor(found, dtype=torch.float64)

    ours, theirs = losses(bptt.nn.LSTM), losses(nn.LSTM)
    assert theirs[-1] < theirs[0]
    assert float(((ours - theirs) / theirs).abs().max()) <= (1e-6 if dtype == torch.float32 else 1e-10)


BAD = [
    (lambda: bptt.nn.LSTM(128, 8)(torch.zeros(2, 3, 64)), r"x has 64 features but LSTM\(input_size=128\) expects 128"),
    (lambda: bptt.nn.GRU(3, 8)(torch.zeros(2, 3, 3), torch.zeros(1, 4, 8)), r"state is \[1, 4, 8\], expected \[1, 3, 8\]"),
    (
        lambda: bptt.nn.LSTM(3, 8)(torch.zeros(2, 3, 3), (torch.zeros(1, 3, 8), torch.zeros(1, 3, 7))),
        r"state\[1\] \(c\) is \[1, 3, 7\], expected \[1, 3, 8\]",
    ),
    (lambda: bptt.nn.LSTM(3, 8)(torch.zeros(2, 3, 3), torch.zeros(1, 3, 8)), r"a pair of tensors \(h, c\), got one tensor"),
    (lambda: bptt.nn.GRU(3, 8)(torch.zeros(2, 3, 3), (torch.zeros(1, 3, 8),) * 2), r"one tensor h, got a tuple of 2"),
    (lambda: bptt.nn.GRU(3, 8)(torch.zeros(2, 3, 3), torch.zeros(1, 3, 8).double()), r"state is torch.float64"),
    (lambda: bptt.nn.GRU(3, 8)(torch.zeros(0, 3, 3)), "x has no steps"),
    (lambda: bptt.nn.GRU(3, 8)(torch.zeros(3)), r"x is \[3\], expected \[T, B, I\]"),
    (lambda: bptt.nn.GRU(3, 8)(torch.zeros(2, 3, 3), mask=torch.ones(3, 2, dtype=torch.bool)), r"mask is \[3, 2\]"),
    (lambda: bptt.nn.GRU(3, 8)(torch.zeros(2, 3, 3), reset=torch.ones(2, 3)), "reset must be a bool tensor, got torch.float32"),
    (lambda: bptt.nn.GRU(3, 8)(torch.zeros(2, 3, 3), mask=[True]), "mask must be a bool tensor, got list"),
    (
        lambda: bptt.nn.GRU(3, 8, batch_first=True)(torch.zeros(2, 3, 3), mask=torch.ones(3) > 0),
        r"mask is \[3\], expected \[2, 3\]",
    ),
    (lambda: bptt.nn.GRU(3, 8)(torch.zeros(2, 3, 3).double()), "x is torch.float64 but the weights are torch.float32"),
    (lambda: bptt.nn.GRU(3, 4, clip_step=True), "clip_step must be a number above 0"),
    (lambda: bptt.nn.GRU(3, 4, 2, dropout="a"), "dropout is a probability"),
    (lambda: bptt.nn.GRU(3, 0), "hidden_size must be a whole number of at least 1, got 0"),
    (lambda: bptt.nn.GRU(3, 4, num_layers=2, dropout=1.5), "dropout is a probability"),
    (lambda: bptt.nn.LSTM(3, 4, proj_size=4), "proj_size=4 must be smaller than hidden_size=4"),
    (lambda: bptt.nn.RNN(3, 4, nonlinearity="tahn"), "nonlinearity='tahn' is unknown: one of 'tanh'"),
    (lambda: bptt.nn.RNN(3, 4, clip_step=0), "clip_step must be a number above 0"),
    (lambda: bptt.nn.RNN(3, 4, backend="cuda"), "backend='cuda' does not exist: one of 'auto', "),
    (
        lambda: bptt.nn.RNN(3, 4, nonlinearity="sin", backend="torch")(torch.zeros(2, 3, 3)),
        "backend='torch' cannot serve this layer: torch's RNN knows tanh and relu, not sin",
    ),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_layer_says_who_serves_it():
    plain, clipped = bptt.nn.LSTM(3, 4).backends(), bptt.nn.LSTM(3, 4, clip_step=1.0).backends()
    assert list(plain) == list(clipped) == list(kernels.table)
    assert plain["torch"] == plain["reference"] == clipped["reference"] == "serves"
    assert "clip_step" in clipped["torch"]


def test_dropout_with_one_layer_warns_as_torch_does():
    with pytest.warns(UserWarning, match="num_layers=1 has none"):
        bptt.nn.GRU(3, 4, dropout=0.1)
