"""Which polygons of Natural Earth are which ISO 3166-2 region. Used only when the boundaries are built.

A wrong match would paint the wrong region, and the source errs: codes of another series, two provinces with each
other's names, regions that have been split since. So no match rests on one witness. A polygon is taken for a region if

* a name agrees (`names.agreeing`): the source's own name, or the GeoNames name that the source joined by place, and
* a witness to the place agrees: the GeoNames name too, or a point that an independent list gives for the region, and
* nothing else in the country fits as well; and
* no region without a polygon of its own lies inside (it was split off since, and the polygon is out of date).

What people have decided instead stands in `reviewed.yaml`, each with its reason.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pycountry
from numpy.typing import NDArray

from server.release.geometry.names import agreeing
from server.release.geometry.rings import contains, signed_area

_OWN_NAMES = ("name", "name_alt", "name_local", "name_en", "woe_name")
_OTHER_LANGUAGES = tuple(f"name_{language}" for language in "de es fr it pt nl pl sv tr id hu".split())


@dataclass(frozen=True, kw_only=True, eq=False)
class Polygon:
    """One polygon of the source. `rings` are all rings of all parts, longitude and latitude in degrees."""

    id: str
    country: str
    code: str
    names: tuple[str, ...]
    other_languages: tuple[str, ...]
    geonames: tuple[str, ...]
    fields: Mapping[str, str]
    parts: tuple[tuple[NDArray[np.float64], ...], ...]

    @property
    def size(self) -> float:
        """Side of a square of the same area, in degrees."""
        return math.sqrt(sum(abs(signed_area(ring)) for part in self.parts for ring in part[:1]))


@dataclass(frozen=True, kw_only=True)
class Match:
    """A region and its polygons. `by` says why, `name` is the source's name that agreed."""

    by: str
    name: str
    polygons: tuple[str, ...]


def covers(polygon: Polygon, longitude: float, latitude: float) -> bool:
    """Whether the point lies inside: in an odd number of its rings."""
    return sum(contains(ring, longitude, latitude) for part in polygon.parts for ring in part) % 2 == 1


def _distance(polygon: Polygon, longitude: float, latitude: float) -> float:
    return min(float(np.hypot(ring[:, 0] - longitude, ring[:, 1] - latitude).min())
               for part in polygon.parts for ring in part[:1])


def _read(feature: Mapping[str, Any], elsewhere: Mapping[str, str]) -> Polygon:
    p, geometry = feature["properties"], feature["geometry"]
    region = elsewhere.get(p["adm1_code"]) or elsewhere.get(p["iso_a2"])
    names = [part.strip() for key in _OWN_NAMES for part in (p[key] or "").split("|")]
    parts = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    return Polygon(
        id=p["adm1_code"], country=region.partition("-")[0] if region else p["iso_a2"], code=p["iso_3166_2"],
        names=tuple(dict.fromkeys(name for name in names if name)),
        other_languages=tuple(p[key] for key in _OTHER_LANGUAGES if p[key]),
        geonames=tuple(p[key] for key in ("gn_name",) if p[key]),
        fields={key: (p[key] or "").strip() for key in ("region", "geonunit", "iso_a2")},
        parts=tuple(tuple(np.array(ring[:-1], dtype=np.float64) for ring in part) for part in parts))


def _within(part: tuple[NDArray[np.float64], ...], box: tuple[float, float, float, float]) -> bool:
    west, south, east, north = box
    x, y = part[0][:, 0], part[0][:, 1]
    return bool(west <= x.min() and x.max() <= east and south <= y.min() and y.max() <= north)


def read_polygons(features: Iterable[Mapping[str, Any]], reviewed: Mapping[str, Any]) -> list[Polygon]:
    """The polygons of the source's GeoJSON features, with those taken apart that `reviewed` says hold two regions."""
    # ISO 3166-2 lists some polygons in another country than the source does.
    elsewhere = ({each: region for region, (ids, _) in reviewed["same"].items() for each in ids}
                 | {country: region for region, (country, _) in reviewed["territories"].items()})
    polygons = {polygon.id: polygon for polygon in (_read(feature, elsewhere) for feature in features)}
    for region, (whole, box, _) in reviewed["split"].items():
        polygon = polygons[whole]
        polygons[whole] = replace(polygon, parts=tuple(part for part in polygon.parts if not _within(part, box)))
        polygons[region] = replace(polygon, id=region, code=region, names=(), other_languages=(), geonames=(),
                                   parts=tuple(part for part in polygon.parts if _within(part, box)))
    return list(polygons.values())


