"""How the parts of a country are laid out: the map, and boxes below it for regions far away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.release.geometry.projection import EqualArea, bend
from server.release.geometry.rings import Points
from server.release.geometry.store import Land

MAP_SIZE, INSET_WIDTH, INSET_HEIGHT = 900.0, 190.0, 140.0
"""Largest width and height of the map and of an inset, in units of the drawing."""
_MARGIN, _GAP = 4.0, 10.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """The arcs of one panel in units of the drawing, by number, and the box that frames them."""

    arcs: Mapping[int, Points]
    box: tuple[float, float, float, float]


def _projected(land: Land, panel: int, width: float, height: float) -> tuple[dict[int, Points], NDArray[np.float64]]:
    """A panel's arcs, fitted into `width` by `height` from the origin, and the size that they take."""
    used = sorted({arc if arc >= 0 else ~arc for patch in land.patches if patch.panel == panel
                   for ring in patch.rings for arc in ring})
    every = np.concatenate([land.arcs[arc] for arc in used])
    projection = EqualArea(*every.min(axis=0), *every.max(axis=0))
    arcs = {arc: projection.project(bend(land.arcs[arc])) for arc in used}
    every = np.concatenate(list(arcs.values()))
    low, high = every.min(axis=0), every.max(axis=0)
    scale = min(np.array([width, height]) / np.maximum(high - low, 1e-12))
    return {arc: (points - low) * scale for arc, points in arcs.items()}, (high - low) * scale


def lay_out(land: Land, insets: Iterable[int]) -> tuple[dict[int, Panel], int, int]:
    """The map and the wanted insets, each where it lies, and the width and height of the whole."""
    arcs, size = _projected(land, 0, MAP_SIZE, MAP_SIZE)
    small = {number: _projected(land, number, INSET_WIDTH, INSET_HEIGHT) for number in sorted(insets)}
    boxes = {number: size + 2 * _MARGIN for number, (_, size) in small.items()}
    width = max(float(size[0]), min(2 * INSET_WIDTH, sum(float(box[0]) + _GAP for box in boxes.values()))) + 2 * _MARGIN
    panels = {0: _place(arcs, size, ((width - float(size[0])) / 2, _MARGIN))}
    x, y, row = 0.0, float(size[1]) + 2 * _MARGIN, 0.0
    for number, (arcs, size) in small.items():
        if x and x + float(boxes[number][0]) > width:
            x, y, row = 0.0, y + row + _GAP, 0.0
        row = max(row, float(boxes[number][1]))
        panels[number] = _place(arcs, size, (x + _MARGIN, y + _MARGIN))
        x += float(boxes[number][0]) + _GAP
    return panels, int(np.ceil(width)), int(np.ceil(y + row))


def _place(arcs: Mapping[int, Points], size: NDArray[np.float64], at: tuple[float, float]) -> Panel:
    (x1, y1), (x2, y2) = np.array(at) - _MARGIN, np.array(at) + size + _MARGIN
    return Panel(arcs={arc: points + np.array(at) for arc, points in arcs.items()},
                 box=(float(x1), float(y1), float(x2), float(y2)))
