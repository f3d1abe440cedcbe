"""The content of a release: its parts, what it refuses to be made of, and that nothing withheld is in it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from federation.canonical import canonical_json
from federation.errors import InputError
from federation.plan_statistics import AppearancesSpec
from federation.privacy.accounting import epsilon_of
from federation.privacy.guarantee import price, statistics_events
from federation.statistics import LEVELS, Measurements
from federation.taxonomy import Family
from server.release import promise
from server.release.content import RESPONSIBLE_USE, Facts, build_content, content_sha256
from server.release.decide import Gated
from tests.server.release.counted import World, free_of_charge, make_plan, noisy, rich, row

PLAN = make_plan()
RICH = rich(PLAN)


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """A content in which everything is shown."""
    return RICH.content()


def test_every_part_is_there(whole: dict[str, Any]) -> None:
    assert set(whole) == {
        "content_version", "label", "synthetic", "regions_drawn", "study", "purpose", "period", "released_on",
        "previous_release_sha256", "tasks", "roles", "areas", "rate_per_reviewed_records", "confidence", "calibration",
        "nodes", "cells", "indicators", "corridors", "series", "coverage", "gate", "suppression", "privacy",
        "measurements_commitment", "responsible_use", "plan_sha256", "model_sha256", "versions"}
    assert whole["label"] == "SYNTHETIC"
    assert whole["period"] == {"start": "2026-04-01", "end": "2026-06-30"}
    assert whole["released_on"] == "2027-02-01"
    assert whole["plan_sha256"] == PLAN.sha256
    assert whole["responsible_use"] == RESPONSIBLE_USE
    assert (whole["rate_per_reviewed_records"], whole["confidence"]) == (10_000, 0.95)
    assert whole["previous_release_sha256"] is None


def test_it_is_plain_json_in_canonical_form(whole: dict[str, Any]) -> None:
    for content in (whole, *(noisy(PLAN, seed).content() for seed in range(3))):
        encoded = canonical_json(content)
        assert json.loads(encoded) == content
        assert canonical_json(json.loads(encoded)) == encoded


def test_the_same_numbers_give_the_same_bytes(whole: dict[str, Any]) -> None:
    assert canonical_json(RICH.content()) == canonical_json(whole)
    assert content_sha256(RICH.content()) == content_sha256(whole)


def test_places_are_listed_with_their_parents_and_the_protected_last(whole: dict[str, Any]) -> None:
    areas = whole["areas"]
    assert areas[0] == {"code": "XA", "name": areas[0]["name"], "level": "country", "parent": None,
                        "status": "measured"}
    assert row(areas, "XB-02")["parent"] == "XB:whole"
    assert areas[-1] == {"code": "XA-09", "name": "Invented region 09", "level": "region", "parent": "XA",
                         "status": "protected"}
    assert [area["status"] for area in areas] == ["measured"] * 13 + ["protected"]


def test_protected_places_have_no_row_anywhere(whole: dict[str, Any]) -> None:
    text = json.dumps({key: value for key, value in whole.items() if key != "areas"})
    assert "XA-09" not in text


def test_coverage_counts_those_in_the_sum_by_kind(whole: dict[str, Any]) -> None:
    coverage = whole["coverage"]
    assert coverage["in_sum"] == [f"partner-{i}" for i in range(4)]
    assert coverage["partners"] == {"agency": 1, "ngo": 2, "platform": 1}
    assert set(coverage["areas"]) == {area["code"] for area in whole["areas"][:-1]}
    assert coverage["areas"]["XA:south"] == {"agency": 1, "ngo": 2, "platform": 1}


def test_suppression_adds_up() -> None:
    for seed in range(4):
        content = noisy(PLAN, seed).content()
        found, reasons = content["suppression"], [cell.get("reason") for cell in content["cells"]]
        assert found["cells"] == len(reasons) == 52
        assert found["shown"] == reasons.count(None)
        assert found["withheld"] == {name: reasons.count(name) for name in dict.fromkeys(reasons) if name}


def test_the_gate_and_its_price_are_told(whole: dict[str, Any]) -> None:
    gate, privacy = whole["gate"], whole["privacy"]
    assert gate["thresholds"] == {"regions": 104, "super_regions": 197, "countries": 197, "confusion": 400,
                                  "indicators": 197, "corridors": 104}
    assert gate["noise_sd"] == {"regions": 40.0, "super_regions": 80.0, "countries": 80.0, "confusion": 40.0,
                                "indicators": 80.0, "corridors": 40.0, "dominance": 80.0}
    assert {name: gate[name] for name in ("minimum_count", "minimum_partners", "minimum_kinds", "most_of_one_partner",
                                          "least_youden", "band_factor", "embargo_days", "signatures")} == {
        "minimum_count": 11, "minimum_partners": 3, "minimum_kinds": 2, "most_of_one_partner": 0.7,
        "least_youden": 0.3, "band_factor": 2.0, "embargo_days": 30, "signatures": 2}
    assert gate["widest_interval"] == 5000
    assert "signers" not in gate
    assert privacy["same_person_at_partners"] == [
        {"partners": k, "epsilon": epsilon} for k, epsilon in price(PLAN).at_partners]
    assert privacy["appearances"]["year_epsilon"] == epsilon_of(statistics_events(PLAN) * 4, delta=1e-6)
    families = {each["family"]: each for each in privacy["parts"][1]["families"]}
    assert families["regions"] == {"family": "regions", "noise_scale": 20.0, "entries": 3, "l2_sensitivity": 1.732051,
                                   "noise_sd": 40.0}
    assert families["indicators"]["entries"] == 6


def test_plans_without_indicators_or_corridors_say_so() -> None:
    content = rich(make_plan(indicators=None, corridors=())).content()
    assert content["indicators"] is None
    assert content["corridors"] == []


def test_trends_since_the_release_before() -> None:
    before = rich(make_plan(quarter=1), rate=0.10).content()
    content = rich(PLAN, rate=0.40).content(before)
    assert content["previous_release_sha256"] == content_sha256(before)
    trend = row(content["cells"], "XA", "origin", "recruitment")["trend"]
    assert trend["class"] == "rose"
    assert trend["since"] == content_sha256(before)
    assert trend["difference"] == pytest.approx(10_000 * 0.30 / 0.85, abs=0.02)
    assert 0 < trend["lower"] < trend["difference"] < trend["upper"]
    much = rich(make_plan(quarter=1), rate=0.40).content()
    assert row(rich(PLAN, rate=0.10).content(much)["cells"], "XA", "origin", "recruitment")["trend"]["class"] == "fell"
    unclear = row(rich(PLAN, rate=0.105).content(before)["cells"], "XA", "origin", "recruitment")
    assert unclear["trend"]["class"] == "no_clear_change"
    assert unclear["trend"]["lower"] < 0 < unclear["trend"]["upper"]
    quiet = rich(make_plan(quarter=1)).but(Family.REGIONS, (0, 0, 1), 60).content()
    assert row(RICH.content(quiet)["cells"], "XA-01", "origin", "recruitment")["trend"] is None
    assert row(RICH.content(quiet)["cells"], "XA-01", "origin", "distress")["trend"] is not None


# What it refuses


def refused(name: str, facts: Facts | None = None, measurements: Measurements | None = None) -> None:
    with pytest.raises(InputError) as caught:
        build_content(facts or RICH.facts(), measurements or RICH.measurements())
    assert caught.value.name == name


def test_tables_of_another_plan_are_refused() -> None:
    refused("measurements.layout", measurements=rich(make_plan(quarter=1)).measurements())
    refused("measurements.layout", facts=replace(RICH.facts(), plan=make_plan(rule={"minimum_count": 1})))


@pytest.mark.parametrize("values", [
    RICH.values.astype(np.float64), RICH.values.astype(np.float64) + math.nan, RICH.values[:-1],
    RICH.values.astype(np.int32), RICH.values[None]])
def test_anything_but_as_many_whole_numbers_is_refused(values: np.ndarray) -> None:
    refused("measurements.values", measurements=replace(RICH.measurements(), values=values))


@pytest.mark.parametrize("partners", [
    (), ("partner-0", "partner-1", "partner-2", "stranger"), ("partner-0", "partner-1", "partner-2", "partner-2")])
def test_partners_that_cannot_be_those_of_the_sum_are_refused(partners: tuple[str, ...]) -> None:
    refused("measurements.partners", replace(RICH.facts(), partners=partners),
            replace(RICH.measurements(), partners=partners))


def test_other_partners_than_those_of_the_sum_are_refused() -> None:
    refused("measurements.partners", replace(RICH.facts(), partners=RICH.partners[:3]))
    refused("measurements.partners", replace(RICH.facts(), partners=RICH.partners[::-1]))


@pytest.mark.parametrize("factor", [0.25, 0.999, 1.001, math.nan])
def test_variances_other_than_the_plans_are_refused(factor: float) -> None:
    for family in PLAN.statistics.families:
        variances = RICH.measurements().variances | {family: RICH.measurements().variances[family] * factor}
        refused("measurements.variances", measurements=replace(RICH.measurements(), variances=variances))


def test_a_family_without_variance_is_refused() -> None:
    variances = RICH.measurements().variances
    del variances[Family.DOMINANCE]
    refused("measurements.variances", measurements=replace(RICH.measurements(), variances=variances))


def test_the_embargo_is_kept_to_the_day() -> None:
    refused("released_on", replace(RICH.facts(), released_on=date(2026, 7, 29)))
    on_time = replace(RICH.facts(), released_on=date(2026, 7, 30))
    assert build_content(on_time, RICH.measurements())["released_on"] == "2026-07-30"


def test_a_synthetic_study_says_that_it_is() -> None:
    world = rich(make_plan(label="Figures"))
    refused("plan.label", world.facts(), world.measurements())
    assert rich(make_plan(label="SYNTHETIC figures")).content()["label"] == "SYNTHETIC figures"


@pytest.mark.parametrize("bad", ["", "d" * 63, "D" * 64, "d" * 65, "g" * 64, "d" * 64 + "\n"])
def test_hashes_that_are_none_are_refused(bad: str) -> None:
    refused("model_sha256", replace(RICH.facts(), model_sha256=bad))
    refused("commitment", replace(RICH.facts(), commitment=bad))


def test_a_previous_release_that_is_not_earlier_is_refused(whole: dict[str, Any]) -> None:
    refused("previous", RICH.facts(whole))
    refused("previous", RICH.facts(rich(make_plan(quarter=3)).content()))


@pytest.mark.parametrize(("now", "then", "name"), [
    ((4, 4, 1), (4, 4, 1), "release_of_year"), ((4, 4, 1), (4, 4, 2), "release_of_year"),
    ((5, 4, 3), (4, 4, 2), "appearances"), ((4, 3, 3), (4, 4, 2), "appearances")])
def test_a_release_of_the_year_comes_once(now: tuple[int, ...], then: tuple[int, ...], name: str) -> None:
    earlier, later = appearing(1, *then), appearing(2, *now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promise, "privacy", free_of_charge)
        previous = earlier.content()
        refused(f"statistics.appearances{'.release_of_year' if name == 'release_of_year' else ''}",
                later.facts(previous), later.measurements())
        # The next in turn goes on, and another year begins anew.
        assert appearing(2, *then[:2], then[2] + 1).content(previous)["previous_release_sha256"]
        last = previous | {"period": {"start": "2025-10-01", "end": "2025-12-31"}}
        assert later.content(last)["previous_release_sha256"]


def appearing(quarter: int, a_year: int, a_person: int, number: int) -> World:
    plan = make_plan(quarter=quarter)
    often = AppearancesSpec(releases_a_year=a_year, releases_per_person=a_person, release_of_year=number)
    return rich(plan.model_copy(update={"statistics": plan.statistics.model_copy(update={"appearances": often})}))


# What is withheld is in nothing


def withheld(world: World, gated: Gated) -> Iterator[tuple[Family, tuple[int, ...]]]:
    """Every measured number that is not shown."""
    for level, family in LEVELS.items():
        rows = gated.nodes.at(level)
        shown = np.concatenate([gated.nodes.reviewed[rows, :, None], gated.nodes.flagged[rows]], axis=-1)
        yield from ((family, at) for at in zip(*np.nonzero(np.isnan(shown)), strict=True))
    yield from ((Family.DOMINANCE, at) for at in np.ndindex(world.table(Family.DOMINANCE).shape))
    yield from ((Family.CONFUSION, (task, *at)) for task, known in enumerate(gated.calibrations) if math.isnan(known.tp)
                for at in np.ndindex(2, 2))
    assert gated.indicators is not None
    assert gated.corridors is not None
    for family, counts in ((Family.INDICATORS, gated.indicators.counts), (Family.CORRIDORS, gated.corridors.counts)):
        yield from ((family, at) for at in zip(*np.nonzero(np.isnan(counts)), strict=True))


def decisions(gated: Gated) -> list[Any]:
    assert gated.indicators is not None
    assert gated.corridors is not None
    return [gated.records.tolist(), gated.rates.tolist(), [math.isnan(known.tp) for known in gated.calibrations],
            gated.indicators.cells.tolist(), gated.indicators.lifts.tolist(), gated.corridors.reasons.tolist()]


@pytest.mark.parametrize("seed", range(2))
def test_no_withheld_number_is_in_anything(seed: int) -> None:
    """Change every withheld measurement at will, so long as it is withheld as before: not a byte changes."""
    rng, world = np.random.default_rng(seed), noisy(PLAN, seed)
    if seed % 2:
        world = world.but(Family.CONFUSION, 0, [[60, 5], [3, 20]])
    before, gated = world.content(), world.gated()
    hidden = list(withheld(world, gated))
    assert len(hidden) > 60
    changed = 0
    # In small lots. What would not stay withheld as before goes down, or only by a little, rather than anywhere.
    for lot in (hidden[i : i + 4] for i in range(0, len(hidden), 4)):
        small = [world.table(family)[at] + rng.choice([-2, -1, 1, 2]) for family, at in lot]
        for values in (rng.choice([-5000, -90, 0, 3, 60, 90, 900, 100_000], len(lot)), [-9000] * len(lot), small):
            other = world
            for (family, at), value in zip(lot, values, strict=True):
                other = other.but(family, at, value)
            if decisions(other.gated()) == decisions(gated):
                changed += int((other.values != world.values).sum())
                world = other
                break
    assert changed > 0.9 * len(hidden)
    after = world.content(commitment="e" * 64)
    assert after.pop("measurements_commitment") != before.pop("measurements_commitment")
    assert canonical_json(after) == canonical_json(before)


def test_a_number_that_is_shown_is_in_the_content() -> None:
    world = noisy(PLAN, 0)
    gated = world.gated()
    (n, r), *_ = zip(*np.nonzero(gated.records[5:] == 0), strict=True)
    other = world.but(Family.REGIONS, (n, r, 0), world.table(Family.REGIONS)[n, r, 0] + 1)
    assert canonical_json(other.content()) != canonical_json(world.content())
