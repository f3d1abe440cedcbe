"""What is withheld for a partner's sake does not follow from what is shown, and no more is withheld than that takes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.areas import Area
from federation.statistics import LEVELS
from federation.taxonomy import AreaLevel, Family
from server.release.complement import Contributions, complements
from server.release.gate import REASONS, Withheld
from server.release.nodes import Nodes
from server.release.recheck import wrongly_decided
from tests.server.release.counted import REGIONS, World, make_plan, rich, row

PROTECTS = 1 + REASONS.index(Withheld.PROTECTS_ANOTHER)
RICH = rich(make_plan(indicators=None, corridors=()))
AT = {area.code: i for i, area in enumerate(RICH.gated().nodes.areas)}
MOST = 0.7


def withheld(world: World, why: Withheld) -> set[str]:
    """Places that are withheld for a reason as origins."""
    gated = world.gated()
    return {gated.nodes.areas[i].code for i in np.flatnonzero(gated.records[:, 0] == 1 + REASONS.index(why))}


def counted(world: World, region: str, people: int) -> World:
    """The same with so many origins in a region, and in all that it is a part of."""
    areas = world.layout.areas
    more = people - int(world.table(Family.REGIONS)[areas.codes(AreaLevel.REGION).index(region), 0, 0])
    for level, family in LEVELS.items():
        at = (areas.codes(level).index(areas.above(region, level) or ""), 0, 0)
        world = world.but(family, at, int(world.table(family)[at]) + more)
    return world


# What the gate does


def test_a_place_that_one_partner_makes_up_takes_the_smallest_that_is_enough_with_it() -> None:
    # All 2000 of XA-04 are one partner's; with 500 of XA-05's it has 2500 of 4000.
    world = RICH.but(Family.DOMINANCE, AT["XA-04"] - 5, [2000, 0, 0, 0])
    assert withheld(world, Withheld.ONE_PARTNER_DOMINATES) == {"XA-04"}
    assert withheld(world, Withheld.PROTECTS_ANOTHER) == {"XA-05"}
    # The country less XA:north is XA:south, and that may be known.
    smaller = counted(world, "XA-06", 1999)
    assert withheld(smaller, Withheld.PROTECTS_ANOTHER) == {"XA-06"}


def test_what_too_few_declared_takes_one_that_more_did() -> None:
    # Two declared XA-01, and all four the others.
    world = rich(make_plan(coverage=[REGIONS] * 2 + [REGIONS[1:]] * 2, indicators=None, corridors=()))
    assert withheld(world, Withheld.TOO_FEW_PARTNERS) == {"XA-01"}
    assert withheld(world, Withheld.PROTECTS_ANOTHER) == {"XA-02"}


def test_few_need_no_protection() -> None:
    # Noise of the super-region and of two regions shown.
    sd = (80.0**2 + 2 * 40.0**2) ** 0.5
    limit = int(np.ceil(10 + 2.3263478740408408 * sd + 0.5))
    world = RICH.but(Family.DOMINANCE, AT["XA-04"] - 5, [2000, 0, 0, 0])
    few, enough = (counted(world, "XA-04", people) for people in (limit - 1, limit))
    assert withheld(few, Withheld.PROTECTS_ANOTHER) == set()
    assert withheld(enough, Withheld.PROTECTS_ANOTHER) == {"XA-05"}


def test_several_that_are_nobodys_together_take_nothing_more() -> None:
    world = RICH
    for i, region in enumerate(("XA-04", "XA-05")):
        mine = [0, 0, 0, 0]
        mine[i] = 2000
        world = world.but(Family.DOMINANCE, AT[region] - 5, mine)
    assert withheld(world, Withheld.ONE_PARTNER_DOMINATES) == {"XA-04", "XA-05"}
    assert withheld(world, Withheld.PROTECTS_ANOTHER) == set()
    # All one partner's: it has 4500 of 6000 with XA-06, as in XA less XA:north, and with XA-01 5000 of 8000.
    world = world.but(Family.DOMINANCE, AT["XA-05"] - 5, [2000, 0, 0, 0])
    assert withheld(world, Withheld.PROTECTS_ANOTHER) == {"XA-06", "XA:north", "XA-01"}


def test_a_super_region_that_is_one_partners_takes_regions_of_the_other() -> None:
    world = RICH
    for region in ("XA-04", "XA-05", "XA-06"):
        world = world.but(Family.DOMINANCE, AT[region] - 5, [2000, 0, 0, 0])
    assert withheld(world, Withheld.ONE_PARTNER_DOMINATES) == {"XA:south", "XA-04", "XA-05", "XA-06"}
    # XA less XA:north is XA:south; so is XA less the regions of XA:north. Two of these make it 7000 of 10,000: none is
    # enough alone, so the largest goes first.
    assert withheld(world, Withheld.PROTECTS_ANOTHER) == {"XA:north", "XA-01", "XA-03"}
    assert row(world.content()["nodes"], "XA", "country", "origin")["status"] == "shown"


def test_roles_are_apart() -> None:
    world = RICH.but(Family.DOMINANCE, (AT["XA-04"] - 5, 1), [2000, 0, 0, 0])
    assert (world.gated().records != 0).sum(axis=0).tolist() == [0, 2]


def test_no_number_of_it_leaves() -> None:
    content = RICH.but(Family.DOMINANCE, AT["XA-04"] - 5, [2000, 0, 0, 0]).content()
    rows = [one for one in (*content["nodes"], *content["cells"]) if one["area"] == "XA-05" and one["role"] == "origin"]
    assert len(rows) == 3
    for one in rows:
        assert (one["status"], one["reason"]) == ("withheld", "protects_another")
        assert set(one) <= {"area", "level", "role", "task", "status", "reason"}


# What an audit finds


def test_an_audit_finds_what_it_can() -> None:
    plan = make_plan(coverage=[REGIONS] * 2 + [REGIONS[1:]] * 2, indicators=None, corridors=())
    world = rich(plan)
    assert wrongly_decided(world.content(), plan) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("server.release.decide.complements", lambda nodes, shown, *_, **__: np.zeros_like(shown))
        content = world.content()
    assert "nodes: XA-02 origin is shown, and the rule says protects_another" in wrongly_decided(content, plan)


def test_an_audit_finds_places_that_are_withheld_for_no_others_sake() -> None:
    content = RICH.but(Family.DOMINANCE, AT["XA-04"] - 5, [2000, 0, 0, 0]).content()
    assert wrongly_decided(content, RICH.plan) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("server.release.decide.complements", lambda _, shown, *__, **___: shown & (
            np.arange(len(shown)) == AT["XB-01"])[:, None])
        content = RICH.content()
    assert wrongly_decided(content, RICH.plan) == [
        f"nodes: XB-01 {role} is protects_another, and no other place of its country is a partner's"
        for role in ("origin", "destination")]


# The rule itself, against one that looks at every way to subtract

PARENTS = (-1, 0, 0, 0, 1, 1, 1, 2, 2)
"""A country, two super-regions and a region of its own; three regions in the first super-region, two in the second."""
LEAVES = [i for i in range(len(PARENTS)) if i not in PARENTS]
"""In the order of the regions."""


def make_nodes(reviewed: npt.NDArray[np.float64], variance: float) -> Nodes:
    return Nodes(areas=tuple(Area(code=f"X{i}", name="", level=AreaLevel.REGION, parent=None)
                             for i in range(len(PARENTS))),
                 parent=np.array(PARENTS), variance=np.full(len(PARENTS), variance), reviewed=reviewed[:, None],
                 flagged=np.zeros((len(PARENTS), 1, 1)))


def below(place: int) -> set[int]:
    found = {i for i, above in enumerate(PARENTS) if above == place}
    return found | {one for child in found for one in below(child)}


def leaves_of(place: int) -> frozenset[int]:
    return frozenset(({place} | below(place)) & set(LEAVES))


def differences(shown: npt.NDArray[np.bool_]) -> dict[tuple[int, tuple[int, ...]], frozenset[int]]:
    """Each place that is shown less shown places below it of which none is in another, and what regions that leaves."""
    found = {}
    for place in np.flatnonzero(shown).tolist():
        parts = [one for one in below(place) if shown[one]]
        for size in range(1, len(parts) + 1):
            for some in combinations(sorted(parts), size):
                if not any(one in below(other) for one in some for other in some):
                    found[place, some] = leaves_of(place) - frozenset().union(*map(leaves_of, some))
    return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Totals by region and partner, who declared what, and what is too small."""
    count = draw(st.integers(2, 4))
    totals = np.array(draw(st.lists(st.lists(st.sampled_from([0, 40, 300, 3000]), min_size=count, max_size=count),
                                    min_size=len(LEAVES), max_size=len(LEAVES))))
    declared = np.array(draw(st.lists(st.lists(st.sampled_from([True, True, True, False]), min_size=len(LEAVES),
                                               max_size=len(LEAVES)), min_size=count, max_size=count)))
    small = np.array(draw(st.lists(st.sampled_from([False, False, True]), min_size=len(PARENTS),
                                   max_size=len(PARENTS))))
    return totals, declared, small


