"""The page as text: self-contained, careful with its words, nothing on it that is not in the content."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from federation.plan_parts import Aggregation, SecureAggregationSpec
from federation.privacy.units import up
from federation.taxonomy import RegionRole
from server.release import words
from server.release.bundle import ALL
from server.release.content import RESPONSIBLE_USE
from server.release.page import FILES, render_page
from tests.server.release.dom import Node, parse
from tests.server.release.worlds import (
    TWELVE,
    make_content,
    make_plan,
    many_content,
    states_content,
    twelve_content,
)

CONTENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "twelve": twelve_content, "states": states_content, "many": many_content}
AVOIDED = ("victim", "suspect", "hot-spot", "hotspot", "hot spot", "predict", "target", "surveil", "rank", "risk",
           "offender", "trafficker")
RELEASE = "cd" * 32


@cache
def page(name: str) -> bytes:
    return render_page(CONTENTS[name](), release_sha256=RELEASE)


@cache
def tree(name: str) -> Node:
    return parse(page(name))


def seen(content: dict[str, Any]) -> str:
    return parse(render_page(content, release_sha256=RELEASE)).text()


@pytest.mark.parametrize("name", CONTENTS)
def test_words_to_avoid_are_only_in_the_statement(name: str) -> None:
    """Not even where nobody sees them: in classes, ids or links."""
    text = page(name).decode()
    assert tree(name).text().count(RESPONSIBLE_USE) == 1
    rest = re.sub(r'<blockquote id="responsible-use">[^<]*</blockquote>', "", text).lower()
    assert [word for word in AVOIDED if re.search(rf"\b{word}", rest)] == []


@pytest.mark.parametrize("name", CONTENTS)
def test_asks_the_network_for_nothing_and_runs_nothing(name: str) -> None:
    text = page(name).decode()
    assert not re.search(r"https?://|//[a-z]|@import|<script|<iframe|<img|<object| style=| on[a-z]+=", text)
    assert set(re.findall(r"url\((.)", text)) == {"#"}
    links = {node.attributes["href"] for node in tree(name).all("a")}
    outside = {link for link in links if not link.startswith("#")}
    assert outside == {file for file, _ in FILES} == set(ALL) - {"index.html"}
    ids = {node.attributes["id"] for node in tree(name).walk() if "id" in node.attributes}
    assert {link[1:] for link in links - outside} <= ids
    assert {node.attributes["href"] for node in tree(name).all("link")} == {"data:,"}
    style = re.search(r"<style>(.*?)</style>", text, flags=re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in text


@pytest.mark.parametrize("name", CONTENTS)
def test_equal_content_gives_equal_bytes(name: str) -> None:
    assert render_page(deepcopy(CONTENTS[name]()), release_sha256=RELEASE) == page(name)


@pytest.mark.parametrize("name", CONTENTS)
def test_what_refers_to_something_finds_it_once(name: str) -> None:
    nodes = list(tree(name).walk())
    ids = [node.attributes["id"] for node in nodes if "id" in node.attributes]
    assert len(set(ids)) == len(ids)
    named = {word for node in nodes for attribute in ("aria-labelledby", "aria-describedby")
             for word in node.attributes.get(attribute, "").split()}
    used = {node.attributes["href"][1:] for node in tree(name).all("use")}
    patterns = set(re.findall(r"url\(#([\w-]+)\)", page(name).decode()))
    assert named | used | patterns <= set(ids)


@pytest.mark.parametrize("name", CONTENTS)
def test_headings_go_down_one_step_at_a_time(name: str) -> None:
    levels = [int(node.tag[1]) for node in tree(name).walk() if re.fullmatch(r"h[1-6]", node.tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("name", CONTENTS)
def test_tables_have_captions_and_their_headers_say_of_what(name: str) -> None:
    for table in tree(name).all("table"):
        assert table.all("caption")[0].text()
        assert all(header.attributes.get("scope") in ("col", "row", "rowgroup") for header in table.all("th"))


def rates(name: str, *, totals: bool = False) -> list[tuple[str, str, Node]]:
    """(task, role, row) of every row that shows a rate of this release, or a running total."""
    found = []
    for row in tree(name).all("tr"):
        section, body = row.up("task"), row.up("role")
        if section is None or body is None or not row.all("td", classes="rate"):
            continue
        if (section.tag == "div") == totals:
            (task,) = (one.removeprefix("task-") for one in section.classes if one.startswith("task-"))
            (role,) = (one.removeprefix("role-") for one in body.classes if one.startswith("role-"))
            found.append((task, role, row))
    return found


@pytest.mark.parametrize("name", CONTENTS)
def test_every_number_of_a_rate_is_in_the_content(name: str) -> None:
    """Each row, looked up by its code; and every shown rate is on the page."""
    content = CONTENTS[name]()
    cells = {(cell["area"], cell["role"], cell["task"]): cell for cell in content["cells"] if cell["status"] == "shown"}
    seen = set()
    for task, role, row in rates(name):
        code = row.all("i")[0].text()
        cell = cells[code, role, task]
        known, trend = cell["display"], cell["trend"]
        allowed = {f"{known[end]:,}" for end in known} | ({
            f"{abs(round(trend[end])):,}" for end in ("difference", "lower", "upper")} if trend else set())
        told = [number for column in row.all("td") for number in re.findall(r"[\d,]*\d", column.text())]
        assert set(told) <= allowed
        assert [f"{known[end]:,}" for end in ("rate", "lower", "upper")] == told[:3]
        assert (cell["band"] or "") == (row.all("td", classes="band") or [Node("", {}, None)])[0].text()
        seen.add((code, role, task))
    assert seen == set(cells)


def test_every_running_total_is_in_the_content() -> None:
    cells = {(cell["area"], cell["role"], cell["task"]): cell["display"]
             for cell in twelve_content()["series"]["cells"] if cell["status"] == "shown"}
    told = {(row.all("i")[0].text(), role, task): [int(number.replace(",", "")) for column in row.all("td")
                                                   for number in re.findall(r"[\d,]*\d", column.text())]
            for task, role, row in rates("twelve", totals=True)}
    assert told == {key: [known["rate"], known["lower"], known["upper"]] for key, known in cells.items()}
    assert "This release is the first of a series." in tree("twelve").text()


def test_totals_of_a_series_that_cannot_be_added_up_are_withheld_for_a_public_reason() -> None:
    content = deepcopy(twelve_content())
    content["series"] |= {"index": 3, "status": "withheld", "reason": "partners_changed", "releases": [],
                          "noise_sd_total": None, "threshold": None, "cells": []}
    text = seen(content)
    assert "withheld: the partners are not those of an earlier release of the series" in text
    assert "any of the 3 releases of the series so far" in text


@pytest.mark.parametrize("name", CONTENTS)
def test_no_number_of_a_withheld_cell_is_anywhere(name: str) -> None:
    """Even if a content had them: the page reads a withheld row's reason and nothing else."""
    content, secret = deepcopy(CONTENTS[name]()), 9_876_543
    numbers = {"measured": {"flagged": secret, "reviewed": secret}, "display": dict.fromkeys(("rate", "lower", "upper"),
               secret), "unclipped": dict.fromkeys(("rate", "lower", "upper"), secret), "band": "high", "lift": secret,
               "lower": secret, "upper": secret, "trend": {"class": "rose", "difference": secret, "lower": secret,
               "upper": secret}, "signals": {"estimate": secret}}
    indicators = content["indicators"]["cells"] if content["indicators"] else []
    lifts = [lift for cell in indicators for lift in cell.get("lifts", ())]
    totals = content["series"]["cells"] if content["series"] else []
    withheld = [row for rows in (content["cells"], totals, content["nodes"], content["corridors"], indicators, lifts)
                for row in rows if row["status"] == "withheld"]
    assert withheld
    for row in withheld:
        row.update(numbers)
    assert render_page(content, release_sha256=RELEASE) == page(name)


