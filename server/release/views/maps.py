"""The maps: one for each role, signal and country, in the classes of one scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from server.release import words
from server.release.scales import bin_edges, shade_of, shades
from server.release.views.drawings import Drawing, Piece
from server.release.views.index import Group, Index, Json

WIDE = 1.0
"""An interval wider than so many times the rate is marked: what lies in it may be half or twice as much."""


@dataclass(frozen=True, kw_only=True)
class Spot:
    """One region of a map: the id of its outline, its classes, and what is said of it."""

    key: str
    classes: str
    name: str
    code: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Text:
    """A code on the map, and in a tile the rate below it."""

    x: float
    y: float
    classes: str
    code: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Map:
    """A country's regions in one role."""

    drawing: Drawing
    spots: tuple[Spot, ...]
    texts: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The maps of one role, side by side with those of another."""

    role: str
    heading: str
    explained: str
    maps: tuple[Map, ...]
    summary: str


@dataclass(frozen=True, kw_only=True)
class Legend:
    """What the colours and patterns of a signal's maps mean; `bins` are (shade, from, to)."""

    bins: tuple[tuple[int, int, int], ...]
    wide: bool
    withheld: bool
    protected: bool
    others: bool
    tiled: bool
    drawn: bool


def edges_of(index: Index, task: str) -> tuple[int, ...]:
    """One scale for all roles and countries of a signal, so that maps can be compared; () if nothing is shown."""
    rates = [cell["display"]["rate"] for cell in index.content["cells"]
             if cell["task"] == task and cell["level"] == "region" and cell["status"] == "shown"]
    return bin_edges(rates) if rates else ()


def panel(index: Index, drawings: Mapping[str, Drawing], group: Group, role: str, task: str,
          edges: tuple[int, ...]) -> Panel:
    """The maps of a group of countries in one role."""
    maps = tuple(_map(index, drawings[country], role, task, edges) for country in group.countries)
    spots = [spot for each in maps for spot in each.spots]
    shown = sum(spot.classes[0] == "b" for spot in spots)
    protected = sum(spot.classes.startswith("protected") for spot in spots)
    withheld = len(spots) - shown - protected
    return Panel(role=role, heading=words.ROLES[role][0], explained=words.ROLES[role][1], maps=maps,
                 summary=f"{shown} of {words.counted(len(spots), 'region', 'regions')} shown, {withheld} withheld"
                         f"{f', {protected} protected' if protected else ''}.")


def _map(index: Index, drawing: Drawing, role: str, task: str, edges: tuple[int, ...]) -> Map:
    spots, texts = [], []
    for piece in drawing.pieces:
        cell = index.cell(piece.region, role, task)
        classes = _classes(cell, edges)
        spots.append(Spot(key=piece.key, classes=f"{classes}{' dot' if piece.dot else ''}", code=piece.region,
                          name=index.name(piece.region),
                          sentence=words.rate_sentence(cell) if cell else words.PROTECTED))
        if piece.text:
            texts.append(_text(piece, cell, classes, number=drawing.tiled and not index.compact))
    return Map(drawing=drawing, spots=tuple(spots), texts=tuple(texts))


def _classes(cell: Json | None, edges: tuple[int, ...]) -> str:
    if cell is None:
        return "protected"
    if cell["status"] != "shown":
        return "withheld"
    return f"b{shade_of(cell['display']['rate'], edges)}{' wide' if is_wide(cell) else ''}"


def is_wide(cell: Json) -> bool:
    """Whether a shown rate is too uncertain to be looked at without its interval."""
    shown = cell["display"]
    return bool(shown["upper"] - shown["lower"] > WIDE * shown["rate"])


def _text(piece: Piece, cell: Json | None, classes: str, *, number: bool) -> Text:
    shown = cell is not None and cell["status"] == "shown"
    mark = (words.BANDS[cell["band"]][0] if cell is not None and shown and piece.marked
            and cell["band"] in ("high", "low") else "")
    return Text(x=piece.x, y=piece.y, classes=classes, code=f"{piece.text} {mark}".strip(),
                value=words.grouped(cell["display"]["rate"]) if cell is not None and shown and number else "")


def legend(index: Index, drawings: Mapping[str, Drawing], task: str, edges: tuple[int, ...]) -> Legend:
    """The legend of a signal's maps, with what is on them and nothing else."""
    cells = [cell for cell in index.content["cells"] if cell["task"] == task and cell["level"] == "region"]
    shown = [cell for cell in cells if cell["status"] == "shown"]
    return Legend(
        bins=tuple((shade, edges[i], edges[i + 1]) for i, shade in enumerate(shades(len(edges) - 1))) if edges else (),
        wide=any(is_wide(cell) for cell in shown), withheld=len(shown) < len(cells),
        protected=any(index.protected(country) for country in index.countries),
        others=any(each.rest for each in drawings.values()), tiled=any(each.tiled for each in drawings.values()),
        drawn=any(not each.tiled for each in drawings.values()))
