"""The projection: figures from its textbook, and that areas stay true."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.release.geometry.projection import EqualArea, bend
from server.release.geometry.rings import signed_area


def test_the_textbook_s_example() -> None:
    # Snyder 1987, p. 291: standard parallels 29.5 and 45.5, origin 23 N 96 W, point 35 N 75 W on the unit sphere.
    projection = EqualArea(-116.0, 25.5, -76.0, 49.5)
    (x0, y0), (x, y) = projection.project(np.array([(-96.0, 23.0), (-75.0, 35.0)]))
    assert x - x0 == pytest.approx(0.2952720, abs=1e-6)
    assert y0 - y == pytest.approx(0.2416774, abs=1e-6)


@given(st.floats(-170, 150), st.floats(-75, 55), st.floats(1, 40), st.floats(1, 20))
def test_areas_are_those_on_the_globe(west: float, south: float, width: float, height: float) -> None:
    edge = np.linspace(0, 1, 200)[:-1]
    box = np.concatenate([np.column_stack(pair) for pair in (
        (west + 0 * edge, south + height * edge), (west + width * edge, south + height + 0 * edge),
        (west + width + 0 * edge, south + height * (1 - edge)), (west + width * (1 - edge), south + 0 * edge))])
    true = math.radians(width) * (math.sin(math.radians(south + height)) - math.sin(math.radians(south)))
    projection = EqualArea(west - 5, max(-85, south - 5), west + width + 5, min(85, south + height + 5))
    assert abs(signed_area(projection.project(box))) == pytest.approx(true, rel=2e-3)


@pytest.mark.parametrize("bounds", [(20, 40, 30, 50), (-70, -50, -60, -20), (100, -10, 120, 10)])
def test_north_is_up_and_east_is_right(bounds: tuple[float, float, float, float]) -> None:
    west, south, east, north = bounds
    middle = (west + east) / 2
    low, high, left, right = EqualArea(*bounds).project(np.array([
        (middle, south), (middle, north), (west, (south + north) / 2), (east, (south + north) / 2)]))
    assert high[1] < low[1]
    assert left[0] < right[0]


def test_long_straight_lines_are_bent_and_short_ones_are_not() -> None:
    line = np.array([(0.0, 49.0), (10.0, 49.0), (10.5, 49.5)])
    bent = bend(line)
    assert len(bent) == 12
    assert np.abs(np.diff(bent, axis=0)).max() <= 1
    assert (bent[[0, 10, 11]] == line).all()
    assert bend(line[1:]) is not None
    assert (bend(line[1:]) == line[1:]).all()
