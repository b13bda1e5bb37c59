"""The native kernels against the reference: every cell, shape, flag, thread count and instruction set."""

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import bptt

native = pytest.importorskip("bptt_native", reason="bptt_native is not installed: pip install ./native")

from bptt.kernels import Rows, Weights  # noqa: E402
from bptt.kernels.native import Native  # noqa: E402
from bptt.kernels.reference import Reference  # noqa: E402
from tests.native.compare import check, layer_of, problem, results, worst  # noqa: E402

CELLS = ["rnn", "gru", "lstm"]
DTYPES = [torch.float32, torch.float64]
THREADS = [1, 2, 3, 7]
# Sizes about the widths of vectors, panels, tiles and blocks, and what is far from them.
SHAPES = [
    (1, 1, 1, 1),
    (3, 1, 17, 33),
    (5, 4, 8, 16),
    (7, 3, 5, 13),
    (11, 2, 32, 64),
    (9, 7, 31, 65),
    (4, 15, 70, 97),
    (2, 300, 5, 7),
    (20, 33, 40, 48),
    (2, 9, 400, 290),
    (1, 40, 20, 512),
    (300, 1, 3, 20),
]


@pytest.fixture
def threads():
    """Sets torch's number of threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reference_is_met(shape, cell, dtype, threads):
    steps, rows, inputs, hidden = shape
    for count in THREADS if hidden < 100 else [1, 2]:
        threads(count)
        check(layer_of(cell, inputs, hidden), steps, rows, dtype)
    check(layer_of(cell, inputs, hidden, reverse=True, clip_step=0.05), steps, rows, dtype, mask=True, reset=True)


@pytest.mark.parametrize("flags", [(), ("mask",), ("mask", "reset"), ("half",)], ids=lambda flags: "-".join(flags) or "plain")
@pytest.mark.parametrize(("cell", "proj"), [("rnn", 0), ("gru", 0), ("lstm", 0), ("lstm", 7)])
@pytest.mark.parametrize(("inputs", "hidden"), [(9, 20), (90, 48)])
def test_threads_go_apart(inputs, hidden, cell, proj, flags, threads):
    # So many rows for so small a layer that each thread has gradients of its own, over several chunks of time.
    for count in (2, 3):
        threads(count)
        for reverse in (False, True):
            layer = layer_of(cell, inputs, hidden, proj, reverse=reverse)
            check(layer, 150, 24, torch.float64, **dict.fromkeys(flags, True))


@pytest.mark.parametrize(("rows", "inputs"), [(15, 40), (34, 800), (70, 40)])
@pytest.mark.parametrize(("cell", "hidden"), [("rnn", 1100), ("gru", 625), ("lstm", 530)])
def test_weights_beyond_the_caches(cell, hidden, rows, inputs, threads):
    for count in (1, 2):
        threads(count)
        for dtype in (torch.float32, torch.float64):
            check(layer_of(cell, inputs, hidden), 3, rows, dtype, mask=rows == 34)


@st.composite
def layers(draw):
    cell = draw(st.sampled_from(CELLS))
    size = st.one_of(st.integers(1, 5), st.integers(1, 40), st.integers(1, 130))
    hidden = draw(size)
    proj = draw(st.integers(0, hidden - 1)) if cell == "lstm" and draw(st.booleans()) else 0
    activation = draw(st.sampled_from(["tanh", "identity", "relu"])) if cell == "rnn" else "tanh"
    clip_step = draw(st.sampled_from([None, 0.05, 1.0]))
    return layer_of(cell, draw(size), hidden, proj, activation, clip_step, draw(st.booleans()))


@settings(max_examples=40 if os.environ.get("BPTT_ISA") else 150)
@given(
    layer=layers(),
    steps=st.one_of(st.integers(1, 4), st.integers(1, 20)),
    rows=st.one_of(st.integers(1, 4), st.integers(1, 40)),
    bias=st.booleans(),
    mask=st.booleans(),
    reset=st.booleans(),
    count=st.sampled_from(THREADS),
    seed=st.integers(0, 1000),
)
def test_reference_is_met_everywhere(layer, steps, rows, bias, mask, reset, count, seed):
    if layer.activation != "tanh":
        steps = min(steps, 5)  # what is not bounded grows, and its rounding with it
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        check(layer, steps, rows, torch.float64, bias=bias, mask=mask, reset=reset, seed=seed)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512", "neon"])
def test_every_instruction_set_this_cpu_runs(isa):
    if os.environ.get("BPTT_ISA"):
        pytest.skip("this is the run with one instruction set")
    environment = {**os.environ, "BPTT_ISA": isa}
    found = subprocess.run(
        [sys.executable, "-c", "import bptt_native; print(bptt_native.isa())"], env=environment, capture_output=True, text=True
    )
    if found.stdout.strip() != isa:
        pytest.skip(f"{isa} cannot run here")
    wanted = "reference_is_met or ulps or own_row or huge or beyond or (go_apart and 90-48)"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", __file__, "-k", wanted]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def test_an_unknown_instruction_set_is_refused():
    command = [sys.executable, "-c", "import bptt_native"]
    done = subprocess.run(command, env={**os.environ, "BPTT_ISA": "sse9"}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "BPTT_ISA=sse9 is unknown here" in done.stderr


def _units(function, x):
    """Error of the kernel's tanh or logistic in units of the last place, against extended precision."""
    y = torch.empty_like(x)
    native.apply(x.dtype == torch.float64, function, x.data_ptr(), y.data_ptr(), len(x))
    wide = np.float64 if x.dtype == torch.float32 else np.longdouble
    exact = x.numpy().astype(wide)
    with np.errstate(over="ignore", under="ignore"):
        exact = np.tanh(exact) if function == 0 else 1 / (1 + np.exp(-exact))
    unit = np.spacing(np.abs(exact).astype(x.numpy().dtype)).astype(wide)
    return np.abs(y.numpy().astype(wide) - exact) / unit


