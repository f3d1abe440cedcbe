"""Plans with a running total: what they must state, what they cost, and that a sum of them fits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from pydantic import ValidationError

from federation import secure
from federation.errors import InputError
from federation.plan import StudyPlan
from federation.plan_statistics import SeriesSpec, StatisticsSpec
from federation.privacy import accounting
from federation.privacy.accounting import DiscreteGaussianTable, epsilon_of, table_scales_for
from federation.privacy.guarantee import check_claim, partner_noise, price, statistics_events, training_event
from federation.privacy.series import MOST_RELEASES, SCALE, coefficients
from federation.secure import MOST_PEOPLE, Purpose, check_plan, session_of
from federation.statistics import TableLayout, scales_in_people, series_tables_sha256
from federation.taxonomy import AreaLevel, Family, PartnerKind, RegionRole, Task
from tests.worlds import make_plan, make_statistics

CONTEXT = "0" * 64


def series(index: int = 1, level: AreaLevel = AreaLevel.COUNTRY, name: str = "borders") -> SeriesSpec:
    return SeriesSpec(name=name, index=index, level=level)


def plan_of(index: int = 1, level: AreaLevel = AreaLevel.COUNTRY, *, partners: int = 3, **options: Any) -> StudyPlan:
    statistics = {"series": series(index, level), **options.pop("statistics", {})}
    return make_plan(partners, **{"statistics": statistics, "noise_scale": 6.0, **options})


def test_a_series_is_counted_if_it_is_asked_for_and_comes_last() -> None:
    without, layout = make_statistics(), TableLayout(plan_of())
    assert Family.SERIES not in without.families
    assert list(layout.blocks) == [*without.families, Family.SERIES]
    block = layout.blocks[Family.SERIES]
    assert (block.entries, block.shift, block.start + block.size) == (3, SCALE, layout.length)
    assert block.l2_sensitivity == pytest.approx(SCALE * math.sqrt(3))
    assert {each.shift for family, each in layout.blocks.items() if family is not Family.SERIES} == {1}


@pytest.mark.parametrize(("level", "places"), [
    (AreaLevel.REGION, 3), (AreaLevel.SUPER_REGION, 2), (AreaLevel.COUNTRY, 1)])
def test_its_table_has_the_places_of_its_level_in_each_role(level: AreaLevel, places: int) -> None:
    assert TableLayout(plan_of(level=level)).blocks[Family.SERIES].shape == (places, 2, 3)


@pytest.mark.parametrize("change", [
    {"index": 0}, {"index": -1}, {"index": MOST_RELEASES + 1}, {"index": 1.0}, {"index": True}, {"name": ""},
    {"name": "Borders"}, {"name": "../borders"}, {"level": "district"}, {"level": None}, {"since": 2},
], ids=str)
def test_a_series_that_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SeriesSpec(**{"name": "borders", "index": 1, "level": AreaLevel.COUNTRY, **change})


def test_the_last_release_that_there_can_be_is_allowed() -> None:
    assert series(MOST_RELEASES).index == MOST_RELEASES


def test_a_series_by_super_region_needs_super_regions() -> None:
    with pytest.raises(ValidationError, match=r"series\.level: the plan has no super-regions"):
        make_statistics(series=series(level=AreaLevel.SUPER_REGION), super_regions=(), corridors=())
    make_statistics(series=series(level=AreaLevel.REGION), super_regions=(), corridors=())


def test_noise_is_stated_for_a_series_and_for_nothing_that_is_not_counted() -> None:
    spec = make_statistics(series=series())
    for changed, parts in (({Family.SERIES: None}, {}), ({}, {"series": None})):
        scales = {family: scale for family, scale in spec.noise_scales.items() if family not in changed}
        with pytest.raises(ValidationError, match="noise_scales: given for"):
            StatisticsSpec(**{**dict(spec), "noise_scales": scales, **parts})


def test_each_release_is_charged_as_if_everybody_were_new() -> None:
    for index in (1, 2, 12, MOST_RELEASES):
        found = dict(zip(plan_of().statistics.families, statistics_events(plan_of(index)), strict=True))
        assert found[Family.SERIES] == DiscreteGaussianTable(scale=6.0 * SCALE, entries=3, shift=SCALE)
    alone = pld.from_discrete_gaussian_mechanism(6.0 * SCALE, sensitivity=SCALE, value_discretization_interval=1e-4)
    rest = [event for event in statistics_events(plan_of()) if event.shift == 1]
    whole = alone.self_compose(3)
    for event in rest:
        whole = whole.compose(pld.from_discrete_gaussian_mechanism(
            event.scale, value_discretization_interval=1e-4).self_compose(event.entries))
    truth = whole.get_epsilon_for_delta(1e-5)
    assert truth <= price(plan_of(), partners=()).statistics <= truth * 1.001
    assert truth > price(make_plan(noise_scale=6.0), partners=()).statistics * 1.05


def test_a_claim_that_leaves_the_series_out_is_refused() -> None:
    plan, without = plan_of(), make_plan(noise_scale=6.0)
    with pytest.raises(InputError, match=r"plan\.privacy\.statistics_epsilon"):
        check_claim(plan.model_copy(update={"privacy": without.privacy}))
    check_claim(plan)


def test_somebody_at_several_partners_moves_a_sum_so_many_times_as_far() -> None:
    summed, local, partners = plan_of(partners=6, secure="table", colluders=1, quorum=5), plan_of(partners=6), 3
    training = replace(training_event(local), steps=partners * local.training.steps)
    *rest, own = statistics_events(local)
    farther = [replace(event, shift=partners * event.shift) for event in (*rest, own)]
    assert farther[-1] == DiscreteGaussianTable(scale=6.0 * SCALE, entries=3, shift=3 * 256)
    assert dict(price(summed, partners=(partners,)).at_partners)[partners] == pytest.approx(
        epsilon_of([training, *farther], delta=1e-5))
    more = [replace(event, entries=partners * event.entries) for event in (*rest, own)]
    assert dict(price(local, partners=(partners,)).at_partners)[partners] == pytest.approx(
        epsilon_of([training, *more], delta=1e-5))


def test_noise_and_variance_are_in_the_units_of_the_table() -> None:
    plan = plan_of()
    assert partner_noise(plan).tables[Family.SERIES] == 6.0 * SCALE
    assert scales_in_people(plan)[Family.SERIES] == 6.0
    assert scales_in_people(plan)[Family.REGIONS] == plan.statistics.noise_scales[Family.REGIONS]


@pytest.mark.parametrize("index", [1, 12, MOST_RELEASES])
def test_a_session_holds_more_than_all_people_of_all_releases(index: int) -> None:
    plan = plan_of(index, partners=5, secure="table", colluders=1, quorum=4)
    session = session_of(plan, Purpose.TABLE, 1, 0, CONTEXT)
    most = sum(c * MOST_PEOPLE for c in coefficients(index))
    assert session.bound >= most + 13 * partner_noise(plan).tables[Family.SERIES]
    assert session.ring.bits == 64
    check_plan(plan)


def test_the_largest_study_of_the_longest_series_fits() -> None:
    plan = plan_of(MOST_RELEASES, partners=5, secure="table", colluders=1, quorum=4, noise_scale=60.0)
    many = tuple(plan.roster[0].model_copy(update={"name": f"p-{i}", "public_key": f"{i:064x}"}) for i in range(1000))
    wide = plan.model_copy(update={"roster": many, "conduct": plan.conduct.model_copy(update={"quorum": 600})})
    session = session_of(wide, Purpose.TABLE, 1, 0, CONTEXT)
    assert 1000 * session.bound < session.ring.largest // 1000


@pytest.mark.parametrize("most", [2**50, 2**60])
def test_a_sum_that_would_not_fit_is_refused_before_anything_runs(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(MOST_RELEASES, partners=5, secure="table", colluders=1, quorum=4)
    monkeypatch.setattr(secure, "MOST_PEOPLE", most)
    with pytest.raises(InputError, match="bound"):
        check_plan(plan)


def test_what_it_is_a_table_of_has_one_hash() -> None:
    entry, *others = plan_of().roster
    same = {series_tables_sha256(plan_of(index, noise_scale=scale)) for index, scale in ((1, 6.0), (7, 6.0), (7, 8.0))}
    assert len(same) == 1
    changed = [plan_of(level=level) for level in (AreaLevel.SUPER_REGION, AreaLevel.REGION)]
    changed += [plan_of(statistics={"roles": (RegionRole.OBSERVED, RegionRole.ORIGIN)}),
                plan_of(statistics={"roles": (RegionRole.ORIGIN,)}),
                plan_of(statistics={"regions": ("XA-01", "XA-02"), "super_regions": (), "corridors": ()}),
                # The country is still there, and has lost some of its people.
                plan_of(statistics={"protected": ("XA-03",), "super_regions": (), "corridors": ()}),
                plan_of().model_copy(update={"tasks": (Task.RECRUITMENT,)}),
                # A partner declares less, or is of another kind.
                *(plan_of().model_copy(update={"roster": (entry.model_copy(update=change), *others)}) for change in (
                    {"regions": entry.regions[:1]}, {"kind": PartnerKind.AGENCY}))]
    found = {series_tables_sha256(plan) for plan in changed}
    # Protecting a region and not having it count the same people.
    assert len(found | same) == 1 + len(changed) - 1
    with pytest.raises(ValueError, match="no series"):
        series_tables_sha256(make_plan())


def test_scales_for_a_budget_know_of_the_shift() -> None:
    entries, shifts, shares = (3, 2, 3), (1, 1, SCALE), (4.0, 1.0, 2.0)
    found = table_scales_for(epsilon=1.5, delta=1e-5, entries=entries, shifts=shifts, shares=shares)
    tables = [DiscreteGaussianTable(scale=scale, entries=moved, shift=shift)
              for scale, moved, shift in zip(found, entries, shifts, strict=True)]
    assert 0.97 * 1.5 < epsilon_of(tables, delta=1e-5) <= 1.5
    spent = [moved * shift**2 / scale**2 for moved, shift, scale in zip(entries, shifts, found, strict=True)]
    assert [part / spent[0] for part in spent] == pytest.approx([share / shares[0] for share in shares], rel=0.02)
    with pytest.raises(ValueError, match="shifts are"):
        table_scales_for(epsilon=1.0, delta=1e-5, entries=(3,), shifts=(0,), shares=(1.0,))
    with pytest.raises(ValueError, match="zip"):
        table_scales_for(epsilon=1.0, delta=1e-5, entries=(3, 3), shifts=(1,), shares=(1.0, 1.0))


def test_scales_are_enough_even_if_the_quick_price_was_too_low(monkeypatch: pytest.MonkeyPatch) -> None:
    found = accounting._smallest
    monkeypatch.setattr(accounting, "_smallest", lambda cost, epsilon: 0.97 * found(cost, epsilon))
    scale, = table_scales_for(epsilon=0.8, delta=1e-5, entries=(3,), shifts=(SCALE,), shares=(1.0,))
    assert epsilon_of([DiscreteGaussianTable(scale=scale, entries=3, shift=SCALE)], delta=1e-5) <= 0.8
