import json
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

import bptt
from bptt.observe import gradient_flow, spectrum, units
from bptt.observe.page import build
from bptt.observe.report import Report, flow_page
from bptt.observe.report_data import clipping, curves_of, flow_of, observed_of
from bptt.observe.report_units import spectra_of, units_of


class Model(nn.Module):
    def __init__(self, layers=2):
        super().__init__()
        self.layers, self.readout = bptt.nn.LSTM(3, 4, layers), nn.Linear(4, 1)

    def forward(self, x, state):
        y, state = self.layers(x, state)
        return self.readout(y), state


def a_flow(steps=24, through=None, **more):
    torch.manual_seed(0)
    x, target = torch.randn(steps, 2, 3), torch.randn(steps, 2, 1)
    return gradient_flow(Model(), bptt.SquaredError(), (x, target), through=through, **more)


def a_log(updates=50, **more):
    lines = [
        {"update": u, "epoch": 0, "loss": 3 / (1 + u / 20), "grad_norm": 0.1 + (u % 10) / 10, "lr": 0.001, **more}
        for u in range(10, 10 * updates + 1, 10)
    ]
    return [*lines, {"update": 10 * updates, "epoch": 0, "validation": 0.9, "count": 7}]


def instruments():
    """Spectra and units of the model of `a_flow`."""
    torch.manual_seed(0)
    model, x = Model(), torch.randn(24, 2, 3)
    piece = (x, torch.zeros(24, 2, 1))
    return spectrum(model, piece), units(model, piece)


def data_in(page):
    """What the page was given, read back from it."""
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S).group(1))


def test_curves_say_what_the_clipping_did():
    log = [{"update": u, "loss": 1.0, "grad_norm": norm, "lr": 0.1} for u, norm in enumerate([0.1, 0.5, 0.6, 7.0], 1)]
    curves = curves_of(log, clip=0.5)
    assert curves["clipped"] == 0.75
    assert curves["greatest"] == 7
    assert curves["norm"] == [[1, 0.1], [2, 0.5], [3, 0.6], [4, 7.0]]
    assert curves_of(log, None)["clipped"] is None
    assert curves_of([], 0.5) is None


def test_clipping_that_is_active_nearly_always_is_advised_against():
    log = [{"update": u, "loss": 1.0, "grad_norm": 3.0, "lr": 0.1} for u in range(1, 11)]
    (said,) = clipping(curves_of(log, clip=0.5))
    assert "in 100% of the logged updates" in said
    assert "--clip 6," in said
    assert clipping(curves_of(log, clip=4.0)) == clipping(curves_of(log, None)) == clipping(None) == []
    assert data_in(Report("r", log=log, clip=0.5).html())["advice"] == [said]


def test_looks_on_the_way_are_shown():
    lines = [
        {"update": u, "horizon": u / 2, "lost": 0.1, "profile": {"lags": [1]}, "warnings": [f"it dies {u}"], "kinds": ["dies"]}
        for u in (5, 9)
    ]
    data = observed_of([*lines, {"update": 12, "horizon": None, "warnings": []}])
    assert data["series"] == {"horizon": [[5, 2.5], [9, 4.5], [12, None]], "lost": [[5, 0.1], [9, 0.1], [12, None]]}
    assert data["warnings"] == [[5, 9, 2, "it dies 9"]]
    assert data["looks"] == 3
    assert observed_of([]) is None


def test_curves_are_thinned_to_means():
    log = [{"update": u, "loss": float(u % 2), "grad_norm": 1.0} for u in range(1, 10_001)]
    curves = curves_of(log, None)
    assert len(curves["loss"]) <= 1500
    assert curves["loss"][-1][0] == 10_000
    assert np.mean([v for _, v in curves["loss"]]) == pytest.approx(0.5, abs=0.05)
    assert all(0.3 < v < 0.7 for _, v in curves["loss"])


def test_a_loss_that_is_not_finite_is_told_and_stays_out_of_the_curve():
    log = a_log(3)
    log[1] = {**log[1], "loss": None}
    curves = curves_of(log, None)
    assert curves["broken"] == 20
    assert curves["loss"][1] == [20, None]


def test_the_flow_is_that_which_was_measured():
    through = bptt.Truncated(4, 8)
    flow = a_flow(through=through)
    data = flow_of(flow, through)
    np.testing.assert_allclose(data["contributions"]["all"], flow.contributions, rtol=1e-3)
    np.testing.assert_allclose(data["profiles"]["the whole state"]["mean"], flow.profile.mean, rtol=1e-3)
    assert set(data["profiles"]) == {"the whole state", *flow.parts}
    assert data["lost"] == pytest.approx(float(flow.share_lost(through)), rel=1e-3)
    assert (data["k1"], data["k2"]) == (4, 8)
    by_reach = dict(map(tuple, data["byReach"]))
    assert by_reach[24] == 0
    for k2 in (8, 16):
        assert by_reach[k2] == pytest.approx(float(flow.share_lost(bptt.Truncated(4, k2))), rel=1e-3)
    assert [row[0] for row in data["weights"]] == list(flow.names)