@pytest.mark.parametrize("name", CONTENTS)
def test_tables_are_in_the_order_of_the_codes_and_not_of_rates(name: str) -> None:
    for body in tree(name).all("tbody", classes="role"):
        codes = [row.all("i")[0].text() for row in body.all("tr") if row.all("td", classes="rate")]
        assert codes == sorted(codes)


@pytest.mark.parametrize("name", CONTENTS)
def test_every_region_of_a_map_is_a_button_with_a_sentence(name: str) -> None:
    content = CONTENTS[name]()
    regions = sorted(area["code"] for area in content["areas"] if area["level"] == "region")
    maps = tree(name).all("div", role="radiogroup")
    codes: dict[tuple[str, ...], list[str]] = {}
    for each in maps:
        labels = each.all("label", classes="s")
        assert len({label.all("input")[0].attributes["name"] for label in labels}) == 1
        section, figure = each.up("task"), each.up("role")
        assert section is not None
        assert figure is not None
        found = [re.findall(r"\(([A-Z]{2}-\w+)\)", label.text())[0] for label in labels]
        codes.setdefault((*sorted(section.classes), *sorted(figure.classes)), []).extend(found)
    assert len(codes) == len(content["roles"]) * len(content["tasks"])
    assert all(sorted(found) == regions for found in codes.values())
    names = [each.all("input")[0].attributes["name"] for each in maps]
    assert len(set(names)) == len(names), "each map has a choice of its own"


