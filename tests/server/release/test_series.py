"""Running totals in a release: what they are made of, what is withheld and why, and how an audit makes them again."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.canonical import canonical_json
from federation.plan import StudyPlan
from federation.plan_statistics import SeriesSpec
from federation.privacy.accounting import DiscreteGaussianTable, epsilon_of
from federation.privacy.guarantee import statistics_events, table_variances
from federation.privacy.series import SCALE, coefficients, encode, total_weights
from federation.statistics import series_tables_sha256
from federation.taxonomy import AreaLevel, Family, RegionRole, Task
from server.release import decide, promise
from server.release.content import build_content
from server.release.decide import apply_gate, kept_back_of, thresholds_of
from server.release.gate import count_threshold
from server.release.rebuild import gated_of, rebuild
from server.release.recheck import unlike_before, unlike_measured, wrongly_decided
from server.release.schema_rows import ShownSeries, WithheldSeries
from server.release.series import GatedSeries, SeriesWithheld, running
from server.series import SeriesMeasurement, measured_variance
from tests.server.release.counted import FINE, NORTH, REGIONS, SOUTH, World, free_of_charge, make_plan, noisy, rich, row

FAR = 10**6
"""A newest measurement below 0 by so much takes a total with it."""
Content = dict[str, Any]
IntArray = npt.NDArray[np.int64]
SERIES = Family.SERIES


def spec(index: int, level: AreaLevel = AreaLevel.SUPER_REGION) -> SeriesSpec:
    return SeriesSpec(name="borders", index=index, level=level)


def plan_of(index: int, level: AreaLevel = AreaLevel.SUPER_REGION, **changes: Any) -> StudyPlan:
    return make_plan(series=spec(index, level), **{"indicators": None, "corridors": (), **changes})


def people(plan: StudyPlan, reviewed: int = 1500, flagged: int = 225) -> IntArray:
    """New people of one release: so many in each place and role."""
    block = World(plan=plan, values=rich(plan).values).layout.blocks[SERIES]
    table = np.empty(block.shape, dtype=np.int64)
    table[..., 0], table[..., 1:] = reviewed, flagged
    return table


def measured(plan: StudyPlan, values: IntArray, index: int, **changes: Any) -> SeriesMeasurement:
    """An earlier release of the series of a plan, of which this is the sum."""
    partners = tuple(entry.name for entry in plan.roster)
    return SeriesMeasurement(**{
        "index": index, "plan_sha256": f"{index:064x}", "tables_sha256": series_tables_sha256(plan),
        "partners": partners, "values": values.ravel(),
        "variance": measured_variance(table_variances(plan, len(partners))),
        "kept_back": np.zeros(people(plan)[..., 0].size, dtype=np.int8), **changes})


def series_of(plan: StudyPlan, new: Sequence[IntArray], *, seed: int | None = None,
              ) -> tuple[World, tuple[SeriesMeasurement, ...]]:
    """A world at the last of these releases, and the releases before it; `seed` adds noise."""
    sums = [encode(new[: t + 1]) for t in range(len(new))]
    if seed is not None:
        sd = math.sqrt(table_variances(plan, len(plan.roster))[SERIES])
        rng = np.random.default_rng(seed)
        sums = [one + np.rint(rng.normal(0.0, sd, one.shape)).astype(np.int64) for one in sums]
    return (rich(plan).but(SERIES, ..., sums[-1]),
            tuple(measured(plan, one, index) for index, one in enumerate(sums[:-1], start=1)))


NOTHING = np.zeros((3, 2), dtype=np.int8)
"""Kept back for a partner's sake."""


def kept_of(world: World) -> SeriesMeasurement:
    return SeriesMeasurement.of(world.measurements(), kept_back_of(world.measurements()))


def content_of(world: World, earlier: Sequence[SeriesMeasurement] = (), previous: Content | None = None) -> Content:
    return build_content(replace(world.facts(previous), series=tuple(earlier)), world.measurements())


