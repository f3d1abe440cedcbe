"""Places at three levels: who holds whom, in which order, and who is in none of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.areas import Areas, country_of
from federation.plan_statistics import SuperRegion
from federation.regions import country_name
from federation.taxonomy import AreaLevel
from tests.worlds import make_statistics

REGIONS = ("US-NY", "US-CA", "RO-IS", "US-WA", "RO-VS")
GROUPS = (SuperRegion(code="US:west", name="West", regions=("US-CA", "US-WA")),
          SuperRegion(code="US:east", name="East", regions=("US-NY",)),
          SuperRegion(code="RO:all", name="Moldavia", regions=("RO-IS", "RO-VS")))


def test_codes_by_level_and_what_is_above_each_region() -> None:
    areas = Areas(REGIONS, GROUPS)
    assert areas.codes(AreaLevel.REGION) == REGIONS
    assert areas.codes(AreaLevel.SUPER_REGION) == ("US:west", "US:east", "RO:all")
    assert areas.codes(AreaLevel.COUNTRY) == ("US", "RO")
    assert [areas.above(code, AreaLevel.SUPER_REGION) for code in REGIONS] == [
        "US:east", "US:west", "RO:all", "US:west", "RO:all"]
    assert [areas.above(code, AreaLevel.COUNTRY) for code in REGIONS] == ["US", "US", "RO", "US", "RO"]
    assert [areas.above(code, AreaLevel.REGION) for code in REGIONS] == list(REGIONS)


def test_without_super_regions_a_country_is_next_above_a_region() -> None:
    areas = Areas(REGIONS, ())
    assert areas.codes(AreaLevel.SUPER_REGION) == ()
    assert areas.above("US-NY", AreaLevel.SUPER_REGION) is None
    assert {area.parent for area in areas.all() if area.level is AreaLevel.REGION} == {"US", "RO"}


def test_all_places_come_with_their_names_countries_first() -> None:
    places = Areas(REGIONS, GROUPS).all()
    assert [(place.code, place.name, place.parent) for place in places] == [
        ("US", "United States", None), ("RO", "Romania", None),
        ("US:west", "West", "US"), ("US:east", "East", "US"), ("RO:all", "Moldavia", "RO"),
        ("US-NY", "New York", "US:east"), ("US-CA", "California", "US:west"), ("RO-IS", "Iași", "RO:all"),
        ("US-WA", "Washington", "US:west"), ("RO-VS", "Vaslui", "RO:all")]


def test_names_of_countries() -> None:
    assert (country_of("US-NY"), country_of("US:west")) == ("US", "US")
    assert country_name("XA") == "Invented country XA"
    assert country_name("GB") == "United Kingdom"
    # A code that nobody knows is still something to print.
    assert country_name("ZY") == "ZY"


@given(st.lists(st.sampled_from(("XA-01", "XA-02", "XA-03", "XA-09")), unique=True, max_size=3))
def test_a_protected_region_is_at_no_level(protected: list[str]) -> None:
    left = tuple(code for code in ("XA-01", "XA-02", "XA-03") if code not in protected)
    if not left:
        return
    spec = make_statistics(protected=tuple(protected), super_regions=(
        SuperRegion(code="XA:rest", name="Rest", regions=left),), corridors=())
    areas = Areas.of(spec)
    assert areas.codes(AreaLevel.REGION) == left
    assert not {place.code for place in areas.all()} & set(protected)
    assert all(areas.above(code, AreaLevel.SUPER_REGION) is None for code in protected)


def test_a_country_all_of_whose_regions_are_protected_is_no_country_of_the_plan() -> None:
    spec = make_statistics(regions=("RO-IS", "US-NY"), protected=("RO-IS",), super_regions=(), corridors=())
    assert Areas.of(spec).codes(AreaLevel.COUNTRY) == ("US",)


@pytest.mark.parametrize("level", AreaLevel)
def test_every_counted_region_has_at_most_one_place_at_each_level(level: AreaLevel) -> None:
    areas = Areas(REGIONS, GROUPS)
    assert {areas.above(code, level) for code in REGIONS} == set(areas.codes(level))
