"""The page as text: self-contained, careful with its words, legible in both schemes."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from federation.errors import InputError
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation, SecureAggregationSpec
from federation.privacy.guarantee import price
from federation.privacy.units import up
from federation.statistics import SummedTables
from federation.taxonomy import RegionRole, Task
from server.release.bundle import Release, verify_release
from server.release.content import RESPONSIBLE_USE
from server.release.page import render_page

TWELVE = tuple(f"XA-{i:02d}" for i in range(1, 13))
AVOIDED = ("victim", "suspect", "hot-spot", "hotspot", "hot spot", "predict", "target", "surveil")


def page(directory: Path) -> str:
    return (directory / "index.html").read_text(encoding="utf-8")


def words(text: str) -> str:
    """What a reader sees, white space folded."""
    body = re.sub(r"<style>.*?</style>", " ", text, flags=re.S)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)))


@pytest.mark.parametrize("name", ["twelve", "states"])
def test_words_to_avoid_are_only_in_the_statement(name: str, request: pytest.FixtureRequest) -> None:
    text = html.unescape(page(request.getfixturevalue(name)))
    assert text.count(RESPONSIBLE_USE) == 1
    rest = text.replace(RESPONSIBLE_USE, "").lower()
    assert [word for word in AVOIDED if word in rest] == []


@pytest.mark.parametrize("name", ["twelve", "states"])
def test_asks_the_network_for_nothing_and_runs_nothing(name: str, request: pytest.FixtureRequest) -> None:
    text = page(request.getfixturevalue(name))
    assert not re.search(r"https?://|//[a-z]|@import|url\(|<script|<iframe|<img|<object| style=| on[a-z]+=", text)
    assert set(re.findall(r'(?:href|src)="([^"]+)"', text)) == {"data:,", "#figures", "release.json", "regions.csv"}
    style = re.search(r"<style>(.*?)</style>", text, flags=re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in text


def test_label_is_in_title_banner_and_table(twelve: Path, states: Path) -> None:
    text = page(twelve)
    assert "<title>SYNTHETIC · north-coast-2026" in text
    seen = words(text)
    assert seen.count("SYNTHETIC") >= 4
    assert "Invented places and texts. Nothing here describes the world." in seen
    assert "REAL TEXTS, DRAWN REGIONS" in words(page(states))
    assert "Invented" not in words(page(states))


def test_invented_figures_for_real_places_say_so(tmp_path: Path, planned: Callable[..., StudyPlan],
                                                 published: Callable[..., Release]) -> None:
    published(tmp_path, planned(("RO-IS", "RO-CJ", "US-CA"), label="SYNTHETIC DRILL"))
    seen = words(page(tmp_path))
    assert "They do not describe the places named." in seen
    assert "Tiles of the US lie roughly where the states do" in seen


def test_drawn_regions_are_told_wherever_the_page_names_its_data(states: Path, twelve: Path) -> None:
    """In the title, the banner, the lead, the tables and the foot; and nobody's own records are claimed."""
    text = page(states)
    seen = words(text)
    assert "REGIONS DRAWN AT RANDOM" in text.split("<title>")[1].split("</title>")[0]
    assert "REGIONS DRAWN AT RANDOM: these figures do not describe the places named" in seen
    assert "drawn at random, so these figures do not describe the places named ." in seen
    assert seen.count("REGIONS DRAWN AT RANDOM") >= 5
    for directory in (states, twelve):
        assert "searched their own records" not in words(page(directory))
    assert "DRAWN AT RANDOM" not in words(page(twelve))


def test_a_real_release_says_whose_records_were_searched(
    tmp_path: Path, planned: Callable[..., StudyPlan], published: Callable[..., Release]
) -> None:
    published(tmp_path, planned(("RO-IS", "RO-CJ"), label="PILOT", synthetic=False))
    seen = words(page(tmp_path))
    assert "5 organisations searched their own records" in seen
    assert "DRAWN AT RANDOM" not in seen


def test_a_rehearsal_says_so_first_and_promises_nothing(
    tmp_path: Path, planned: Callable[..., StudyPlan], published: Callable[..., Release], twelve: Path
) -> None:
    published(tmp_path, planned(rehearsal=True))
    seen, real = words(page(tmp_path)), words(page(twelve))
    assert seen.index("REHEARSAL: the noise can be repeated and protects nobody") < seen.index("Leelight release ·")
    assert (seen.index("REHEARSAL: this release protects nobody") < seen.index("Records stay at home")
            < seen.index("A rehearsal keeps no such promise"))
    for promise in ("What protects people", "little can be learned about any one person", "By the usual yardstick"):
        assert promise in real
        assert promise not in seen
    assert "rehearsal" not in real.lower()
    assert {line.split(",")[2] for line in (tmp_path / "regions.csv").read_text().splitlines()} == {"rehearsal", "yes"}
    assert {line.split(",")[2] for line in (twelve / "regions.csv").read_text().splitlines()} == {"rehearsal", "no"}


def test_numbers_that_protect_are_stated(twelve: Path, key: object) -> None:
    release = verify_release(twelve, key.public)  # type: ignore[attr-defined]
    seen = words(page(twelve))
    for part in ("2.980 (training 2.410, statistics 1.130)", "1 in 100,000", "both reach 45", "standard deviation 14.5",
                 "odds by 20 at most", "replace the person's slot by a null person", release.sha256,
                 release.content["plan_sha256"], release.content["model_sha256"]):
        assert part in seen