def test_label_is_in_title_banner_and_tables() -> None:
    root = tree("twelve")
    (title,) = root.all("title")
    assert title.text() == "SYNTHETIC · north-coast-2026 · Leelight release"
    assert "Invented places and texts. Nothing here describes the world." in root.text()
    assert all("SYNTHETIC" in table.all("caption")[0].text() for table in root.all("table", classes="figures"))
    assert "REAL TEXTS, DRAWN REGIONS" in tree("states").text()
    assert "Invented" not in tree("states").text()


def test_the_label_is_on_every_sheet_of_paper() -> None:
    """In the margin, letter by letter as codes, so that no label can end the string."""
    found = re.search(r'@top-center\{content:"((?:\\[0-9a-f]{6})+)"\}', page("many").decode())
    assert found is not None
    assert "".join(chr(int(code, 16)) for code in re.findall(r"\\(.{6})", found[1])) == "SYNTHETIC · REHEARSAL"


def test_invented_figures_for_real_places_say_so() -> None:
    content = make_content(make_plan(("RO-IS", "RO-CJ", "US-CA"), (), label="SYNTHETIC DRILL", corridors=False))
    assert "They do not describe the places named." in seen(content)


def test_drawn_regions_are_told_wherever_the_page_names_its_data() -> None:
    """In the title, the banner, the lead, the tables and the foot; and nobody's own records are claimed."""
    text = tree("states").text()
    assert "REGIONS DRAWN AT RANDOM" in tree("states").all("title")[0].text()
    assert "REGIONS DRAWN AT RANDOM: these figures do not describe the places named" in text
    assert "drawn at random, so these figures do not describe the places named ." in text
    assert text.count("REGIONS DRAWN AT RANDOM") >= 5
    for name in ("states", "twelve"):
        assert "searched their own records" not in tree(name).text()
    assert "DRAWN AT RANDOM" not in tree("twelve").text()


def test_a_real_release_says_whose_records_were_searched() -> None:
    text = seen(make_content(make_plan(("RO-IS", "RO-CJ"), (), label="PILOT", synthetic=False, corridors=False)))
    assert "5 organisations searched their own records" in text
    assert "DRAWN AT RANDOM" not in text


