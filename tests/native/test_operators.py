"""The native kernels inside torch: operators, compilers, transforms, layouts, and calls that must be refused."""

import subprocess
import sys
import threading

import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from torch import nn
from torch.autograd import forward_ad

import bptt

native = pytest.importorskip("bptt_native", reason="bptt_native is not installed: pip install ./native")

from bptt.kernels import Rows, Weights  # noqa: E402
from bptt.kernels.native import Native, calls  # noqa: E402
from bptt.kernels.native.function import Sequence  # noqa: E402
from tests.native.compare import check, layer_of, problem, results, worst  # noqa: E402

CELLS = ["rnn", "gru", "lstm"]
LAYERS = {"rnn": bptt.nn.RNN, "gru": bptt.nn.GRU, "lstm": bptt.nn.LSTM}


def arguments(layer, dtype=torch.float64, grad=True, **settings):
    """What torch.ops.bptt.sequence takes."""
    x, state, weights, flags = problem(layer, 4, 3, dtype, **settings)
    inputs = [x, state[0], state[1] if layer.cell == "lstm" else None, *weights]
    inputs = [None if t is None else t.requires_grad_(grad) for t in inputs]
    tape = calls.tape_of_a_row(dtype == torch.float64, layer) if grad else None
    return (*inputs, *flags, layer.cell, layer.activation, layer.reverse, layer.clip_step, tape)


def test_large_results_take_the_place_of_earlier_ones():
    if not hasattr(native, "idle_bytes"):
        pytest.skip("this bptt_native has no loans")
    layer = bptt.nn.RNN(1, 512, backend="native")
    x = torch.randn(1100, 16, 1)  # y: 34 MiB
    native.release_idle()
    with torch.no_grad():
        first, _ = layer(x)
        second, _ = layer(x)
        assert native.idle_bytes() == 0
        assert first.is_contiguous()
        assert torch.equal(first, second)
        place = first.data_ptr()
        part = first[-1]
        del first
        assert native.idle_bytes() == 0, "a part of it is still held"
        del part
        assert native.idle_bytes() >= 34 << 20
        third, _ = layer(x)
    assert third.data_ptr() == place
    assert torch.equal(third, second)
    native.release_idle()


@pytest.mark.parametrize("cell", CELLS)
def test_each_alone_may_want_a_gradient(cell):
    ours, theirs = LAYERS[cell](3, 4, backend="native"), getattr(nn, cell.upper())(3, 4)
    ours.load_state_dict(theirs.state_dict())
    x, parts = torch.randn(5, 2, 3), [torch.randn(1, 2, 4) for _ in ours.parts]

    def gradient(layer, which):
        leaves = [x.clone(), *(part.clone() for part in parts), *layer.parameters()]
        for n, leaf in enumerate(leaves):
            leaf.requires_grad_(n == which)
        state = tuple(leaves[1 : 1 + len(parts)])
        y, _ = layer(leaves[0], state if len(parts) > 1 else state[0])
        return torch.autograd.grad(y.square().sum(), leaves[which])[0]

    for which in range(1 + len(parts) + 4):
        torch.testing.assert_close(gradient(ours, which), gradient(theirs, which))


