"""Working out what was withheld for a partner's sake: places that are shown, less what is shown of what lies in them.

Every way to subtract is tried. What is left is a partner's if all of it was withheld for a partner's sake, it is more
than the noise of so many numbers makes of a few people, and by the noisy totals one partner dominates it or by the
declarations too few cover it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import combinations
from typing import Any
from unittest.mock import patch

import numpy as np

from federation.plan import StudyPlan
from federation.privacy.guarantee import table_variances
from federation.statistics import IntArray, TableLayout
from federation.taxonomy import Family
from server.release import decide
from server.release.complement import Contributions, complements
from server.release.decide import apply_gate
from server.release.gate import Withheld, count_threshold, reason
from simulations.releases.attacks.worlds import PARTNERS, REGIONS, attack_plan, background, measurements

_PARTNERS_SAKE = (Withheld.TOO_FEW_PARTNERS, Withheld.ONE_PARTNER_DOMINATES)
_REGIONS = REGIONS[:4]


def margins_plan(declared_by: int) -> StudyPlan:
    """The plan of the other attacks, with the first region declared by so many partners only."""
    plan = attack_plan()
    less = tuple(code for code in REGIONS if code != _REGIONS[0])
    return plan.model_copy(update={"roster": tuple(
        entry if i < declared_by else entry.model_copy(update={"regions": less})
        for i, entry in enumerate(plan.roster))})


def worked_out(*, worlds: int, seed: int, leak: Callable[[], AbstractContextManager[Any]]) -> int:
    """In how many of so many drawn worlds something of a partner's can be worked out."""
    rng, found = np.random.default_rng(seed), 0
    plans = [margins_plan(declared_by) for declared_by in range(1, PARTNERS + 1)]
    with leak():
        for world in range(worlds):
            plan = plans[world % len(plans)]
            found += any(_of_a_partner(plan, drawn(plan, rng)))
    return found


def drawn(plan: StudyPlan, rng: np.random.Generator) -> IntArray:
    """Noisy sums of partners of very different sizes in regions of very different sizes."""
    layout = TableLayout(plan)
    people = rng.lognormal(6.0, 1.0, len(_REGIONS))
    shares = rng.dirichlet(np.full(PARTNERS, 0.5), len(_REGIONS))
    values = background(plan, tuple(int(number) for number in people))
    layout.table(values, Family.DOMINANCE)[...] = np.rint(people[:, None] * shares)[:, None]
    variances = table_variances(plan, PARTNERS)
    for family, block in layout.blocks.items():
        layout.table(values, family)[...] += np.rint(rng.normal(0.0, variances[family] ** 0.5, block.shape)).astype(int)
    return values


def _of_a_partner(plan: StudyPlan, values: IntArray) -> Iterator[bool]:
    gated = apply_gate(measurements(plan, values))
    areas, codes = TableLayout(plan).areas, [area.code for area in gated.nodes.areas]
    regions_of = {area.code: frozenset(one for one in areas.regions if areas.above(one, area.level) == area.code)
                  for area in gated.nodes.areas}
    variance = dict(zip(codes, gated.nodes.variance.tolist(), strict=True))
    totals = TableLayout(plan).table(values, Family.DOMINANCE)
    for r in range(len(plan.statistics.roles)):
        why = dict(zip(codes, map(reason, gated.records[:, r].tolist()), strict=True))
        people = dict(zip(codes, gated.nodes.reviewed[:, r].tolist(), strict=True))
        shown = [code for code in codes if why[code] is None]
        hidden = {code for code in codes if why[code] in _PARTNERS_SAKE}
        for place in shown:
            for parts in _apart([code for code in shown if regions_of[code] < regions_of[place]], regions_of):
                left = regions_of[place].difference(*(regions_of[part] for part in parts))
                least = count_threshold(minimum_count=plan.release.minimum_count,
                                        noise_variance=variance[place] + sum(variance[part] for part in parts),
                                        false_publication=plan.release.false_publication)
                if left and left <= hidden and people[place] - sum(people[part] for part in parts) >= least:
                    at = [areas.regions.index(code) for code in left]
                    yield _is_somebodys(plan, left, totals[at, r].sum(axis=0))


def _apart(codes: list[str], regions_of: dict[str, frozenset[str]]) -> Iterator[tuple[str, ...]]:
    for size in range(1, len(codes) + 1):
        for some in combinations(codes, size):
            if sum(len(regions_of[code]) for code in some) == len(frozenset().union(
                    *(regions_of[code] for code in some))):
                yield some


def _is_somebodys(plan: StudyPlan, left: frozenset[str], by_partner: IntArray) -> bool:
    declared = sum(bool(left & set(entry.regions)) for entry in plan.roster)
    return declared < plan.release.minimum_partners or bool(
        by_partner.sum() <= 0 or by_partner.max() > plan.release.most_of_one_partner * by_partner.sum())


# Mistakes


def no_complements() -> AbstractContextManager[Any]:
    """Withhold what the rules name, and nothing besides."""
    return patch.object(decide, "complements", lambda _, shown, *__, **___: np.zeros_like(shown))


def cover_alone() -> AbstractContextManager[Any]:
    """Look at who declared what, and not at who has how much of it."""
    return _with(lambda contributions: replace(contributions, totals=None))


def dominance_alone() -> AbstractContextManager[Any]:
    """Look at who has how much of it, and not at who declared what."""
    return _with(lambda contributions: replace(contributions, enough=lambda _: True))


def _with(change: Callable[[Contributions], Contributions]) -> AbstractContextManager[Any]:
    def leaky(nodes: Any, shown: Any, sensitive: Any, contributions: Contributions, **rules: Any) -> Any:
        return complements(nodes, shown, sensitive, change(contributions), **rules)

    return patch.object(decide, "complements", leaky)


LEAKS = {"nothing withheld besides": no_complements, "cover alone": cover_alone, "dominance alone": dominance_alone}