class Country:
    """The matching of one country: `matches` by code, and what was left over and why.

    Args:
        code: ISO 3166-1.
        polygons: of the source in this country.
        points: an independent (longitude, latitude) for each region.
        reviewed: the decisions of people (`reviewed.yaml`).
    """

    def __init__(self, code: str, polygons: Iterable[Polygon], points: Mapping[str, tuple[float, float]],
                 reviewed: Mapping[str, Any]) -> None:
        self.code, self.polygons, self.points = code, {p.id: p for p in polygons}, points
        subdivisions = sorted((s for s in pycountry.subdivisions if s.country_code == code), key=lambda s: str(s.code))
        self.names = {s.code: s.name for s in subdivisions}
        moved = {region: above for region, (above, _) in reviewed["moved"].items()}
        self.parent = {s.code: moved.get(s.code, s.parent_code) for s in subdivisions}
        self.reviewed = reviewed
        self.matches: dict[str, Match] = {}
        self.dropped: dict[str, str] = {}
        self.decided = self._decided()
        self.taken = {p for match in self.decided.values() for p in match.polygons}
        if code not in reviewed["other_division"]:
            self._by_name()
            self._drop_regions_above_others()
        self.matches |= self.decided
        self._drop_out_of_date()
        self._by_field()
        self._by_parts()

    def _decided(self) -> dict[str, Match]:
        """The matches that people made."""
        ids = {region: tuple(ids) for region, (ids, _) in self.reviewed["same"].items()}
        ids |= {region: (region,) for region in self.reviewed["split"]}
        ids |= {region: tuple(p.id for p in self.polygons.values() if p.fields["iso_a2"] == country)
                for region, (country, _) in self.reviewed["territories"].items()}
        return {region: Match(by="reviewed", name=next(iter(self.polygons[ids[region][0]].names), ""),
                              polygons=ids[region])
                for region in self.names if region in ids}

    def _ancestors(self, region: str) -> Iterable[str]:
        above = self.parent.get(region)
        while above:
            yield above
            above = self.parent.get(above)

    def _children(self, region: str) -> list[str]:
        return [child for child, above in self.parent.items() if above == region]

    def _place_agrees(self, polygon: Polygon, region: str) -> bool:
        """Whether the independent point of `region` lies in `polygon`, or in none and closest to this one."""
        longitude, latitude = self.points[region]
        if covers(polygon, longitude, latitude):
            return True
        away = _distance(polygon, longitude, latitude)
        return (away <= 0.3 * polygon.size
                and not any(covers(p, longitude, latitude) for p in self.polygons.values())
                and all(away <= _distance(p, longitude, latitude) for p in self.polygons.values()))

    def _witnessed(self, polygon: Polygon, region: str) -> str | None:
        name = self.names[region]
        own = agreeing(polygon.names, name)
        if own is None and polygon.code == region:
            own = agreeing(polygon.other_languages, name)
        geonames = agreeing(polygon.geonames, name)
        if own and geonames:
            return own
        if (own or geonames) and self._place_agrees(polygon, region):
            return own or geonames
        return None

    def _by_name(self) -> None:
        found = [(p.id, region, name) for p in self.polygons.values() for region in self.names
                 if p.id not in self.taken and region not in self.decided
                 and (name := self._witnessed(p, region))]
        # A city and the region around it may share a name. Where the source gives the code too, that settles it.
        coded = {(p, region) for p, region, _ in found if self.polygons[p].code == region}
        settled = {p for p, _ in coded}, {region for _, region in coded}
        found = [(p, region, name) for p, region, name in found
                 if (p, region) in coded or (p not in settled[0] and region not in settled[1])]
        by_polygon, by_region = Counter(p for p, _, _ in found), Counter(region for _, region, _ in found)
        for p, region, name in found:
            if by_polygon[p] == by_region[region] == 1:
                self.matches[region] = Match(by="name", name=name, polygons=(p,))
            else:
                self.dropped[region] = "several polygons fit, or one fits several regions"
        for region in [region for region in self.matches if self._shares_its_code(region)]:
            del self.matches[region]
            self.dropped[region] = "other polygons, without a match, carry its code too"

    def _shares_its_code(self, region: str) -> bool:
        matched = {p for match in self.matches.values() for p in match.polygons} | self.taken
        return any(p.code == region and p.id not in matched for p in self.polygons.values())

    def _drop_regions_above_others(self) -> None:
        """A polygon is no region whose parts have polygons too: it is a part that shares the name."""
        above_others = {above for region in self.matches for above in self._ancestors(region)}
        for region in above_others & set(self.matches):
            self.dropped[region] = f"{self.matches.pop(region).name} is a polygon among those of its own parts"

    def _drop_out_of_date(self) -> None:
        for region, why in self.reviewed["out_of_date"].items():
            if self.matches.pop(region, None):
                self.dropped[region] = why
        related = {region: {*self._ancestors(region)} for region in self.names}
        holders = {region: match for region, match in self.matches.items() if match.by == "name"}
        for region in self.names.keys() - self.matches.keys():
            if region in self.reviewed["inside"] or self._children(region):
                continue
            for holder, match in holders.items():
                if (holder in self.matches and holder not in related[region]
                        and any(covers(self.polygons[p], *self.points[region]) for p in match.polygons)):
                    del self.matches[holder]
                    self.dropped[holder] = f"{region} ({self.names[region]}) lies inside and has no polygon"

    def _by_field(self) -> None:
        """Regions above the polygons, by the source's own word on what each polygon belongs to."""
        unions: dict[str, Match] = {region: Match(by="reviewed", name="", polygons=tuple(ids))
                                    for region, (ids, _) in self.reviewed["union"].items()}
        for field, regions in self.reviewed["by_field"].items():
            for region in regions:
                members = [p for p in self.polygons.values()
                           if region in self.names and agreeing([p.fields[field]], self.names[region])]
                if members:
                    unions[region] = Match(by=field, name=members[0].fields[field],
                                           polygons=tuple(p.id for p in members))
        for region in sorted(unions.keys() & self.names.keys()):
            for other, match in self.matches.items():
                inside = {*match.polygons} & {*unions[region].polygons}
                if inside and region != other and (region not in self._ancestors(other) or inside != {*match.polygons}):
                    raise ValueError(f"{region}: the source puts {other} into it, ISO 3166-2 does not")
            self.matches[region] = unions[region]

    def _by_parts(self) -> None:
        """Regions all of whose parts, by ISO 3166-2, have polygons."""
        waiting = [region for region in self.names if region not in self.matches and self._children(region)]
        while ready := [region for region in waiting if all(c in self.matches for c in self._children(region))]:
            for region in ready:
                ids = {p: None for child in self._children(region) for p in self.matches[child].polygons}
                self.matches[region] = Match(by="parts", name="", polygons=tuple(ids))
                waiting.remove(region)
