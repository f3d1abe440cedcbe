"""Which polygon is which region: one witness is never enough, and what is out of date is left out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from server.release.geometry import matching
from server.release.geometry.matching import Country, Match, read_polygons

_ISO = {"XX-N": ("Napo", None), "XX-T": ("Tungurahua", None), "XX-A": ("Alba", None),
        "XX-A1": ("Alba", "XX-A"), "XX-A2": ("Bihor", "XX-A")}
_POINTS = {"XX-N": (0.5, 0.5), "XX-T": (1.5, 0.5), "XX-A": (2.9, 0.5), "XX-A1": (2.5, 0.5), "XX-A2": (3.5, 0.5)}


@pytest.fixture(autouse=True)
def _invented_country(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "pycountry", SimpleNamespace(subdivisions=[
        SimpleNamespace(code=code, name=name, parent_code=above, country_code="XX")
        for code, (name, above) in _ISO.items()]))


def _reviewed(**decisions: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {key: {} for key in (
        "other_division", "out_of_date", "inside", "by_field", "union", "moved", "territories", "split", "same")}
    return empty | decisions


def _feature(number: int, west: float, name: str, *, code: str = "", geonames: str = "", **more: str) -> dict[str, Any]:
    """A unit square of the source with its western side at `west`."""
    ring = [[west, 0], [west, 1], [west + 1, 1], [west + 1, 0], [west, 0]]
    keys = [*matching._OWN_NAMES, *matching._OTHER_LANGUAGES, "region", "geonunit"]
    return {"geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": dict.fromkeys(keys, "") | {
        "adm1_code": f"S-{number}", "iso_a2": "XX", "name": name, "iso_3166_2": code, "gn_name": geonames} | more}


def _match(features: list[dict[str, Any]], **decisions: Any) -> Country:
    reviewed = _reviewed(**decisions)
    return Country("XX", [p for p in read_polygons(features, reviewed) if p.country == "XX"], _POINTS, reviewed)


_NAPO, _TUNGURAHUA = _feature(1, 0, "Napo", geonames="Provincia de Napo"), _feature(2, 1, "Tungurahua")
_ALBA, _BIHOR = _feature(3, 2, "Alba", code="XX-A1"), _feature(4, 3, "Bihor")


def test_a_name_with_a_second_name_or_with_the_place() -> None:
    assert _match([_NAPO, _TUNGURAHUA]).matches == {
        "XX-N": Match(by="name", name="Napo", polygons=("S-1",)),
        "XX-T": Match(by="name", name="Tungurahua", polygons=("S-2",))}


def test_a_name_alone_is_not_enough() -> None:
    assert _match([_feature(1, 8, "Napo")]).matches == {}


def test_neither_is_the_place_nor_the_code() -> None:
    assert _match([_feature(1, 0, "Sucumbíos", code="XX-N")]).matches == {}


def test_two_provinces_with_each_other_s_name_and_code() -> None:
    # As the source has Napo and Tungurahua in Ecuador: only GeoNames and the place tell them apart.
    swapped = [_feature(1, 0, "Tungurahua", code="XX-T", geonames="Napo"),
               _feature(2, 1, "Napo", code="XX-N", geonames="Tungurahua")]
    assert {region: match.polygons for region, match in _match(swapped).matches.items()} == {
        "XX-N": ("S-1",), "XX-T": ("S-2",)}


def test_other_languages_count_only_with_the_code() -> None:
    german = {"name_de": "Napo", "gn_name": "Napo"}
    assert _match([_feature(1, 8, "?", **german), _TUNGURAHUA]).matches.keys() == {"XX-T"}
    assert "XX-N" in _match([_feature(1, 8, "?", code="XX-N", **german)]).matches


def test_two_polygons_that_fit_one_region_are_left_out() -> None:
    country = _match([_NAPO, _feature(2, 5, "Napo", geonames="Napo")])
    assert country.matches == {}
    assert "several" in country.dropped["XX-N"]


def test_a_region_of_which_another_polygon_has_the_code_is_left_out() -> None:
    # As Dublin is in the source: one polygon has the name, three more have the code.
    country = _match([_NAPO, _feature(2, 5, "Fingal", code="XX-N")])
    assert country.matches == {}
    assert "carry its code" in country.dropped["XX-N"]


def test_a_region_that_has_been_split_since_is_left_out() -> None:
    # Bihor has no polygon, and its point lies in that of Napo.
    wide = _feature(1, 0, "Napo", geonames="Napo")
    wide["geometry"]["coordinates"][0][2][0] = wide["geometry"]["coordinates"][0][3][0] = 4.0
    assert _match([wide], inside={"XX-T": "", "XX-A1": "", "XX-A2": ""}).matches.keys() == {"XX-N"}
    country = _match([wide], inside={"XX-T": "", "XX-A1": ""})
    assert country.matches == {}
    assert country.dropped["XX-N"] == "XX-A2 (Bihor) lies inside and has no polygon"


def test_a_region_that_people_know_to_be_out_of_date() -> None:
    country = _match([_NAPO, _TUNGURAHUA], out_of_date={"XX-N": "moved"})
    assert country.matches.keys() == {"XX-T"}
    assert country.dropped["XX-N"] == "moved"


def test_a_region_above_others_is_the_union_of_its_parts() -> None:
    country = _match([_ALBA, _BIHOR])
    assert country.matches["XX-A"] == Match(by="parts", name="", polygons=("S-3", "S-4"))
    assert country.matches["XX-A1"].polygons == ("S-3",)


def test_a_part_that_shares_the_name_of_its_whole_is_not_the_whole() -> None:
    # As Kankan in Guinea: the polygon of the prefecture bears the code of the region.
    country = _match([_feature(3, 2, "Alba", code="XX-A", geonames="Alba"), _BIHOR])
    assert country.matches.keys() == {"XX-A2"}
    assert "its own parts" in country.dropped["XX-A"]


def test_without_all_its_parts_a_region_has_no_polygon() -> None:
    assert "XX-A" not in _match([_BIHOR]).matches


def test_what_people_decided() -> None:
    same = {"XX-N": [["S-1", "S-2"], "both"]}
    country = _match([_feature(1, 0, "?"), _feature(2, 1, "??")], same=same)
    assert country.matches == {"XX-N": Match(by="reviewed", name="?", polygons=("S-1", "S-2"))}


def test_a_polygon_that_people_gave_away_is_no_other_region_s() -> None:
    country = _match([_NAPO], same={"XX-T": [["S-1"], "wrong name"]}, inside={"XX-N": ""})
    assert country.matches.keys() == {"XX-T"}


def test_a_country_of_another_division_is_not_matched_by_name() -> None:
    assert _match([_NAPO, _TUNGURAHUA], other_division={"XX": "old"}).matches == {}


def test_by_the_source_s_own_field() -> None:
    features = [_feature(3, 2, "?", region="Alba"), _feature(4, 3, "Bihor", region="Alba", geonames="Bihor")]
    assert _match(features, by_field={"region": ["XX-A"]}).matches["XX-A"] == Match(
        by="region", name="Alba", polygons=("S-3", "S-4"))


def test_a_field_that_contradicts_iso_is_an_error_unless_people_agree() -> None:
    features = [_feature(1, 0, "Napo", region="Alba", geonames="Napo"), _feature(4, 3, "Bihor", region="Alba")]
    with pytest.raises(ValueError, match="XX-A: the source puts XX-N into it"):
        _match(features, by_field={"region": ["XX-A"]})
    agreed = _match(features, by_field={"region": ["XX-A"]}, moved={"XX-N": ["XX-A", "since 2001"]})
    assert agreed.matches["XX-A"].polygons == ("S-1", "S-4")


def test_a_union_that_cuts_through_a_region_is_an_error() -> None:
    with pytest.raises(ValueError, match="the source puts XX-A1 into it"):
        _match([_ALBA, _BIHOR], same={"XX-A1": [["S-3", "S-4"], ""]}, union={"XX-A": [["S-3"], ""]})


def test_a_territory_comes_from_its_own_country_code() -> None:
    island = _feature(5, 6, "Island", iso_a2="YY")
    assert _match([island], territories={"XX-T": ["YY", "dependency"]}).matches == {
        "XX-T": Match(by="reviewed", name="Island", polygons=("S-5",))}


def test_a_part_that_is_a_region_of_its_own_is_taken_off() -> None:
    two = _feature(1, 0, "Napo", geonames="Napo")
    far = [[9, 0], [9, 1], [9.5, 1], [9, 0]]
    two["geometry"] = {"type": "MultiPolygon", "coordinates": [two["geometry"]["coordinates"], [far]]}
    country = _match([two], split={"XX-T": ["S-1", [8.9, -1, 9.9, 2], "an island"]})
    assert country.matches["XX-T"] == Match(by="reviewed", name="", polygons=("XX-T",))
    assert {region: len(country.polygons[match.polygons[0]].parts) for region, match in country.matches.items()} == {
        "XX-N": 1, "XX-T": 1}
