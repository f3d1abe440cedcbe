"""What a partner reads about the tables before it decides."""

from __future__ import annotations

from typing import Any

import pytest

from clients.review_counts import how_counts_leave, what_is_counted
from federation.plan import StudyPlan
from federation.plan_statistics import AppearancesSpec, IndicatorsSpec, SeriesSpec
from federation.statistics import TableLayout
from federation.taxonomy import AreaLevel
from tests.worlds import TAGS, make_plan, make_statistics

PLAN = make_plan()


def plan(*, secure: bool = False, **statistics: Any) -> StudyPlan:
    base = make_plan(4, secure="table", colluders=1, quorum=3) if secure else PLAN
    tables = make_statistics(aggregation=base.statistics.aggregation, **statistics)
    return base.model_copy(update={"statistics": tables})


def test_the_most_that_one_person_moves_is_that_of_all_tables_together() -> None:
    told, blocks = " ".join(how_counts_leave(PLAN)), TableLayout(PLAN).blocks
    moved = sum(block.entries for block in blocks.values())
    assert f"One list of {TableLayout(PLAN).length} numbers in {len(PLAN.statistics.families)} tables" in told
    assert f"One person here moves at most {moved} of them, each by 1." in told
    for block in blocks.values():
        assert f": {block.size}" in told


@pytest.mark.parametrize(("secure", "words"), [
    (False, "All the noise is added on this machine before the list leaves."),
    (True, "the list leaves under a mask: the coordinator learns the sum over the partners, and not yours."),
])
def test_that_one_table_tells_of_this_partner_alone_is_said_either_way(secure: bool, words: str) -> None:
    told = " ".join(how_counts_leave(plan(secure=secure)))
    assert words in told
    assert "has a column for each partner: from yours the coordinator learns, " in told
    assert "with noise, how many of your people count in each region" in told
    assert ("whatever the mask" in told) is secure


def test_only_what_is_counted_is_told() -> None:
    everything, least = (" ".join([*what_is_counted(one), *how_counts_leave(one)]) for one in (
        PLAN, plan(indicators=None, corridors=(), super_regions=())))
    for words in ("group of regions", "2 groups of regions", "4 pairs of places", "people by pair of places",
                  "which indicators were noted, of 3 that are listed, by country", "indicators among people"):
        assert words in everything
        assert words not in least
    for words in ("1 country", "how often the model is right about people with a label who did not train it",
                  "where the model is right and wrong", "one partner makes up most"):
        assert words in everything
        assert words in least
    by_region = " ".join(what_is_counted(plan(indicators=IndicatorsSpec(level=AreaLevel.REGION, tags=TAGS[:1]))))
    assert "which indicators were noted, of 1 that are listed, by region" in by_region


def test_a_running_total_is_told_with_what_it_makes_the_node_remember() -> None:
    told = " ".join([*what_is_counted(PLAN), *how_counts_leave(PLAN)])
    assert "unning total" not in told
    with_series = plan(series=SeriesSpec(name="borders", index=4, level=AreaLevel.COUNTRY))
    told = " ".join([*what_is_counted(with_series), *how_counts_leave(with_series)])
    assert "how many people have counted in series borders so far, of which this is release 4, by country" in told
    assert "this node notes under a pseudonym who has counted" in told
    assert "also after the records are gone" in told
    moved = sum(block.entries for block in TableLayout(with_series).blocks.values())
    assert f"moves at most {moved} of them, each by 1. (In the running total, 256 stand for 1.)" in told


def test_protected_regions_are_named_and_not_among_those_counted() -> None:
    super_regions = tuple(one.model_copy(update={"regions": one.regions[:1]})
                          for one in PLAN.statistics.super_regions)
    told = " ".join(what_is_counted(plan(protected=("XA-02", "XA-09"), super_regions=super_regions)))
    assert "in each of 2 regions as" in told
    assert "Nobody is counted in XA-02 and XA-09, where publication could endanger people." in told
    assert "endanger" not in " ".join(what_is_counted(PLAN))


@pytest.mark.parametrize(("a_year", "a_person", "number", "words"), [
    (4, 4, 2, "It takes turn 2 of the 4 that a year may have, whether or not others came before it; a person may "
     "count in all of them."),
    (12, 3, 4, "It takes turn 4 of the 12 that a year may have, whether or not others came before it; a person counts "
     "in 3 of them, drawn by lot for each."),
])
def test_how_often_a_person_counts_in_a_year(a_year: int, a_person: int, number: int, words: str) -> None:
    spec = AppearancesSpec(releases_a_year=a_year, releases_per_person=a_person, release_of_year=number)
    assert words in " ".join(what_is_counted(plan(appearances=spec)))


@pytest.mark.parametrize(("most", "words"), [
    (1, "counts in one region in one role, through records from 2026-04-01 to 2026-06-30."),
    (2, "counts in up to 2 roles, in one region of each, through records from"),
])
def test_in_how_many_roles_a_person_counts(most: int, words: str) -> None:
    assert words in " ".join(what_is_counted(plan(max_roles_per_person=most)))
