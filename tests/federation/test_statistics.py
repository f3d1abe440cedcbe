"""The vector that leaves a partner: its blocks, their sizes, and how much of each one person moves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.plan import StudyPlan
from federation.plan_statistics import Corridor, IndicatorsSpec, SeriesSpec
from federation.privacy.guarantee import statistics_events
from federation.statistics import LEVELS, Measurements, TableLayout, entries_of, moved_entries
from federation.taxonomy import AreaLevel, Family, RegionRole, Task
from tests.worlds import CORRIDORS, SUPER_REGIONS, TAGS, make_plan, make_statistics, roster

PLAN = make_plan()
BARE: dict[str, Any] = {"super_regions": (), "corridors": (), "indicators": None}


def counted(**statistics: Any) -> StudyPlan:
    return PLAN.model_copy(update={"statistics": make_statistics(**statistics)})


@st.composite
def plans(draw: st.DrawFn) -> StudyPlan:
    """Plans of other sizes: regions, roles, tasks, partners and which families there are."""
    protected = draw(st.sampled_from(((), ("XA-03",), ("XA-09",))))
    grouped, tasks = draw(st.booleans()), draw(st.sampled_from((tuple(Task), (Task.DISTRESS,))))
    levels = [level for level in AreaLevel if grouped or level is not AreaLevel.SUPER_REGION]
    roles = draw(st.sampled_from((tuple(RegionRole), (RegionRole.OBSERVED,))))
    super_regions = SUPER_REGIONS[: 1 if "XA-03" in protected else 2] if grouped else ()
    pairs = CORRIDORS[: 1 if "XA-03" in protected else 4] if grouped else (Corridor(origin="XA", destination="XA"),)
    statistics = make_statistics(
        protected=protected, super_regions=super_regions, corridors=draw(st.sampled_from((pairs, ()))), roles=roles,
        max_roles_per_person=draw(st.integers(1, len(roles))),
        indicators=draw(st.one_of(st.none(), st.builds(IndicatorsSpec, level=st.sampled_from(levels),
                                                       tags=st.sampled_from((TAGS, TAGS[:1]))))),
        series=draw(st.one_of(st.none(), st.builds(SeriesSpec, name=st.just("all"), index=st.integers(1, 9),
                                                   level=st.sampled_from(levels)))))
    return PLAN.model_copy(update={"statistics": statistics, "tasks": tasks, "roster": roster(draw(st.integers(1, 6)))})


@given(plans())
def test_blocks_tile_the_vector_in_the_order_of_the_plan(plan: StudyPlan) -> None:
    layout = TableLayout(plan)
    assert tuple(layout.blocks) == plan.statistics.families
    vector = np.arange(layout.length)
    seen = [layout.table(vector, family).ravel() for family in layout.blocks]
    assert np.concatenate(seen).tolist() == vector.tolist()
    assert all(block.size == part.size > 0 for block, part in zip(layout.blocks.values(), seen, strict=True))
    # Tables are views: what is written into one is in the vector, and in no other table.
    for family, block in layout.blocks.items():
        empty = layout.empty()
        layout.table(empty, family)[...] = 1
        assert empty.sum() == block.size
        assert empty[block.start : block.start + block.size].all()


@given(plans())
def test_shapes_are_those_that_are_written_down(plan: StudyPlan) -> None:
    layout, spec, tasks = TableLayout(plan), plan.statistics, len(plan.tasks)
    regions, roles = len(set(spec.regions) - set(spec.protected)), len(spec.roles)
    places = {AreaLevel.REGION: regions, AreaLevel.SUPER_REGION: len(spec.super_regions), AreaLevel.COUNTRY: 1}
    expected = {LEVELS[level]: (number, roles, 1 + tasks) for level, number in places.items() if number}
    expected |= {Family.CONFUSION: (tasks, 2, 2), Family.DOMINANCE: (regions, roles, len(plan.roster))}
    if spec.indicators is not None:
        expected[Family.INDICATORS] = (places[spec.indicators.level], roles, tasks, 2, 1 + len(spec.indicators.tags))
    if spec.corridors:
        expected[Family.CORRIDORS] = (len(spec.corridors), 1 + tasks)
    if spec.series is not None:
        expected[Family.SERIES] = (places[spec.series.level], roles, 1 + tasks)
    assert {family: block.shape for family, block in layout.blocks.items()} == expected
    assert layout.length == sum(map(math.prod, expected.values()))
    assert layout.empty().dtype == np.int64
    assert not layout.empty().any()


@given(plans())
def test_what_one_person_moves_is_what_is_priced(plan: StudyPlan) -> None:
    blocks, events = TableLayout(plan).blocks, statistics_events(plan)
    assert [event.entries for event in events] == [block.entries for block in blocks.values()]
    assert [event.scale for event in events] == [plan.statistics.noise_scales[family] for family in blocks]
    assert [event.shift for event in events] == [256 if family is Family.SERIES else 1 for family in blocks]
    assert [block.shift for block in blocks.values()] == [event.shift for event in events]
    for family, block in blocks.items():
        assert block.entries == entries_of(plan, family)
        assert block.l2_sensitivity == block.shift * math.sqrt(block.entries)
        # Nobody moves more entries than there are.
        assert block.entries <= block.size


# Families by hand: two tasks, one and two roles a person, 13 indicators.
@pytest.mark.parametrize(("family", "one_role", "two_roles"), [
    (Family.REGIONS, 3, 6), (Family.SUPER_REGIONS, 3, 6), (Family.COUNTRIES, 3, 6), (Family.CONFUSION, 2, 2),
    (Family.INDICATORS, 28, 56), (Family.CORRIDORS, 3, 3), (Family.DOMINANCE, 1, 2), (Family.SERIES, 3, 3)])
def test_entries_by_hand(family: Family, one_role: int, two_roles: int) -> None:
    assert [moved_entries(family, tasks=2, roles=roles, tags=13) for roles in (1, 2)] == [one_role, two_roles]


def test_every_family_has_entries_and_every_level_a_family() -> None:
    assert all(moved_entries(family, tasks=1, roles=1, tags=1) >= 1 for family in Family)
    assert list(LEVELS) == list(AreaLevel)
    assert set(LEVELS.values()) < set(Family)


def test_a_family_that_is_not_counted_has_no_table() -> None:
    layout = TableLayout(counted(**BARE))
    assert set(layout.blocks) == {Family.REGIONS, Family.COUNTRIES, Family.CONFUSION, Family.DOMINANCE}
    for family in (Family.SUPER_REGIONS, Family.INDICATORS, Family.CORRIDORS, Family.SERIES):
        with pytest.raises(KeyError):
            layout.table(layout.empty(), family)


@pytest.mark.parametrize("vector", [
    np.zeros(105, dtype=np.int64), np.zeros(107, dtype=np.int64), np.zeros((106, 1), dtype=np.int64),
    np.zeros(106, dtype=np.int32), np.zeros(106, dtype=np.uint64), np.zeros(106), np.zeros(0, dtype=np.int64),
], ids=["short", "long", "column", "32 bits", "unsigned", "floats", "empty"])
def test_a_vector_that_is_not_one_of_the_plan_is_refused(vector: Any) -> None:
    layout = TableLayout(PLAN)
    assert layout.length == 106
    with pytest.raises(ValueError, match=r"tables: .*expected int64\[106\]"):
        layout.check(vector)
    good = layout.empty()
    assert layout.check(good) is good


def test_measurements_give_each_family_its_own_sums() -> None:
    layout = TableLayout(PLAN)
    measured = Measurements(layout=layout, values=np.arange(layout.length), variances=dict.fromkeys(Family, 1.0),
                            partners=("partner-0",))
    for family, block in layout.blocks.items():
        assert measured.table(family).shape == block.shape
        assert measured.table(family).ravel()[0] == block.start
