"""A real browser, headless: Debian's Chromium (or CHROMIUM=path) driven by playwright; skipped where either is missing."""

import os
import shutil
from contextlib import contextmanager

import pytest


def chromium():
    """Its path, or a skip with the reason."""
    pytest.importorskip("playwright", reason="playwright drives the browser: pip install playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no Chromium at hand: apt install chromium, or CHROMIUM=/path/to/it")
    return found


@contextmanager
def browser():
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        made = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield made
        made.close()


@contextmanager
def opened(browser, file, *, width=1400, theme="light"):
    """The page of a file; afterwards nothing must have been said on the console, fetched, or thrown."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    page.set_default_timeout(90_000)  # a busy machine is slow, not wrong
    said, fetched = [], []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(file.resolve().as_uri())
    page.wait_for_function("document.querySelectorAll('svg').length > 0")
    yield page
    page.wait_for_timeout(50)
    context.close()
    assert said == []
    assert fetched == [file.resolve().as_uri()]


def numbers(page, scope="body"):
    """Every number that carries its name: {name: (value, text)}."""
    found = page.evaluate(
        "scope => [...document.querySelectorAll(`${scope} [data-key]`)]"
        ".map(e => [e.dataset.key, e.dataset.value, e.textContent])",
        scope,
    )
    return {key: (float(value), text) for key, value, text in found}


def slide(page, control, value):
    """Moves a slider, as a user does."""
    page.evaluate(
        "([id, value]) => { const e = document.getElementById(id); e.value = value; e.dispatchEvent(new Event('input')); }",
        [control, value],
    )


def overflows(page):
    """Whether the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


def hovered(page, selector):
    """What the tip says with the pointer on an element."""
    page.locator(selector).scroll_into_view_if_needed()
    pointed(page, lambda: page.locator(selector).hover())
    return page.inner_text(".tip")


def pointed(page, point, tries=30):
    """Points until the tip shows: scrolling hides it, a moment later."""
    for _ in range(tries):
        page.mouse.move(0, 0)
        page.wait_for_selector(".tip.on", state="detached")
        point()
        page.wait_for_timeout(100)
        if page.locator(".tip.on").count():
            return
    raise AssertionError("no tip shows")
