"""Label points: inside, and as far from the border as can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.release.geometry.label import pole
from server.release.geometry.rings import Points, contains


def _naive_distance(polygon: list[Points], x: float, y: float) -> float:
    """Distance to the border by walking along it in small steps."""
    return min(float(np.hypot(*((a + (b - a) * share) - (x, y))))
               for ring in polygon for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True)
               for share in np.linspace(0, 1, 40))


def test_the_middle_of_a_square() -> None:
    assert pole([np.array([(0.0, 0.0), (8.0, 0.0), (8.0, 8.0), (0.0, 8.0)])], 0.01) == pytest.approx((4, 4), abs=0.05)


def test_within_the_arm_of_a_u_and_not_between() -> None:
    u = np.array([(0, 0), (10, 0), (10, 10), (7, 10), (7, 2), (3, 2), (3, 10), (0, 10)], dtype=float)
    x, y = pole([u], 0.05)
    assert contains(u, x, y)


def test_beside_a_hole() -> None:
    outer = np.array([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)])
    hole = np.array([(2.0, 2.0), (8.0, 2.0), (8.0, 9.5), (2.0, 9.5)])
    x, y = pole([outer, hole], 0.05)
    assert contains(outer, x, y)
    assert not contains(hole, x, y)


def test_a_sliver_thinner_than_the_precision() -> None:
    sliver = np.array([(0.0, 0.0), (9.0, 5.7), (9.05, 5.7), (0.05, 0.0)])
    assert contains(sliver, *pole([sliver], 0.5))


@given(st.lists(st.floats(1, 9), min_size=4, max_size=9))
def test_no_point_of_a_grid_is_much_farther_inside(radii: list[float]) -> None:
    angles = 2 * np.pi * np.arange(len(radii)) / len(radii)
    star = np.array(radii)[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])
    x, y = pole([star], 0.1)
    assert contains(star, x, y)
    ours = _naive_distance([star], x, y)
    grid = [(i, j) for i in np.linspace(-9, 9, 9) for j in np.linspace(-9, 9, 9) if contains(star, i, j)]
    assert all(_naive_distance([star], i, j) <= ours + 0.5 for i, j in grid)