def enough(partners: npt.NDArray[np.bool_]) -> bool:
    return bool(partners.sum() >= 2)


def nobodys(regions: frozenset[int], totals: npt.NDArray[np.int64], declared: npt.NDArray[np.bool_]) -> bool:
    at = [LEAVES.index(one) for one in sorted(regions)]
    by_partner = totals[at].sum(axis=0)
    return enough(np.asarray(declared[:, at].any(axis=1))) and by_partner.sum() > 0 and (
        by_partner.max() <= MOST * by_partner.sum())


def run(totals: npt.NDArray[np.int64], declared: npt.NDArray[np.bool_], small: npt.NDArray[np.bool_],
        ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """What was shown, what was sensitive, and what was withheld besides; without noise."""
    sensitive = np.array([not nobodys(leaves_of(i), totals, declared) for i in range(len(PARENTS))])
    reviewed = np.array([totals[[LEAVES.index(one) for one in sorted(leaves_of(i))]].sum()
                         for i in range(len(PARENTS))], dtype=np.float64)
    shown = ~sensitive & ~small & (reviewed > 0)
    contributions = Contributions(declared=declared, enough=enough, totals=totals[:, None], most=MOST)
    found = complements(make_nodes(np.where(shown, reviewed, np.nan), 0.0), shown[:, None], sensitive[:, None],
                        contributions, threshold=lambda variance: 50 + int(variance))
    return shown, sensitive, found[:, 0]


@given(cases())
def test_nothing_that_may_not_be_known_can_be_worked_out(
        case: tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]) -> None:
    totals, declared, _ = case
    shown, sensitive, besides = run(*case)
    assert not (besides & ~shown).any()
    left = shown & ~besides
    for (_, parts), regions in differences(left).items():
        at = [LEAVES.index(one) for one in sorted(regions)]
        # All that is left is of sensitive places, and enough to matter.
        if regions and all(sensitive[one] for one in regions) and totals[at].sum() >= 50:
            assert nobodys(regions, totals, declared), parts