@pytest.mark.parametrize("cell", CELLS)
def test_opcheck(cell):
    """Without flags, and of a width without padding: opcheck compares the whole tape, of which the rest is fresh memory."""
    layer = layer_of(cell, 5, 16, proj=2 if cell == "lstm" else 0, reverse=True)
    torch.library.opcheck(torch.ops.bptt.sequence.default, arguments(layer), rtol=1e-9, atol=1e-9)
    layer = layer_of(cell, 5, 7, clip_step=0.5)
    given = arguments(layer, grad=False, mask=True, reset=True)
    torch.library.opcheck(torch.ops.bptt.sequence.default, given, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_opcheck_of_backward(cell):
    given = arguments(layer_of(cell, 5, 7), mask=True)
    detached = [t.detach() if isinstance(t, torch.Tensor) else t for t in given]
    y, h, c, gates, cells = torch.ops.bptt.sequence(*detached)
    errors = (torch.randn_like(y), torch.randn_like(h), torch.randn_like(c) if cell == "lstm" else None)
    whole = (*detached[:10], y, gates, cells, *errors, *detached[10:14])
    for wanted in ([True] * 8, [False, True] * 4):
        torch.library.opcheck(torch.ops.bptt.sequence_backward.default, (*whole, wanted), rtol=1e-9, atol=1e-9)


def test_the_operator_says_what_does_not_fit():
    call = arguments(layer_of("gru", 5, 7))
    with pytest.raises(ValueError, match="tape is"):
        torch.ops.bptt.sequence(*call[:14], [1, 1])
    with pytest.raises(ValueError, match="'gruu', of rnn, gru, lstm"):
        torch.ops.bptt.sequence(*call[:10], "gruu", *call[11:])
    with pytest.raises(ValueError, match=r"h is \[2, 7\], expected \[3, 7\]"):
        torch.ops.bptt.sequence(call[0], call[1][:2], *call[2:])
    with pytest.raises(RuntimeError, match="no gradients"):
        torch.ops.bptt.sequence(*call[:14], None)[0].sum().backward()


class Model(nn.Module):
    def __init__(self, kind, **settings):
        super().__init__()
        self.layer = LAYERS[kind](4, 6, backend="native", **settings)
        self.readout = nn.Linear(12 if settings.get("bidirectional") else 6, 3)

    def forward(self, x, mask=None):
        y, state = self.layer(x, mask=mask)
        parts = state if isinstance(state, tuple) else (state,)
        return self.readout(y).square().sum() + sum(part.square().sum() for part in parts)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(
    ("cell", "more"), [("rnn", {}), ("gru", {"clip_step": 0.1}), ("lstm", {"num_layers": 2, "bidirectional": True})]
)
def test_compiled_without_a_graph_break(cell, more, dynamic):
    """aot_eager traces all that a compiler traces, without waiting for C++ to be compiled."""
    torch.compiler.reset()
    model = Model(cell, **more)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for steps, rows in ((5, 3), (7, 2)) if dynamic else ((5, 3),):
        x = torch.randn(steps, rows, 4, requires_grad=True)
        mask = torch.rand(steps, rows) > 0.3
        for inputs in ((x,), (x, mask)):
            wanted = (x, *model.parameters())
            ours = torch.autograd.grad(compiled(*inputs), wanted)
            for mine, plain in zip(ours, torch.autograd.grad(model(*inputs), wanted), strict=True):
                torch.testing.assert_close(mine, plain)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell", CELLS)
def test_compiled_by_inductor(cell):
    torch.compiler.reset()
    model = Model(cell)
    x = torch.randn(5, 3, 4, requires_grad=True)
    ours = torch.autograd.grad(torch.compile(model, fullgraph=True)(x), (x, *model.parameters()))
    for mine, plain in zip(ours, torch.autograd.grad(model(x), (x, *model.parameters())), strict=True):
        torch.testing.assert_close(mine, plain)


def test_exported():
    model = Model("gru").eval()
    x = torch.randn(5, 3, 4)
    found = torch.export.export(model, (x,))
    assert any("bptt.sequence" in str(node.target) for node in found.graph.nodes)
    torch.testing.assert_close(found.module()(x), model(x))


def test_modes_and_subclasses_see_an_operator():
    from torch.fx.experimental.proxy_tensor import make_fx

    layer = bptt.nn.GRU(4, 6, backend="native")
    x = torch.randn(5, 3, 4)
    traced = make_fx(lambda x: layer(x)[0].sum())(x)
    other = torch.randn(5, 3, 4)
    torch.testing.assert_close(traced(other), layer(other)[0].sum())  # addresses in the trace would give x's sum

    class Marked(torch.Tensor):
        pass

    assert type(layer(x.as_subclass(Marked))[0]) is Marked


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, when it loads its forward-mode rules
@pytest.mark.parametrize("cell", CELLS)
def test_transforms_fall_to_a_kernel_that_knows_them(cell):
    layer = LAYERS[cell](3, 4)
    x = torch.randn(5, 2, 3)
    run = lambda x: layer(x)[0].square().sum()  # noqa: E731
    expected = torch.autograd.grad(run(x.requires_grad_()), x)[0]
    x = x.detach()
    torch.testing.assert_close(torch.func.grad(run)(x), expected)
    tangent = torch.randn_like(x)
    slow = LAYERS[cell](3, 4, backend="reference")
    slow.load_state_dict(layer.state_dict())
    along = torch.func.jvp(lambda x: slow(x)[0], (x,), (tangent,))[1]
    torch.testing.assert_close(torch.func.jvp(lambda x: layer(x)[0], (x,), (tangent,))[1], along)
    torch.testing.assert_close(torch.vmap(lambda x: layer(x)[0])(torch.stack([x, tangent]))[1], layer(tangent)[0])
    torch.testing.assert_close((torch.func.vjp(lambda x: layer(x)[0], x)[1](along)[0] * tangent).sum(), along.square().sum())
    layer.backend = "native"
    reasons = []
    torch.func.grad(lambda x: reasons.append(layer.backends(x)["native"]) or x.sum())(x)
    assert "torch.func" in reasons[0]
    with pytest.raises(ValueError, match=r"torch\.func"):
        torch.func.grad(run)(x)
    with forward_ad.dual_level():
        assert "forward-mode" in layer.backends(x)["native"]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("long_way", [False, True])
def test_both_ways_meet_the_reference(cell, long_way, monkeypatch):
    layer = layer_of(cell, 6, 17, proj=5 if cell == "lstm" else 0, clip_step=0.2)
    plan = calls.plan_of(layer)
    if long_way:
        object.__setattr__(plan, "direct", None)
        monkeypatch.setattr(calls, "plan_of", lambda _: plan)
    try:
        for dtype in (torch.float32, torch.float64):
            check(layer, 5, 4, dtype, mask=True, reset=True)
    finally:
        calls.plan_of.cache_clear() if not long_way else monkeypatch.undo()
        calls.plan_of.cache_clear()


@pytest.mark.parametrize("cell", CELLS)
def test_the_direct_way_serves_what_is_common(cell):
    layer = layer_of(cell, 6, 9)
    x, state, weights, _ = problem(layer, 5, 4, torch.float32)
    inputs = (x, state[0], state[1] if cell == "lstm" else None, *weights)
    direct = calls.plan_of(layer).direct
    if direct is None:
        pytest.skip("this torch does not offer DLPack's exchange in C")
    made = direct.forward(inputs, None, None, True, 1)
    assert made is not None
    tape, errors = (made[0], *made[3:]), (torch.ones(()).expand(5, 4, 9), None, None)
    assert direct.backward(inputs, None, None, tape, errors, (True,) * 8, 1) is not None
    for other in (
        x.double(),
        x[:, :, :3],
        x.permute(2, 1, 0),
        torch.complex(x, x).conj().imag,
        x.to_sparse(),
        x.to("meta"),
        None,
    ):
        assert direct.forward((other, *inputs[1:]), None, None, True, 1) is None


@pytest.mark.parametrize("cell", CELLS)
def test_a_small_layer_goes_the_quick_way(cell, monkeypatch):
    """What fits is computed without the layer's own checks; what does not is told in the layer's words."""
    layer = LAYERS[cell](4, 6)
    x, zero = torch.randn(5, 3, 4), torch.randn(1, 3, 6)
    state = (zero, zero) if cell == "lstm" else zero
    slow = [layer(x, s, mask=torch.ones(5, 3, dtype=torch.bool)) for s in (None, state)]
    monkeypatch.setattr(type(layer), "_run", None)
    for first, (y, final) in zip((None, state), slow, strict=True):
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                mine, last = layer(x, first)
            assert mine.requires_grad == grad
            assert torch.equal(mine, y)
            assert type(last) is type(final)
            assert all(torch.equal(a, b) for a, b in zip(last, final, strict=True))
    frozen = LAYERS[cell](4, 6).requires_grad_(False)
    assert not frozen(x)[0].requires_grad
    for wrong in (x[..., :3], x.double(), x[:0]):
        with pytest.raises(ValueError, match="x "):
            layer(wrong)
    with pytest.raises((TypeError, ValueError), match="state"):
        layer(x, zero[..., :5] if cell != "lstm" else (zero, zero[..., :5]))
    for other in (x[:, 0], x.to("meta")):
        with pytest.raises((TypeError, ValueError)):
            layer(other)  # not for the quick way


@pytest.mark.parametrize("cell", CELLS)
def test_no_state_is_zero(cell):
    layer = LAYERS[cell](4, 6, backend="native")
    x = torch.randn(5, 3, 4)
    zero = torch.zeros(1, 3, 6)
    y, state = layer(x)
    same, final = layer(x, (zero, zero) if cell == "lstm" else zero)
    for a, b in zip((y, *state), (same, *final), strict=True):
        assert torch.equal(a, b)
    grads = [
        torch.autograd.grad(layer(x, s)[0].sum(), layer.weight_hh_l0)[0]
        for s in (None, (zero, zero) if cell == "lstm" else zero)
    ]
    assert torch.equal(*grads)
    tall = torch.randn(5, 3, 4, requires_grad=True)
    first = torch.autograd.grad(layer(tall)[0].square().sum(), tall, create_graph=True)[0]
    assert torch.autograd.grad(first.sum(), tall)[0].abs().sum() > 0


def test_negation_still_to_be_done():
    """The imaginary part of a conjugate is a view with a flag that says: negate when reading."""
    layer = layer_of("gru", 6, 9)
    x, state, weights, flags = problem(layer, 5, 4, torch.float64)
    turned = torch.complex(x, -x).conj().imag
    assert turned.is_neg()
    y, _ = Native().run(layer, weights, turned, state, flags)
    assert torch.equal(y, Native().run(layer, weights, x, state, flags)[0])
    y, _ = Native().run(layer, weights, x.requires_grad_(), state, flags)
    error = torch.randn_like(y)
    negated = torch.complex(error, -error).conj().imag
    assert torch.equal(*(torch.autograd.grad(y, x, e, retain_graph=True)[0] for e in (error, negated)))


@pytest.mark.parametrize("rows", [3, 400])
def test_errors_that_are_expanded_or_turned(rows):
    layer = layer_of("lstm", 4, 60)
    x, state, weights, flags = problem(layer, 5, rows, torch.float64)
    y, (h, _) = Native().run(layer, weights, x.requires_grad_(), state, flags)
    dy, dh = torch.randn(5, 1, 60, dtype=x.dtype).expand_as(y), torch.randn(60, rows, dtype=x.dtype).t()
    lying = torch.autograd.grad((y, h), x, (dy, dh), retain_graph=True)[0]
    assert torch.equal(lying, torch.autograd.grad((y, h), x, (dy.contiguous(), dh.contiguous()))[0])


@pytest.mark.parametrize("flags", [False, True])
@pytest.mark.parametrize("proj", [0, 7])
def test_errors_of_outputs_need_not_lie_densely(flags, proj):
    layer = layer_of("lstm", 4, 33, proj, reverse=flags)
    x, state, weights, rows = problem(layer, 6, 50, torch.float64, mask=flags, reset=flags)
    y, _ = Native().run(layer, weights, x.requires_grad_(), state, rows)
    random = torch.randn_like(y)
    for dy in (
        random[:1, :1, :1].expand_as(y),
        random[:, :1].expand_as(y),
        random[:, :, :1].expand_as(y),
        random.transpose(0, 1).contiguous().transpose(0, 1),
        torch.cat([random, random], -1)[..., : y.shape[-1]],
    ):
        assert not dy.is_contiguous()
        found = [torch.autograd.grad(y, x, error, retain_graph=True)[0] for error in (dy, dy.contiguous())]
        assert torch.equal(*found)


def test_data_given_another_shape_before_backward():
    for change in (
        lambda layer: setattr(layer.weight_hh_l0, "data", torch.zeros(2, 2)),
        lambda layer: setattr(layer.weight_ih_l0, "data", layer.weight_ih_l0.double()),
    ):
        layer = bptt.nn.LSTM(4, 6, backend="native")
        loss = layer(torch.randn(5, 3, 4))[0].sum()
        change(layer)
        with pytest.raises(ValueError, match=r"weight_.h is"):
            loss.backward()


WRONG = st.sampled_from(
    [
        lambda t: t[..., :-1],
        lambda t: t.double(),
        lambda t: t.to("meta"),
        lambda t: t.half(),
        lambda t: t[None],
        lambda t: t.flatten(),
        lambda t: t.to(torch.int32),
        lambda t: None,
        lambda t: t.new_empty(0),
    ]
)


def called(plan, inputs, flags, grad):
    made = calls.forward(plan, tuple(inputs), *flags, grad)
    return Sequence.apply(plan.layer, *flags, made, *inputs) if grad else made


@settings(max_examples=150)
@given(cell=st.sampled_from(CELLS), place=st.integers(0, 9), wrong=WRONG, grad=st.booleans())
def test_wrong_tensors_are_refused_in_python(cell, place, wrong, grad):
    """One tensor of a call is wrong: an error in words, or a call that is right all the same; never a crash."""
    layer = layer_of(cell, 5, 7)
    x, state, weights, flags = problem(layer, 4, 3, torch.float32, mask=True, reset=True)
    inputs = [x, state[0], state[1] if cell == "lstm" else None, *weights, *flags]
    if inputs[place] is None:
        return
    right, inputs[place] = inputs[place], wrong(inputs[place])
    if inputs[place] is not None and inputs[place].shape == right.shape and inputs[place].dtype == right.dtype and place > 1:
        assume(inputs[place].device != right.device)  # a bias is flat already
    optional = place in (5, 6, 8, 9)
    leaves = [t.requires_grad_() if grad and t is not None and t.is_floating_point() else t for t in inputs[:8]]
    plan = calls.plan_of(layer)
    if place == 1 and cell != "lstm" and inputs[1] is not None and inputs[1].shape == (1, 3, 7):
        return  # as torch's layers stack it
    if inputs[place] is None and (optional or (place == 1 and cell != "lstm")):
        assert torch.isfinite(called(plan, leaves, inputs[8:], grad)[0]).all()
        return
    with pytest.raises((ValueError, TypeError, AttributeError)):
        called(plan, leaves, inputs[8:], grad)


def test_out_of_memory_is_an_exception():
    """In a process whose address space is limited: MemoryError, and the process lives on."""
    program = """
import resource, torch, bptt
layer = bptt.nn.LSTM(64, 512, backend="native")
layer(torch.zeros(2, 2, 64))[0].sum().backward()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20), resource.RLIM_INFINITY))
for inference in (False, True):
    try:
        with torch.set_grad_enabled(not inference):
            layer(torch.zeros(1, 1, 64).expand(1000, 1000, 64))
    except MemoryError as error:
        print("MemoryError")
print(layer(torch.zeros(2, 2, 64))[0].shape)
"""
    if sys.platform != "linux":
        pytest.skip("the address space is limited the Linux way")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["MemoryError", "MemoryError", "torch.Size([2, 2, 512])"]


def test_several_threads_through_layers():
    """Python threads that train their own models at once: the same numbers as one after the other."""
    models = [Model(cell) for cell in CELLS]
    x = torch.randn(30, 4, 4)

    def train(model):
        found = []
        for _ in range(5):
            model.zero_grad()
            loss = model(x)
            loss.backward()
            found.append((loss.detach(), *(p.grad.clone() for p in model.parameters())))
        return found

    alone = [train(model) for model in models]
    beside: dict = {}
    workers = [threading.Thread(target=lambda i=i: beside.update({i: train(models[i])})) for i in range(len(models))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for index, found in enumerate(alone):
        for expected, got in zip(found, beside[index], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


def test_parametrized_and_replaced_weights():
    layer = bptt.nn.GRU(4, 6, backend="native")
    nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    x = torch.randn(5, 3, 4)
    layer(x)[0].sum().backward()
    assert layer.parametrizations.weight_hh_l0.original1.grad.abs().sum() > 0
    plain = bptt.nn.GRU(4, 6, backend="native")
    weights = {name: torch.randn_like(p) for name, p in plain.named_parameters()}
    y = torch.func.functional_call(plain, weights, (x,))[0]
    zero = torch.zeros(3, 6)
    given = Weights(*(weights[f"{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")), None)
    expected, _ = Native().run(layer_of("gru", 4, 6), given, x, (zero,), Rows())
    assert torch.equal(y, expected)


def test_results_of_a_stacked_state():
    layer = layer_of("lstm", 4, 6)
    x, state, weights, flags = problem(layer, 5, 3, torch.float64)
    plain = results(Native(), layer, x, state, weights, flags)
    stacked = results(Native(), layer, x, tuple(s[None] for s in state), weights, flags)
    assert worst([t.reshape(p.shape) for t, p in zip(stacked, plain, strict=True)], plain) == 0


def test_nothing_of_the_module_is_left_at_exit():
    """nanobind tells at exit what of its objects is still alive: a graph that lives as long as the process holds none."""
    program = """
import torch, bptt
layer = bptt.nn.LSTM(3, 4, backend="native")
kept = layer(torch.zeros(2, 1, 3))[0].sum()
kept.backward(retain_graph=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_large_tapes_take_the_place_of_earlier_ones():
    if not hasattr(native, "idle_bytes"):
        pytest.skip("this bptt_native has no loans")
    layer = bptt.nn.LSTM(8, 128, backend="native")
    x = torch.randn(400, 8, 8)
    native.release_idle()
    found = []
    for _ in range(3):
        layer.zero_grad()
        layer(x)[0].sum().backward()
        found.append((native.idle_bytes(), layer.weight_hh_l0.grad.clone()))
    assert 6 << 20 < found[0][0] == found[2][0] < 16 << 20
    assert torch.equal(found[0][1], found[2][1])
    both = [layer(x)[0].sum() for _ in range(2)]  # two at once share nothing
    for y in both:
        y.backward()
    native.release_idle()
    assert native.idle_bytes() == 0


@pytest.mark.parametrize("cell", CELLS)
def test_scratch_memory_is_foretold_and_told(cell):
    steps, rows, inputs, hidden = 90, 24, 40, 200
    layer = getattr(bptt.nn, cell.upper())(inputs, hidden, backend="native")
    forward, backward = native.scratch(False, calls.CELLS[cell], steps, rows, inputs, hidden, 0, calls.threads())
    native.release_scratch()
    before = native.scratch_bytes()[0]
    x = torch.randn(steps, rows, inputs, requires_grad=True)
    y = layer(x)[0]
    after_forward = native.scratch_bytes()[0] - before
    y.sum().backward()
    both = native.scratch_bytes()[0] - before
    pages = 3 << 20  # a large buffer is rounded up to huge pages, and flags' numbers lie in one of their own
    assert forward <= after_forward <= forward + pages
    assert max(forward, backward) <= both <= max(forward, backward) + pages
    assert native.scratch_bytes()[1] >= before + both
    native.release_scratch()
    assert native.scratch_bytes()[0] == before
