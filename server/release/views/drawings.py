"""One drawing of each country, used by all of its maps: boundaries where there are some, otherwise tiles."""

from __future__ import annotations

from dataclasses import dataclass

from server.release.boundaries import Outline, Shape, outline
from server.release.tiles import Block, block
from server.release.views.index import Index

DENSE = 5
"""Above so many tiles in a row, a tile has room for the end of its code only."""
DOT = 0.009
"""Radius of the dot on a shape too small to be seen or touched, as a share of the drawing's width."""
LETTERS = 48
"""So many letters high is the longer side of a drawing with boundaries."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One region: `key` is the id of its outline, `text` the code that fits in it ("" for none), at `x`, `y`.

    `marked` says that there is room for a mark beside the code, `dot` that the outline itself can hardly be seen.
    """

    key: str
    region: str
    path: str
    x: float
    y: float
    dot: bool
    text: str
    marked: bool


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A country: its regions of the study, the path of all others (`rest`) and that of frames around regions that are
    far off; either may be "".

    Attributes:
        letters: height of a code, in units of the drawing.
        columns: tiles in a row; 0 if the country is drawn and not tiled. A tile has room for a number.
        key: id of the path of the other regions.
    """

    country: str
    name: str
    key: str
    width: float
    height: float
    pieces: tuple[Piece, ...]
    rest: str
    frames: str
    letters: float
    columns: int

    @property
    def tiled(self) -> bool:
        return self.columns > 0

    @property
    def dense(self) -> bool:
        return self.columns > DENSE

    @property
    def dot(self) -> float:
        """Radius of a dot."""
        return round(self.width * DOT, 1)


def draw(index: Index) -> dict[str, Drawing]:
    """The drawings of a release's countries, by code."""
    return {country: _draw(index, country, f"s{i}") for i, country in enumerate(index.countries)}


def _draw(index: Index, country: str, key: str) -> Drawing:
    regions = index.regions(country)
    known = outline(country, regions)
    return (_tiled(index.name(country), country, key, block(regions)) if known is None else
            _outlined(index.name(country), country, key, known))


def _tiled(name: str, country: str, key: str, tiles: Block) -> Drawing:
    dense = tiles.columns > DENSE
    return Drawing(
        country=country, name=name, key=key, width=tiles.width, height=tiles.height, rest="", frames="",
        columns=tiles.columns, letters=18 if dense else 15, pieces=tuple(
            Piece(key=f"{key}-{i}", region=tile.region, path=tile.path, x=tile.x, y=tile.y, dot=False, marked=True,
                  text=short(tile.region) if dense else tile.region) for i, tile in enumerate(tiles.tiles)))


def _outlined(name: str, country: str, key: str, known: Outline) -> Drawing:
    letters = round(max(known.width, known.height) / LETTERS, 1)
    return Drawing(
        country=country, name=name, key=key, width=known.width, height=known.height, letters=letters, columns=0,
        rest=known.rest, frames=known.frames, pieces=tuple(
            _piece(shape, f"{key}-{i}", letters, known.width * DOT) for i, shape in enumerate(known.shapes)))


def _piece(shape: Shape, key: str, letters: float, dot: float) -> Piece:
    text, room = short(shape.region), _letters(shape.area, letters)
    return Piece(key=key, region=shape.region, path=shape.path, x=shape.label[0], y=shape.label[1],
                 dot=shape.area < 4 * dot * dot, text=text if len(text) <= room else "", marked=len(text) + 2 <= room)


def _letters(area: float, height: float) -> int:
    """How many letters of this height a shape of this area has room for.

    A letter is about 0.65 as wide as it is high; shapes are not square, so some room on all sides is asked for.
    """
    return int((area / (2.2 * height * height) - 0.9) / 0.65)


def short(region: str) -> str:
    """The part of a code that tells regions of one country apart."""
    return region.partition("-")[2]