@given(cases())
def test_nothing_is_withheld_where_nothing_has_to_be(
        case: tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]) -> None:
    totals, declared, _ = case
    shown, sensitive, besides = run(*case)
    safe = all(not regions or nobodys(regions, totals, declared) for regions in differences(shown).values())
    if safe or not sensitive.any():
        assert not besides.any()
    assert not besides[0], "a country is never taken: less what is shown below it there would be nothing to hide"


def test_noise_raises_what_is_enough_to_matter() -> None:
    totals = np.array([[900, 0], [500, 500], [500, 500], [500, 500], [500, 500], [500, 500]])
    assert LEAVES[0] == 3
    declared = np.ones((2, len(LEAVES)), dtype=np.bool_)
    shown, _, besides = run(totals, declared, np.zeros(len(PARENTS), dtype=np.bool_))
    assert not shown[3]
    assert besides.sum() >= 1
    contributions = Contributions(declared=declared, enough=enough, totals=totals[:, None], most=MOST)
    reviewed = np.array([5900, 3000, 2000, 900, *[1000] * 5], dtype=np.float64)
    for variance, taken in ((10.0, True), (1e6, False)):
        found = complements(make_nodes(reviewed, variance), shown[:, None], ~shown[:, None], contributions,
                            threshold=lambda spread: int(3 * spread**0.5))
        assert found.any() == taken


def test_without_totals_only_cover_counts() -> None:
    totals = np.array([[900, 0], [500, 500], [500, 500], [500, 500], [500, 500], [500, 500]])
    declared = np.ones((2, len(LEAVES)), dtype=np.bool_)
    reviewed = np.array([5900, 3000, 2000, 900, *[1000] * 5], dtype=np.float64)
    shown = np.arange(len(PARENTS)) != 3
    contributions = Contributions(declared=declared, enough=enough, totals=totals[:, None], most=MOST)
    for these, taken in ((contributions, True), (replace(contributions, totals=None), False)):
        found = complements(make_nodes(reviewed, 0.0), shown[:, None], ~shown[:, None], these,
                            threshold=lambda variance: 50)
        assert found.any() == taken
