"""What the releases of a year cost one person together: those that are out, the one that is drafted, and what is left.

The tables of a year count a person in `releases_per_person` of its releases. Which ones is drawn for each person, so
the figure is that of somebody who is in the costliest of them. Training is in every release, and so is the table of a
series: who has counted in it is in every later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from federation.plan import StudyPlan
from federation.privacy.accounting import DiscreteGaussianTable, epsilon_of
from federation.privacy.guarantee import family_events, training_event
from federation.taxonomy import Family
from server.coordinator import CoordinatorHome
from server.release.published import in_series


@dataclass(frozen=True, kw_only=True)
class YearBudget:
    """Figures for one person, as epsilon at `delta`, each an upper bound.

    Attributes:
        year: of the end of the period.
        released: how many releases of the series are out in this year.
        releases_a_year: how many there will be; `releases_per_person`: in how many of them a person counts.
        this: this release, training and tables.
        tables_before, tables_after: the tables of the year without this release and with it.
        tables_allowed: those of a year of releases like this one.
        before, after: the same as `tables_before` and `tables_after`, with training.
    """

    year: int
    released: int
    releases_a_year: int
    releases_per_person: int
    delta: float
    this: float
    tables_before: float
    tables_after: float
    tables_allowed: float
    before: float
    after: float

    @property
    def tables_remaining(self) -> float:
        """What the tables of the rest of the year may add for one person."""
        return max(0.0, self.tables_allowed - self.tables_after)


def year_budget(home: CoordinatorHome, plan: StudyPlan) -> YearBudget:
    """The year of a release that is not out yet.

    Raises:
        InputError: as `published.published`.
    """
    earlier = [one.signed.plan for one in in_series(home, plan.study) if one.signed.plan.period_end.year
               == plan.period_end.year]
    delta, often = plan.privacy.delta, plan.statistics.appearances
    return YearBudget(
        year=plan.period_end.year, released=len(earlier), releases_a_year=often.releases_a_year,
        releases_per_person=often.releases_per_person, delta=delta, this=plan.privacy.total_epsilon,
        tables_before=_tables(earlier, often.releases_per_person, delta),
        tables_after=_tables([*earlier, plan], often.releases_per_person, delta),
        tables_allowed=_tables([plan] * often.releases_a_year, often.releases_per_person, delta),
        before=_all(earlier, often.releases_per_person, delta),
        after=_all([*earlier, plan], often.releases_per_person, delta))


def _costliest(plans: Sequence[StudyPlan], most: int) -> list[DiscreteGaussianTable]:
    """The tables of the `most` plans that cost a person most, and the series' tables of all of them.

    What Gaussian tables cost together goes by the sum that plans are sorted by.
    """
    own: list[list[DiscreteGaussianTable]] = []
    always: list[DiscreteGaussianTable] = []
    for plan in plans:
        events = family_events(plan)
        always += [table for family, table in events.items() if family is Family.SERIES]
        own.append([table for family, table in events.items() if family is not Family.SERIES])
    own.sort(key=lambda tables: sum(table.entries * (table.shift / table.scale) ** 2 for table in tables))
    return [table for tables in own[-most:] for table in tables] + always


def _tables(plans: Sequence[StudyPlan], most: int, delta: float) -> float:
    return epsilon_of(_costliest(plans, most), delta=delta) if plans else 0.0


def _all(plans: Sequence[StudyPlan], most: int, delta: float) -> float:
    if not plans:
        return 0.0
    return epsilon_of([*(training_event(plan) for plan in plans), *_costliest(plans, most)], delta=delta)
