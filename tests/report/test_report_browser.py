"""The page in a real browser: no error in its console, nothing asked of the network, at two widths, light and dark."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from shikomi.report.page import write_report
from shikomi.report.status import read_recorded
from tests.report.fake_store import HOSTILE, make_store, samples, scores

pytestmark = pytest.mark.chromium

CONTRAST = """() => {
  const channel = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const parse = (s) => {
    const m = s.match(/[\\d.]+/g).map(Number);
    return m.length > 3 && m[3] === 0 ? null : m.slice(0, 3);
  };
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest("script,style,.hidden,.skip,[hidden]")) continue;
    const svg = element.closest("svg");
    const ink = parse(getComputedStyle(element)[svg ? "fill" : "color"]);
    let back = null;
    for (let e = element; e && !back; e = e.parentElement) back = parse(getComputedStyle(e).backgroundColor);
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(element.textContent.slice(0, 40));
  }
  return bad;
}"""


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, or a skip that says what is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install .[dev]")
    found = os.environ.get("SHIKOMI_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("Chromium is absent: apt-get install chromium fonts-noto-cjk")
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A full report with hostile texts in it."""
    told = scores()
    hostile = HOSTILE.replace("\ud800", "")
    told["answers"][1]["answer"] = hostile
    files = {"corpus": {"samples.json": samples(hostile)}, "evaluate": {"scores.json": told}}
    root = make_store(tmp_path_factory.mktemp("store"), files=files)
    path = root / "reports" / "試し.html"
    write_report(read_recorded(root, "試し"), path)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_quietly_and_fits(browser, report, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []
    # Targets that are touched are at least 24 px high (WCAG 2.2, 2.5.8).
    small = page.evaluate(
        "[...document.querySelectorAll('button, nav a, summary')].filter(e => e.checkVisibility() && "
        "e.getBoundingClientRect().height < 24).map(e => e.textContent.trim())"
    )
    assert small == []
    page.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_a_curve_tells_the_point_under_the_pointer(browser, report):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(report.as_uri())
    figure = page.locator("figure", has=page.locator("svg.curve")).first
    for place in (0, 1):  # the loss, and the first small curve beneath it
        output = figure.locator("output").nth(place)
        before = output.inner_text()
        figure.locator("svg.curve").nth(place).hover()
        assert output.inner_text().startswith("step ")
        assert figure.locator(".cursor").nth(place).get_attribute("visibility") == "visible"
        page.mouse.move(5, 5)
        assert output.inner_text() == before
    page.close()


def test_the_dark_button_turns_the_page(browser, report):
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.goto(report.as_uri())
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.get_by_role("button", name="暗い画面").click()
    assert page.evaluate(paper) != light
    assert page.evaluate(CONTRAST) == []
    page.get_by_role("button", name="暗い画面").click()
    assert page.evaluate(paper) == light
    page.close()


def test_paper_shows_what_is_folded_and_samples_open_by_keyboard(browser, report):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(report.as_uri())
    first = page.locator("details.sample").first
    assert first.get_attribute("open") is None
    first.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert first.get_attribute("open") is not None
    assert "本文なし" in first.locator(".inside").inner_text()
    kept = page.locator("details.sample", has=page.locator(".tag.keep")).first
    kept.locator("summary").first.click()
    assert '<script>alert("x")</script>' in kept.locator("blockquote").inner_text()
    folded = "document.querySelectorAll('details:not([open]):not(.bulk)').length"
    assert page.evaluate(folded) > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(folded) == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(folded) > 0
    page.close()


def test_without_script_everything_is_still_there(browser, report):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 900})
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("table").count() >= 7
    assert not page.locator("#theme").is_visible()
    context.close()
