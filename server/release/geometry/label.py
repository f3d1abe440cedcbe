"""Where a region's label goes: the point inside that is farthest from its border (pole of inaccessibility)."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


class _Border:
    """The sides of a polygon, laid out so that many distances can be taken from them."""

    def __init__(self, polygon: Sequence[Points]) -> None:
        start = np.concatenate(polygon)
        step = np.concatenate([np.roll(ring, -1, axis=0) - ring for ring in polygon])
        self._x, self._y = start.T
        self._dx, self._dy = step.T
        self._end = self._y + self._dy
        self._squared = np.maximum(self._dx**2 + self._dy**2, 1e-300)

    def distance(self, x: float, y: float) -> float:
        """Distance from a point, negative outside."""
        px, py = x - self._x, y - self._y
        along = ((px * self._dx + py * self._dy) / self._squared).clip(0, 1)
        nearest = ((px - along * self._dx) ** 2 + (py - along * self._dy) ** 2).min()
        spans = (self._y > y) != (self._end > y)
        at = self._x[spans] + py[spans] / self._dy[spans] * self._dx[spans]
        inside = int((at > x).sum()) % 2
        return math.sqrt(float(nearest)) * (1 if inside else -1)


def pole(polygon: Sequence[Points], precision: float) -> tuple[float, float]:
    """The point of a polygon (outer ring and holes) farthest from its border, to within `precision` of that distance.

    Squares are searched best first and quartered while they may hold a better point (V. Agafonkin, polylabel, 2016).
    """
    border = _Border(polygon)
    (left, top), (right, bottom) = polygon[0].min(axis=0).tolist(), polygon[0].max(axis=0).tolist()
    size = max(min(right - left, bottom - top), precision)
    squares: list[tuple[float, float, float, float]] = []
    best = (-math.inf, (left + right) / 2, (top + bottom) / 2)

    def look(x: float, y: float, half: float) -> None:
        nonlocal best
        inside = border.distance(x, y)
        best = max(best, (inside, x, y))
        heapq.heappush(squares, (-(inside + half * math.sqrt(2)), x, y, half))

    for x in np.arange(left, right, size).tolist():
        for y in np.arange(top, bottom, size).tolist():
            look(x + size / 2, y + size / 2, size / 2)
    while squares:
        most, x, y, half = heapq.heappop(squares)
        # A region a few units wide still gets a point inside.
        if -most - best[0] <= precision and (best[0] > 0 or half < size / 64):
            break
        for dx in (-half / 2, half / 2):
            for dy in (-half / 2, half / 2):
                look(x + dx, y + dy, half / 2)
    return best[1], best[2]
