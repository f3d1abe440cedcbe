"""Bands, trends, lifts and corridors against cases worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.taxonomy import Family, RegionRole, Task
from server.release import derive
from server.release.comparable import comparable
from server.release.decide import Gated
from server.release.derive import count_class, derive_corridors, derive_lifts, derive_rates, derive_trend, lift_class
from tests.server.release.counted import NORTH, REGIONS, SOUTH, WHOLE, World, make_plan, rich

PLAN = make_plan(super_regions=(), indicators=None, roles=(RegionRole.ORIGIN,), tasks=(Task.RECRUITMENT,))
RICH = rich(PLAN)
NODES = RICH.gated().nodes
NOTHING = (math.nan, math.nan, math.nan)


def prescribe(monkeypatch: pytest.MonkeyPatch, intervals: dict[int, tuple[float, float, float]]) -> None:
    """Let the rate of a count of flags be what the test says: value, lower and upper end, by count."""
    def given_interval(flagged: np.ndarray, *_: object, **__: object) -> tuple[np.ndarray, ...]:
        found = np.array([intervals.get(int(x), NOTHING) if math.isfinite(x) else NOTHING for x in flagged.ravel()])
        return tuple(found.T.reshape(3, *flagged.shape))

    monkeypatch.setattr(derive, "corrected_interval", given_interval)


# Bands


def band(monkeypatch: pytest.MonkeyPatch, country: tuple[float, float, float] | None, place: tuple[float, float, float],
         ) -> object:
    """The band of the first region of `XA`, with the country's rate and the region's as given; factor 2."""
    world = RICH.but(Family.COUNTRIES, (0, 0, 1), 2001).but(Family.REGIONS, (0, 0, 1), 301)
    gated = world.gated()
    if country is None:
        gated.nodes.flagged[0] = math.nan
    monkeypatch.setattr(derive, "_consistent", lambda nodes, counts: (counts, np.ones(counts.shape)))
    prescribe(monkeypatch, {2001: country or NOTHING, 301: place, 300: (0.1, 0.09, 0.11), 600: (0.1, 0.09, 0.11),
                            1800: (0.1, 0.09, 0.11)})
    found = derive_rates(PLAN, gated).band[:, 0, 0]
    assert found[0] is found[1] is None, "a country is compared with nothing"
    return found[2]


@pytest.mark.parametrize(("place", "expected"), [
    ((0.30, 0.21, 0.40), "high"),               # above 0.2 altogether
    ((0.30, 0.20, 0.40), "medium"),             # touches it
    ((0.10, 0.05, 0.19), "low"),
    ((0.15, 0.10, 0.20), "medium"),             # 0.2 / 2 and 0.2 itself
    ((0.20, 0.10, 0.40), "medium"),             # exactly [0.2 / 2, 0.2 · 2]
    ((0.20, 0.0999, 0.40), "insufficient"),
    ((0.20, 0.10, 0.4001), "insufficient"),
    ((0.20, -0.30, 0.90), "insufficient"),
    ((0.90, 0.80, 1.00), "high"),
    ((0.0, -0.1, 0.01), "low"),
])
def test_bands_against_a_country_at_a_fifth(monkeypatch: pytest.MonkeyPatch, place: tuple[float, float, float],
                                            expected: str) -> None:
    assert band(monkeypatch, (0.2, 0.2, 0.2), place) == expected


def test_without_the_countrys_rate_nothing_can_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ((0.9, 0.8, 1.0), (0.0, -0.1, 0.01), (0.2, 0.19, 0.21)):
        assert band(monkeypatch, None, place) == "insufficient"


@pytest.mark.parametrize(("country", "place", "expected"), [
    # The ends of the difference lie sqrt(0.03² + 0.04²) = 0.05 from it.
    ((0.2, 0.16, 0.24), (0.251, 0.221, 0.281), "high"), ((0.2, 0.16, 0.24), (0.249, 0.219, 0.279), "medium"),
    ((0.2, 0.16, 0.24), (0.149, 0.119, 0.179), "low"), ((0.2, 0.16, 0.24), (0.151, 0.121, 0.181), "medium"),
    ((0.2, -1.0, 9.0), (0.3, 0.21, 0.4), "insufficient"),
    # From 0.2 · 2 = 0.4 ± 0.08 a place at 0.3 ± 0.06 is 0.1 away, and so are the ends of the difference.
    ((0.2, 0.16, 0.29), (0.3, 0.24, 0.359), "medium"), ((0.2, 0.16, 0.29), (0.3, 0.24, 0.361), "insufficient"),
])
def test_the_countrys_own_rate_is_uncertain(monkeypatch: pytest.MonkeyPatch, country: tuple[float, float, float],
                                            place: tuple[float, float, float], expected: str) -> None:
    assert band(monkeypatch, country, place) == expected


def test_places_that_are_alike_are_seldom_told_apart() -> None:
    """Two regions of one rate and a tiny one that is withheld: nothing is adjusted, and the country is as uncertain."""
    plan = make_plan(regions=REGIONS[:3], protected=(), super_regions=(), indicators=None, corridors=(),
                     coverage=(REGIONS[:3],) * 4, roles=(RegionRole.ORIGIN,), tasks=(Task.RECRUITMENT,))
    rng, people = np.random.default_rng(0), np.array([2500, 2500, 30])
    shown = wrong = 0
    for _ in range(150):
        world = rich(plan)
        flags = rng.binomial(people, 0.0904)  # 8 % at a sensitivity of 0.9 and a false-alarm rate of 0.02
        world.table(Family.REGIONS)[:, 0, 0], world.table(Family.REGIONS)[:, 0, 1] = people, flags
        world.table(Family.COUNTRIES)[0, 0] = people.sum(), flags.sum()
        world.table(Family.CONFUSION)[0] = [[58_800, 1200], [2000, 18_000]]
        for family, sd in ((Family.REGIONS, 40.0), (Family.COUNTRIES, 80.0)):
            table = world.table(family)
            table += np.rint(rng.normal(0.0, sd, table.shape)).astype(np.int64)
        found = derive_rates(plan, world.gated()).band[1:, 0, 0].tolist()
        shown += sum(band is not None for band in found)
        wrong += sum(band in ("high", "low") for band in found)
    assert shown > 200
    assert wrong <= 0.05 * shown


def test_each_place_is_compared_with_its_own_country_role_and_task(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan()
    world = rich(plan).but(Family.COUNTRIES, (1, 1, 2), 701)
    monkeypatch.setattr(derive, "_consistent", lambda nodes, counts: (counts, np.ones(counts.shape)))
    prescribe(monkeypatch, {701: (0.01, 0.0, 0.02), **dict.fromkeys((300, 600, 900, 1800), (0.1, 0.09, 0.11))})
    bands = derive_rates(plan, world.gated()).band
    changed = [(n, r, t) for n, r, t in np.ndindex(bands.shape) if bands[n, r, t] == "high"]
    assert changed == [(n, 1, 1) for n in (4, 11, 12)]
    assert set(bands.ravel()) == {None, "high", "medium"}


def test_what_is_withheld_has_no_band_and_no_figure() -> None:
    world = RICH.but(Family.REGIONS, (3, 0, 1), 60)
    rates = derive_rates(PLAN, world.gated())
    assert rates.band[5, 0, 0] is None
    for figure in (rates.value, rates.lower, rates.upper, rates.signals, rates.signals_sd, rates.flagged,
                   rates.flagged_variance):
        assert np.isnan(figure[5, 0, 0])
        assert np.isnan(figure).sum() == 1
    assert not np.isnan(rates.reviewed).any()


# Least squares


def families(monkeypatch: pytest.MonkeyPatch, world: World) -> list[tuple[np.ndarray, ...]]:
    """What least squares is asked for: of records, then of flags."""
    asked = []

    def spy(values: np.ndarray, variances: np.ndarray, parent: np.ndarray, complete: np.ndarray) -> tuple[Any, Any]:
        asked.append((values, variances, parent, complete))
        return values, variances

    monkeypatch.setattr(derive, "make_consistent", spy)
    derive_rates(world.plan, world.gated())
    return asked


def test_least_squares_is_asked_for_in_complete_families_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan()
    (_, _, parent, records), (_, _, _, flags) = families(monkeypatch, rich(plan))
    assert records.shape == (13, 2)
    assert flags.shape == (13, 4)
    assert parent.tolist() == [-1, -1, 0, 0, 1, 2, 2, 2, 3, 3, 3, 4, 4]
    assert (records.sum(axis=0) == 5).all()
    assert (flags.sum(axis=0) == 5).all()
    # The records of one region in one role, and so its flags, are withheld: north is not complete, the country is.
    (_, _, _, records), (values, variances, _, flags) = families(
        monkeypatch, rich(plan).but(Family.REGIONS, (1, 0, 0), 50))
    assert np.flatnonzero(~records[:5, 0]).tolist() == [2]
    assert records[:5, 1].all()
    assert [np.flatnonzero(~flags[:5, column]).tolist() for column in range(4)] == [[2], [2], [], []]
    assert np.isnan(values[6, :2]).all()
    assert np.isnan(variances[6, :2]).all()
    # One task of one super-region: neither its own family nor its country's is complete.
    (_, _, _, records), (_, _, _, flags) = families(
        monkeypatch, rich(plan).but(Family.SUPER_REGIONS, (1, 1, 2), 150))
    assert records[:5].all()
    assert [np.flatnonzero(~flags[:5, column]).tolist() for column in range(4)] == [[], [], [], [0, 3]]


def test_variances_are_those_of_each_level(monkeypatch: pytest.MonkeyPatch) -> None:
    (_, variances, _, _), _ = families(monkeypatch, rich(make_plan()))
    np.testing.assert_allclose(variances[:, 0], [6400.0] * 5 + [1600.0] * 8)


def test_what_adjusting_makes_unbounded_is_told_as_it_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derive, "make_consistent", lambda values, variances, *_: (values, variances))
    plain = derive_rates(PLAN, RICH.gated())

    def shrink(values: np.ndarray, variances: np.ndarray, *_: object) -> tuple[np.ndarray, np.ndarray]:
        adjusted = values.copy()
        adjusted[3] = 10.0  # far below the noise
        return adjusted, variances

    monkeypatch.setattr(derive, "make_consistent", shrink)
    rates = derive_rates(PLAN, RICH.gated())
    assert rates.reviewed[3, 0] == 10.0
    for name in ("value", "lower", "upper", "signals", "signals_sd"):
        np.testing.assert_array_equal(getattr(rates, name), getattr(plain, name))
    assert np.isfinite(rates.lower).all()


# Trends


def earlier(rate: float, lower: float, upper: float, **changes: Any) -> dict[str, Any]:
    cell = {"area": "XA-01", "role": "origin", "task": "recruitment", "status": "shown",
            "unclipped": {"rate": rate, "lower": lower, "upper": upper}} | changes
    areas = NODES.areas
    return {"rate_per_reviewed_records": 10_000, "cells": [cell], "gate": {"flag_threshold": 0.5},
            "areas": [{"code": area.code, "level": area.level.value, "parent": area.parent, "status": "measured"}
                      for area in areas],
            "coverage": {"in_sum": list(RICH.partners),
                         "areas": {area.code: {"agency": 1, "ngo": 2, "platform": 1} for area in areas}}}


def trend(previous: dict[str, Any], gated: Gated | None = None, value: float = 0.30, half: float = 0.03,
          ) -> dict[tuple[int, int, int], dict[str, Any]]:
    """The trend of rates that are 0.3 ± 0.03."""
    gated = gated or RICH.gated()
    rates = derive_rates(PLAN, gated)
    shown = np.where(np.isnan(rates.value), np.nan, value)
    rates = replace(rates, value=shown, lower=shown - half, upper=shown + half)
    return derive_trend(PLAN, gated.nodes, rates, previous, partners=RICH.partners)


@pytest.mark.parametrize(("before", "expected"), [
    # The ends lie sqrt(0.03² + 0.04²) = 0.05 from the difference (MOVER, Zou & Donner 2008).
    ((2499.0, 2099.0, 2899.0), "rose"), ((2501.0, 2101.0, 2901.0), "no_clear_change"),
    ((3000.0, 2600.0, 3400.0), "no_clear_change"),
    ((3501.0, 3101.0, 3901.0), "fell"), ((3499.0, 3099.0, 3899.0), "no_clear_change"),
])
def test_trends_by_the_ends_of_their_interval(before: tuple[float, float, float], expected: str) -> None:
    found = trend(earlier(*before))
    assert list(found) == [(2, 0, 0)]
    one = found[2, 0, 0]
    assert one["class"] == expected
    assert one["difference"] == pytest.approx(0.3 - before[0] / 10_000)
    assert one["upper"] - one["difference"] == pytest.approx(0.05)
    assert one["difference"] - one["lower"] == pytest.approx(0.05)


def test_the_ends_of_a_trend_are_taken_from_the_right_sides() -> None:
    # Earlier 0.2 from 0.19 to 0.24: the upper end of the difference rests on the earlier lower end.
    one = trend(earlier(2000.0, 1900.0, 2400.0))[2, 0, 0]
    assert one["upper"] == pytest.approx(0.1 + math.hypot(0.03, 0.01))
    assert one["lower"] == pytest.approx(0.1 - math.hypot(0.03, 0.04))


@pytest.mark.parametrize("changes", [{"area": "XA-77"}, {"role": "destination"}, {"task": "distress"},
                                     {"status": "withheld"}])
def test_no_trend_without_the_same_cell_shown_before(changes: dict[str, str]) -> None:
    assert trend(earlier(2000.0, 1900.0, 2100.0, **changes)) == {}


def test_no_trend_where_nothing_is_shown_now() -> None:
    gated = RICH.but(Family.REGIONS, (0, 0, 1), 60).gated()
    assert trend(earlier(2000.0, 1900.0, 2100.0), gated) == {}


def other_partners(previous: dict[str, Any]) -> None:
    previous["coverage"]["in_sum"].append("newcomer")


def other_threshold(previous: dict[str, Any]) -> None:
    previous["gate"]["flag_threshold"] = 0.6


def other_coverage(previous: dict[str, Any]) -> None:
    previous["coverage"]["areas"]["XA-01"] = {"ngo": 2, "platform": 1}


def protected_then(previous: dict[str, Any]) -> None:
    next(area for area in previous["areas"] if area["code"] == "XA-01")["status"] = "protected"


@pytest.mark.parametrize("change", [other_partners, other_threshold, other_coverage, protected_then])
def test_no_trend_of_what_is_not_the_same(change: Callable[[dict[str, Any]], None]) -> None:
    previous = earlier(2000.0, 1900.0, 2100.0)
    assert trend(previous)
    change(previous)
    assert trend(previous) == {}


@pytest.mark.parametrize(("code", "compared"), [("XA", False), ("XB", True)])
def test_a_coarse_place_is_the_regions_in_it(code: str, compared: bool) -> None:
    previous = earlier(2000.0, 1900.0, 2100.0, area=code)
    assert trend(previous)
    next(area for area in previous["areas"] if area["code"] == "XA-04")["status"] = "protected"
    assert bool(trend(previous)) is compared


def test_super_regions_that_change_places_have_no_trend() -> None:
    plan = make_plan(corridors=(), indicators=None)
    areas, partners = rich(plan).gated().nodes.areas, RICH.partners
    previous = earlier(0.0, 0.0, 0.0)
    previous["coverage"]["areas"] |= {one.code: {"agency": 1, "ngo": 2, "platform": 1} for one in (NORTH, SOUTH, WHOLE)}
    previous["areas"] = [{"code": area.code, "level": area.level.value, "parent": area.parent, "status": "measured"}
                         for area in areas]
    assert comparable(plan, areas, partners, previous) == {area.code for area in areas}
    turned = {"XA:north": "XA:south", "XA:south": "XA:north"}
    for area in previous["areas"]:
        area["parent"] = turned.get(area["parent"], area["parent"])
    assert {area.code for area in areas} - comparable(plan, areas, partners, previous) == {"XA:north", "XA:south"}


def test_rates_of_another_unit_are_brought_to_shares() -> None:
    previous = earlier(20.0, 19.0, 21.0) | {"rate_per_reviewed_records": 100}
    assert trend(previous)[2, 0, 0]["difference"] == pytest.approx(0.1)


# Lifts


@pytest.mark.parametrize(("lower", "upper", "expected"), [
    (1.01, 3.0, "more_often"), (0.2, 0.99, "less_often"), (0.9, 1.1, "no_clear_difference"),
    (1.0, 2.0, "no_clear_difference"), (0.5, 1.0, "no_clear_difference")])
def test_classes_of_lifts(lower: float, upper: float, expected: str) -> None:
    assert lift_class(lower, upper) == expected


def test_a_lift_is_the_share_among_the_flagged_over_that_among_the_others() -> None:
    # 450 of 1500 against 800 of 8000: three times as often.
    world = rich(make_plan())
    lift, lower, upper = derive_lifts(world.gated().indicators, 6400.0)  # type: ignore[arg-type]
    np.testing.assert_allclose(lift, 3.0)
    assert (lower < 3.0).all()
    assert (upper > 3.0).all()
    assert lift.shape == (2, 2, 2, 2)


# Corridors


@pytest.mark.parametrize(("lower", "upper", "expected"), [
    (12.0, 40.0, (11, 50)), (11.0, 49.9, (11, 50)), (10.9, 40.0, (0, 50)), (60.0, 150.0, (50, 200)),
    (49.9, 50.0, (11, 200)), (50.0, 199.9, (50, 200)), (30.0, 250.0, (11, 1000)), (250.0, 999.0, (200, 1000)),
    (999.0, 1000.0, (200, None)), (1000.0, 9e9, (1000, None)), (0.0, 5.0, (0, 11)), (0.0, 9e9, (0, None))])
def test_count_classes_of_corridors(lower: float, upper: float, expected: tuple[int, int | None]) -> None:
    assert tuple(count_class(lower, upper, minimum_count=11).values()) == expected


@given(st.integers(1, 3000), st.floats(0, 5000), st.floats(0, 5000))
def test_a_class_is_the_smallest_that_holds_its_interval(minimum: int, one: float, other: float) -> None:
    lower, upper = sorted((one, other))
    found = count_class(lower, upper, minimum_count=minimum)
    start, end = found["from"], found["to"]
    assert start is not None
    assert start <= lower
    assert end is None or upper < end
    edges = [0, minimum, *(edge for edge in (50, 200, 1000) if edge > minimum), math.inf]
    assert start in edges
    assert all(not start < edge <= lower for edge in edges)
    assert all(not upper < edge < (end or math.inf) for edge in edges)


def test_signals_of_a_corridor_and_their_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan()
    gated = rich(plan).gated()
    assert gated.corridors is not None
    prescribe(monkeypatch, {300: (0.30, 0.25, 0.35)})
    signals, lower, upper = derive_corridors(plan, gated.corridors, gated.calibrations, 1600.0)
    np.testing.assert_allclose(signals, 0.30 * 900)
    # The ends of the rate times the ends of the count, 900 ± 1.96 · 40.
    np.testing.assert_allclose(lower, 0.25 * (900 - 78.4))
    np.testing.assert_allclose(upper, 0.35 * (900 + 78.4))
    prescribe(monkeypatch, {300: (0.02, -0.05, 0.09)})
    assert (derive_corridors(plan, gated.corridors, gated.calibrations, 1600.0)[1] == 0.0).all()
