"""The file of boundaries: borders stored once, as arcs that neighbours share, so that no gap can open between them.

`boundaries.json` has one entry a country:

* `places`: decimal places of its coordinates in degrees.
* `arcs`: polylines in the Encoded Polyline Algorithm Format (longitude before latitude, `places` decimals).
* `polygons`: `[panel, rings]`. Panel 0 is the map, 1 and up are insets, -1 is geometry that is not drawn. A ring is a
  list of arcs as in TopoJSON: `~i` is arc `i` backwards. Outer rings run clockwise, holes the other way round.
* `regions`: for each ISO 3166-2 code `[by, name, polygons]`: why these polygons of the source are this region
  (`matching.Match`).

Longitudes may pass 180 degrees, so that a country across the antimeridian is in one piece.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from server.release.geometry.matching import Country

Ring = tuple[int, ...]

_FILE = Path(__file__).parent / "boundaries.json"


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A polygon of the source, or what is drawn of it in one panel."""

    panel: int
    rings: tuple[Ring, ...]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Why some patches are a region: `by` is `name`, `parts`, `reviewed` or the source's field that names it."""

    by: str
    name: str
    patches: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Land:
    """One country: its arcs (encoded), patches and regions by ISO 3166-2 code."""

    places: int
    encoded: tuple[str, ...]
    patches: tuple[Patch, ...]
    regions: Mapping[str, Entry]

    @cached_property
    def arcs(self) -> tuple[NDArray[np.float64], ...]:
        """Points (longitude, latitude) of each arc, in degrees."""
        return tuple(np.round(decode_line(text) / 10.0**self.places, self.places) for text in self.encoded)


def encode_line(points: NDArray[np.int64]) -> str:
    """Whole-number points as an encoded polyline: differences, zigzag, five bits a character."""
    text = []
    for value in np.diff(points, axis=0, prepend=0).ravel().tolist():
        rest = value << 1 if value >= 0 else ~(value << 1)
        while rest >= 0x20:
            text.append(chr((0x20 | (rest & 0x1F)) + 63))
            rest >>= 5
        text.append(chr(rest + 63))
    return "".join(text)


def decode_line(text: str) -> NDArray[np.int64]:
    """The points that `encode_line` made `text` of, shape (points, 2)."""
    values, value, shift = [], 0, 0
    for byte in text.encode("ascii"):
        value |= ((byte - 63) & 0x1F) << shift
        shift += 5
        if byte - 63 < 0x20:
            values.append(~(value >> 1) if value & 1 else value >> 1)
            value = shift = 0
    return np.cumsum(np.array(values, dtype=np.int64).reshape(-1, 2), axis=0)


def _places(interval: float) -> int:
    """Decimal places for coordinates that are four times as fine as the detail kept."""
    return next(places for places in range(2, 7) if 10.0**-places <= interval / 4)


def encode(country: Country, geometries: Sequence[Mapping[str, Any]],
           arcs: Sequence[Sequence[Sequence[float]]]) -> dict[str, Any]:
    """The entry of one country from the MultiPolygons and arcs of a TopoJSON topology."""
    places = _places(min(geometry["properties"]["interval"] for geometry in geometries))
    numbers: dict[int, int] = {}
    texts: list[str] = []

    def number(arc: int) -> int:
        index = arc if arc >= 0 else ~arc
        if index not in numbers:
            points = np.rint(np.array(arcs[index]) * 10**places).astype(np.int64)
            moved = np.concatenate([[True], (np.diff(points, axis=0) != 0).any(axis=1)])
            numbers[index] = len(texts)
            texts.append(encode_line(points[moved]))
        return numbers[index] if arc >= 0 else ~numbers[index]

    patches, found = [], []
    for geometry in geometries:
        parts = [geometry["arcs"]] if geometry["type"] == "Polygon" else geometry["arcs"]
        patches.append([geometry["properties"]["panel"],
                        [[number(arc) for arc in ring] for part in parts for ring in part]])
        found.append(geometry["properties"]["polygon"])
    regions = {region: [match.by, match.name, [i for i, polygon in enumerate(found) if polygon in match.polygons]]
               for region, match in sorted(country.matches.items())}
    return {"places": places, "arcs": texts, "polygons": patches, "regions": regions}


@cache
def _content() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return found


@cache
def load(country: str) -> Land | None:
    """The boundaries of a country by its ISO 3166-1 code, if there are any."""
    entry = _content().get(country)
    if entry is None:
        return None
    return Land(
        places=entry["places"], encoded=tuple(entry["arcs"]),
        patches=tuple(Patch(panel=panel, rings=tuple(map(tuple, rings))) for panel, rings in entry["polygons"]),
        regions={region: Entry(by=by, name=name, patches=tuple(patches))
                 for region, (by, name, patches) in entry["regions"].items()})


def countries() -> Iterable[str]:
    """The codes of all countries with boundaries."""
    return _content().keys()