def test_long_stretches_are_drawn_in_bins_of_their_mean():
    flow = a_flow(steps=400, samples=5)
    data = flow_of(flow, None)
    edges, grid = np.array(data["edges"]), np.array(data["contributions"]["all"])
    assert grid.shape == (5, 160)
    assert (edges[0], edges[-1]) == (0, 400)
    np.testing.assert_allclose((grid * np.diff(edges)).sum(1), flow.contributions.sum(1), rtol=1e-3)
    assert data["k2"] is None
    assert data["byReach"][0][0] == 1


def test_spectra_are_those_which_were_measured():
    found, _ = instruments()
    data = spectra_of(found)
    assert [chart["title"] for chart in data["charts"]] == [
        "Singular values of one step",
        "Products over many steps",
        "Lyapunov exponents",
    ]
    one, products, exponents = (chart["series"] for chart in data["charts"])
    np.testing.assert_allclose([y for _, y in one[0]["points"]], found.singular.mean(0), rtol=1e-3)
    np.testing.assert_allclose(np.log([y for _, y in products[0]["points"]]), found.product_singular[:, 0], atol=1e-3)
    assert [x for x, _ in products[0]["points"]] == found.product_steps.tolist()
    np.testing.assert_allclose([y for _, y in exponents[0]["points"]], found.lyapunov, rtol=1e-3)
    assert "errors fall to 1/e in" in data["key"][2][1]


def test_exponents_alone_of_a_large_state():
    data = spectra_of(np.array([0.02, -0.5]))
    assert data["key"] == [["0.02", "nats a step, the greatest Lyapunov exponent: errors grow in the long run"]]
    assert len(data["charts"]) == 1


def test_units_are_those_which_were_measured():
    _, found = instruments()
    data = units_of(found)
    assert [layer["name"] for layer in data["layers"]] == ["layers, layer 0", "layers, layer 1"]
    forget = next(gate for gate in data["layers"][1]["gates"] if gate["name"] == "forget gate")
    measured = next(gate for gate in found.gates if gate.layer == "layers, layer 1" and gate.gate == "forget gate")
    assert forget["mean"] == pytest.approx(measured.mean, rel=1e-3)
    assert "keeps the state for" in forget["remark"]
    longest = [series["points"][0][1] for series in data["times"]]
    assert longest[1] == pytest.approx(measured.time_constant.max(), rel=1e-3)
    assert [series["name"] for series in data["states"]] == list(found.parts)
    np.testing.assert_allclose([y for _, y in data["states"][0]["points"]], found.state_norm[0], rtol=1e-3)


def test_a_page_holds_everything_and_fetches_nothing():
    through = bptt.Truncated(4, 8)
    report = Report(
        "Run <b>&", [("data", "a </script> file")], log=a_log(), clip=0.5, through=through, flow=a_flow(through=through)
    )
    page = report.html()
    assert "<title>Run &lt;b&gt;&amp;</title>" in page
    assert page.count("</script>") == 2
    data = data_in(page)
    assert data["facts"] == [["data", "a </script> file"]]
    assert data["curves"]["clip"] == 0.5
    assert data["advice"] == list(report.flow.advice)
    links = re.findall(r"https?://[^\s\"'<]+", page)
    assert set(links) <= {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in page


def test_numbers_that_are_not_finite_do_not_break_the_page():
    flow = a_flow()
    flow.contributions[3, 1] = math.inf
    flow.error[0, 2] = math.nan
    data = data_in(flow_page(flow))
    assert data["through"] is None
    assert data_in(flow_page(a_flow(through=bptt.Truncated(4, 8))))["flow"]["k2"] == 8
    assert data["flow"]["contributions"]["all"][3][1] is None
    assert data["curves"] is None


def test_data_that_json_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        build("x", "report.html", (), (), {"a": math.nan})


def test_a_long_run_stays_under_three_megabytes(tmp_path):
    flow = a_flow(steps=400, samples=32)
    path = Report("long", log=a_log(20_000), flow=flow, through=bptt.Truncated(16, 64)).save_html(
        tmp_path / "new" / "page.html"
    )
    assert path.stat().st_size < 1_000_000