def test_a_rehearsal_says_so_first_and_promises_nothing() -> None:
    rehearsal, real = tree("many").text(), tree("twelve").text()
    assert rehearsal.index("REHEARSAL: the noise can be repeated and protects nobody") < rehearsal.index(
        "Leelight release · records")
    assert (rehearsal.index("REHEARSAL: this release protects nobody") < rehearsal.index("Records stay at home")
            < rehearsal.index("A rehearsal keeps no such promise"))
    for promise in ("What protects people", "little can be learned about any one person", "By it, this one is"):
        assert promise in real
        assert promise not in rehearsal
    assert "rehearsal" not in real.lower()


def test_numbers_that_protect_are_stated() -> None:
    content, text = twelve_content(), tree("twelve").text()
    privacy = content["privacy"]
    for part in ("2.980 (training 2.410, statistics 1.130)", "1 in 100,000", "odds by 20 at most",
                 f"at least {content['gate']['thresholds']['regions']} records", "more than 70 % of its records",
                 "at least 2 people have signed it", "within 30 days", "replace the person's slot by a null person",
                 "They count in 2 of the 4 releases of a year at most; this is number 2",
                 f"{up(privacy['appearances']['year_epsilon'])} , for 2 releases like this one".replace(" ,", ","),
                 RELEASE, content["plan_sha256"], content["model_sha256"], content["previous_release_sha256"],
                 content["measurements_commitment"]):
        assert part in text
    told = ", ".join(f"ε up to {up(each['epsilon'])} at {each['partners']} partners"
                     for each in privacy["same_person_at_partners"])
    assert f"{told}, each at the same δ of 1e-05." in text
    (families,) = tree("twelve").all("table", classes="families")
    noise = next(part for part in privacy["parts"] if part["part"] == "statistics")["families"]
    assert [row.all("td")[1].text() for row in families.all("tr")[1:]] == [f"{each['noise_sd']:.1f}" for each in noise]


def test_a_release_of_secure_sums_says_whom_its_promise_rests_on() -> None:
    plan = make_plan(noise_scale=9.0)
    secure = plan.model_copy(update={
        "statistics": plan.statistics.model_copy(update={"aggregation": Aggregation.SECURE}),
        "secure_aggregation": SecureAggregationSpec(colluders=1),
        "conduct": plan.conduct.model_copy(update={"quorum": 4})})
    text = seen(make_content(secure))
    assert ("Counts were summed under masks: the coordinator saw sums over at least 4 partners and no partner's own "
            "numbers. The noise in a sum is made up of all partners' shares, and protects as long as at most 1 of the "
            "5 partners works with the coordinator. Everything else carries each partner's own noise") in text
    assert "nobody else need be trusted" not in text
    assert "nobody else need be trusted" in tree("twelve").text()


@pytest.mark.parametrize("name", CONTENTS)
def test_what_the_figures_mean_stands_below_them(name: str) -> None:
    """Which way what is shown is off, and what the middle band is."""
    factor = f"{CONTENTS[name]()['gate']['band_factor']:g}"
    for section in tree(name).all("section", classes="task"):
        notes = " ".join(note.text() for note in section.all("p", classes="table-note"))
        assert words.LEANS_HIGH in notes
        assert notes.index("95 % interval") < notes.index(words.LEANS_HIGH)
        assert ("so the place is neither clearly higher nor clearly lower than the country, but clearly within "
                f"{factor} times its rate") in notes


def test_parts_of_a_study_that_are_not_there_are_not_spoken_of() -> None:
    links = {node.attributes["href"] for node in tree("states").all("a")}
    assert not links & {"#indicators", "#movements", "#totals"}
    assert "Since the previous release" not in tree("states").text()
    assert "Since the previous release" in tree("twelve").text()
    assert "not a proven route" in tree("twelve").text()
    assert "98 % had at least one" in tree("twelve").text()


