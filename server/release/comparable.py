"""Which places of two releases are the same, so that their rates may be compared.

A code is no place: a super-region can be given other regions from plan to plan, a region can be protected, and a
partner more or another threshold for flags changes a rate in which nothing has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from federation.areas import Area
from federation.plan import StudyPlan
from federation.taxonomy import AreaLevel
from server.release.gate import declared_coverage

Place = tuple[str, str, str | None]
"""Code, level and the code of the next coarser place."""


def comparable(plan: StudyPlan, areas: Iterable[Area], partners: Iterable[str], previous: Mapping[str, Any],
               ) -> frozenset[str]:
    """Codes of the places that are made up of the same regions, under the same declared coverage, as in `previous`.

    None at all if the partners in the sum or the threshold for flags are others.

    Args:
        plan: of the later release.
        areas: its places.
        partners: names of those in its sum.
        previous: the published content of the earlier one.
    """
    areas, present, coverage = tuple(areas), set(partners), previous["coverage"]
    if present != set(coverage["in_sum"]) or plan.statistics.flag_threshold != previous["gate"]["flag_threshold"]:
        return frozenset()
    now = _regions_of((area.code, area.level, area.parent) for area in areas)
    then = _regions_of((area["code"], area["level"], area["parent"]) for area in previous["areas"]
                       if area["status"] == "measured")
    declared = declared_coverage(plan.roster, plan.statistics, areas, partners=present)
    return frozenset(code for code, regions in now.items()
                     if regions == then.get(code) and declared[code] == coverage["areas"].get(code))


def _regions_of(places: Iterable[Place]) -> dict[str, set[str]]:
    known = {code: (level, parent) for code, level, parent in places}
    found: dict[str, set[str]] = {code: set() for code in known}
    for region in (code for code, (level, _) in known.items() if level == AreaLevel.REGION):
        place: str | None = region
        for _ in AreaLevel:
            if place in found:
                found[place].add(region)
                place = known[place][1]
    return found
