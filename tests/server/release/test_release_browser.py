"""The page in a real browser: opens from a file, sends nothing, works by mouse and keyboard, fits phones and paper."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pypdfium2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from server.release.page import render_page
from tests.server.release.worlds import many_content, states_content, twelve_content

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
CONTENTS = {"twelve": twelve_content, "states": states_content, "many": many_content}


LONG = pytest.mark.long
QUICKLY = [name if name == "twelve" else pytest.param(name, marks=LONG) for name in CONTENTS]
"""One content is looked at each time, the others in the long tests."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing, and the page must be seen in a real browser. "
                    "Install it with: apt-get update && apt-get install -y chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each content's page as a file."""
    folder = tmp_path_factory.mktemp("pages")
    for name, content in CONTENTS.items():
        (folder / f"{name}.html").write_bytes(render_page(content(), release_sha256="cd" * 32))
    return {name: folder / f"{name}.html" for name in CONTENTS}


class Opened:
    """A page, what its console said and what it asked for."""

    def __init__(self, browser: Browser, file: Path, *, width: int = 1280, javascript: bool = True,
                 scheme: Literal["light", "dark"] = "light", bypass: bool = False) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=javascript,
                                           color_scheme=scheme, offline=True, reduced_motion="reduce",
                                           bypass_csp=bypass)
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


def visible(page: Page, selector: str) -> int:
    return page.locator(f"{selector}:visible").count()


def spilling(page: Page, width: int) -> list[str]:
    """Elements that reach beyond the right edge, but for hidden ones and those in a part that scrolls by itself."""
    found: list[str] = page.evaluate("""width => {
        const hidden = e => e && (getComputedStyle(e).clipPath !== 'none' || hidden(e.parentElement));
        return [...document.querySelectorAll('body *')].filter(
            e => e.getClientRects().length && e.getBoundingClientRect().right > width + 1 &&
                 !e.closest('.scroll, .shapes, defs') && !hidden(e)).map(e => e.outerHTML.slice(0, 80)); }""", width)
    return found


@pytest.mark.parametrize("name", QUICKLY)
def test_opens_quietly_and_fits(browser: Browser, files: dict[str, Path], name: str) -> None:
    """640 px is what 1280 are at 200 % zoom."""
    with Opened(browser, files[name]) as opened:
        assert visible(opened.page, ".map") > 0
        for width in (1280, 700, 640, 390, 320):
            opened.page.set_viewport_size({"width": width, "height": 900})
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
            assert spilling(opened.page, width) == []
        assert opened.said == []
        assert opened.asked == [files[name].as_uri()]


def test_a_phone_shows_bands_and_changes_in_words(browser: Browser, files: dict[str, Path]) -> None:
    """Nothing of a row is for screen readers alone, and none of it is too small to read or lies on anything else."""
    for width in (390, 320):
        with Opened(browser, files["twelve"], width=width) as opened:
            told = opened.page.locator(".places td.band:visible, .places td.trend:visible")
            assert {"high", "medium", "low", "insufficient"} <= set(told.all_inner_texts())
            assert told.evaluate_all("""all => all.filter(e => [e, ...e.querySelectorAll('*')].some(part => {
                const style = getComputedStyle(part), box = part.getBoundingClientRect();
                return style.clipPath !== 'none' || parseFloat(style.fontSize) < 12 ||
                       box.width < 20 || box.height < 12;
            })).length""") == 0
            overlaps = opened.page.evaluate("""() => [...document.querySelectorAll('.places tbody tr')].filter(
                row => row.getClientRects().length).flatMap(row => {
                    const inside = [...row.children].map(cell => {
                        const range = document.createRange();
                        range.selectNodeContents(cell);
                        return range.getBoundingClientRect();
                    }).filter(box => box.width > 0);
                    return inside.flatMap((one, i) => inside.slice(i + 1).filter(other =>
                        one.left < other.right - 1 && other.left < one.right - 1 &&
                        one.top < other.bottom - 4 && other.top < one.bottom - 4)).map(() => row.textContent.trim());
                })""")
            assert overlaps == []


def test_a_table_stays_one_for_screen_readers_on_a_phone(browser: Browser, files: dict[str, Path]) -> None:
    """As many headers, rows and cells as on a wide screen: none is hidden, and rows that are grids keep their roles."""
    with Opened(browser, files["states"]) as opened:
        session, counts = opened.context.new_cdp_session(opened.page), []
        for width in (1280, 390):
            opened.page.set_viewport_size({"width": width, "height": 900})
            nodes = session.send("Accessibility.getFullAXTree")["nodes"]
            counts.append(Counter(node["role"]["value"] for node in nodes if node["role"]["value"] in (
                "table", "row", "cell", "rowheader", "columnheader")))
        assert counts[0] == counts[1]
        assert counts[0]["rowheader"] > 50


def test_the_policy_forbids_the_network(browser: Browser, files: dict[str, Path]) -> None:
    with Opened(browser, files["twelve"]) as opened:
        blocked = opened.page.evaluate("fetch('https://example.org/').then(() => 'sent', e => e.name)")
        assert blocked == "TypeError"
        assert any("Content Security Policy" in line for line in opened.said)


