"""Whether a plan takes a place of the year that another plan has taken: then people would count once too often."""

from __future__ import annotations

from clients.decisions import decisions, kept_plan
from clients.node import NodeHome
from federation.errors import InputError
from federation.plan import StudyPlan


def check_turn(home: NodeHome, plan: StudyPlan) -> None:
    """Refuse a release of a year that another plan of the same study has been, for another period.

    Who counts in which of a year's releases is drawn once. Two plans that both say "release 1 of 4" count the same
    people, so they would be in more releases than the promised `releases_per_person`. A plan for the same period may
    take the place of one that did not come to its end.

    Args:
        home: whose people they are.
        plan: that is to be approved.

    Raises:
        InputError: naming the other plan, which is approved here or was answered.
    """
    for one in decisions(home):
        if one.problem or not (one.open or one.answered):
            continue
        other = kept_plan(home, one.plan_sha256).plan
        if _turn(other) == _turn(plan) and _period(other) != _period(plan):
            often = plan.statistics.appearances
            raise InputError(
                "statistics.appearances.release_of_year",
                f"plan {one.plan_sha256[:16]}… of {plan.study} is release {often.release_of_year} of "
                f"{often.releases_a_year} of {plan.period_end.year}, too, and its period ends on {other.period_end}",
                remedy="ask the coordinator for a plan with the number that is next")


def _turn(plan: StudyPlan) -> tuple[object, ...]:
    return plan.study, plan.period_end.year, plan.statistics.appearances.release_of_year


def _period(plan: StudyPlan) -> tuple[object, ...]:
    return plan.statistics.period_start, plan.period_end
