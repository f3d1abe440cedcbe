"""The shapes of regions: as a drawing of a country for the map on the page, and as GeoJSON for other tools.

A country is drawn only when every region asked for has a shape, so that no region can be missing from its map.
Sources, licence, coverage and how the shapes were matched to ISO 3166-2: `geometry/NOTICE.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from federation.regions import region_name
from server.release.geometry.label import pole
from server.release.geometry.panels import Panel, lay_out
from server.release.geometry.rings import Points, dissolve, polygons, signed_area, trace
from server.release.geometry.store import Land, Ring, load


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One region of a drawing. `path` is SVG path data; `label` a point inside its largest part; `area` its area in
    square units of the drawing."""

    region: str
    path: str
    label: tuple[float, float]
    area: float


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A country as a drawing of `width` by `height` units, for an SVG viewBox from the origin.

    `rest` is path data of the parts of the country that are no region asked for, `frames` of boxes around far-off
    regions that are drawn below the map and not in place. Either may be empty.
    """

    country: str
    width: int
    height: int
    shapes: tuple[Shape, ...]
    rest: str
    frames: str


def _land(region: str) -> Land | None:
    land = load(region.partition("-")[0])
    return land if land is not None and region in land.regions else None


def has_boundaries(code: str) -> bool:
    """Whether a region, by its ISO 3166-2 code, has a shape. Invented places (codes of the X range) have none."""
    return _land(code) is not None


def _rings(land: Land, patches: Iterable[int], panel: Panel, number: int) -> list[Points]:
    """The rings around some patches of one panel, in units of the drawing."""
    rings = [ring for patch in patches if land.patches[patch].panel == number for ring in land.patches[patch].rings]
    return [trace(ring, panel.arcs) for ring in dissolve(rings, land.arcs)]


def _number(tenths: int) -> str:
    sign, value = "-" if tenths < 0 else "", abs(tenths)
    return f"{sign}{value // 10}" + (f".{value % 10}" if value % 10 else "")


def _path(rings: Sequence[Points]) -> str:
    """Path data to one decimal, in steps from point to point. Rings that shrink to a line are left out if any stays."""
    rounded = [np.rint(ring * 10).astype(np.int64) for ring in rings]
    rounded = [ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)] for ring in rounded]
    kept = [ring for ring in rounded if len(ring) >= 3] or [np.rint(ring * 10).astype(np.int64) for ring in rings[:1]]
    return "".join(
        "M" + " ".join(map(_number, ring[0].tolist()))
        + "l" + " ".join(map(_number, np.diff(ring, axis=0).ravel().tolist())) + "z" for ring in kept)


def _shape(region: str, rings: Sequence[Points]) -> Shape:
    # `polygons` tells outer rings from holes where y points up.
    groups = polygons([ring * (1, -1) for ring in rings])
    areas = [abs(signed_area(group[0])) - sum(signed_area(hole) for hole in group[1:]) for group in groups]
    largest = [ring * (1, -1) for ring in groups[areas.index(max(areas))]]
    x, y = pole(largest, precision=0.5)
    return Shape(region=region, path=_path(sorted(rings, key=lambda ring: -abs(signed_area(ring)))),
                 label=(round(x, 1), round(y, 1)), area=round(sum(areas), 2))


def outline(country: str, regions: Sequence[str]) -> Outline | None:
    """A drawing of `country` with `regions`, or None if one of them has no shape or two of them overlap.

    Args:
        country: ISO 3166-1 alpha-2.
        regions: ISO 3166-2 codes of that country, of any levels.

    Raises:
        ValueError: for a region of another country.
    """
    return _outline(country, tuple(sorted(set(regions))))


@cache
def _outline(country: str, regions: tuple[str, ...]) -> Outline | None:
    if foreign := [region for region in regions if not region.startswith(f"{country}-")]:
        raise ValueError(f"not regions of {country}: {', '.join(foreign)}")
    land = load(country)
    if land is None or not regions or any(region not in land.regions for region in regions):
        return None
    taken = [patch for region in regions for patch in land.regions[region].patches]
    if len(taken) != len(set(taken)):
        return None
    insets = {land.patches[patch].panel for patch in taken} - {-1, 0}
    panels, width, height = lay_out(land, insets)
    shapes = [_shape(region, [ring for number, panel in panels.items()
                              for ring in _rings(land, land.regions[region].patches, panel, number)])
              for region in regions]
    others = set(range(len(land.patches))) - set(taken)
    rest = [ring for number, panel in panels.items() for ring in _rings(land, sorted(others), panel, number)]
    frames = [np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
              for x1, y1, x2, y2 in (panels[number].box for number in sorted(insets))]
    return Outline(country=country, width=width, height=height, shapes=tuple(shapes),
                   rest=_path(rest) if rest else "", frames=_path(frames) if frames else "")


def _around(land: Land, rings: Sequence[Ring]) -> list[list[list[list[float]]]]:
    """GeoJSON polygons, cut at the antimeridian, outer rings counter-clockwise (RFC 7946, 3.1.6 and 3.1.9)."""
    found = []
    sides: dict[float, list[Ring]] = {}
    for ring in rings:
        middle = float(trace(ring, land.arcs)[:, 0].mean())
        sides.setdefault(360.0 * round(middle / 360), []).append(ring)
    for turn, side in sorted(sides.items()):
        for group in polygons([trace(ring, land.arcs) - (turn, 0.0) for ring in dissolve(side, land.arcs)]):
            closed = [np.round(np.vstack([ring, ring[:1]])[::-1], land.places) for ring in group]
            found.append([ring.tolist() for ring in closed])
    return found


def _feature(region: str) -> dict[str, Any]:
    land = load(region.partition("-")[0])
    if land is None:
        raise ValueError(f"{region} has no shape")
    rings = [ring for patch in land.regions[region].patches for ring in land.patches[patch].rings]
    return {"type": "Feature", "id": region, "properties": {"code": region, "name": region_name(region)},
            "geometry": {"type": "MultiPolygon", "coordinates": _around(land, rings)}}


def geojson(regions: Iterable[str]) -> dict[str, Any]:
    """A FeatureCollection (RFC 7946) of those `regions` that have shapes, in the order of their codes."""
    return {"type": "FeatureCollection",
            "features": [_feature(region) for region in sorted(set(regions)) if has_boundaries(region)]}