def test_a_person_at_several_partners_costs_what_the_review_says(
    twelve: Path, plan: StudyPlan, key: object
) -> None:
    """The page and a partner's review print one composed figure; doubling ε would be another."""
    cost = price(plan)
    said = verify_release(twelve, key.public).content["privacy"]["same_person_at_partners"]  # type: ignore[attr-defined]
    assert said == [{"partners": k, "epsilon": epsilon} for k, epsilon in cost.at_partners]
    told = ", ".join(f"ε up to {up(epsilon)} at {k} partners" for k, epsilon in cost.at_partners)
    assert f"{told}, each at the same δ of 1e-05." in words(page(twelve))


def test_a_release_of_secure_sums_says_whom_its_promise_rests_on(
    tmp_path: Path, plan: StudyPlan, twelve: Path, published: Callable[..., Release],
    tabled: Callable[..., SummedTables],
) -> None:
    secure = plan.model_copy(update={
        "statistics": plan.statistics.model_copy(update={"aggregation": Aggregation.SECURE}),
        "secure_aggregation": SecureAggregationSpec(colluders=1),
        "conduct": plan.conduct.model_copy(update={"quorum": 4})})
    content = published(tmp_path, secure).content
    assert content["privacy"]["secure_sums"] == {
        "parts": ["statistics"], "colluders": 1, "partners": 5, "least_in_a_sum": 4}
    assert "at most 1 of the 5 partners works with the coordinator" in content["privacy"]["trust"]
    # Five shares of 6.5 / sqrt(3) each.
    assert content["threshold"]["noise_sd"] == pytest.approx(6.5 * (5 / 3) ** 0.5, abs=1e-3)
    seen = words(page(tmp_path))
    assert ("Counts were summed under masks: the coordinator saw sums over at least 4 partners and no partner's own "
            "numbers. The noise in a sum is made up of all partners' shares, and protects as long as at most 1 of the "
            "5 partners works with the coordinator. Everything else carries each partner's own noise") in seen
    assert "nobody else need be trusted" not in seen
    assert "nobody else need be trusted" in words(page(twelve))
    # Tables that carry another plan's noise are none of this one.
    with pytest.raises(InputError, match="noise_variance"):
        published(tmp_path / "other", secure, tabled(plan))


def test_why_a_cell_is_withheld_is_told_as_it_is(
    tmp_path: Path, planned: Callable[..., StudyPlan], tabled: Callable[..., SummedTables],
    published: Callable[..., Release]
) -> None:
    """Many records with few signals, few records, and a figure that says nothing, each in its own words and code."""
    plan = planned(TWELVE[:4], (RegionRole.OBSERVED,), tasks=(Task.RECRUITMENT,), coverage=(TWELVE[:4],) * 7)
    tables = tabled(plan)
    tables.counts[:, 0] = [(9000, 4), (12, 4), (70, 69), (9000, 800)]
    published(tmp_path, plan, tables)
    seen, rows = words(page(tmp_path)), (tmp_path / "regions.csv").read_text().splitlines()[1:]
    for told, code, row in zip(("too few signals to publish safely", "too few records to publish safely",
                                "insufficient: the noise leaves the rate too uncertain to mean anything"),
                               ("too_few_signals", "too_few_records", "insufficient"), rows, strict=False):
        assert f"withheld: {told}" in seen
        assert f",withheld,{code}," in row
    assert "Insufficient: the interval would span over half of all possible rates" in seen
    assert "yes: 7 partners of 3 kinds" in seen
    assert "1 of 4 regions shown, 3 withheld. Overall rate of all 4 regions, shown or not: 485 " in seen


def test_the_overall_rate_says_what_it_is_made_of(
    tmp_path: Path, twelve: Path, planned: Callable[..., StudyPlan], published: Callable[..., Release]
) -> None:
    assert "those that are withheld included, made of their noisy numbers only" in words(page(twelve))
    assert "overall rate of all 12 regions, shown or not" in words(page(twelve))
    published(tmp_path, planned(TWELVE[:1], coverage=(TWELVE[:1],) * 3))
    seen = words(page(tmp_path))
    assert "1 of 1 region shown" in seen
    assert "overall rate of the one region, shown or not" in seen


def test_markup_in_public_text_stays_text(twelve: Path, key: object) -> None:
    content = dict(verify_release(twelve, key.public).content)  # type: ignore[attr-defined]
    content["purpose"] = "</p><script>alert(1)</script>"
    assert b"<script" not in render_page(content, release_sha256="00" * 32)


def _luminance(colour: str) -> float:
    channels = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, "contrast ratio"."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_pair_of_colours_reaches_aa(twelve: Path) -> None:
    """4.5 to 1 for text in light, dark and both tasks; and the steps of the scale go one way."""
    css = page(twelve).split("<style>")[1]
    light_root, light_distress, dark_root, dark_distress = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r"(?:\:root|\.task-distress) \{([^}]*)\}", css.split("@media print")[0])[:4])
    for palette in (light_root, light_root | light_distress, light_root | dark_root,
                    light_root | light_distress | dark_root | dark_distress):
        pairs = [(f"on{i}", f"bin{i}") for i in range(5)] + [
            (ink, paper) for ink in ("ink", "soft", "accent", "link", "higher", "lower") for paper in ("page", "card")
        ] + [("strip-ink", "strip"), ("hatch-ink", "hatch-a")]
        assert {pair: round(contrast(palette[pair[0]], palette[pair[1]]), 2) for pair in pairs
                if contrast(palette[pair[0]], palette[pair[1]]) < 4.5} == {}
        steps = [_luminance(palette[f"bin{i}"]) for i in range(5)]
        assert steps in (sorted(steps), sorted(steps, reverse=True))


def test_table_is_in_the_order_of_the_plan_and_not_of_rates(twelve: Path) -> None:
    text = page(twelve)
    codes = re.findall(r'<th scope="row">[^<]*<span>(XA-\d\d)</span>', text)
    assert codes == [f"XA-{i:02d}" for i in range(1, 13)] * 6
