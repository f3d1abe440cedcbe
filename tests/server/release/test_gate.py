"""The rules by which numbers are shown, one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.areas import Areas
from federation.plan_parts import Corridor
from federation.taxonomy import AreaLevel, PartnerKind
from server.release.gate import (
    REASONS,
    WIDEST_INTERVAL,
    Reasons,
    Withheld,
    code_of,
    corridor_coverage,
    count_threshold,
    covered,
    declared_coverage,
    dominated,
    first_failed,
    places_of,
    rate_reasons,
    reason,
    records_reasons,
)
from tests.server.release.counted import REGIONS, RULE, make_plan

PLAN = make_plan()
SPEC, AREAS = PLAN.statistics, Areas.of(PLAN.statistics).all()
AT = {area.code: i for i, area in enumerate(AREAS)}
COUNTED = [region for region in REGIONS if region not in SPEC.protected]
NAMES = tuple(entry.name for entry in PLAN.roster)


def test_reasons_are_closed_and_the_public_one_comes_first() -> None:
    assert [each.value for each in REASONS] == [
        "too_few_partners", "one_partner_dominates", "too_few_records", "protects_another", "model_not_good_enough",
        "too_few_signals", "insufficient"]
    assert [reason(code) for code in range(8)] == [None, *REASONS]
    assert [code_of(reason(code)) for code in range(8)] == list(range(8))


@given(st.lists(st.sampled_from(REASONS), unique=True), st.randoms())
def test_the_first_reason_speaks_in_whatever_order_they_are_given(failing: list[Withheld], random: object) -> None:
    order = list(REASONS)
    random.shuffle(order)  # type: ignore[attr-defined]
    found = first_failed({name: name in failing for name in order}, (2, 3))
    expected = min((REASONS.index(name) for name in failing), default=-1) + 1
    assert found.tolist() == [[expected] * 3] * 2


def test_rules_of_places_are_spread_over_roles_and_tasks() -> None:
    found = first_failed({Withheld.TOO_FEW_PARTNERS: np.array([True, False])[:, None],
                          Withheld.TOO_FEW_SIGNALS: np.array([[True, False], [False, True]])}, (2, 2))
    assert found.tolist() == [[1, 1], [0, 6]]


# Thresholds


@pytest.mark.parametrize(("sd", "chance", "threshold"), [
    (15.0, 0.01, 46), (0.0, 0.01, 11), (15.0, 0.9, 11), (4.0, 0.01, 20), (40.0, 0.01, 104), (15.0, 0.001, 57)])
def test_worked_examples(sd: float, chance: float, threshold: int) -> None:
    assert count_threshold(minimum_count=11, noise_variance=sd**2, false_publication=chance) == threshold


def passing(count: int, threshold: int, sd: float) -> float:
    """Chance that a true count passes with discrete Gaussian noise, by the sum of its probabilities."""
    reach = math.ceil(14 * sd) + 20
    noise = np.arange(-reach, reach + 1)
    mass = np.exp(-noise.astype(float) ** 2 / (2 * sd**2))
    return float(mass[count + noise >= threshold].sum() / mass.sum())


@pytest.mark.parametrize("chance", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("minimum", [1, 3, 11])
def test_a_true_count_below_k_passes_no_more_often_than_is_said(minimum: int, chance: float) -> None:
    for sd in (0.3, 0.5, 1.0, 2.0, 4.0, 7.5, 15.0, 40.0, 300.0):
        threshold = count_threshold(minimum_count=minimum, noise_variance=sd**2, false_publication=chance)
        assert passing(minimum - 1, threshold, sd) <= chance
        # And the threshold is not needlessly high: by rounding up, it may lie one above the least that would do.
        if threshold > minimum + 1:
            assert passing(minimum - 1, threshold - 2, sd) > chance


@pytest.mark.parametrize(("minimum", "variance", "chance"), [
    (0, 1.0, 0.01), (11, -1.0, 0.01), (11, math.nan, 0.01), (11, math.inf, 0.01), (11, 1.0, 0.0), (11, 1.0, 1.0),
    (11, 1.0, math.nan)])
def test_no_threshold_of_impossible_numbers(minimum: int, variance: float, chance: float) -> None:
    with pytest.raises(ValueError, match="no threshold"):
        count_threshold(minimum_count=minimum, noise_variance=variance, false_publication=chance)


# Coverage


def by_hand(coverage: Sequence[Sequence[str]], present: set[int], places: Sequence[str]) -> dict[PartnerKind, int]:
    """Partners of each kind that declared a region of `places`, counted one by one."""
    found: dict[PartnerKind, int] = {}
    for i, entry in enumerate(make_plan(coverage=coverage).roster):
        if i in present and any(region in places for region in coverage[i]):
            found[entry.kind] = found.get(entry.kind, 0) + 1
    return found


@given(st.lists(st.sets(st.sampled_from(REGIONS)).map(sorted), min_size=1, max_size=6), st.sets(st.integers(0, 5)))
def test_coverage_at_each_level_is_that_of_declared_regions(coverage: list[list[str]], present: set[int]) -> None:
    plan = make_plan(coverage=coverage)
    partners = [entry.name for i, entry in enumerate(plan.roster) if i in present]
    found = declared_coverage(plan.roster, plan.statistics, AREAS, partners=partners)
    assert set(found) == {area.code for area in AREAS}
    for area in AREAS:
        if area.level is AreaLevel.REGION:
            places = [area.code]
        elif area.level is AreaLevel.SUPER_REGION:
            places = list(next(one.regions for one in SPEC.super_regions if one.code == area.code))
        else:
            places = [region for region in COUNTED if region.startswith(area.code)]
        assert found[area.code] == by_hand(coverage, present, places)


def test_a_protected_region_is_part_of_no_place() -> None:
    (entry,) = make_plan(coverage=[["XA-09"]]).roster
    assert places_of(entry, SPEC) == frozenset()
    (entry,) = make_plan(coverage=[["XA-09", "XB-01"]]).roster
    assert places_of(entry, SPEC) == {"XB-01", "XB:whole", "XB"}


@pytest.mark.parametrize(("kinds", "enough"), [
    ({PartnerKind.PLATFORM: 2, PartnerKind.NGO: 1}, True), ({PartnerKind.PLATFORM: 3}, False),
    ({PartnerKind.PLATFORM: 1, PartnerKind.NGO: 1}, False), ({PartnerKind.PLATFORM: 3, PartnerKind.NGO: 0}, False),
    ({}, False)])
def test_enough_partners_of_enough_kinds(kinds: dict[PartnerKind, int], enough: bool) -> None:
    assert covered(kinds, RULE) is enough


def test_a_corridor_is_covered_by_those_who_cover_both_ends() -> None:
    plan = make_plan(coverage=[["XA-01", "XA-04"], ["XA-01", "XA-02"], ["XA-03", "XA-09", "XA-06"], ["XA-05"]])
    pair = Corridor(origin="XA:north", destination="XA:south")
    assert corridor_coverage(plan.roster, plan.statistics, pair, partners=NAMES) == {
        PartnerKind.PLATFORM: 1, PartnerKind.AGENCY: 1}
    assert corridor_coverage(plan.roster, plan.statistics, pair, partners=NAMES[1:]) == {PartnerKind.AGENCY: 1}
    inside = Corridor(origin="XA:north", destination="XA:north")
    assert sum(corridor_coverage(plan.roster, plan.statistics, inside, partners=NAMES).values()) == 3


# Dominance


def one_partner(totals: dict[str, Sequence[int]], most: float = 0.7) -> set[str]:
    """Codes of the places that one partner makes up in one role; regions that are not given have equal parts."""
    table = np.array([totals.get(region, [100, 100, 100, 100]) for region in COUNTED], dtype=np.int64)
    # Another role, which nobody makes up, changes nothing, however many are in it.
    found = dominated(np.stack([np.full_like(table, 5000), table], axis=1), AREAS, SPEC, most=most)
    assert found.shape == (len(AREAS), 2)
    assert not found[:, 0].any() or most <= 0.25
    return {area.code for area, bad in zip(AREAS, found[:, 1], strict=True) if bad}


def test_one_partner_makes_up_a_place_above_the_share_and_not_at_it() -> None:
    assert one_partner({}) == set()
    assert one_partner({"XA-02": [70, 10, 10, 10]}) == set()
    assert one_partner({"XA-02": [71, 10, 10, 9]}) == {"XA-02"}
    assert one_partner({"XA-02": [9, 10, 71, 10]}) == {"XA-02"}


def test_a_coarse_place_is_judged_by_the_sum_of_its_regions() -> None:
    # Each region is one partner's, and the three together are nobody's.
    split = {"XA-01": [100, 0, 0, 0], "XA-02": [0, 100, 0, 0], "XA-03": [0, 0, 100, 0]}
    assert one_partner(split) == set(split)
    # One large region carries those above it, in its own country only.
    assert one_partner({"XA-04": [9000, 0, 0, 0]}) == {"XA-04", "XA:south", "XA"}
    assert one_partner({"XB-01": [0, 0, 0, 5000]}) == {"XB-01", "XB:whole", "XB"}


def test_noisy_totals_that_add_up_to_nothing_are_one_partners() -> None:
    assert one_partner({"XA-01": [0, 0, 0, 0]}) == {"XA-01"}
    assert one_partner({"XA-01": [50, -20, -20, -20]}) == {"XA-01"}
    # 30 of 30 while another is at -10: more than all of it.
    assert one_partner({"XA-01": [30, 10, -10, 0]}, most=0.99) == {"XA-01"}
    assert one_partner({region: [-5, -5, -5, -5] for region in COUNTED}) == set(AT)


@given(st.lists(st.lists(st.integers(-60, 400), min_size=4, max_size=4), min_size=8, max_size=8),
       st.floats(0.1, 1.0))
def test_dominance_against_a_naive_twin(rows: list[list[int]], most: float) -> None:
    table = dict(zip(COUNTED, rows, strict=True))
    groups = {region: [region] for region in COUNTED} | {one.code: list(one.regions) for one in SPEC.super_regions}
    groups |= {country: [region for region in COUNTED if region[:2] == country] for country in ("XA", "XB")}
    expected = set()
    for code, regions in groups.items():
        partners = [sum(table[region][i] for region in regions) for i in range(4)]
        if sum(partners) <= 0 or max(partners) > most * sum(partners):
            expected.add(code)
    assert one_partner(table, most) == expected


# Records


def records(reviewed: float, *, threshold: float = 104, cover: bool = True, alone: bool = False) -> Withheld | None:
    found = records_reasons(np.array([[reviewed]]), thresholds=np.array([threshold]), cover=np.array([cover]),
                            one_partner=np.array([[alone]]))
    return reason(int(found[0, 0]))


def test_records_rule_by_rule() -> None:
    assert records(104) is None
    assert records(103) is Withheld.TOO_FEW_RECORDS
    assert records(-5) is Withheld.TOO_FEW_RECORDS
    assert records(5000, cover=False) is Withheld.TOO_FEW_PARTNERS
    assert records(5000, alone=True) is Withheld.ONE_PARTNER_DOMINATES
    assert records(3, cover=False, alone=True) is Withheld.TOO_FEW_PARTNERS
    assert records(3, alone=True) is Withheld.ONE_PARTNER_DOMINATES


def test_no_nan_passes_as_a_count_of_records() -> None:
    assert records(math.nan) is Withheld.TOO_FEW_RECORDS
    assert records(5000, threshold=math.nan) is Withheld.TOO_FEW_RECORDS


def test_each_place_has_a_threshold_and_each_role_a_count_of_its_own() -> None:
    found = records_reasons(np.array([[104.0, 103.0], [196.0, 197.0]]), thresholds=np.array([104.0, 197.0]),
                            cover=np.array([True, True]), one_partner=np.array([False, False]))
    assert found.tolist() == [[0, 3], [3, 0]]


# Rates

FIGURES = {"signals": 200.0, "sd": 30.0, "value": 0.2, "lower": 0.1, "upper": 0.3}


def rate(code: int = 0, usable: bool = True, chance: float = 0.01, **figures: float) -> Withheld | None:
    arrays = {name: np.array([[each]]) for name, each in (FIGURES | figures).items()}
    found: Reasons = rate_reasons(np.array([[code]], dtype=np.int8), usable=usable,
                                  rule=RULE.model_copy(update={"false_publication": chance}), **arrays)
    return reason(int(found[0, 0]))


def test_rates_rule_by_rule() -> None:
    assert rate() is None
    assert rate(usable=False) is Withheld.MODEL_NOT_GOOD_ENOUGH
    assert rate(signals=80.0) is Withheld.TOO_FEW_SIGNALS
    assert rate(lower=-0.21) is Withheld.INSUFFICIENT
    assert rate(value=1.01, lower=0.8, upper=1.2) is Withheld.INSUFFICIENT
    assert rate(value=1.0, lower=0.8, upper=1.2) is None


def test_signals_reach_the_threshold_with_the_spread_of_few_signals() -> None:
    # 10 + 2.326347874 · 30 + 1/2 = 80.2904
    assert rate(signals=80.2905) is None
    assert rate(signals=80.2903) is Withheld.TOO_FEW_SIGNALS
    # Whatever chance is allowed, fewer than k do not pass.
    assert rate(signals=10.9, chance=0.9) is Withheld.TOO_FEW_SIGNALS
    assert rate(signals=11.0, chance=0.9) is None


def test_an_interval_of_half_of_all_rates_is_the_widest() -> None:
    assert WIDEST_INTERVAL == 0.5
    assert rate(lower=0.0, upper=0.5) is None
    assert rate(lower=0.0, upper=0.5000001) is Withheld.INSUFFICIENT
    assert rate(lower=-math.inf, upper=math.inf) is Withheld.INSUFFICIENT
    assert rate(lower=0.0, upper=math.inf) is Withheld.INSUFFICIENT


def test_the_reason_of_a_rate_is_that_of_its_records_and_then_the_first() -> None:
    for code in (1, 2, 3):
        assert rate(code, usable=False, signals=0.0, upper=9.0) is REASONS[code - 1]
        assert rate(code) is REASONS[code - 1]
    assert rate(usable=False, signals=0.0, upper=9.0) is Withheld.MODEL_NOT_GOOD_ENOUGH
    assert rate(signals=0.0, upper=9.0) is Withheld.TOO_FEW_SIGNALS


@pytest.mark.parametrize(("name", "why"), [
    ("signals", Withheld.TOO_FEW_SIGNALS), ("sd", Withheld.TOO_FEW_SIGNALS), ("value", Withheld.INSUFFICIENT),
    ("lower", Withheld.INSUFFICIENT), ("upper", Withheld.INSUFFICIENT)])
def test_no_nan_passes_as_a_rate(name: str, why: Withheld) -> None:
    assert rate(**{name: math.nan}) is why


def test_tasks_are_judged_each_by_itself() -> None:
    full = {name: np.full((2, 1, 2), each) for name, each in FIGURES.items()}
    found = rate_reasons(np.zeros((2, 1, 2), dtype=np.int8), usable=np.array([True, False]), rule=RULE, **full)
    assert found.tolist() == [[[0, 5]], [[0, 5]]]