def test_signs_and_advice_are_in_every_language_and_marked_as_drafts() -> None:
    parts = tree("twelve").all("div", classes="language")
    assert [part.attributes["lang"] for part in parts] == ["en", "es", "fr", "ro", "uk", "hi"]
    for part in parts:
        assert len(part.all("li", classes="card")) == len(twelve_content()["indicators"]["tags"])
        (draft,) = part.all("p", classes="draft")
        assert "review" in draft.text(), "in English, too"


def test_one_role_and_one_signal_have_no_switch() -> None:
    assert tree("states").all(id="role-switch") == []
    switch = tree("twelve").all("fieldset", id="role-switch")[0]
    assert [(label.text(), "checked" in label.all("input")[0].attributes) for label in switch.all("label")] == [
        ("Origin and destination", True), ("Origin", False), ("Destination", False), ("Observed", False),
        ("All roles", False)]


def test_markup_in_public_text_stays_text() -> None:
    content = {**twelve_content(), "purpose": "</p><script>alert(1)</script>", "label": 'SYNTHETIC </style>"<b>'}
    text = render_page(content, release_sha256=RELEASE)
    assert b"<script" not in text
    assert text.count(b"</style>") == 1
    assert parse(text).all("b", classes="")


def test_a_very_large_release_stays_small() -> None:
    """The bound of 30 MB for 5,000 regions in 4 roles and 2 signals, in proportion."""
    plan = make_plan([f"X{country}-{i:03d}" for country in "ABCDEFGH" for i in range(140)], (), corridors=False,
                     roles=tuple(RegionRole))
    content = make_content(plan, people=20_000)
    text = render_page(content, release_sha256=RELEASE)
    root = parse(text)
    shares = len(content["cells"]) / (5000 * 8)
    assert len(text) < 30_000_000 * shares
    assert root.all("div", role="radiogroup") == []
    pictures = root.all("svg", role="img")
    assert all(picture.attributes["aria-label"] for picture in pictures)
    assert sum(len(picture.all("use")) for picture in pictures) == 8 * 140 * 8
    assert [each.attributes.get("open") for each in root.all("details", classes="group-of-countries")] == [
        "", *[None] * 7] * 2


def _luminance(colour: str) -> float:
    channels = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, "contrast ratio"."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def palettes() -> list[dict[str, str]]:
    """The colours in light and dark, of both signals."""
    css = page("twelve").decode().split("<style>")[1]
    light, distress, dark, dark_distress = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r"(?:\:root|\.task-distress) \{([^}]*)\}", css.split("@media print")[0])[:4])
    return [light, light | distress, light | dark, light | distress | dark | dark_distress]


def test_every_pair_of_colours_reaches_aa() -> None:
    """4.5 to 1 for text and 3 to 1 for edges, in light, dark and both signals; and the shades go one way."""
    for palette in palettes():
        pairs = [(f"on{i}", f"bin{i}") for i in range(5)] + [
            (ink, paper) for ink in ("ink", "soft", "accent", "link", "high", "low") for paper in ("page", "card")
        ] + [("strip-ink", "strip"), ("hatch-ink", "hatch-a")]
        assert {pair: round(contrast(palette[pair[0]], palette[pair[1]]), 2) for pair in pairs
                if contrast(palette[pair[0]], palette[pair[1]]) < 4.5} == {}
        assert contrast(palette["edge"], palette["card"]) >= 3
        steps = [_luminance(palette[f"bin{i}"]) for i in range(5)]
        assert steps in (sorted(steps), sorted(steps, reverse=True))


def test_no_region_is_the_colour_of_the_paper() -> None:
    for palette in palettes():
        for shade in (*(f"bin{i}" for i in range(5)), "hatch-b", "others"):
            assert contrast(palette[shade], palette["card"]) > 1.08


def test_all_twelve_regions_are_told_in_each_role_and_signal() -> None:
    for body in tree("twelve").all("tbody", classes="role"):
        if body.all("tr")[0].text().partition(" ")[2].startswith("regions"):
            assert [row.all("i")[0].text() for row in body.all("tr")[1:]] == list(TWELVE)
