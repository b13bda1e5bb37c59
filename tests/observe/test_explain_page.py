"""The page of `bptt explain` in a real browser: every number it shows is autograd's."""

import numpy as np
import pytest
import torch
from torch import nn

import bptt
from bptt.observe.explain_cells import cells
from bptt.observe.explained import explain
from tests.observe.browser import browser as a_browser, hovered, numbers, opened, overflows, slide
from tests.observe.explain_oracle import Autograd, Net


@pytest.fixture(scope="module")
def browser():
    with a_browser() as made:
        yield made


@pytest.fixture
def page_of(browser, tmp_path):
    def make(*given, width=1400, theme="light", **more):
        return opened(browser, explain(*given, **more).save_html(tmp_path / "page.html"), width=width, theme=theme)

    return make


def agrees(page, *, k1, k2, clip=0.25, rate=0.1, every=True):
    """Compares all numbers on the page with autograd's for the weights and the sequence that the page now has."""
    state = page.evaluate("({cell: now.cell, weights: weightsOf(), steps: now.steps, x: DATA.x, target: DATA.target})")
    weights = {name: np.array(value, dtype=float) for name, value in state["weights"].items()}
    steps = state["steps"]
    x, target = (np.array(state[name])[:steps] for name in ("x", "target"))
    counted = np.ones(steps) if every else (np.arange(steps) == steps - 1).astype(float)
    autograd = Autograd(state["cell"], weights, x, target, counted)
    table = {n: np.array([[p.get((t, k), 0 * p[0, 0]) for k in range(steps)] for t in range(steps)])
             for n, p in autograd.contributions.items()}  # fmt: skip
    gradient = autograd.gradient()
    norm = np.sqrt(sum(np.square(g).sum() for g in gradient.values()))
    ends = [min((t // k1 + 1) * k1, steps) for t in range(steps)]
    kept = np.array([[float(ends[t] - k2 <= k <= t) for k in range(steps)] for t in range(steps)])
    diagonal = np.eye(steps)
    expected = {
        "states": np.concatenate([np.zeros_like(autograd.states[:1]), autograd.states]), "x": x, "y": autograd.y,
        "losses": autograd.losses, "errors": autograd.back.sum(0).numpy(), "loss": autograd.losses.sum(), "norm": norm,
        "norms": np.sqrt(sum(np.square(p).reshape(steps, steps, -1).sum(-1) for p in table.values())),
        "explicit": {n: np.einsum("tk,tk...->...", diagonal, p) for n, p in table.items()},
        "implicit": {n: np.einsum("tk,tk...->...", 1 - diagonal, p) for n, p in table.items()},
        "gradient": gradient, "truncated": {n: np.einsum("tk,tk...->...", kept, p) for n, p in table.items()},
        "clipped": {n: g * min(1, clip / norm) for n, g in gradient.items()}, "weights": weights,
        "updated": {n: weights[n] - rate * g for n, g in gradient.items()},
    }  # fmt: skip
    shown = numbers(page)
    seen = set()
    for key, (value, text) in shown.items():
        first, *rest = key.split("/")
        if first == "variant":
            continue
        right = expected[first]
        for part in rest:
            right = right[part if isinstance(right, dict) else int(part)]
        assert value == pytest.approx(float(right), rel=1e-6, abs=1e-9), key
        if text and first != "norms":
            said = float(text.replace("−", "-"))
            assert said == pytest.approx(value, rel=0.06 if "e" in text else 1e-4, abs=0 if "e" in text else 6e-5), key
        seen.add(first)
    assert seen == set(expected) - (set() if any(counted) else {"losses"})
    return shown


@pytest.mark.parametrize("cell", sorted(cells))
def test_every_number_is_autograds(page_of, cell):
    with page_of(cell, steps=5, seed=2) as page:
        agrees(page, k1=2, k2=2)


def test_and_stays_so_whatever_is_changed(page_of):
    with page_of("rnn", steps=4) as page:
        before = numbers(page)
        slide(page, "set-steps-T", 9)
        slide(page, "set-k1", 3)
        slide(page, "set-k2", 5)
        shown = agrees(page, k1=3, k2=5)
        assert len(shown) > len(before)
        page.fill('[data-weight="W_hh/0/1"]', "1.25")
        page.keyboard.press("Tab")
        assert page.evaluate("weightsOf().W_hh[0][1]") == 1.25
        agrees(page, k1=3, k2=5)
        slide(page, "set-one", -0.75)
        slide(page, "set-clip-norm", 1.5)
        slide(page, "set-rate", 0.5)
        agrees(page, k1=3, k2=5, clip=1.5, rate=0.5)
        page.select_option("#set-cell", "gru")
        page.select_option("#set-loss", "last")
        agrees(page, k1=3, k2=5, clip=1.5, rate=0.5, every=False)
        page.click("#take-step")
        agrees(page, k1=3, k2=5, clip=1.5, rate=0.5, every=False)
        page.click("#reset")
        assert numbers(page) == before


def test_one_sees_the_gradient_die_last_and_blow_up(page_of):
    with page_of("linear", steps=4) as page:
        slide(page, "set-steps-T", 60)
        page.click("#identity")
        assert "the gradient lasts" in page.inner_text("#verdict")
        slide(page, "set-W_hh-", 0.5)
        assert "×0.500 a step" in page.inner_text("#verdict")
        assert "the gradient dies" in page.inner_text("#verdict")
        slide(page, "set-W_hh-", 2)
        assert "the gradient blows up" in page.inner_text("#verdict")
        slide(page, "set-W_hh-", 1)
        assert "the gradient lasts" in page.inner_text("#verdict")


def test_the_variants_are_those_of_python(page_of):
    from bptt.observe.explain_variants import variants

    of = explain("rnn", steps=6, through=bptt.Truncated(2, 3))
    with page_of("rnn", steps=6, through=bptt.Truncated(2, 3)) as page:
        shown = numbers(page, "#variants")
        for each in variants(of):
            if each.name.startswith("clip"):
                continue
            assert shown[f"variant/{each.name}/norm"][0] == pytest.approx(each.norm, rel=1e-9), each.name
            assert shown[f"variant/{each.name}/after"][0] == pytest.approx(each.after, rel=1e-9), each.name


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_errors_limited_at_every_step_are_those_of_python(page_of, cell):
    of = explain(cell, steps=6, clip=0.05)
    with page_of(cell, steps=6, clip=0.05) as page:
        shown = {
            key.split("/")[1]: value
            for key, (value, _) in numbers(page, "#variants").items()
            if "clip_step" in key and "norm" in key
        }
        reach = page.evaluate("stepClipped(found, now.clip / 10).reach")
    expected = of.step_clipped(0.005)
    assert list(shown.values()) == [pytest.approx(np.sqrt(sum((g**2).sum() for g in expected.values())), rel=1e-9)]
    assert not np.isclose(next(iter(shown.values())), np.sqrt(sum((g**2).sum() for g in of.gradient.values())))
    last = of.step_clipped_errors(0.005, of.own * (np.arange(6) == 5)[:, None])
    assert reach == pytest.approx(np.linalg.norm(last[0]) / np.linalg.norm(last[-1]), rel=1e-9)


def test_moments_tell_each_step_with_its_numbers(page_of):
    with page_of("lstm", steps=4) as page:
        slide(page, "set-moment", 0)
        assert "Forward, step 1" in page.inner_text("#moment")
        assert page.is_disabled("#before")
        page.click("#after")
        assert "Forward, step 2" in page.inner_text("#moment")
        slide(page, "set-moment", 6)
        told = page.inner_text("#moment")
        assert "Backward, step 2" in told
        of = explain("lstm", steps=4)
        for value in (*of.jacobians[2].ravel(), *of.own[1], *of.errors[1]):
            assert f"{value:.4f}".replace("-", "−") in told or abs(value) < 1e-3
        slide(page, "set-moment", 8)
        assert "The update" in page.inner_text("#moment")


def test_the_heat_map_says_what_is_under_the_pointer(page_of):
    with page_of("rnn", steps=5) as page:
        told = hovered(page, '[data-key="norms/3/1"]')
        assert "C[4,2]" in told
        assert "lag 2 (implicit)" in told
        assert "left out" in told
        told = hovered(page, '[data-key="norms/3/3"]')
        assert "explicit" in told
        assert "kept" in told
        page.select_option("#which", "W_hy")
        assert numbers(page, "#heat")["norms/3/1"][0] == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_it_fits_its_window_in_both_themes(page_of, theme, width):
    with page_of("lstm", hidden=3, inputs=2, steps=12, width=width, theme=theme) as page:
        assert not overflows(page)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) > 600
        assert light == (theme == "light")
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground


def test_tables_can_be_taken_along(page_of):
    import urllib.parse

    with page_of("rnn", steps=3) as page:
        for name in ("reach", "contributions", "gradient"):
            page.hover(f'[data-table="{name}"]')
            kind, _, content = page.get_attribute(f'[data-table="{name}"]', "href").partition(",")
            assert kind == "data:text/csv;charset=utf-8"
            rows = urllib.parse.unquote(content).splitlines()
            assert len(rows) == {"reach": 4, "contributions": 7, "gradient": 11}[name]
            assert len({row.count(",") for row in rows if '"' not in row}) == 1


def test_a_layer_of_the_users_own(page_of):
    torch.manual_seed(1)
    layer, readout = bptt.nn.GRU(2, 2).double(), nn.Linear(2, 2).double()
    x, target = torch.randn(5, 2).double(), torch.randn(5, 2).double()
    with page_of(layer, readout, x=x, target=target) as page:
        agrees(page, k1=2, k2=2)
        assert page.get_attribute("#set-steps-T", "max") == "5"
        net = Net("gru", explain(layer, readout, x=x, target=target).weights)
        assert torch.allclose(net(x[:, None], None)[0], readout(layer(x[:, None])[0]))
