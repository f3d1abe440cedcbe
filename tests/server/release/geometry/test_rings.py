"""Arcs to rings to polygons."""

from __future__ import annotations

import numpy as np
import pytest

from server.release.geometry.rings import contains, dissolve, polygons, signed_area, trace

# Two unit squares side by side, the left one with a hole, clockwise with y up; arc 0 is their common side.
_ARCS = [np.array(points, dtype=float) for points in (
    [(1, 0), (1, 1)],
    [(1, 1), (2, 1), (2, 0), (1, 0)],
    [(1, 0), (0, 0), (0, 1), (1, 1)],
    [(0.2, 0.2), (0.4, 0.2), (0.4, 0.4), (0.2, 0.2)],
)]
_RIGHT, _LEFT, _HOLE = (0, 1), (~0, 2)[::-1], (3,)


def test_a_square_has_its_area() -> None:
    assert signed_area(trace(_RIGHT, _ARCS)) == pytest.approx(-1)
    assert signed_area(trace(_LEFT, _ARCS)) == pytest.approx(-1)
    assert signed_area(trace(_HOLE, _ARCS)) == pytest.approx(0.02)


def test_a_common_border_cancels() -> None:
    (ring,) = dissolve([_RIGHT, _LEFT], _ARCS)
    assert sorted(ring) == [1, 2]
    assert signed_area(trace(ring, _ARCS)) == pytest.approx(-2)


def test_a_hole_stays_a_hole() -> None:
    rings = [trace(ring, _ARCS) for ring in dissolve([_RIGHT, _LEFT, _HOLE], _ARCS)]
    ((outer, hole),) = polygons(rings)
    assert signed_area(outer) == pytest.approx(-2)
    assert signed_area(hole) == pytest.approx(0.02)


def test_an_enclave_fills_the_hole_around_it() -> None:
    assert dissolve([_LEFT, _HOLE, (~3,)], _ARCS) == dissolve([_LEFT], _ARCS)


def test_a_hole_belongs_to_the_smallest_ring_around_it() -> None:
    def square(size: float, *, hole: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        points = np.array([(-size, -size), (-size, size), (size, size), (size, -size)])
        return points[::-1] if hole else points

    found = polygons([square(1, hole=True), square(8, hole=False), square(2, hole=False), square(4, hole=True)])
    assert [[abs(ring).max() for ring in group] for group in found] == [[8, 4], [2, 1]]


def test_rings_that_touch_in_a_point_still_close() -> None:
    arcs = [np.array(points, dtype=float) for points in (
        [(0, 0), (0, 1), (1, 0), (0, 0)], [(0, 0), (0, -1), (-1, 0), (0, 0)])]
    rings = dissolve([(0,), (1,)], arcs)
    assert sum(signed_area(trace(ring, arcs)) for ring in rings) == pytest.approx(-1)


@pytest.mark.parametrize(("x", "y", "inside"), [
    (0.5, 0.5, True), (1.5, 0.5, False), (0.5, -0.1, False), (-1, 0.5, False)])
def test_a_point_is_inside_or_not(x: float, y: float, *, inside: bool) -> None:
    assert contains(trace(_LEFT, _ARCS), x, y) is inside