@pytest.mark.parametrize(("name", "width", "scheme"), [
    ("twelve", 1280, "light"), ("twelve", 390, "dark"), pytest.param("twelve", 390, "light", marks=LONG),
    pytest.param("twelve", 1280, "dark", marks=LONG), pytest.param("states", 1280, "light", marks=LONG),
    pytest.param("many", 1280, "light", marks=LONG),
])
def test_passes_an_accessibility_check(browser: Browser, files: dict[str, Path], name: str, width: int,
                                       scheme: Literal["light", "dark"]) -> None:
    """axe-core finds nothing at all, with every role and one place chosen. It is a script, which the page forbids."""
    with Opened(browser, files[name], width=width, scheme=scheme, bypass=True) as opened:
        if name == "twelve":
            opened.page.locator("label:has(#role-all)").click()
        opened.page.locator(".s input").first.focus()
        opened.page.keyboard.press("Space")
        found = Axe().run(opened.page, options={"resultTypes": ["violations"]}).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []


def names(page: Page, selector: str) -> list[str]:
    return [label.inner_text() for label in page.locator(f"{selector}:visible").all()]


def test_switches_by_mouse(browser: Browser, files: dict[str, Path]) -> None:
    with Opened(browser, files["twelve"], javascript=False) as opened:
        page = opened.page
        assert names(page, ".panel h3") == ["Origin", "Destination"]
        boxes = [panel.bounding_box() for panel in page.locator(".panel:visible").all()]
        assert boxes[0] is not None
        assert boxes[1] is not None
        assert boxes[0]["y"] == boxes[1]["y"], "side by side"
        for role, shown in (("observed", ["Observed"]), ("all", ["Origin", "Destination", "Observed"]),
                            ("origin", ["Origin"]), ("pair", ["Origin", "Destination"])):
            page.locator(f"label:has(#role-{role})").click()
            assert names(page, ".panel h3") == shown
            assert visible(page, "section.task-recruitment tbody.role") == 3 * len(shown)
            assert visible(page, ".lifts td.role") == 14 * len(shown)
        page.locator("label:has(#task-distress)").click()
        assert names(page, "section.task h2") == ["Distress: signals in 10,000 reviewed records"]
        assert visible(page, ".task-recruitment") == 0
        assert visible(page, ".lifts") == visible(page, ".movements") == 1
        page.locator("label:has(#language-uk)").click()
        assert visible(page, ".language") == visible(page, ".language-uk") == 1
        assert opened.said == []


def test_switches_by_keyboard(browser: Browser, files: dict[str, Path]) -> None:
    with Opened(browser, files["twelve"], javascript=False) as opened:
        page = opened.page
        page.keyboard.press("Tab")
        assert page.locator(".skip:focus").count() == 1
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        assert page.locator("#task-distress").is_checked()
        page.keyboard.press("Tab")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        assert page.locator("#role-observed").is_checked()
        assert names(page, ".panel h3") == ["Observed"]
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        page.keyboard.press("ArrowRight")
        chosen = page.locator(".s:has(input:checked)")
        assert "(XA-02)" in (chosen.text_content() or "")
        assert chosen.locator("span").evaluate("e => getComputedStyle(e).opacity") == "1"
        ring = chosen.locator("use").evaluate("e => getComputedStyle(e).strokeWidth")
        assert ring == "4px", "the focus can be seen"
        assert opened.said == []


def point_in(page: Page, label: Any) -> tuple[float, float]:
    """A point of the screen where this region's outline is hit."""
    found = label.locator("use").evaluate("""use => {
        const box = use.getBoundingClientRect();
        for (let i = 1; i < 40; i++) for (let j = 1; j < 40; j++) {
            const x = box.left + box.width * i / 40, y = box.top + box.height * j / 40;
            if (document.elementFromPoint(x, y) === use) return [x, y];
        } }""")
    assert found, "the region can be hit"
    return found[0], found[1]


@pytest.mark.parametrize(("name", "width"), [
    ("twelve", 1280), ("states", 390), pytest.param("states", 1280, marks=LONG),
    pytest.param("many", 1280, marks=LONG)])