@pytest.mark.parametrize("function", [0, 1], ids=["tanh", "logistic"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_ulps_of_the_activations(function, dtype):
    """Below 3 units in the last place over the whole range, denormals included (2.98 is the worst of these)."""
    if dtype == torch.float64 and np.finfo(np.longdouble).nmant < 63:
        pytest.skip("no type wider than float64 to compare with")
    whole = torch.int32 if dtype == torch.float32 else torch.int64
    top = torch.tensor([float("inf")], dtype=dtype).view(whole).item()
    positive = torch.linspace(0, 1, 400_000, dtype=torch.float64).mul(top - 1).to(whole).view(dtype)
    usual = torch.linspace(-110, 110, 400_001, dtype=dtype)
    near = torch.linspace(-2, 2, 400_001, dtype=dtype)
    for x in (positive, -positive, usual, near):
        error = _units(function, x)
        assert float(error.max()) < 3, f"{float(error.max()):.2f} units at {float(x[int(error.argmax())])!r}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_keep_infinities_nan_and_the_sign_of_zero(dtype):
    x = torch.tensor([float("inf"), -float("inf"), float("nan"), 0.0, -0.0], dtype=dtype)
    y = torch.empty_like(x)
    native.apply(dtype == torch.float64, 0, x.data_ptr(), y.data_ptr(), 5)
    assert y[:2].tolist() == [1, -1]
    assert torch.isnan(y[2])
    assert torch.copysign(torch.ones(2, dtype=dtype), y[3:]).tolist() == [1, -1]
    native.apply(dtype == torch.float64, 1, x.data_ptr(), y.data_ptr(), 5)
    assert y[:2].tolist() == [1, 0]
    assert torch.isnan(y[2])
    assert y[3:].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", CELLS)
def test_nan_stays_in_its_own_row(cell, dtype):
    layer = layer_of(cell, 6, 37)
    x, state, weights, flags = problem(layer, 5, 30, dtype)
    clean = results(Native(), layer, x, state, weights, flags)
    sick = x.clone()
    sick[2, 7] = float("nan")
    sick[3, 21] = float("inf")
    got = results(Native(), layer, sick, state, weights, flags)
    others = [b for b in range(30) if b not in (7, 21)]
    for index in range(len(state) + 1):  # y and the final state
        assert torch.equal(got[index][..., others, :], clean[index][..., others, :])
    assert torch.isnan(got[0][2:, 7]).any()
    assert torch.equal(got[0][:2], clean[0][:2])
    assert torch.equal(got[len(state) + 1][:, others], clean[len(state) + 1][:, others]), "dx"


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("scale", [1e4, 1e-41])
def test_huge_and_denormal_inputs(cell, scale):
    layer = layer_of(cell, 5, 20, reverse=True)
    x, state, weights, flags = problem(layer, 4, 3, torch.float32)
    given = (x * scale, tuple(s * min(scale, 1) for s in state), weights, flags)
    exact = (
        given[0].double(),
        tuple(s.double() for s in given[1]),
        Weights(*(w if w is None else w.double() for w in weights)),
        flags,
    )
    assert worst(results(Native(), layer, *given), results(Reference(), layer, *exact)) < 1e-3


def test_denormals_are_zero_within_a_layer_alone(threads):
    threads(1)
    layer = layer_of("rnn", 1, 1, activation="identity")
    one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    small = torch.full((1, 1, 1), 1e-40)
    y, _ = Native().run(layer, Weights(one, one, None, None, None), small, (zero,), Rows())
    assert y.item() == 0
    assert (small * 2).item() > 0, "the caller's arithmetic is as it was"


@pytest.mark.parametrize("cell", CELLS)
def test_strides(cell):
    layer = layer_of(cell, 6, 9)
    x, state, weights, flags = problem(layer, 5, 4, torch.float64, mask=True)
    expected = results(Native(), layer, x, state, weights, flags)

    def run(kernel, x, state):
        leaves = [x.detach().requires_grad_(), *(s.detach().requires_grad_() for s in state)]
        y, final = kernel.run(layer, weights, leaves[0], tuple(leaves[1:]), flags)
        return y.detach(), final

    rows_first = x.transpose(0, 1).contiguous().transpose(0, 1)
    features_first = x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    padded = torch.full((10, 8, 11), float("nan"), dtype=x.dtype)[::2, ::2, 2:8]
    padded.copy_(x)
    turned = tuple(s.t().contiguous().t() for s in state)
    for other in (rows_first, features_first, padded):
        assert torch.equal(run(Native(), other, turned)[0], expected[0])
    same = x[:1, :1].expand(5, 4, 6)
    assert torch.equal(run(Native(), same, state)[0], run(Native(), same.contiguous(), state)[0])


def test_errors_of_any_layout_and_none():
    layer = layer_of("lstm", 3, 5)
    x, state, weights, flags = problem(layer, 4, 2, torch.float64)
    for chosen in (lambda y, h, c: y.sum(), lambda y, h, c: c.sum(), lambda y, h, c: (y.transpose(0, 1) * 2).sum() + h.sum()):
        found = []
        for kernel in (Native(), Reference()):
            leaf = x.clone().requires_grad_()
            y, (h, c) = kernel.run(layer, weights, leaf, state, flags)
            chosen(y, h, c).backward()
            found.append(leaf.grad)
        assert worst(found[:1], found[1:]) < 1e-12


def test_only_what_is_wanted_gets_a_gradient():
    layer = layer_of("gru", 3, 5)
    x, state, weights, flags = problem(layer, 4, 2, torch.float32)
    for index in range(4):
        leaves = [w.clone() for w in weights[:4]]
        leaves[index].requires_grad_()
        y, _ = Native().run(layer, Weights(*leaves, None), x, state, flags)
        y.sum().backward()
        assert [leaf.grad is not None for leaf in leaves] == [k == index for k in range(4)]
    y, _ = Native().run(layer, weights, x, state, flags)
    assert not y.requires_grad


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_gradients(cell):
    layer = layer_of(cell, 2, 3)
    x, state, weights, flags = problem(layer, 3, 2, torch.float64, mask=True)
    run = lambda x, w: Native().run(layer, weights._replace(w_hh=w), x, state, flags)[0]  # noqa: E731
    inputs = (x.requires_grad_(), weights.w_hh.requires_grad_())
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("vmapped", [False, True])
@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_many_errors_go_back_in_one_pass(cell, vmapped):
    layer = getattr(bptt.nn, cell)(3, 4, backend="native").double()
    x = torch.randn(5, 2, 3).double().requires_grad_()
    y, _ = layer(x)
    wanted, errors = [x, *layer.parameters()], torch.randn(6, *y.shape).double()
    passes = []
    y.grad_fn.register_hook(lambda *_: passes.append(1))
    if vmapped:
        found = torch.func.vmap(lambda error: torch.autograd.grad(y, wanted, error, retain_graph=True))(errors)
    else:
        found = torch.autograd.grad(y, wanted, errors, retain_graph=True, is_grads_batched=True)
    assert len(passes) == 1
    each = [torch.autograd.grad(y, wanted, error, retain_graph=True) for error in errors]
    for got, expected in zip(found, zip(*each, strict=True), strict=True):
        assert not got.requires_grad
        assert torch.allclose(got, torch.stack(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("steps", "rows", "hidden"), [(12, 16, 64), (12, 3, 300), (150, 24, 20)])
def test_same_threads_same_bits(cell, steps, rows, hidden, threads):
    layer = layer_of(cell, 20, hidden)
    given = problem(layer, steps, rows, torch.float32)
    for count in (2, 3):
        threads(count)
        first = results(Native(), layer, *given)
        for _ in range(3):
            assert all(torch.equal(a, b) for a, b in zip(first, results(Native(), layer, *given), strict=True))


def test_several_python_threads_at_once(threads):
    threads(2)
    layer = layer_of("lstm", 20, 80)
    given = [problem(layer, 15, 16, torch.float32, seed=seed) for seed in range(4)]
    expected = [results(Native(), layer, *each) for each in given]
    wrong = []

    def work(index):
        for _ in range(10):
            got = results(Native(), layer, *given[index])
            if not all(torch.equal(a, b) for a, b in zip(got, expected[index], strict=True)):
                wrong.append(index)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def _in_child(given, queue):
    y, _ = Native().run(layer_of("gru", 20, 80), given[2], given[0], given[1], given[3])
    queue.put(y.sum().item())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_a_fork(threads):
    """A forked child has no OpenMP workers: it computes on one thread, and does not wait for them."""
    threads(2)
    given = problem(layer_of("gru", 20, 80), 15, 16, torch.float32)
    expected, _ = Native().run(layer_of("gru", 20, 80), given[2], given[0], given[1], given[3])
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(given, queue))
    child.start()
    child.join(60)
    alive = child.is_alive()
    if alive:
        child.kill()
    assert not alive, "the child waits for threads that do not exist"
    assert queue.get() == pytest.approx(expected.sum().item(), rel=1e-4)


def test_no_rows():
    layer = layer_of("lstm", 3, 5)
    x, state, weights, flags = problem(layer, 4, 0, torch.float32)
    found = results(Native(), layer, x, state, weights, flags)
    assert found[0].shape == (4, 0, 5)
    assert all(float(g.abs().sum()) == 0 for g in found)


def test_no_step_of_a_batch_exists():
    layer = layer_of("gru", 3, 5)
    x, state, weights, _ = problem(layer, 4, 2, torch.float64)
    flags = Rows(torch.zeros(4, 2, dtype=torch.bool), None)
    assert worst(results(Native(), layer, x, state, weights, flags), results(Reference(), layer, x, state, weights, flags)) == 0


def test_why_not():
    serves = Native().why_not
    x, rows = torch.zeros(2, 3, 4), Rows()
    assert serves(layer_of("gru", 4, 5), x, rows) is None
    assert "float16" in serves(layer_of("gru", 4, 5), x.half(), rows)
    assert "sin" in serves(layer_of("rnn", 4, 5, activation="sin"), x, rows)
    assert "meta" in serves(layer_of("gru", 4, 5), x.to("meta"), rows)
    with torch.autocast("cpu", torch.bfloat16):
        assert "autocast" in serves(layer_of("gru", 4, 5), x, rows)
    assert bptt.nn.GRU(4, 5).backends()["native"] == "serves"


def test_sizes_are_checked_before_memory_is_touched():
    layer = layer_of("lstm", 3, 5)
    x, (h, c), weights, rows = problem(layer, 4, 2, torch.float32)
    for match, change in (
        (r"h is \[1, 5\], expected \[2, 5\]", {"state": (h[:1], c)}),
        (r"weight_hh is \[20, 4\], expected \[20, 5\]", {"weights": weights._replace(w_hh=weights.w_hh[:, :4])}),
        ("bias_ih is torch.float64", {"weights": weights._replace(b_ih=weights.b_ih.double())}),
        ("weight_hr belongs to a projection", {"weights": weights._replace(w_hr=torch.zeros(0, 5))}),
        (r"x is \[0, 2, 3\]", {"x": x[:0]}),
    ):
        given = {"x": x, "state": (h, c), "weights": weights, **change}
        with pytest.raises(ValueError, match=match):
            Native().run(layer, given["weights"], given["x"], given["state"], rows)


@settings(max_examples=300)
@given(numbers=st.lists(st.integers(-(2**62), 2**62), min_size=6, max_size=6), size=st.integers(0, 25), small=st.booleans())
def test_the_binding_refuses_what_it_cannot_do(numbers, size, small):
    """Any sizes, and addresses that are all null: an exception, never a crash."""
    if small:
        numbers = [n % 5 - 1 for n in numbers]
    cell, steps, rows, inputs, hidden, proj = numbers
    for call in (native.forward, native.backward):
        if rows == 0 and size == (13 if call is native.forward else 20):
            continue  # nothing to read or write: null serves
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            call(False, cell, 0, False, steps, rows, inputs, hidden, proj, 1.0, 1, 0, 0, 0, 0, (0,) * size)


def test_the_peak_is_measured():
    assert 1e8 < native.peak(1, 0.001) < 1e13
    with pytest.raises(ValueError, match="threads"):
        native.peak(0)
