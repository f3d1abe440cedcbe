"""The page in a real browser: opens from a file, sends nothing, switches by keyboard, fits a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing, and the page must be seen in a real browser. "
                    "Install it with: apt-get update && apt-get install -y chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


class Opened:
    """A page, what its console said and what it asked for."""

    def __init__(self, browser: Browser, directory: Path, *, width: int = 1280, dark: bool = False,
                 javascript: bool = True) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=javascript,
                                           color_scheme="dark" if dark else "light", offline=True)
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto((directory / "index.html").as_uri())

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("name", ["twelve", "states"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_opens_quietly_and_fits(browser: Browser, request: pytest.FixtureRequest, name: str, width: int,
                                dark: bool) -> None:
    directory = request.getfixturevalue(name)
    with Opened(browser, directory, width=width, dark=dark) as opened:
        assert opened.page.locator(".tile:visible").count() == {"twelve": 36, "states": 51}[name]
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        wide = opened.page.evaluate("""width => [...document.querySelectorAll('main *, footer *')].filter(
            e => e.getClientRects().length && e.getBoundingClientRect().right > width + 1).map(
            e => e.className)""", width)
        assert wide == []
        spilling = opened.page.evaluate("""() => [...document.querySelectorAll('.tile')].filter(t => {
            const box = t.getBoundingClientRect();
            return box.width && [...t.querySelectorAll('.code, .value')].some(
                s => s.getBoundingClientRect().width > box.width || s.getBoundingClientRect().bottom > box.bottom + 1);
            }).map(t => t.innerText)""")
        assert spilling == [], "the text of each tile stays in its tile"
        assert opened.said == []
        assert opened.asked == [(directory / "index.html").as_uri()]


def test_the_policy_forbids_the_network(browser: Browser, twelve: Path) -> None:
    with Opened(browser, twelve) as opened:
        blocked = opened.page.evaluate("fetch('https://example.org/').then(() => 'sent', e => e.name)")
        assert blocked == "TypeError"
        assert any("Content Security Policy" in line for line in opened.said)


def visible(page: Page, selector: str) -> int:
    return page.locator(f"{selector}:visible").count()


def test_switches_by_keyboard_and_without_javascript(browser: Browser, twelve: Path) -> None:
    with Opened(browser, twelve, javascript=False) as opened:
        page = opened.page
        assert (visible(page, ".task-recruitment .panel"), visible(page, ".task-distress .panel")) == (3, 0)
        page.keyboard.press("Tab")
        assert page.locator(".skip:focus").count() == 1
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        assert page.locator("#task-distress").is_checked()
        assert (visible(page, ".task-recruitment .panel"), visible(page, ".task-distress .panel")) == (0, 3)
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert page.locator("#role-destination").is_checked()
        assert visible(page, ".panel") == visible(page, ".task-distress .role-destination.panel") == 1
        assert visible(page, "tbody.role") == visible(page, ".task-distress tbody.role-destination") == 1
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        page.keyboard.press("ArrowRight")
        readout = page.locator(".tile:has(input:checked) .readout")
        assert readout.is_visible()
        assert "XA-02" in (page.locator(".tile input:checked").get_attribute("aria-label") or "")
        assert opened.said == []


@pytest.mark.parametrize("name", ["twelve", "states"])
def test_withheld_tiles_are_hatched_and_hold_no_number(browser: Browser, request: pytest.FixtureRequest,
                                                       name: str) -> None:
    with Opened(browser, request.getfixturevalue(name)) as opened:
        withheld = opened.page.locator(".tile.withheld")
        assert withheld.count() > 0
        for tile in withheld.all()[:20]:
            assert "repeating-linear-gradient" in tile.evaluate("e => getComputedStyle(e).backgroundImage")
            text = tile.text_content() or ""
            assert not re.search(r"\d", re.sub(r"XA-\d\d|Invented region \d\d", "", text)), text
            assert "withheld" in (tile.locator("input").get_attribute("aria-label") or "")
        paper = opened.page.evaluate("getComputedStyle(document.querySelector('.panel')).backgroundColor")
        shown = opened.page.locator(".tile:not(.withheld)").first
        assert shown.evaluate("e => getComputedStyle(e).backgroundColor") != paper, "no tile is the colour of the paper"


def test_a_pointed_tile_shows_its_interval(browser: Browser, states: Path) -> None:
    with Opened(browser, states, width=390) as opened:
        tile = opened.page.locator(".tile:not(.withheld):visible").first
        tile.hover()
        readout = tile.locator(".readout")
        assert readout.is_visible()
        assert re.search(r"\([\d,]+ to [\d,]+\)", readout.inner_text())
        box = readout.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


def test_print_shows_both_tasks_and_no_switch(browser: Browser, twelve: Path) -> None:
    with Opened(browser, twelve) as opened:
        opened.page.emulate_media(media="print")
        assert visible(opened.page, ".task") == 2
        assert visible(opened.page, ".controls") == 0
        assert visible(opened.page, "#responsible-use") == 1
