"""The report in a real browser: no word on the console, nothing fetched, hovering and choices work, it fits and prints."""

import urllib.parse

import pytest

import bptt
from bptt.observe.report import Report
from tests.observe.browser import browser as a_browser, hovered, opened, overflows, pointed
from tests.observe.test_report import a_flow, a_log, instruments

LOOKS = [
    {
        "update": u,
        "horizon": 9.0 - u / 100,
        "lyapunov": -0.1,
        "warnings": ["it dies"] * (u > 300),
        "kinds": ["dies"] * (u > 300),
    }
    for u in range(100, 600, 100)
]
SECTIONS = ("advice", "training", "clipping", "observed", "reach", "contributions", "truncation", "weights", "spectra", "gates")


@pytest.fixture(scope="module")
def browser():
    with a_browser() as made:
        yield made


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    through = bptt.Truncated(4, 8)
    spectra, units = instruments()
    report = Report(
        "Run shakespeare", [("data", "input.txt: 100 tokens"), ("model", "LSTM 2×4")], log=a_log(), observed=LOOKS, clip=0.5,
        unit="nats", through=through, flow=a_flow(through=through), spectra=spectra, units=units,
    )  # fmt: skip
    return report.save_html(tmp_path_factory.mktemp("report") / "report.html")


def test_every_section_has_its_picture_and_says_how_to_read_it(browser, written):
    with opened(browser, written) as page:
        for name in SECTIONS:
            assert page.locator(f"#{name} h2").count() == 1
        for name in ("training", "observed", "reach", "contributions", "truncation", "spectra", "gates"):
            assert page.locator(f"#{name} svg").count() >= 1, name
            assert len(page.inner_text(f"#{name} p.how >> nth=0")) > 80, name
            assert page.locator(f"#{name} a[download]").count() >= 1, name
        assert "horizon" in page.text_content("#reach svg")
        assert "k2 = 8" in page.text_content("#reach svg")
        assert page.locator("#contributions [data-window]").count() == 1
        assert "of the 50 logged updates were clipped" in page.inner_text("#clipping")
        assert "it dies" in page.inner_text("#observed table")
        assert "Run shakespeare" in page.inner_text("h1")


def test_what_is_missing_is_said(browser, tmp_path):
    report = Report("bare", missing={"log": "log.jsonl is missing.", "flow": "The text has moved."})
    path = report.save_html(tmp_path / "bare.html")
    context = browser.new_context()
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    assert errors == []
    assert page.inner_text("#training .absent") == "log.jsonl is missing."
    assert page.inner_text("#reach .absent") == "The text has moved."
    assert "were not measured" in page.inner_text("#gates .absent")
    context.close()


def test_hovering_tells_values(browser, written):
    with opened(browser, written) as page:
        for name, words in (
            ("training", "training"), ("reach", "lag"), ("contributions", "C[t,k]"), ("truncation", "share lost"),
            ("spectra", "greatest"), ("gates", "low"),
        ):  # fmt: skip
            assert words in hovered(page, f"#{name} svg >> nth=0"), name


def test_the_heat_map_tells_the_value_under_the_pointer(browser, written):
    flow = a_flow(through=bptt.Truncated(4, 8))
    with opened(browser, written) as page:
        svg = page.locator("#contributions svg")
        svg.scroll_into_view_if_needed()
        box = svg.bounding_box()
        row, k = 20, 18
        height = (box["height"] - 24 - 34) / len(flow.loss_steps)
        x = box["x"] + 52 + (k + 0.5) / flow.steps * (box["width"] - 62)
        pointed(page, lambda: page.mouse.move(x, box["y"] + 24 + (row + 0.5) * height))
        told = page.inner_text(".tip")
        assert "t = 20, k = 18" in told
        assert "lost by the truncation" not in told
        assert f"{flow.contributions[row, k]:.4f}"[:5] in told or "e" in told
        page.mouse.move(box["x"] + 60, box["y"] + 24 + (row + 0.5) * height)
        assert "lost by the truncation" in page.inner_text(".tip")


def test_layers_and_weights_can_be_chosen(browser, written):
    with opened(browser, written) as page:
        for name, parts in (("observed", 2), ("reach", 5), ("contributions", 11), ("gates", 2)):
            options = page.locator(f"#{name}-choice option").all_inner_texts()
            assert len(options) == parts
            before = page.inner_html(f"#{name} svg")
            page.select_option(f"#{name}-choice", options[-1])
            assert page.inner_html(f"#{name} svg") != before
            page.select_option(f"#{name}-choice", options[0])
            assert page.inner_html(f"#{name} svg") == before


def test_tables_can_be_taken_along(browser, written):
    flow = a_flow(through=bptt.Truncated(4, 8))
    with opened(browser, written) as page:
        links = page.locator("a[download]").count()
        assert links >= 6
        for at in range(links):
            link = page.locator("a[download]").nth(at)
            link.hover()
            kind, _, content = link.get_attribute("href").partition(",")
            assert kind == "data:text/csv;charset=utf-8"
            rows = urllib.parse.unquote(content).splitlines()
            assert len(rows) > 1, link.get_attribute("download")
        content = page.locator('a[download="lag-profile.csv"]').get_attribute("href").partition(",")[2]
        rows = [line.split(",") for line in urllib.parse.unquote(content).splitlines()[1:]]
        assert [float(row[1]) for row in rows] == pytest.approx(flow.profile.mean.tolist(), rel=1e-3)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_it_fits_its_window_in_both_themes(browser, written, theme, width):
    with opened(browser, written, width=width, theme=theme) as page:
        assert not overflows(page)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) > 600) == (theme == "light")
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground


def test_it_prints_on_white_without_its_controls(browser, written):
    with opened(browser, written, theme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not page.is_visible("#theme")
        assert not page.is_visible("#reach-choice")
        assert page.is_visible("#reach svg")
        assert page.pdf()[:5] == b"%PDF-"