def test_a_region_is_read_out_where_it_is_pointed_at(browser: Browser, files: dict[str, Path], name: str,
                                                      width: int) -> None:
    """Every outline of a map is where its button's name says; the read-out lies within the page, one at a time."""
    with Opened(browser, files[name], width=width) as opened:
        page = opened.page
        figure = page.locator(".panel:visible").first
        figure.scroll_into_view_if_needed()
        page.mouse.move(0, 0)
        assert figure.locator(".hint").evaluate("e => getComputedStyle(e).opacity") == "1"
        labels = figure.locator(".s").all()
        for label in labels[:: max(1, len(labels) // 9)]:
            page.mouse.move(*point_in(page, label))
            readout = label.locator("span")
            assert readout.evaluate("e => getComputedStyle(e).opacity") == "1"
            shown = figure.locator(".s span").evaluate_all(
                "all => all.filter(e => getComputedStyle(e).opacity === '1').length")
            assert shown == 1
            box = readout.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        page.mouse.click(*point_in(page, labels[-1]))
        page.mouse.move(0, 0)
        assert labels[-1].locator("input").is_checked()
        assert labels[-1].locator("span").evaluate("e => getComputedStyle(e).opacity") == "1"
        assert figure.locator(".hint").evaluate("e => getComputedStyle(e).opacity") == "0"


@pytest.mark.parametrize("name", QUICKLY)
def test_no_read_out_lies_on_its_map(browser: Browser, files: dict[str, Path], name: str) -> None:
    """Not the longest sentence, with all roles side by side."""
    with Opened(browser, files[name]) as opened:
        if name == "twelve":
            opened.page.locator("label:has(#role-all)").click()
        for width in (1280, 1000, 960, 700, 640, 390, 320):
            opened.page.set_viewport_size({"width": width, "height": 900})
            over = opened.page.evaluate("""() => [...document.querySelectorAll('.map')].filter(
                map => map.getClientRects().length).flatMap(map => {
                    const bottom = Math.max(...[...map.querySelectorAll('.layers')].map(
                        layers => layers.getBoundingClientRect().bottom));
                    return [...map.querySelectorAll('.s span')].filter(
                        told => told.getBoundingClientRect().top < bottom).map(told => told.textContent); })""")
            assert over == [], width


def test_no_layer_of_a_map_lies_above_the_label(browser: Browser, files: dict[str, Path]) -> None:
    """A map scrolled under the strip: what is painted there is the same with and without it."""
    with Opened(browser, files["twelve"]) as opened:
        page = opened.page
        top = page.locator(".layers").first.evaluate("e => e.getBoundingClientRect().top + scrollY")
        page.evaluate("top => scrollTo(0, top + 15)", top)
        box = page.locator(".label-strip").bounding_box()
        assert box is not None
        assert box["y"] == 0
        strip: Any = {"x": 0.0, "y": 0.0, "width": box["width"], "height": box["height"]}
        over = page.screenshot(clip=strip)
        page.evaluate("document.querySelectorAll('.layers').forEach(e => e.style.setProperty('visibility', 'hidden'))")
        assert page.screenshot(clip=strip) == over


@pytest.mark.parametrize("name", ["twelve", "states"])
def test_withheld_regions_are_hatched_and_hold_no_number(browser: Browser, files: dict[str, Path], name: str) -> None:
    with Opened(browser, files[name]) as opened:
        withheld = opened.page.locator("section.task-recruitment .s.withheld")
        assert withheld.count() > 0
        for label in withheld.all()[:20]:
            assert "#hatch" in label.locator("use").evaluate("e => getComputedStyle(e).fill")
            text = label.text_content() or ""
            assert "withheld" in text
            assert not re.search(r"\d", re.sub(r"\([A-Z]{2}-\w+\)|Invented region \d\d", "", text)), text
        speckled = opened.page.locator("section.task-recruitment .s.wide use").first
        assert "#wide-recruitment-" in speckled.evaluate("e => getComputedStyle(e).fill")


def test_codes_lie_within_their_tiles(browser: Browser, files: dict[str, Path]) -> None:
    for width in (320, 1280):
        with Opened(browser, files["many"], width=width) as opened:
            outside = opened.page.evaluate("""() => [...document.querySelectorAll('.tiled .codes')].flatMap(svg => {
                if (!svg.getClientRects().length) return [];
                const uses = [...svg.parentElement.querySelectorAll('.s use')].map(u => u.getBoundingClientRect());
                return [...svg.querySelectorAll('text')].filter(text => {
                    const t = text.getBoundingClientRect();
                    return !uses.some(u => t.left >= u.left - 1 && t.right <= u.right + 1 &&
                                           t.top >= u.top - 3 && t.bottom <= u.bottom + 3);
                }).map(text => text.textContent.trim()); })""")
            assert outside == []


@pytest.mark.parametrize("name", ["twelve", pytest.param("many", marks=LONG)])
def test_paper_has_everything_and_the_label_on_each_sheet(browser: Browser, files: dict[str, Path], name: str,
                                                          tmp_path: Path) -> None:
    with Opened(browser, files[name]) as opened:
        page = opened.page
        page.pdf(path=tmp_path / "page.pdf", prefer_css_page_size=True)
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 695, "height": 900})
        assert spilling(page, 695) == [], "184 mm of paper are 695 px"
        assert visible(page, "section.task") == 2
        assert visible(page, ".controls") == visible(page, ".hint") == 0
    sheets = [sheet.get_textpage().get_text_range() for sheet in pypdfium2.PdfDocument(tmp_path / "page.pdf")]
    content = CONTENTS[name]()
    assert all("SYNTHETIC" in sheet[:200] for sheet in sheets)
    text = re.sub(r"\s+", " ", " ".join(sheets))
    for cell in content["cells"]:
        if cell["status"] == "shown":
            assert f"{cell['display']['lower']:,} to {cell['display']['upper']:,}" in text, "in a closed part, too"
    assert "contact the national helpline" in text
    assert content["plan_sha256"] in text.replace(" ", "")
