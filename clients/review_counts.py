"""What a review says of the tables: what is counted, how much of it one person moves, and what of it is seen."""

from __future__ import annotations

from collections.abc import Iterator

from clients.review_sums import how_it_leaves
from clients.wording import counted, listed
from federation.areas import Areas
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.plan_statistics import AppearancesSpec
from federation.privacy.series import SCALE
from federation.statistics import TableLayout
from federation.taxonomy import AreaLevel, Family

_PLACES = {AreaLevel.REGION: ("region", "regions"), AreaLevel.SUPER_REGION: ("group of regions", "groups of regions"),
           AreaLevel.COUNTRY: ("country", "countries")}
_TABLES = {
    Family.REGIONS: "people, and people flagged, by region and role",
    Family.SUPER_REGIONS: "the same by group of regions",
    Family.COUNTRIES: "the same by country",
    Family.CONFUSION: "where the model is right and wrong",
    Family.INDICATORS: "indicators among people flagged and not",
    Family.CORRIDORS: "people by pair of places",
    Family.DOMINANCE: "people by region, role and partner",
    Family.SERIES: "the running total",
    Family.SCORES: "labelled people by how high the model scores them"}


def what_is_counted(plan: StudyPlan) -> Iterator[str]:
    """The tables by what they are about."""
    table, areas = plan.statistics, Areas.of(plan.statistics)
    coarse = [counted(len(codes), *_PLACES[level]) for level in (AreaLevel.SUPER_REGION, AreaLevel.COUNTRY)
              if (codes := areas.codes(level))]
    regions = counted(len(areas.regions), *_PLACES[AreaLevel.REGION])
    yield (f"Counting: how many people have a record in each of {regions} as {listed(table.roles)}, and how many of "
           f"those the model flags for {listed(plan.tasks)}; the same for {listed(coarse)}. Each person counts in "
           f"{_roles(table.max_roles_per_person)}, through records from {table.period_start} to {plan.period_end}. "
           f"{_appearances(table.appearances)}")
    yield f"Counting, too: {'; '.join(_others(plan))}."
    if table.series is not None:
        yield (f"A running total: how many people have counted in series {table.series.name} so far, of which this is "
               f"release {table.series.index}, by {_PLACES[table.series.level][0]} and role, and how many of them were "
               "flagged. Each person counts in one release of it, through one record. So this node notes under a "
               "pseudonym who has counted, where, and with which flags (series.sqlite), and keeps that as long as the "
               "series runs, also after the records are gone.")
    if table.protected:
        yield f"Nobody is counted in {listed(table.protected)}, where publication could endanger people."


def _roles(most: int) -> str:
    return "one region in one role" if most == 1 else f"up to {most} roles, in one region of each"


def _appearances(spec: AppearancesSpec) -> str:
    a_year, a_person = spec.releases_a_year, spec.releases_per_person
    which = (f"It takes turn {spec.release_of_year} of the {a_year} that a year may have, whether or not others came "
             "before it")
    if a_person == a_year:
        return f"{which}; a person may count in all of them."
    return f"{which}; a person counts in {a_person} of them, drawn by lot for each."


def _others(plan: StudyPlan) -> Iterator[str]:
    table = plan.statistics
    yield "how often the model is right about people with a label who did not train it"
    if table.indicators is not None:
        yield (f"which indicators were noted, of {len(table.indicators.tags)} that are listed, by "
               f"{_PLACES[table.indicators.level][0]}")
    if table.corridors:
        yield f"from where to where records lead, for {counted(len(table.corridors), 'pair', 'pairs')} of places"
    if table.scores is not None:
        yield ("of the people with a label who train, how many of each label the model scores how high, in "
               f"{table.scores.bins} steps, to tell what a score means")
    yield "how many people each partner counts in each region and role, to see where one partner makes up most of them"


def how_counts_leave(plan: StudyPlan) -> Iterator[str]:
    """The tables by their size, what one person moves, and what the coordinator sees of this partner alone."""
    blocks, table = TableLayout(plan).blocks, plan.statistics
    tables = "; ".join(f"{_TABLES[family]}: {block.size:,}" for family, block in blocks.items())
    yield (f"One list of {sum(block.size for block in blocks.values()):,} numbers in "
           f"{counted(len(blocks), 'table', 'tables')} ({tables}). One person here moves at most "
           f"{sum(block.entries for block in blocks.values())} of them, each by 1. "
           + (f"(In the running total, {SCALE} stand for 1.) " if table.series is not None else "")
           + how_it_leaves(table.aggregation, "the list"))
    anyway = "" if table.aggregation is Aggregation.LOCAL else "whatever the mask, "
    yield ("The table by region, role and partner has a column for each partner: from yours the coordinator learns, "
           f"{anyway}with noise, how many of your people count in each region and role. It decides by it what is "
           "withheld, and does not publish it.")
