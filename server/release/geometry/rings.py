"""From shared arcs to closed rings, and to polygons with their holes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from server.release.geometry.store import Ring

Points = NDArray[np.float64]


def signed_area(points: Points) -> float:
    """Shoelace area of a ring, shape (points, 2), positive if counter-clockwise where y points up."""
    x, y = points[:, 0] - points[0, 0], points[:, 1] - points[0, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def trace(ring: Ring, arcs: Sequence[Points] | Mapping[int, Points]) -> Points:
    """The points of a ring of arcs, its first not repeated at its end."""
    return np.concatenate([(arcs[arc] if arc >= 0 else arcs[~arc][::-1])[:-1] for arc in ring])


def dissolve(rings: Iterable[Ring], arcs: Sequence[Points]) -> list[Ring]:
    """The rings around a union of polygons: arcs that two of them share run both ways and cancel.

    Args:
        rings: of all polygons, outer ones clockwise and holes counter-clockwise.
        arcs: their points, of which only the ends matter.
    """
    uses = Counter(arc for ring in rings for arc in ring)
    kept = [arc for arc in uses for _ in range(max(0, uses[arc] - uses[~arc]))]

    def end(arc: int, *, last: bool) -> tuple[float, float]:
        points = arcs[arc] if arc >= 0 else arcs[~arc]
        x, y = points[-1 if last == (arc >= 0) else 0]
        return float(x), float(y)

    waiting: dict[tuple[float, float], list[int]] = {}
    for arc in reversed(kept):
        waiting.setdefault(end(arc, last=False), []).append(arc)
    found = []
    for first in kept:
        if first not in waiting[end(first, last=False)]:
            continue
        waiting[start := end(first, last=False)].remove(first)
        ring = [first]
        while (at := end(ring[-1], last=True)) != start:
            ring.append(waiting[at].pop())
        found.append(tuple(ring))
    return found


def contains(ring: Points, x: float, y: float) -> bool:
    """Whether a point lies in a ring (even-odd rule)."""
    x1, y1 = ring[:, 0], ring[:, 1]
    x2, y2 = np.roll(x1, -1), np.roll(y1, -1)
    spans = (y1 > y) != (y2 > y)
    at = x1[spans] + (y - y1[spans]) / (y2[spans] - y1[spans]) * (x2[spans] - x1[spans])
    return bool(int((at > x).sum()) % 2)


def polygons(rings: Sequence[Points]) -> list[list[Points]]:
    """Outer rings (clockwise where y points up), each followed by the holes in it, largest first."""
    outer = sorted((ring for ring in rings if signed_area(ring) < 0), key=signed_area)
    found = [[ring] for ring in outer]
    for hole in rings:
        if signed_area(hole) > 0:
            middle = hole[:2].mean(axis=0)
            around = [group for group in found if contains(group[0], *middle)]
            if around:
                # The smallest ring around a hole is the one that it is cut from.
                around[-1].append(hole)
    return found
