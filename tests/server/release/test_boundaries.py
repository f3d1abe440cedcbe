"""The shapes of regions: that each is the region it says, and that drawings and GeoJSON are sound."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pycountry
import pytest
import yaml

from federation.regions import region_name
from server.release import boundaries
from server.release.boundaries import Outline, geojson, has_boundaries, outline
from server.release.geometry import store
from server.release.geometry.names import agreeing
from server.release.geometry.rings import Points, contains, dissolve, signed_area, trace

_REVIEWED = yaml.safe_load((Path(store.__file__).parent / "reviewed.yaml").read_text(encoding="utf-8"))
_SHIPPED = [(region, entry) for country in store.countries() if (land := store.load(country))
            for region, entry in land.regions.items()]
_MOVED = {region: above for region, (above, _) in _REVIEWED["moved"].items()}
_ABOVE = {s.code: _MOVED.get(s.code, s.parent_code) for s in pycountry.subdivisions}

_SEATS = {
    "US-CA": (34.05, -118.24), "US-NY": (42.65, -73.75), "US-TX": (30.27, -97.74), "US-MI": (42.73, -84.55),
    "US-AK": (64.84, -147.72), "US-HI": (19.64, -155.5), "US-DC": (38.905, -77.02), "US-PR": (18.22, -66.4),
    "CA-ON": (43.7, -79.6), "CA-QC": (46.81, -71.4), "MX-CMX": (19.35, -99.15), "MX-OAX": (17.07, -96.72),
    "GT-01": (14.63, -90.51), "HN-FM": (14.1, -87.2), "NI-AN": (14.3, -84.0), "NI-AS": (12.1, -84.3),
    "CO-DC": (4.65, -74.1), "PE-LMA": (-12.05, -77.0), "PE-LIM": (-11.1, -77.2), "BR-SP": (-23.55, -46.63),
    "AR-B": (-37.0, -60.0), "CL-RM": (-33.45, -70.67), "EC-N": (-0.99, -77.81), "EC-T": (-1.25, -78.62),
    "EC-P": (-0.2, -78.5), "GY-DE": (6.75, -58.1), "GY-UT": (3.38, -59.7), "GY-CU": (6.35, -59.6),
    "GY-UD": (5.9, -58.3), "GY-BA": (7.9, -59.6), "GY-PT": (5.2, -59.2), "TT-TOB": (11.24, -60.68),
    "DE-BY": (48.14, 11.58), "DE-SH": (54.32, 10.0), "DE-BE": (52.52, 13.4), "DE-BB": (52.39, 13.0),
    "FR-75C": (48.86, 2.35), "FR-IDF": (48.86, 2.35), "FR-13": (43.53, 5.45), "FR-ARA": (45.76, 4.84),
    "FR-69": (45.76, 4.84), "FR-20R": (42.3, 9.15), "FR-973": (4.0, -53.0), "FR-GES": (48.58, 7.7),
    "GB-ENG": (51.75, -1.25), "GB-SCT": (56.4, -3.9), "GB-WLS": (52.3, -3.6), "GB-NIR": (54.6, -6.7),
    "IT-82": (37.5, 14.2), "IT-62": (41.9, 12.6), "IT-88": (40.1, 9.0), "IT-23": (45.74, 7.32), "IT-MI": (45.46, 9.19),
    "ES-MD": (40.42, -3.7), "ES-CT": (41.6, 1.8), "ES-CN": (28.3, -16.6), "PT-11": (38.9, -9.2),
    "NL-UT": (52.09, 5.12), "NL-ZH": (51.98, 4.5), "NL-FR": (53.1, 5.8), "IE-D": (53.3, -6.35), "IE-CO": (51.95, -8.7),
    "RO-IS": (47.16, 27.59), "RO-B": (44.43, 26.1), "RO-CJ": (46.77, 23.6), "RO-TM": (45.75, 21.23),
    "BG-22": (42.7, 23.32), "BG-23": (42.34, 23.55), "RS-00": (44.75, 20.5), "BA-BIH": (43.86, 18.3),
    "BA-SRP": (44.77, 17.19), "HR-11": (45.4, 17.6), "HR-12": (45.18, 18.0), "GR-I": (38.0, 23.8),
    "UA-30": (50.45, 30.52), "UA-32": (49.8, 30.12), "UA-43": (45.2, 34.1), "UA-46": (49.84, 24.03),
    "MD-CU": (47.01, 28.86), "MD-RE": (47.7, 28.8), "PL-14": (52.23, 21.0), "PL-12": (50.06, 19.94),
    "CZ-10": (50.08, 14.43), "CZ-42": (50.6, 13.9), "CZ-71": (49.6, 17.25), "LT-VL": (54.69, 25.28),
    "BY-HM": (53.9, 27.56), "BY-HO": (52.43, 30.6), "NO-30": (59.74, 10.0), "NO-34": (60.9, 11.0),
    "NO-50": (63.3, 10.4), "NO-46": (60.4, 6.0), "TR-34": (41.1, 28.8), "TR-06": (39.93, 32.86),
    "RU-MOW": (55.75, 37.62), "RU-MOS": (55.1, 38.77), "RU-CHU": (66.3, -177.5), "RU-KAM": (53.4, 158.2),
    "RU-KGD": (54.71, 20.51), "RU-SA": (62.03, 129.73), "AZ-NX": (39.21, 45.41), "TJ-RA": (39.03, 70.37),
    "UZ-QR": (42.46, 59.4), "KZ-71": (51.15, 71.43), "IL-D": (31.1, 34.8), "IL-Z": (32.8, 35.4), "JO-AM": (31.8, 36.0),
    "IR-23": (35.69, 51.39), "IR-07": (29.59, 52.58), "IR-10": (32.65, 51.67), "IR-09": (36.3, 59.6),
    "AF-PIA": (33.6, 69.3), "AF-PKA": (32.8, 68.8), "AF-PAN": (35.4, 69.8), "AF-DAY": (33.75, 66.2),
    "PK-KP": (33.0, 70.1), "PK-PB": (31.5, 74.3), "IN-MH": (18.52, 73.86), "IN-TS": (17.39, 78.49),
    "IN-UK": (30.2, 78.5), "IN-OD": (20.4, 85.5), "BD-F": (25.74, 89.25), "TH-10": (13.75, 100.5),
    "TH-50": (18.79, 98.98), "VN-HN": (21.03, 105.85), "VN-SG": (10.78, 106.7), "VN-66": (20.75, 106.05),
    "VN-20": (20.45, 106.34), "KH-12": (11.57, 104.85), "MM-06": (17.2, 96.1), "PH-00": (14.62, 121.03),
    "PH-07": (10.4, 123.85), "PH-11": (7.1, 125.5), "PH-12": (6.2, 125.1), "ID-JW": (-6.9, 107.6),
    "ID-KA": (1.0, 114.0), "JP-27": (34.65, 135.5), "KR-11": (37.55, 127.0), "CN-BJ": (39.9, 116.4),
    "CN-HK": (22.4, 114.1),
    "NG-LA": (6.55, 3.35), "NG-ED": (6.34, 5.62), "ET-AA": (9.0, 38.75), "UG-C": (0.5, 32.4), "UG-N": (2.77, 32.3),
    "UG-E": (1.08, 34.0), "UG-W": (-0.61, 30.6), "ZA-GP": (-26.2, 28.05), "ZA-KZN": (-29.5, 30.5),
    "ER-MA": (15.33, 38.93), "ER-DU": (14.89, 38.82), "ER-SK": (15.7, 39.2), "ER-AN": (15.9, 38.3),
    "ER-GB": (15.0, 37.4), "ER-DK": (13.5, 41.8), "GN-KA": (10.4, -9.3), "MG-T": (-18.91, 47.5), "MG-A": (-18.1, 49.2),
    "AU-NSW": (-33.8, 150.9), "AU-TAS": (-42.0, 146.6), "NZ-AUK": (-36.5, 174.6), "NZ-CIT": (-44.0, -176.5),
    "FJ-N": (-16.6, 179.2), "FJ-W": (-17.7, 177.6),
}
"""A town or a spot inland of regions, latitude first, by general knowledge of geography and not from the source."""


@cache
def _polygons(region: str) -> list[list[Points]]:
    (feature,) = geojson([region])["features"]
    return [[np.array(ring) for ring in polygon] for polygon in feature["geometry"]["coordinates"]]


def _inside(region: str, latitude: float, longitude: float) -> bool:
    return sum(contains(ring[:-1], longitude, latitude) for polygon in _polygons(region) for ring in polygon) % 2 == 1


def _middle(region: str) -> tuple[float, float]:
    """Latitude and longitude of the middle of the largest part."""
    largest = max((polygon[0] for polygon in _polygons(region)), key=lambda ring: abs(signed_area(ring)))
    longitude, latitude = (largest.min(axis=0) + largest.max(axis=0)) / 2
    return float(latitude), float(longitude)


def _rings(path: str) -> list[Points]:
    """The rings of path data, which must be moves, relative lines and closes only."""
    assert re.fullmatch(r"(M-?[\d.]+ -?[\d.]+l(-?[\d.]+ ?)*z)*", path)
    found = []
    for start, steps in re.findall(r"M([^l]+)l([^z]*)z", path):
        points = [np.array(start.split(), dtype=float)]
        points += list(np.array(steps.split(), dtype=float).reshape(-1, 2))
        found.append(np.cumsum(points, axis=0))
    return found


def _first_level(country: str) -> list[str]:
    land = store.load(country)
    assert land is not None
    return [region for region in land.regions if _ABOVE[region] is None]


def _draw(country: str, regions: list[str] | None = None) -> Outline:
    found = outline(country, _first_level(country) if regions is None else regions)
    assert found is not None
    return found


# That a shape is the region it says.


def test_every_shape_has_a_code_of_iso_3166_2() -> None:
    assert {region for region, _ in _SHIPPED} <= {s.code for s in pycountry.subdivisions}
    assert len(_SHIPPED) > 3600


def test_every_shape_is_justified_by_its_name_or_by_a_stated_reason() -> None:
    reasons = {**_REVIEWED["same"], **_REVIEWED["union"], **_REVIEWED["territories"], **_REVIEWED["split"]}
    for region, entry in _SHIPPED:
        if entry.by == "reviewed":
            assert reasons[region][-1].strip(), region
        elif entry.by == "parts":
            land = store.load(region[:2])
            assert land is not None
            children = [code for code, above in _ABOVE.items() if above == region]
            assert children, region
            assert {*entry.patches} == {p for child in children for p in land.regions[child].patches}, region
        else:
            assert entry.by in ("name", "region", "geonunit")
            assert agreeing([entry.name], region_name(region)), (region, entry.name)


def test_the_reviewed_list_is_short_and_all_of_it_is_used() -> None:
    shipped = dict(_SHIPPED)
    for kind in ("same", "union", "territories", "split"):
        assert all(shipped[region].by == "reviewed" for region in _REVIEWED[kind])
    assert sum(entry.by == "reviewed" for _, entry in _SHIPPED) < 0.05 * len(_SHIPPED)
    assert not {region for region, _ in _SHIPPED} & _REVIEWED["out_of_date"].keys()
    # Countries divided otherwise have at most regions above the polygons.
    assert {region[:2] for region, entry in _SHIPPED if entry.by == "name"}.isdisjoint(_REVIEWED["other_division"])


@pytest.mark.parametrize("region", _SEATS)
def test_a_place_lies_in_its_region_and_in_no_other_of_its_level(region: str) -> None:
    assert _inside(region, *_SEATS[region])
    siblings = [other for other, _ in _SHIPPED if other[:2] == region[:2] and _ABOVE[other] == _ABOVE[region]]
    assert [other for other in siblings if _inside(other, *_SEATS[region])] == [region]


def test_known_geography() -> None:
    assert _middle("DE-BY")[0] < _middle("DE-SH")[0]
    assert _middle("US-CA")[1] < _middle("US-NY")[1]
    assert min(_first_level("IT"), key=lambda region: _middle(region)[0]) == "IT-82"
    assert max(_first_level("GB"), key=lambda region: _middle(region)[0]) == "GB-SCT"
    assert _middle("RO-CT")[1] > _middle("RO-TM")[1]
    assert _middle("AF-PIA")[0] > _middle("AF-PKA")[0]
    assert _middle("KR-26")[0] < _middle("KR-11")[0]


def test_regions_that_must_have_no_shape() -> None:
    # Invented places; old zones, districts and strips that share a name; divisions since; Åland, of which the source
    # lacks municipalities; disputed membership.
    for region in ("XA-01", "XA-42", "ZZ-1", "RO", "", "NP-P3", "LU-LU", "PS-GZA", "MA-02", "BD-C", "BD-H", "GH-NP",
                   "KH-3", "KZ-63", "MN-064", "GB-DOR", "FI-01", "CN-TW", "RS-KM", "RS-25", "UA-99"):
        assert not has_boundaries(region), region


def test_crimea_is_where_iso_3166_2_lists_it() -> None:
    assert has_boundaries("UA-43")
    assert has_boundaries("UA-40")
    assert not any(_inside(region, 45.2, 34.1) for region, _ in _SHIPPED if region.startswith("RU-"))


# Drawings.


@pytest.mark.parametrize(("country", "regions", "insets"), [
    ("US", 56, 5), ("RU", 83, 0), ("FR", 23, 9), ("GB", 4, 0), ("NL", 18, 2), ("FJ", 5, 1), ("RO", 42, 0),
    ("PT", 20, 2), ("EC", 24, 1), ("ID", 7, 0)])
def test_a_drawing_shows_every_region_once(country: str, regions: int, insets: int) -> None:
    drawing = _draw(country)
    assert [shape.region for shape in drawing.shapes] == sorted(_first_level(country))
    assert len(drawing.shapes) == regions
    assert len(_rings(drawing.frames)) == insets
    assert max(drawing.width, drawing.height) <= 1300
    for shape in drawing.shapes:
        rings = _rings(shape.path)
        points = np.concatenate(rings)
        assert (points >= 0).all()
        assert (points <= (drawing.width, drawing.height)).all()
        # The label lies in the region as drawn.
        assert sum(contains(ring, *shape.label) for ring in rings) % 2 == 1
        assert shape.area > 0


@pytest.mark.parametrize("country", ["RO", "DE", "PL", "UA", "TR", "TH"])
def test_neighbours_leave_no_gap_and_do_not_overlap(country: str) -> None:
    land = store.load(country)
    assert land is not None
    drawing = _draw(country)
    shown = [patch for shape in drawing.shapes for patch in land.regions[shape.region].patches]
    rings = [ring for patch in shown for ring in land.patches[patch].rings]
    around = [signed_area(trace(ring, land.arcs)) for ring in dissolve(rings, land.arcs)]
    # Any gap would be a hole in the union, and any overlap an area counted twice.
    assert all(area < 0 for area in around)
    assert sum(around) == pytest.approx(sum(signed_area(trace(ring, land.arcs)) for ring in rings), rel=1e-9)


def test_neighbours_are_drawn_with_the_same_points() -> None:
    drawing = _draw("RO")
    borders: Counter[frozenset[tuple[float, float]]] = Counter()
    for shape in drawing.shapes:
        for ring in _rings(shape.path):
            points = [(x, y) for x, y in np.round(ring, 1).tolist()]
            borders.update(frozenset(pair) for pair in zip(points, [*points[1:], points[0]], strict=True))
    outer = sum(count == 1 for count in borders.values())
    inner = sum(count == 2 for count in borders.values())
    assert outer + inner == len(borders)
    assert inner > 2 * outer > 100


def test_areas_are_in_proportion_to_the_ground() -> None:
    # Official areas in square kilometres, to a few per cent: the map is equal-area.
    areas = {shape.region: shape.area for shape in _draw("DE").shapes}
    for region, official in (("DE-BY", 70_542), ("DE-NW", 34_112), ("DE-TH", 16_202), ("DE-SL", 2_571)):
        assert areas[region] / areas["DE-NI"] == pytest.approx(official / 47_710, rel=0.04), region


def test_alaska_and_hawaii_lie_in_boxes_below_the_other_states() -> None:
    drawing = _draw("US")
    labels = {shape.region: shape.label for shape in drawing.shapes}
    lowest = max(y for region, (_, y) in labels.items() if region in {"US-TX", "US-FL", "US-CA"})
    assert all(labels[region][1] > lowest for region in ("US-AK", "US-HI", "US-PR"))
    without = _draw("US", ["US-CA", "US-NY"])
    assert without.frames == ""
    assert without.height < drawing.height


def test_a_border_along_a_parallel_is_drawn_as_a_curve() -> None:
    (shape,) = (shape for shape in _draw("US", ["US-CO"]).shapes)
    (ring,) = _rings(shape.path)
    # Colorado is seven degrees wide with next to no corners, and a degree is about 20 units of the drawing.
    assert np.hypot(*np.diff(ring, axis=0).T).max() < 25
    assert np.ptp(ring[:, 0]) > 100


@pytest.mark.parametrize(("country", "region", "widest"), [("RU", "RU-CHU", 0.25), ("FJ", "FJ-N", 0.65)])
def test_a_region_across_the_antimeridian_is_in_one_place(country: str, region: str, widest: float) -> None:
    drawing = _draw(country)
    (shape,) = (shape for shape in drawing.shapes if shape.region == region)
    points = np.concatenate(_rings(shape.path))
    assert np.ptp(points[:, 0]) < widest * drawing.width
    # No seam: its largest part is on both sides of the line.
    largest = max(_rings(shape.path), key=lambda ring: abs(signed_area(ring)))
    assert abs(signed_area(largest)) > 0.5 * shape.area


def test_what_is_not_asked_for_is_the_rest() -> None:
    whole, part = _draw("RO"), _draw("RO", ["RO-IS", "RO-B"])
    assert whole.rest == ""
    assert (part.width, part.height) == (whole.width, whole.height)
    # Bucharest lies within the rest, as a hole in it, and Iași on its edge.
    rest = sum(abs(signed_area(ring)) for ring in _rings(part.rest)[:1]) - sum(
        abs(signed_area(ring)) for ring in _rings(part.rest)[1:])
    assert rest + sum(s.area for s in part.shapes) == pytest.approx(sum(s.area for s in whole.shapes), rel=1e-3)


def test_no_drawing_unless_every_region_has_a_shape() -> None:
    assert outline("RO", ["RO-IS", "RO-ZZ"]) is None
    assert outline("MD", ["MD-CU", "MD-BD"]) is None
    assert outline("KE", ["KE-30"]) is None
    assert outline("XA", ["XA-01"]) is None
    assert outline("RO", []) is None


def test_no_drawing_of_regions_that_overlap() -> None:
    assert outline("FR", ["FR-IDF", "FR-BRE"]) is not None
    assert outline("FR", ["FR-IDF", "FR-75C"]) is None


def test_a_region_of_another_country_is_an_error() -> None:
    with pytest.raises(ValueError, match="not regions of RO: MD-CU"):
        outline("RO", ["RO-IS", "MD-CU"])


def test_the_same_regions_give_the_same_drawing() -> None:
    first = _draw("NL", ["NL-UT", "NL-ZH"])
    boundaries._outline.cache_clear()
    store.load.cache_clear()
    assert outline("NL", ["NL-ZH", "NL-UT", "NL-UT"]) == first


# GeoJSON.


def test_geojson_is_of_the_regions_that_have_shapes_in_order() -> None:
    found = geojson(["RO-IS", "XA-01", "BG-22", "RO-IS", "NP-P3"])
    assert found["type"] == "FeatureCollection"
    assert [feature["id"] for feature in found["features"]] == ["BG-22", "RO-IS"]
    assert found["features"][1]["properties"] == {"code": "RO-IS", "name": region_name("RO-IS")}
    assert geojson([]) == {"type": "FeatureCollection", "features": []}
    assert json.loads(json.dumps(found)) == found


def _rings_of(features: list[dict[str, Any]]) -> list[tuple[int, Points]]:
    return [(i, np.array(ring)) for feature in features for polygon in feature["geometry"]["coordinates"]
            for i, ring in enumerate(polygon)]


def test_every_ring_follows_the_right_hand_rule_and_stays_on_the_globe() -> None:
    features = geojson(region for region, _ in _SHIPPED)["features"]
    assert len(features) == len(_SHIPPED)
    for i, ring in _rings_of(features):
        assert len(ring) >= 4
        assert (ring[0] == ring[-1]).all()
        assert (signed_area(ring[:-1]) > 0) == (i == 0)
        assert (np.abs(ring) <= (180, 90)).all()


def test_a_country_across_the_antimeridian_is_cut_there() -> None:
    for region in ("RU-CHU", "FJ-N"):
        spans = [np.ptp(ring[:, 0]) for _, ring in _rings_of(geojson([region])["features"])]
        assert max(spans) < 60
        sides = {np.sign(ring[:, 0].mean()) for _, ring in _rings_of(geojson([region])["features"])}
        assert sides == {-1.0, 1.0}


def test_far_islands_that_are_not_drawn_are_in_the_geojson() -> None:
    assert min(ring[:, 0].min() for _, ring in _rings_of(geojson(["CL-VS"])["features"])) < -109
