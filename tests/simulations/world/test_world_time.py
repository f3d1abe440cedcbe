"""Quarters: season, shock, a change of definition, people who return."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from datetime import date, timedelta
from functools import cache

import pytest

from federation.errors import InputError
from federation.taxonomy import RegionRole, Task
from simulations.world import Parameters, SyntheticWorld
from simulations.world.climate import climate
from simulations.world.parameters import TimeParameters
from tests.simulations.world.bounds import assert_share

P = Parameters()


@cache
def _world(quarter: int, **time: int) -> SyntheticWorld:
    return SyntheticWorld(seed=9, quarter=quarter, parameters=replace(P, bad_rows=0.0, time=TimeParameters(**time)))


def test_quarters_follow_one_another() -> None:
    periods = [_world(quarter).period for quarter in range(6)]
    assert periods[0] == (date(2024, 10, 1), date(2024, 12, 31))
    assert periods[1] == (date(2025, 1, 1), date(2025, 3, 31))
    for (_, end), (start, _) in itertools.pairwise(periods):
        assert start == end + timedelta(days=1)
    for draft in _world(5).stream("agency-labour"):
        assert periods[5][0] <= date.fromisoformat(draft.row["observed_at"]) <= periods[5][1]


def test_the_first_quarter_has_no_season_and_by_default_nothing_changes() -> None:
    for quarter in range(4):
        now = climate(9, P, quarter)
        assert not now.shocked
        assert not now.redefined
        assert now.effects == climate(9, P, 0).effects
    assert set(climate(9, P, 0).season.values()) == {0.0}


def test_the_season_is_an_ar1_process() -> None:
    steps, before = [], []
    for seed in range(400):
        found = [climate(seed, P, quarter).season[Task.RECRUITMENT] for quarter in (3, 4)]
        before.append(found[0])
        steps.append(found[1] - P.time.persistence * found[0])
    sd = math.sqrt(sum(step**2 for step in steps) / len(steps))
    assert sd == pytest.approx(P.time.season_spread, rel=0.18)
    assert abs(sum(steps)) / len(steps) < 0.05
    # The innovation is independent of what was.
    assert abs(sum(a * b for a, b in zip(steps, before, strict=True))) / len(steps) < 5 * 0.2 * 0.23 / math.sqrt(400)


def test_a_shock_raises_the_odds_in_two_regions_from_its_quarter_on() -> None:
    calm = _world(2)
    for quarter in (1, 2, 3):
        now = _world(quarter, shock_quarter=2)
        assert len(now.climate.shocked) == (2 if quarter >= 2 else 0)
        for task in Task:
            for role, effects in now.effects[task].items():
                for region, effect in effects.items():
                    hit = (task is Task.RECRUITMENT and role is RegionRole.ORIGIN and region in now.climate.shocked)
                    assert effect - calm.effects[task][role][region] == pytest.approx(math.log(1.8) if hit else 0.0)


def test_a_shock_shows_in_the_records() -> None:
    def rate(world: SyntheticWorld, regions: tuple[str, ...]) -> float:
        drafts = [d for d in world.stream("agency-helpline") if d.row["region_origin"] in regions]
        return sum(d.truth[Task.RECRUITMENT] for d in drafts) / len(drafts)

    def large(**time: int) -> SyntheticWorld:
        return replace(_world(2, **time), records=40_000)

    shocked = large(shock_quarter=2)
    regions = shocked.climate.shocked
    others = tuple(region for region in P.regions if region not in regions)
    assert rate(shocked, regions) > 1.25 * rate(large(), regions)
    assert rate(shocked, others) == pytest.approx(rate(large(), others), abs=0.03)


def test_a_narrower_definition_cuts_positive_labels_and_no_truth() -> None:
    before, after = _world(2), _world(2, definition_quarter=2)
    for name in ("ngo-legal", "agency-helpline"):
        labelled, truths = [], []
        for world in (before, after):
            drafts = list(world.stream(name))
            truths.append(sum(d.truth[Task.RECRUITMENT] for d in drafts))
            found = [d.row["label_recruitment"] for d in drafts
                     if d.truth[Task.RECRUITMENT] and d.row["label_recruitment"] in ("positive", "negative")]
            labelled.append((found.count("positive"), len(found)))
        assert truths[1] == pytest.approx(truths[0], rel=0.12)
        missed = P.kinds[before.profile(name).partner.kind].missed
        assert_share(*labelled[0], 1 - missed)
        assert_share(*labelled[1], (1 - missed) * P.time.definition_factor)
    # Measured: 86 % to 50-55 %, a fall by over a third.
    assert P.time.definition_factor < 2 / 3


def test_a_documented_share_of_the_people_return_and_stay_who_they_are() -> None:
    def people(quarter: int, name: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for draft in _world(quarter).stream(name):
            found.setdefault(draft.row["person"], set()).add(draft.language)
        return found

    for name in ("ngo-legal", "platform-jobs"):
        first, second, third = (people(quarter, name) for quarter in range(3))
        same = round(len(first) * P.time.returning)
        for other in (second, third):
            assert len(first.keys() & other.keys()) == same
            assert all(first[key] == other[key] for key in first.keys() & other.keys())
        assert len(second.keys() & third.keys()) == same


def test_records_of_different_quarters_are_different() -> None:
    ids = [{draft.row["record_id"] for draft in _world(quarter).stream("ngo-legal")} for quarter in range(3)]
    assert len(set().union(*ids)) == sum(map(len, ids))


def test_bad_quarters_are_refused() -> None:
    with pytest.raises(InputError, match=r"world\.quarter"):
        SyntheticWorld(seed=1, quarter=-1)


def test_truth_tells_the_quarter() -> None:
    truth = SyntheticWorld(seed=9, size="tiny", quarter=3, parameters=replace(
        P, time=TimeParameters(shock_quarter=1, definition_quarter=2))).truth()
    assert truth["climate"]["quarter"] == 3
    assert truth["climate"]["redefined"] is True
    assert len(truth["climate"]["shocked"]) == 2
    assert truth["climate"]["season"]["recruitment"] != 0.0
    assert truth["period"] == ["2025-07-01", "2025-09-30"]
