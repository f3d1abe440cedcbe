"""From noisy sums to what is let through: each rule at its threshold, in each table, and nothing else withheld."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from federation.privacy.guarantee import table_variances
from federation.taxonomy import AreaLevel, Family
from server.release.calibration import Calibration
from server.release.decide import Gated, apply_gate, decide_indicators, enough_labelled, thresholds_of
from server.release.derive import derive_lifts
from server.release.gate import REASONS, Reasons
from server.release.intervals import lift_interval
from tests.server.release.counted import REGIONS, ROUTES, World, make_plan, rich

PLAN = make_plan()
RICH = rich(PLAN)
NODES = RICH.gated().nodes
AT = {area.code: i for i, area in enumerate(NODES.areas)}


def why(reasons: Reasons) -> dict[str, int]:
    """How many numbers are withheld, by reason."""
    return {name.value: int(n) for code, name in enumerate(REASONS, start=1) if (n := (reasons == code).sum())}


def everything(gated: Gated) -> list[Reasons]:
    assert gated.indicators is not None
    assert gated.corridors is not None
    return [gated.records, gated.rates, gated.indicators.cells, gated.indicators.lifts, gated.corridors.reasons]


def test_the_rich_world_is_shown_as_it_was_measured() -> None:
    gated = RICH.gated()
    assert all(not reasons.any() for reasons in everything(gated))
    np.testing.assert_array_equal(gated.nodes.reviewed[5:], RICH.table(Family.REGIONS)[..., 0])
    np.testing.assert_array_equal(gated.nodes.flagged[2:5], RICH.table(Family.SUPER_REGIONS)[..., 1:])
    np.testing.assert_array_equal(gated.indicators.counts, RICH.table(Family.INDICATORS))  # type: ignore[union-attr]
    np.testing.assert_array_equal(gated.corridors.counts, RICH.table(Family.CORRIDORS))  # type: ignore[union-attr]
    assert [(each.tn, each.fp, each.fn, each.tp) for each in gated.calibrations] == [(1900, 100, 100, 900)] * 2


def test_thresholds_are_those_of_each_familys_noise() -> None:
    found = thresholds_of(PLAN, table_variances(PLAN, 4))
    # 10 + 2.3263 sd + 1/2, rounded up: sd 40 and 80; 10 sd for labelled people.
    assert found == {Family.REGIONS: 104, Family.CORRIDORS: 104, Family.SUPER_REGIONS: 197, Family.COUNTRIES: 197,
                     Family.INDICATORS: 197, Family.CONFUSION: 400}


@pytest.mark.parametrize(("family", "at", "threshold"), [
    (Family.REGIONS, 5, 104), (Family.SUPER_REGIONS, 2, 197), (Family.COUNTRIES, 0, 197)])
def test_records_of_a_place_and_role_at_the_threshold_of_its_level(family: Family, at: int, threshold: int) -> None:
    assert RICH.but(family, (0, 1, 0), threshold).gated().records[at, 1] == 0
    gated = RICH.but(family, (0, 1, 0), threshold - 1).gated()
    assert why(gated.records) == {"too_few_records": 1}
    assert gated.records[at, 1] == 3
    assert np.isnan(gated.nodes.reviewed[at, 1])
    assert (gated.rates[at, 1] == 3).all()
    assert np.isnan(gated.nodes.flagged[at, 1]).all()
    assert np.isnan(gated.nodes.reviewed).sum() == 1
    assert np.isnan(gated.nodes.flagged).sum() == 2


def test_a_rate_is_withheld_alone_and_its_records_stay() -> None:
    gated = RICH.but(Family.REGIONS, (3, 0, 2), 100).gated()
    assert why(gated.rates) == {"too_few_signals": 1}
    assert gated.rates[AT["XA-04"], 0].tolist() == [0, 6]
    assert np.isnan(gated.nodes.flagged).sum() == 1
    assert not np.isnan(gated.nodes.reviewed).any()
    assert not gated.records.any()


def test_a_rate_above_all_records_says_nothing() -> None:
    gated = RICH.but(Family.REGIONS, (3, 0, 1), 4000).gated()
    assert why(gated.rates) == {"insufficient": 1}
    gated = RICH.but(Family.REGIONS, (3, 0), [110, 110, 110]).gated()
    assert gated.rates[AT["XA-04"], 0].tolist() == [7, 7]


# The model


def confusion(tn: int, fp: int, fn: int, tp: int) -> Gated:
    return RICH.but(Family.CONFUSION, 1, [[tn, fp], [fn, tp]]).gated()


def test_a_model_that_cannot_tell_withholds_its_task_everywhere() -> None:
    gated = confusion(1900, 100, 700, 300)
    assert why(gated.rates) == {"model_not_good_enough": 26}
    assert (gated.rates[..., 1] == 5).all()
    assert not gated.records.any()
    assert why(gated.indicators.cells) == {"model_not_good_enough": 4}  # type: ignore[union-attr]
    assert why(gated.corridors.reasons) == {"model_not_good_enough": 2}  # type: ignore[union-attr]
    # What is known of its errors is shown all the same.
    assert gated.calibrations[1].tp == 300


@pytest.mark.parametrize(("counts", "few"), [
    ((1900, 100, 40, 360), False), ((1900, 100, 40, 359), True), ((1900, 100, 0, 399), True),
    ((750, 50, 100, 900), False), ((750, 49, 100, 900), True), ((-300, 100, 100, 900), True)])
def test_too_few_labelled_people_of_either_kind(counts: tuple[int, int, int, int], few: bool) -> None:
    gated = confusion(*counts)
    known = gated.calibrations[1]
    assert [np.isnan(count) for count in (known.tn, known.fp, known.fn, known.tp)] == [few] * 4
    if few:
        assert (gated.rates[..., 1] == 5).all()
    assert not gated.rates[..., 0].any()


@pytest.mark.parametrize(("minimum_count", "sd", "least"), [
    (11, 16.0, 160),
    # 119 + 2.3263 · 4 √2 + 1/2 = 132.7 is more than 10 sd.
    (120, 4.0, 133)])
def test_twice_as_many_labelled_people_without_a_signal(minimum_count: int, sd: float, least: int) -> None:
    plan = make_plan(rule={"minimum_count": minimum_count})

    def enough(having: int, others: int) -> bool:
        return enough_labelled(plan, Calibration.of(having, 0, 0, others, noise_variance=sd**2))

    assert enough(least, 2 * least)
    assert not enough(least - 1, 2 * least)
    assert not enough(least, 2 * least - 1)


def test_no_nan_is_enough_labelled() -> None:
    known = RICH.gated().calibrations[0]
    assert enough_labelled(PLAN, known)
    for name in ("tp", "fn", "fp", "tn"):
        fields = {"tp": known.tp, "fn": known.fn, "fp": known.fp, "tn": known.tn} | {name: np.nan}
        assert not enough_labelled(PLAN, type(known).of(*fields.values(), noise_variance=known.noise_variance))


# Coverage and dominance


def test_what_too_few_declared_is_withheld_with_all_that_is_in_it() -> None:
    north, rest = REGIONS[:3], REGIONS[3:]
    plan = make_plan(coverage=[REGIONS, rest, [*north[:2], *rest], [north[0], *rest]])
    gated = RICH.under(plan).gated()
    # Region 1: partners of three kinds; region 2: two partners; the whole north: three.
    assert {NODES.areas[i].code for i in np.flatnonzero(gated.records[:, 0])} == {"XA-01", "XA-02", "XA-03"}
    # The north less region 1 is what two partners cover.
    assert why(gated.records) == {"too_few_partners": 4, "protects_another": 2}
    plan = make_plan(coverage=[REGIONS, rest, REGIONS, rest])
    gated = RICH.under(plan).gated()
    assert {NODES.areas[i].code for i in np.flatnonzero(gated.records[:, 0] == 1)} == {*north, "XA:north"}
    # The country less the south is the north, and so is the country less all regions of the south.
    assert {NODES.areas[i].code for i in np.flatnonzero(gated.records[:, 0] == 4)} == {"XA:south", "XA-04"}
    assert (gated.rates[gated.records == 1] == 1).all()
    assert gated.corridors.reasons.tolist() == [[1, 1], [0, 0]]  # type: ignore[union-attr]
    assert not gated.indicators.cells.any()  # type: ignore[union-attr]
    plan = make_plan(coverage=[REGIONS[:7]] * 3 + [REGIONS])
    assert RICH.under(plan).gated().indicators.cells[1].tolist() == [[1, 1], [1, 1]]  # type: ignore[union-attr]


def test_only_partners_in_the_sum_cover_anything() -> None:
    plan = make_plan(rule={"minimum_partners": 4})
    assert not RICH.under(plan).gated().records.any()
    world = rich(make_plan(coverage=[REGIONS] * 4, rule={"minimum_partners": 4}))
    measured = world.measurements()
    without = type(measured)(layout=measured.layout, values=measured.values, partners=measured.partners[1:],
                             variances=table_variances(world.plan, 3))
    assert (apply_gate(without).records == 1).all()


def test_what_one_partner_makes_up_is_withheld_wherever_it_is() -> None:
    gated = RICH.but(Family.DOMINANCE, AT["XA-04"] - 5, [90_000, 0, 0, 0]).gated()
    alone = {"XA", "XA:south", "XA-04"}
    assert {NODES.areas[i].code for i in np.flatnonzero(gated.records[:, 0] == 2)} == alone
    assert why(gated.records) == {"one_partner_dominates": 6}
    assert why(gated.rates) == {"one_partner_dominates": 12}
    assert gated.indicators.cells.tolist() == [[[2, 2], [2, 2]], [[0, 0], [0, 0]]]  # type: ignore[union-attr]
    # It is an end of both corridors: of one the destination, of the other the origin.
    assert gated.corridors.reasons.tolist() == [[2, 2], [2, 2]]  # type: ignore[union-attr]
    gated = RICH.but(Family.DOMINANCE, AT["XB-02"] - 5, [0, 0, 90_000, 0]).gated()
    assert gated.corridors.reasons.tolist() == [[0, 0], [2, 2]]  # type: ignore[union-attr]


@pytest.mark.parametrize("level", list(AreaLevel))
def test_the_mix_is_judged_at_its_own_level(level: AreaLevel) -> None:
    world = rich(make_plan(indicators=level)).but(Family.DOMINANCE, 0, [5000, 0, 0, 0])
    cells = world.gated().indicators.cells[:, 0, 0]  # type: ignore[union-attr]
    expected = {AreaLevel.REGION: [2, 4, 4, *[0] * 5], AreaLevel.SUPER_REGION: [0, 0, 0], AreaLevel.COUNTRY: [0, 0]}
    assert cells.tolist() == expected[level]


@pytest.mark.parametrize("role", [0, 1])
def test_a_cell_that_is_one_partners_is_withheld_though_other_roles_balance_its_place(role: int) -> None:
    world = rich(make_plan(indicators=AreaLevel.REGION)).but(Family.DOMINANCE, (0, role), [2000, 0, 0, 0])
    world = world.but(Family.DOMINANCE, (0, 1 - role), [0, 700, 700, 600])
    gated = world.gated()
    assert [*zip(*(each.tolist() for each in np.nonzero(gated.records)), strict=True)] == [
        (AT["XA-01"], role), (AT["XA-02"], role)]
    assert (gated.rates[AT["XA-01"], role] == 2).all()
    assert why(gated.indicators.cells) == {  # type: ignore[union-attr]
        "one_partner_dominates": 2, "protects_another": 2}
    assert (gated.indicators.cells[0, role] == 2).all()  # type: ignore[union-attr]


def test_a_corridor_is_judged_in_every_role_at_its_ends() -> None:
    for role in (0, 1):
        gated = RICH.but(Family.DOMINANCE, (AT["XB-02"] - 5, role), [0, 0, 90_000, 0]).gated()
        assert gated.corridors.reasons.tolist() == [[0, 0], [2, 2]]  # type: ignore[union-attr]


def test_protected_places_are_nowhere() -> None:
    gated = RICH.gated()
    assert "XA-09" not in AT
    assert gated.nodes.reviewed.shape == (13, 2)
    assert RICH.table(Family.DOMINANCE).shape == (8, 2, 4)


# Indicators


def mix(index: Any, value: Any) -> Callable[[], Gated]:
    return lambda: RICH.but(Family.INDICATORS, (1, 0, 1, *index), value).gated()


@pytest.mark.parametrize(("side", "code"), [(0, 3), (1, 6)])
def test_a_mix_needs_enough_people_on_either_side(side: int, code: int) -> None:
    assert mix((side, 0), 197)().indicators.cells[1, 0, 1] == 0  # type: ignore[union-attr]
    found = mix((side, 0), 196)().indicators
    assert found is not None
    assert found.cells[1, 0, 1] == code
    assert (found.cells != 0).sum() == 1
    assert (found.lifts[1, 0, 1] == code).all()
    assert (found.lifts != 0).sum() == 2
    assert np.isnan(found.counts[1, 0, 1]).all()
    assert np.isnan(found.counts).sum() == 6


def test_a_mix_is_shown_only_where_its_rate_is() -> None:
    # 5,000 people of whom 5 % are flagged, all of them false alarms: the mix alone would tell that there are so many.
    world = rich(make_plan(indicators=AreaLevel.REGION)).but(Family.REGIONS, (0, 0), [5000, 250, 2000])
    world = world.but(Family.INDICATORS, (0, 0, 0), [[4760, 476, 476], [240, 90, 90]])
    found = world.gated().indicators
    assert found is not None
    assert why(found.cells) == {"too_few_signals": 1}
    assert found.cells[0, 0].tolist() == [6, 0]
    assert np.isnan(found.counts[0, 0, 0]).all()
    few = world.but(Family.REGIONS, (0, 0, 0), 40).gated().indicators
    assert few is not None
    assert few.cells[0, 0].tolist() == [3, 3]


def test_a_lift_needs_enough_people_with_its_indicator_on_both_sides_together() -> None:
    # A sum of two counts with sd 80: 10 + 2.3263 · 80 √2 + 1/2 = 273.7.
    table = RICH.table(Family.INDICATORS)[1, 0, 1].copy()
    table[:, 2] = [250, 24]
    enough = RICH.but(Family.INDICATORS, (1, 0, 1), table).gated().indicators
    table[:, 2] = [250, 23]
    few = RICH.but(Family.INDICATORS, (1, 0, 1), table).gated().indicators
    assert enough is not None
    assert few is not None
    assert not enough.lifts.any()
    assert few.lifts[1, 0, 1].tolist() == [0, 7]
    assert np.isnan(few.counts[1, 0, 1, :, 2]).all()
    assert np.isnan(few.counts).sum() == 2
    assert not few.cells.any()


def test_a_lift_without_bound_is_withheld_alone() -> None:
    # Nobody of the others has it: the ratio has no upper end.
    found = mix((0, 1), 0)().indicators
    assert found is not None
    assert found.lifts[1, 0, 1].tolist() == [7, 0]
    assert (found.lifts != 0).sum() == 1


def test_a_lift_below_zero_is_withheld() -> None:
    # Noise left the flagged with fewer than none: the whole interval of the ratio lies below 0.
    found = mix((1, 1), -400)().indicators
    assert found is not None
    _, lower, upper = lift_interval(-400, 1500, 800, 8000, variance=6400.0)
    assert lower < upper < 0.0
    assert found.lifts[1, 0, 1].tolist() == [7, 0]


@pytest.mark.parametrize(("others", "shown"), [(240, True), (239, False)])
def test_a_lift_needs_an_indicator_that_is_surely_there_among_the_others(others: int, shown: bool) -> None:
    # 3 standard deviations of 80; at 239 the interval is bounded, too.
    assert np.isfinite(lift_interval(450, 1500, 239, 8000, variance=6400.0).upper)
    found = mix((0, 1), others)().indicators
    assert found is not None
    assert found.lifts[1, 0, 1].tolist() == [0 if shown else 7, 0]


def test_a_rare_indicator_is_seldom_said_to_be_more_often_flagged() -> None:
    """400 flagged people and 4,000 others, 5 in 1,000 of either with the indicator, noise of 15: a true lift of 1."""
    rng, n, sd = np.random.default_rng(0), 20_000, 15.0
    people = np.array([[4000, 0, 0], [400, 0, 0]])
    counts = np.tile(people.astype(np.float64), (n, 1, 1, 1, 1))
    counts[..., 0, 1:] = rng.binomial(4000, 0.005, (n, 1, 1, 2))
    counts[..., 1, 1:] = rng.binomial(400, 0.005, (n, 1, 1, 2))
    counts += np.rint(rng.normal(0.0, sd, counts.shape))
    found = decide_indicators(PLAN, counts, sd**2, rates=np.zeros((n, 1, 1), dtype=np.int8))
    _, lower, _ = derive_lifts(found, sd**2)
    shown = found.lifts == 0
    assert shown.sum() > 300
    assert (lower[shown] > 1.0).mean() < 0.06


# Corridors


def test_a_corridor_needs_enough_records_and_signals() -> None:
    few = RICH.but(Family.CORRIDORS, (0, 0), 103).gated().corridors
    assert few is not None
    assert few.reasons.tolist() == [[3, 3], [0, 0]]
    assert np.isnan(few.counts[0]).all()
    quiet = RICH.but(Family.CORRIDORS, (1, 2), 90).gated().corridors
    assert quiet is not None
    assert quiet.reasons.tolist() == [[0, 0], [0, 6]]
    # The records of the pair are shown with its other task.
    assert quiet.counts[1].tolist()[:2] == [900, 300]
    assert np.isnan(quiet.counts[1, 2])
    neither = RICH.but(Family.CORRIDORS, (1, slice(1, 3)), 90).gated().corridors
    assert neither is not None
    assert np.isnan(neither.counts[1]).all()


def test_plans_without_a_table_have_none() -> None:
    bare = rich(make_plan(indicators=None, corridors=())).gated()
    assert bare.indicators is None
    assert bare.corridors is None
    assert len(ROUTES) == 2


@pytest.mark.parametrize("family", make_plan().statistics.families)
def test_the_measurements_are_left_as_they_are(family: Family) -> None:
    world = World(plan=PLAN, values=RICH.values.copy()).but(family, ..., 7)
    before = world.values.copy()
    world.gated()
    np.testing.assert_array_equal(world.values, before)
