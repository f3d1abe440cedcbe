"""From settings to what is counted: which tables, over which places, with how much noise, and of whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest
from hydra import compose, initialize_config_module

from clients.counting import true_tables
from clients.features import prepare
from clients.places import places
from federation.errors import InputError
from federation.model import initial_model
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.privacy.guarantee import check_claim
from federation.secure import check_plan
from federation.statistics import TableLayout, entries_of, scales_in_people
from federation.taxonomy import AreaLevel, Family, Indicator
from simulations.federation import plan_for
from simulations.homes import IngestJob, ingest, make_node
from simulations.settings import Settings
from simulations.world.interface import World
from tests.simulations.test_federation_faults import settings

REAL = ["world=real", "statistics=local"]


def composed(cache: Path, *overrides: str) -> StudyPlan:
    chosen = settings(cache, *overrides)
    return plan_for(chosen, chosen.open_world()).plan


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> StudyPlan:
    return composed(tmp_path_factory.mktemp("cache"))


def test_the_invented_world_counts_every_family_within_its_budget(plan: StudyPlan, tmp_path: Path) -> None:
    spec = plan.statistics
    assert spec.families == tuple(family for family in Family if family not in (Family.SERIES, Family.SCORES))
    assert (spec.period_start, plan.period_end) == (date(2024, 10, 1), date(2024, 12, 31))
    assert len(spec.super_regions) == 3
    assert len(spec.corridors) == 9
    assert spec.indicators is not None
    assert set(spec.indicators.tags) == set(Indicator) - {Indicator.TEMPLATED_CAMPAIGN}
    asked = settings(tmp_path).privacy.statistics_epsilon
    assert 0.98 * asked < plan.privacy.statistics_epsilon <= asked
    assert check_plan(plan).statistics == plan.privacy.statistics_epsilon
    assert plan.release.signatures == 2 == len(plan.release.signers)


def test_shares_decide_who_gets_the_budget(plan: StudyPlan, tmp_path: Path) -> None:
    def part(of: StudyPlan, family: Family) -> float:
        spent = {one: entries_of(of, one) / scale**2 for one, scale in of.statistics.noise_scales.items()}
        return spent[family] / sum(spent.values())

    total = 12 + 1 + 0.5 + 4 + 2 + 0.5 + 0.5
    assert part(plan, Family.REGIONS) == pytest.approx(12 / total, rel=0.02)
    assert part(plan, Family.CONFUSION) == pytest.approx(4 / total, rel=0.02)
    more = composed(tmp_path, "statistics.shares.confusion=21")
    assert part(more, Family.CONFUSION) == pytest.approx(21 / (total - 4 + 21), rel=0.02)
    assert more.statistics.noise_scales[Family.REGIONS] > plan.statistics.noise_scales[Family.REGIONS]


@pytest.mark.parametrize(("overrides", "gone"), [
    (["statistics.corridors=false"], {Family.CORRIDORS}), (["statistics.indicators=null"], {Family.INDICATORS}),
    (["statistics.corridors=false", "statistics.indicators=null"], {Family.CORRIDORS, Family.INDICATORS})])
def test_what_is_not_asked_for_is_not_counted_and_leaves_its_budget_to_the_others(
    plan: StudyPlan, tmp_path: Path, overrides: list[str], gone: set[Family]
) -> None:
    other = composed(tmp_path, *overrides)
    assert set(plan.statistics.families) - set(other.statistics.families) == gone
    assert all(scale < plan.statistics.noise_scales[family] for family, scale in other.statistics.noise_scales.items())


def test_a_series_is_counted_where_it_is_asked_for_and_gets_its_share(plan: StudyPlan, tmp_path: Path) -> None:
    assert plan.statistics.series is None
    other = composed(tmp_path, "statistics.series={name:borders,index:3,level:super_region}")
    found = other.statistics.series
    assert found is not None
    assert (found.name, found.index, found.level) == ("borders", 3, AreaLevel.SUPER_REGION)
    budget = settings(tmp_path).privacy.statistics_epsilon
    assert 0.97 * budget < other.privacy.statistics_epsilon <= budget
    assert check_plan(other).statistics == other.privacy.statistics_epsilon
    # In people, four parts in 25 of the divergence.
    spent = {family: entries_of(other, family) / scale**2 for family, scale in scales_in_people(other).items()}
    assert spent[Family.SERIES] / sum(spent.values()) == pytest.approx(4 / 25, rel=0.03)
    assert all(scale > plan.statistics.noise_scales[family] for family, scale in other.statistics.noise_scales.items()
               if family is not Family.SERIES)


def test_protected_regions_are_in_no_group_and_a_group_of_none_but_these_is_left_out(tmp_path: Path) -> None:
    one = composed(tmp_path, "statistics.protected=[XA-02]")
    assert [group.regions for group in one.statistics.super_regions] == [
        ("XA-01", "XA-03"), ("XA-04", "XA-05"), ("XA-06", "XA-07", "XA-08")]
    group = composed(tmp_path, "statistics.protected=[XA-04,XA-05]")
    assert [found.code for found in group.statistics.super_regions] == ["XA:west", "XA:east"]
    assert len(group.statistics.corridors) == 4
    assert group.statistics.regions == one.statistics.regions


def test_settings_of_the_tables_arrive_in_the_plan(tmp_path: Path) -> None:
    found = composed(tmp_path, "statistics.max_roles_per_person=2", "statistics.appearances.releases_per_person=2",
                     "statistics.appearances.release_of_year=3", "study.period_start=2024-11-01",
                     "study.period_end=2024-11-30", "statistics.indicators.level=region", "statistics=local",
                     "statistics.flag_threshold=0.7", "release.embargo_days=90", "release.minimum_partners=4")
    spec = found.statistics
    assert (spec.max_roles_per_person, spec.flag_threshold, spec.aggregation) == (2, 0.7, Aggregation.LOCAL)
    assert (spec.appearances.releases_per_person, spec.appearances.release_of_year) == (2, 3)
    assert (spec.period_start, found.period_end) == (date(2024, 11, 1), date(2024, 11, 30))
    assert (found.release.embargo_days, found.release.minimum_partners) == (90, 4)
    blocks = TableLayout(found).blocks
    assert blocks[Family.INDICATORS].shape[0] == 8
    assert blocks[Family.REGIONS].entries == 6


@pytest.mark.parametrize(("overrides", "message"), [
    (["~statistics.shares.corridors"], r"statistics\.shares says nothing of corridors"),
    (["statistics.shares.regions=0"], "shares"), (["statistics.shares.regions=nan"], "shares"),
    (["+statistics.shares.weather=1"], "weather"), (["statistics.max_roles_per_person=4"], "max_roles_per_person is 4"),
    (["statistics.appearances.release_of_year=5"], "release_of_year"), (["statistics.flag_threshold=1"], "flag_thresh"),
    (["statistics.protected=[XA-01,XA-02,XA-03,XA-04,XA-05,XA-06,XA-07,XA-08]"], "all of them are protected|protect"),
    (["statistics.protected=[ZZ-99]"], "ZZ-99"), (["statistics.indicators.level=street"], "level"),
    (["statistics.indicators.tags=[]"], "tags"),
    (["statistics.indicators.tags=[wage_overwork,wage_overwork]"], "twice"),
    (["study.period_start=2025-01-01"], "period_start"), (["release.minimum_kinds=4"], "minimum_kinds"),
    (["release.most_of_one_partner=0"], "most_of_one_partner"), (["release.band_factor=1"], "band_factor"),
    (["statistics.series={name:all,index:0,level:country}"], "index"),
    (["statistics.series={name:All,index:1,level:country}"], "name"),
    (["statistics.series={name:all,index:1,level:street}"], "level"),
    (["statistics.series={name:all,level:country}"], "index"),
    (["statistics.series={name:all,index:1,level:country}", "~statistics.shares.series"], "says nothing of series"),
])
def test_tables_that_cannot_be_counted_are_refused_by_the_name_of_the_setting(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        composed(tmp_path, *overrides)


class Crowded:
    """A world with very many partners."""

    def __init__(self, world: World, partners: int) -> None:
        self._world = world
        self.partners = tuple(replace(world.partners[i % 8], name=f"partner-{i}") for i in range(partners))

    def __getattr__(self, name: str) -> object:
        return getattr(self._world, name)


def test_with_very_many_partners_shares_stay_large_enough_to_be_vouched_for(plan: StudyPlan, tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    crowded = plan_for(chosen, cast(World, Crowded(chosen.open_world(), 1000))).plan
    wanted, found = plan.statistics.noise_scales, crowded.statistics.noise_scales
    least = min(found.values())
    assert least > min(wanted.values())
    assert found == {family: pytest.approx(max(scale, least)) for family, scale in wanted.items()}
    check_claim(crowded)


def test_a_world_without_indicators_or_origins_counts_neither(root: Path, tmp_path: Path) -> None:
    found = composed(tmp_path, *REAL, f"data.root={root}")
    assert found.statistics.families == (
        Family.REGIONS, Family.SUPER_REGIONS, Family.COUNTRIES, Family.CONFUSION, Family.DOMINANCE)
    assert (found.statistics.period_start, found.period_end) == (date(2008, 1, 1), date(2020, 12, 31))


def _real(cache: Path, root: Path) -> Settings:
    with initialize_config_module("conf", version_base="1.3"):
        return Settings.from_hydra(compose("config", overrides=[
            *REAL, "encoder=hashing", "encoder.dimension=64", "training.rounds=1", "simulation.workers=1",
            f"data.root={root}", f"simulation.cache={cache}"]))


@pytest.mark.parametrize("kind", ["invented", "real"])
def test_of_what_is_taken_in_nearly_everybody_counts(root: Path, tmp_path: Path, kind: str) -> None:
    # A world years back must neither have run out of retention today nor lie outside its own period.
    chosen: Any = settings(tmp_path / "cache") if kind == "invented" else _real(tmp_path / "cache", root)
    world = chosen.open_world()
    plan = plan_for(chosen, world).plan
    start, end = world.period
    layout = TableLayout(plan)
    total = layout.empty()
    for partner in world.partners:
        home = make_node(tmp_path, chosen, world, partner)
        outcome = ingest(IngestJob(home=home, settings=chosen, today=plan.period_end), lambda _: None)
        assert outcome.report is not None, outcome.problem
        prepared = prepare(home, plan)
        assert len(prepared.frame) > 0.9 * outcome.report.accepted
        assert prepared.frame["observed_at"].between(start, end).all()
        people = prepared.frame["unit_key"].nunique()
        counted = sum(bool(place.mentions) for place in places(home, plan, prepared.frame).values())
        assert counted > (0.8 if kind == "real" else 0.6) * people
        entry = plan.partner(partner.name)
        assert entry is not None
        total += true_tables(home, plan, entry, prepared, initial_model(plan))
    for family in layout.blocks:
        assert layout.table(total, family).sum() > 0, family
    if kind == "invented":
        # Marks came through the file and its mapping: whoever labels a record also notes what it shows.
        assert layout.table(total, Family.INDICATORS)[..., 1:].sum() > 100