def shown_of(plan: StudyPlan, new: Sequence[IntArray], **options: Any) -> Content:
    return content_of(*series_of(plan, new, **options))


@pytest.fixture(autouse=True, scope="module")
def _free() -> Any:
    """The price takes seconds for each plan and has tests of its own below."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promise, "privacy", free_of_charge)
        yield


def test_the_whole_of_a_running_total() -> None:
    plan = plan_of(3)
    content = shown_of(plan, [people(plan), people(plan, 900, 100), people(plan, 600, 125)])
    found = content["series"]
    ShownSeries.model_validate_json(canonical_json(found))
    assert set(found) == {"name", "index", "level", "status", "releases", "noise_sd_total", "threshold", "cells"}
    assert (found["name"], found["index"], found["level"], found["status"]) == ("borders", 3, "super_region", "shown")
    variance = 4 * (FINE * SCALE) ** 2
    assert [one["index"] for one in found["releases"]] == [1, 2, 3]
    assert [one["plan_sha256"] for one in found["releases"]] == [f"{1:064x}", f"{2:064x}", plan.sha256]
    assert [one["noise_variance"] for one in found["releases"]] == [pytest.approx(variance)] * 3
    # Four partners' noise of 20 people, once for each release in its weight: f_2 = 3/8, f_1 = 1/2, f_0 = 1.
    assert found["noise_sd_total"] == pytest.approx(2 * FINE * math.hypot(3 / 8, 1 / 2, 1), abs=1e-3)
    assert found["threshold"] == count_threshold(minimum_count=11, false_publication=0.01,
                                                 noise_variance=found["noise_sd_total"] ** 2)
    assert len(found["cells"]) == 3 * 2 * 2
    cell = row(found["cells"], "XA:south", "destination", "distress")
    assert set(cell) == {"area", "role", "task", "status", "measured", "total", "unclipped", "display"}
    assert cell["measured"] == {
        "reviewed": [256 * 1500, 256 * 900 + 128 * 1500, 256 * 600 + 128 * 900 + 96 * 1500],
        "flagged": [256 * 225, 256 * 100 + 128 * 225, 256 * 125 + 128 * 100 + 96 * 225]}
    assert cell["total"] == {"reviewed": 3000.0, "reviewed_sd": found["noise_sd_total"], "flagged": 450.0,
                             "flagged_sd": found["noise_sd_total"]}
    # 15 % flagged, by a model with a sensitivity of 90 % and a false alarm rate of 5 %.
    assert cell["unclipped"]["rate"] == pytest.approx(10_000 * (0.15 - 0.05) / 0.85, abs=0.01)
    assert cell["unclipped"]["lower"] < cell["unclipped"]["rate"] < cell["unclipped"]["upper"]
    assert cell["display"]["rate"] == round(cell["unclipped"]["rate"])


def test_a_total_of_one_release_is_its_table() -> None:
    plan = plan_of(1)
    found = shown_of(plan, [people(plan)])["series"]
    assert found["noise_sd_total"] == pytest.approx(2 * FINE, abs=1e-3)
    assert row(found["cells"], "XA:north", "origin", "distress")["total"]["reviewed"] == 1500.0


def test_a_plan_without_a_series_says_nothing_of_one() -> None:
    assert rich(make_plan()).content()["series"] is None
    assert rich(make_plan()).gated().series is None


@pytest.mark.parametrize("releases", [1, 4, 12])
def test_the_stated_deviation_is_that_of_drawn_noise(releases: int) -> None:
    plan = plan_of(releases, AreaLevel.REGION)
    new = [people(plan, 40 + k, 10) for k in range(releases)]
    errors: list[float] = []
    for seed in range(60):
        world, earlier = series_of(plan, new, seed=seed)
        made = running(world.measurements(), earlier, np.zeros((8, 2), dtype=np.int8))
        assert not isinstance(made, SeriesWithheld)
        errors.extend((made.totals() - sum(new)).ravel())
    assert np.std(errors) == pytest.approx(math.sqrt(made.variance), rel=0.06)
    assert abs(np.mean(errors)) < 4 * math.sqrt(made.variance / len(errors))


def test_releases_with_other_noise_are_weighed_with_it() -> None:
    plan = plan_of(3)
    world, earlier = series_of(plan, [people(plan)] * 3)
    mixed = (replace(earlier[0], variance=9.0e6), replace(earlier[1], variance=1.0e8))
    made = running(world.measurements(), mixed, NOTHING)
    assert not isinstance(made, SeriesWithheld)
    weights, newest = total_weights(3), table_variances(plan, 4)[SERIES]
    assert made.variance == pytest.approx(weights[0] ** 2 * 9.0e6 + weights[1] ** 2 * 1.0e8 + weights[2] ** 2 * newest)
    found = content_of(world, mixed)["series"]
    assert [one["noise_variance"] for one in found["releases"]] == [9.0e6, 1.0e8, pytest.approx(newest)]
    assert found["noise_sd_total"] == pytest.approx(math.sqrt(made.variance), abs=1e-3)


PLAN = plan_of(3)
WORLD, EARLIER = series_of(PLAN, [people(PLAN)] * 3)


@pytest.mark.parametrize(("earlier", "reason"), [
    ((), "earlier_release_missing"),
    (EARLIER[:1], "earlier_release_missing"),
    (EARLIER[1:], "earlier_release_missing"),
    ((*EARLIER, replace(EARLIER[0], index=3)), "earlier_release_missing"),
    ((*EARLIER, EARLIER[1]), "earlier_release_missing"),
    ((EARLIER[0], replace(EARLIER[1], tables_sha256="f" * 64)), "tables_changed"),
    ((replace(EARLIER[0], tables_sha256="f" * 64), EARLIER[1]), "tables_changed"),
    ((EARLIER[0], replace(EARLIER[1], partners=EARLIER[1].partners[:3])), "partners_changed"),
    ((replace(EARLIER[0], partners=(*EARLIER[0].partners, "partner-9")), EARLIER[1]), "partners_changed"),
    # Both lack the same partner, whom the newest has.
    (tuple(replace(one, partners=one.partners[1:]) for one in EARLIER), "partners_changed"),
])
def test_a_series_that_cannot_be_added_up_is_withheld_as_a_whole(earlier: tuple[SeriesMeasurement, ...],
                                                                 reason: str) -> None:
    content = content_of(WORLD, earlier)
    assert content["series"] == {
        "name": "borders", "index": 3, "level": "super_region", "status": "withheld", "reason": reason,
        "releases": [], "noise_sd_total": None, "threshold": None, "cells": []}
    WithheldSeries.model_validate_json(canonical_json(content["series"]))
    assert canonical_json(rebuild(content, PLAN, None)) == canonical_json(content)
    assert wrongly_decided(content, PLAN) == []


def test_the_order_of_partners_and_of_files_does_not_matter() -> None:
    turned = tuple(replace(one, partners=one.partners[::-1]) for one in EARLIER[::-1])
    assert content_of(WORLD, turned) == content_of(WORLD, EARLIER)


def reasons(content: Content) -> dict[tuple[str, str, str], str | None]:
    return {(cell["area"], cell["role"], cell["task"]): cell.get("reason") for cell in content["series"]["cells"]}


def test_a_place_that_too_few_partners_declared_is_withheld() -> None:
    plan = plan_of(2, coverage=[REGIONS, REGIONS[3:], REGIONS, REGIONS[3:]])
    content = shown_of(plan, [people(plan)] * 2)
    assert {key[0] for key, why in reasons(content).items() if why == "too_few_partners"} == {NORTH.code}
    assert {why for key, why in reasons(content).items() if key[0] == SOUTH.code} == {"protects_another"}
    assert {why for key, why in reasons(content).items() if key[0] == "XB:whole"} == {None}
    assert wrongly_decided(content, plan) == []


def test_what_too_few_covered_in_an_earlier_release_is_in_no_total() -> None:
    fewer = [REGIONS, *[REGIONS[1:]] * 3]
    first, second = plan_of(1, AreaLevel.REGION, coverage=fewer), plan_of(2, AreaLevel.REGION)
    world, _ = series_of(first, [people(first)])
    before = world.content()
    assert row(before["series"]["cells"], "XA-01", "origin", "distress")["reason"] == "too_few_partners"
    earlier = kept_of(world)
    world, _ = series_of(second, [people(second)] * 2)
    assert content_of(world, (earlier,))["series"]["reason"] == "tables_changed"
    # Somebody who shows it all the same is found by the release before.
    shown = shown_of(second, [people(second)] * 2)
    assert "series: other partners cover its places than in the release before" in unlike_before(shown, before)


def test_a_place_that_one_partner_makes_up_is_withheld() -> None:
    world, earlier = series_of(PLAN, [people(PLAN)] * 3)
    content = content_of(world.but(Family.DOMINANCE, [3, 4, 5], [9000, 0, 0, 0]), earlier)
    assert {key[0] for key, why in reasons(content).items() if why == "one_partner_dominates"} == {SOUTH.code}
    assert {why for key, why in reasons(content).items() if key[0] != SOUTH.code} == {None}
    assert wrongly_decided(content, PLAN) == []


def test_a_total_with_people_of_a_release_that_one_partner_made_up_is_withheld_from_then_on() -> None:
    # All of XA:south that are destinations were one partner's in the first release; the two since are balanced.
    first = series_of(plan_of(1), [people(PLAN)])[0].but(Family.DOMINANCE, ([3, 4, 5], 1), [9000, 0, 0, 0])
    content = content_of(WORLD, (kept_of(first), EARLIER[1]))
    assert {key[:2] for key, why in reasons(content).items() if why == "one_partner_dominates"} == {
        (SOUTH.code, "destination")}
    assert [one["kept_back"] for one in content["series"]["releases"]] == [
        [{"area": SOUTH.code, "role": "destination", "reason": "one_partner_dominates"}], [], []]
    assert wrongly_decided(content, PLAN) == []
    assert canonical_json(rebuild(content, PLAN, None)) == canonical_json(content)
    # The release before has said which cells those were.
    changed, previous = deepcopy(content), content_of(first)
    changed["series"]["releases"][0]["kept_back"] = []
    assert unlike_before(content, previous) == []
    assert unlike_before(changed, previous) == ["series: names other earlier measurements than the release before"]
    assert wrongly_decided(changed, PLAN)


def test_a_later_plan_that_asks_for_fewer_partners_shows_nothing_of_what_too_few_covered() -> None:
    coverage = [REGIONS, REGIONS[3:], REGIONS, REGIONS[3:]]
    strict, loose = plan_of(1, coverage=coverage), plan_of(2, coverage=coverage, rule={"minimum_partners": 2})
    first = kept_of(series_of(strict, [people(strict)])[0])
    world = series_of(loose, [people(loose)] * 2)[0]
    content = content_of(world, (first,))
    assert row(content["nodes"], NORTH.code, "origin")["status"] == "shown"
    assert {why for key, why in reasons(content).items() if key[0] == NORTH.code} == {"too_few_partners"}
    assert {why for key, why in reasons(content).items() if key[0] == SOUTH.code} == {"protects_another"}
    assert wrongly_decided(content, loose) == []
    # Without what was kept of the first release it would be shown.
    forgetful = content_of(world, (replace(first, kept_back=np.zeros_like(first.kept_back)),))
    assert {why for key, why in reasons(forgetful).items() if key[0] == NORTH.code} == {None}


def test_a_total_below_its_own_threshold_is_withheld() -> None:
    # Three releases of 80 people each: 80 would not do, 240 does.
    shown = shown_of(PLAN, [people(PLAN, 80, 60)] * 3)
    limit = shown["series"]["threshold"]
    assert 80 < limit < 240
    assert set(reasons(shown).values()) <= {None, "insufficient"}
    world, earlier = series_of(PLAN, [people(PLAN)] * 3)
    for reviewed, why in ((limit, True), (limit - 1, False)):
        newest = world.table(SERIES).copy()
        # Moves the total alone, by 1 a person of the newest release.
        newest[0, 0, 0] += SCALE * (reviewed - 4500)
        found = reasons(content_of(world.but(SERIES, ..., newest), earlier))[NORTH.code, "origin", "distress"]
        assert (found != "too_few_records") is why
    few = replace(earlier[0], values=(earlier[0].values.reshape(world.table(SERIES).shape) * 0).ravel())
    assert "too_few_records" not in reasons(content_of(world, (few, earlier[1]))).values()


def test_a_model_that_cannot_tell_has_no_totals() -> None:
    world, earlier = series_of(PLAN, [people(PLAN)] * 3)
    content = content_of(world.but(Family.CONFUSION, 1, [[1000, 1000], [500, 500]]), earlier)
    assert {why for key, why in reasons(content).items() if key[2] == "distress"} == {"model_not_good_enough"}
    assert {why for key, why in reasons(content).items() if key[2] == "recruitment"} == {None}
    assert wrongly_decided(content, PLAN) == []


def test_false_alarms_alone_are_no_signals_and_a_wide_interval_is_none() -> None:
    # A twentieth of them are flagged, which is what the model's false alarms come to.
    alarms = shown_of(PLAN, [people(PLAN, 1500, 75)] * 3)
    assert set(reasons(alarms).values()) == {"too_few_signals"}
    wide = shown_of(PLAN, [people(PLAN, 60, 60)] * 3)
    assert set(reasons(wide).values()) == {"insufficient"}


def test_a_withheld_cell_has_no_number_and_is_used_in_none() -> None:
    world, earlier = series_of(PLAN, [people(PLAN)] * 3)
    few = world.table(SERIES).copy()
    few[0, 0], few[1, 1, 1] = -FAR, -FAR
    content = content_of(world.but(SERIES, ..., few), earlier)
    for place in ((NORTH.code, "origin", "recruitment"), (SOUTH.code, "destination", "recruitment")):
        cell = row(content["series"]["cells"], *place)
        assert set(cell) == {"area", "role", "task", "status", "reason"}
    other = few.copy()
    other[0, 0], other[1, 1, 1] = 7 - FAR, -90 - FAR
    before = replace(earlier[0], values=earlier[0].values + np.where(few == -FAR, 3, 0).ravel())
    again = content_of(world.but(SERIES, ..., other), (before, earlier[1]))
    assert canonical_json(again) == canonical_json(content)
    # The other task of the place is shown, with the count of records that both have.
    assert row(content["series"]["cells"], SOUTH.code, "destination", "distress")["status"] == "shown"


def test_the_gate_leaves_nothing_of_what_it_withholds() -> None:
    world, earlier = series_of(PLAN, [people(PLAN)] * 3)
    few = world.table(SERIES).copy()
    few[0, 0] = -FAR
    gated = apply_gate(world.but(SERIES, ..., few).measurements(), earlier).series
    assert isinstance(gated, GatedSeries)
    hidden = np.isnan(gated.running.counts)
    assert hidden[:, 0, 0].all()
    assert hidden.sum() == 3 * 3


SHAPES: tuple[dict[str, Any], ...] = (
    {}, {"super_regions": ()}, {"indicators": AreaLevel.REGION}, {"tasks": (Task.DISTRESS,)},
    {"roles": (RegionRole.OBSERVED,), "coverage": [REGIONS[:4], REGIONS[2:], REGIONS, REGIONS[5:], REGIONS[:2]]})


def drawn(shape: dict[str, Any], level: AreaLevel, index: int, seed: int,
          ) -> tuple[World, tuple[SeriesMeasurement, ...]]:
    if level is AreaLevel.SUPER_REGION and shape.get("super_regions") == ():
        level = AreaLevel.REGION
    plan = plan_of(index, level, **shape)
    rng = np.random.default_rng(seed)
    new = []
    for _ in range(index):
        table = people(plan).astype(np.float64)
        table[..., 0] = rng.lognormal(4.5, 1.5, table.shape[:-1])
        table[..., 1:] = table[..., :1] * rng.beta(2.0, 6.0, table[..., 1:].shape)
        new.append(table.astype(np.int64))
    world, earlier = series_of(plan, new, seed=seed)
    return noisy(plan, seed).but(SERIES, ..., world.table(SERIES)), earlier


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(SHAPES), st.sampled_from(list(AreaLevel)), st.integers(1, 5), st.integers(0, 10_000))
def test_an_honest_series_is_made_again_and_nothing_is_found_in_it(shape: dict[str, Any], level: AreaLevel, index: int,
                                                                   seed: int) -> None:
    world, earlier = drawn(shape, level, index, seed)
    content = content_of(world, earlier)
    read_back = json.loads(canonical_json(content))
    assert canonical_json(rebuild(read_back, world.plan, None)) == canonical_json(content)
    assert wrongly_decided(read_back, world.plan) == []
    assert unlike_measured(read_back, world.measurements()) == []


def test_all_reasons_come_up_in_the_drawn_ones() -> None:
    found = set()
    for seed in range(30):
        found |= set(reasons(content_of(*drawn(SHAPES[4], AreaLevel.REGION, 3, seed))).values())
    assert found >= {None, "too_few_partners", "too_few_records", "too_few_signals", "model_not_good_enough"}


def honest() -> Content:
    return deepcopy(content_of(WORLD, EARLIER))


@pytest.mark.parametrize("change", [
    lambda cell: cell["total"].update(reviewed=1.0), lambda cell: cell["total"].update(flagged_sd=1.0),
    lambda cell: cell["unclipped"].update(rate=1.0), lambda cell: cell["display"].update(upper=1),
    lambda cell: cell["measured"]["reviewed"].__setitem__(0, 3),
    lambda cell: cell["measured"]["flagged"].__setitem__(2, 9 * 10**5), lambda cell: cell.update(more=1),
])
def test_a_changed_figure_is_not_what_an_audit_makes(change: Any) -> None:
    content = honest()
    change(row(content["series"]["cells"], NORTH.code, "origin", "distress"))
    assert canonical_json(rebuild(content, PLAN, None)["series"]) != canonical_json(content["series"])


@pytest.mark.parametrize("change", [
    {"noise_sd_total": 1.0}, {"threshold": 11}, {"name": "other"}, {"index": 2}, {"level": "country"}])
def test_a_changed_fact_is_not_what_an_audit_makes(change: Content) -> None:
    content = honest()
    content["series"].update(change)
    assert canonical_json(rebuild(content, PLAN, None)["series"]) != canonical_json(content["series"])


def test_the_newest_variance_and_plan_are_those_of_the_plan_whatever_a_release_says() -> None:
    for change in ({"noise_variance": 1.0}, {"plan_sha256": "e" * 64}, {"index": 9}):
        content = honest()
        content["series"]["releases"][-1].update(change)
        assert rebuild(content, PLAN, None)["series"] == honest()["series"]


@pytest.mark.parametrize("spoil", [
    lambda said: said["releases"].pop(), lambda said: said["cells"].pop(), lambda said: said.pop("cells"),
    lambda said: said["releases"][0].update(noise_variance=0.0),
    lambda said: said["releases"][0].update(noise_variance=math.nan),
    lambda said: said["releases"][0].update(noise_variance=-1.0),
    lambda said: said.update(status="withheld", reason="a whim"),
    lambda said: said["cells"][0]["measured"]["reviewed"].pop(),
    lambda said: said["cells"][0].update(status="unknown"),
])
def test_what_is_no_series_of_the_plan_cannot_be_read(spoil: Any) -> None:
    content = honest()
    spoil(content["series"])
    with pytest.raises((ValueError, KeyError, TypeError, IndexError)):
        gated_of(content, PLAN)


def without(rule: str) -> Content:
    """What a coordinator would publish who leaves out one rule of the gate, of numbers that break it."""
    world, earlier = series_of(PLAN, [people(PLAN, 34, 17)] * 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide, "decide_series", _lenient(rule))
        return content_of(world, earlier)


def _lenient(rule: str) -> Any:
    strict = decide.decide_series

    def decided(plan: StudyPlan, series: Any, calibrations: Any, **places: Any) -> GatedSeries:
        with pytest.MonkeyPatch.context() as patch:
            if rule == "records":
                patch.setattr(decide, "records_reasons", lambda counts, **_: np.zeros(counts.shape, dtype=np.int8))
            patch.setattr(decide, "rate_reasons", lambda records, **_: records)
            return strict(plan, series, calibrations, **places)

    return decided


def test_a_total_that_is_shown_against_a_rule_is_found() -> None:
    found = wrongly_decided(without("records"), PLAN)
    assert "series: XA:north origin distress is shown, and the rule says too_few_records" in found
    assert len(found) == 12


def withhold(content: Content, why: str, *where: str) -> Content:
    cell = row(content["series"]["cells"], *where)
    for key in ("measured", "total", "unclipped", "display"):
        cell.pop(key, None)
    cell.update(status="withheld", reason=why)
    return content


@pytest.mark.parametrize(("why", "words"), [
    ("too_few_partners", "by declared coverage it is not"),
    ("one_partner_dominates", "of its places the rule says another thing"),
    ("model_not_good_enough", "the model's published errors say otherwise")])
def test_a_reason_that_is_none_is_found(why: str, words: str) -> None:
    found = wrongly_decided(withhold(honest(), why, NORTH.code, "origin", "distress"), PLAN)
    assert len(found) == 1
    assert found[0].startswith("series: XA:north origin distress is ")
    assert words in found[0]


def test_a_place_that_one_partner_makes_up_has_no_total_either() -> None:
    world, earlier = series_of(PLAN, [people(PLAN)] * 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide, "running", lambda *args: replace(WHOLE, kept_back=np.zeros_like(WHOLE.kept_back)))
        content = content_of(world.but(Family.DOMINANCE, [3, 4, 5], [9000, 0, 0, 0]), earlier)
    found = wrongly_decided(content, PLAN)
    assert "series: XA:south origin distress is shown, and the rule says one_partner_dominates" in found


WHOLE = running(WORLD.measurements(), EARLIER, NOTHING)
assert not isinstance(WHOLE, SeriesWithheld)


def test_the_first_release_of_a_series_has_none_before_it_to_miss() -> None:
    plan = plan_of(1)
    content = shown_of(plan, [people(plan)])
    content["series"] |= {"status": "withheld", "reason": "partners_changed", "releases": [], "noise_sd_total": None,
                          "threshold": None, "cells": []}
    assert wrongly_decided(content, plan) == ["series: is partners_changed, and this is its first release"]


def before_and_after() -> tuple[Content, Content]:
    plan = plan_of(2, quarter=1)
    new = [people(PLAN)] * 3
    world, earlier = series_of(plan, new[:2])
    previous = content_of(world, earlier)
    world, earlier = series_of(PLAN, new)
    return previous, content_of(world, (earlier[0], replace(earlier[1], plan_sha256=plan.sha256)), previous)


def test_earlier_measurements_are_those_of_the_release_before() -> None:
    previous, content = before_and_after()
    assert unlike_before(content, previous) == []
    changed = deepcopy(content)
    row(changed["series"]["cells"], NORTH.code, "origin", "distress")["measured"]["reviewed"][1] += 1
    assert unlike_before(changed, previous) == [
        "series: XA:north origin distress has other earlier measurements than in the release before"]
    for change in ({"noise_variance": 5.0}, {"plan_sha256": "0" * 64}):
        changed = deepcopy(content)
        changed["series"]["releases"][0].update(change)
        assert unlike_before(changed, previous) == [
            "series: names other earlier measurements than the release before"]
    # What was withheld in either, or is of another series, is not compared.
    changed = deepcopy(content)
    row(changed["series"]["cells"], NORTH.code, "origin", "distress")["measured"]["reviewed"][1] += 1
    assert unlike_before(changed, withhold(deepcopy(previous), "too_few_records", NORTH.code, "origin",
                                           "distress")) == []
    for other in ({"name": "other"}, {"status": "withheld"}):
        assert unlike_before(changed, {"series": previous["series"] | other}) == []
    assert unlike_before(changed, {"series": None}) == unlike_before({"series": None}, previous) == []


def test_the_newest_measurement_is_among_the_noisy_sums() -> None:
    content = honest()
    assert unlike_measured(content, WORLD.measurements()) == []
    row(content["series"]["cells"], NORTH.code, "origin", "distress")["measured"]["flagged"][-1] += 1
    assert unlike_measured(content, WORLD.measurements()) == [
        "series: XA:north origin distress has another newest measurement than the noisy sums"]


def test_thresholds_and_noise_of_single_tables_leave_the_series_out() -> None:
    assert SERIES not in thresholds_of(PLAN, table_variances(PLAN, 4))
    gate = promise.gate(PLAN, partners=4)
    assert "series" not in gate["thresholds"]
    assert "series" not in gate["noise_sd"]
    families = {one["family"]: one for one in promise._statistics(PLAN, 4)["families"]}
    assert families["series"] == {"family": "series", "noise_scale": FINE, "entries": 3,
                                  "l2_sensitivity": round(math.sqrt(3), 6), "noise_sd": pytest.approx(2 * FINE)}
    assert families["regions"]["l2_sensitivity"] == round(math.sqrt(3), 6)


def test_what_a_series_costs_one_person() -> None:
    assert promise.series_epsilon(make_plan()) is None
    found = {index: promise.series_epsilon(plan_of(index)) for index in (1, 2, 4)}
    table = DiscreteGaussianTable(scale=FINE * SCALE, entries=3, shift=SCALE)
    assert found[1] == epsilon_of([table], delta=1e-6)
    assert found[4] == epsilon_of([replace(table, shift=c) for c in coefficients(4)], delta=1e-6)
    assert found[1] < found[2] < found[4] < epsilon_of([table] * 4, delta=1e-6)
    # The square root of the squares' sum: 1 + 1/4 + 9/64 + 25/256.
    assert found[4] / found[1] == pytest.approx(math.sqrt(1 + 1 / 4 + 9 / 64 + 25 / 256), rel=0.03)


def test_in_a_year_a_series_is_paid_in_every_release() -> None:
    def year(plan: StudyPlan, mine: int) -> float:
        appearances = plan.statistics.appearances.model_copy(update={"releases_per_person": mine})
        return promise.year_epsilon(plan.model_copy(update={
            "statistics": plan.statistics.model_copy(update={"appearances": appearances})}))

    plan = plan_of(1)
    *rest, own = statistics_events(plan)
    assert own.shift == SCALE
    assert year(plan, 4) == epsilon_of([*rest, own] * 4, delta=1e-6)
    assert year(plan, 1) == epsilon_of([*rest, *[own] * 4], delta=1e-6)
