"""The map projection: Albers' equal-area conic, so that a region's size on the map is its size on the ground.

Formulas: Snyder, Map Projections: A Working Manual (1987), section 14 (conic) and, where a country lies on both sides
of the equator and the cone would be flat, section 10 (cylindrical), both on the sphere.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

_STEP = 1.0
"""Degrees after which a straight border is bent: a parallel is a straight line in degrees and a curve on the map."""


class EqualArea:
    """Projects degrees to the plane, y pointing down as in SVG, for an area on the globe.

    Args:
        west, south, east, north: bounds of the area in degrees; `east` may pass 180.
    """

    def __init__(self, west: float, south: float, east: float, north: float) -> None:
        self._middle = (west + east) / 2
        # Standard parallels at a sixth from either edge keep shapes true over most of the area (Snyder, p. 99).
        lower, upper = (math.radians(south + (north - south) * share) for share in (1 / 6, 5 / 6))
        self._n = (math.sin(lower) + math.sin(upper)) / 2
        self._flat = abs(self._n) < 0.02
        self._scale = math.cos((lower + upper) / 2)
        self._c = math.cos(lower) ** 2 + 2 * self._n * math.sin(lower)

    def project(self, points: Points) -> Points:
        """Points (longitude, latitude) to the plane, in radii of the globe, shape (points, 2)."""
        longitude, latitude = np.radians(points[:, 0] - self._middle), np.radians(points[:, 1])
        if self._flat:
            return np.column_stack([longitude * self._scale, -np.sin(latitude) / self._scale])
        radius = np.sqrt(np.maximum(self._c - 2 * self._n * np.sin(latitude), 0)) / self._n
        angle = self._n * longitude
        return np.column_stack([radius * np.sin(angle), radius * np.cos(angle)])


def bend(line: Points) -> Points:
    """The line with points added so that no step is longer than a degree."""
    steps = np.maximum(1, np.ceil(np.abs(np.diff(line, axis=0)).max(axis=1, initial=0) / _STEP)).astype(int)
    if steps.max(initial=1) == 1:
        return line
    pieces = [line[i] + (line[i + 1] - line[i]) * np.arange(count)[:, None] / count for i, count in enumerate(steps)]
    return np.concatenate([*pieces, line[-1:]])
