"""The steps of the build that need neither the sources nor the simplifier."""

from __future__ import annotations

import numpy as np
import pytest

from server.release.geometry.build import Part, divide, unwrapped


def _square(west: float, south: float, size: float = 1.0) -> Part:
    return (np.array([(west, south), (west, south + size), (west + size, south + size), (west + size, south)]),)


def _west(parts: list[Part]) -> list[float]:
    return [float(part[0][:, 0].min()) for part in parts]


def test_a_country_on_one_side_stays() -> None:
    found = unwrapped({"a": [_square(20, 45)], "b": [_square(29, 44)]})
    assert {key: _west(parts) for key, parts in found.items()} == {"a": [20], "b": [29]}


@pytest.mark.parametrize(("east", "west", "turned"), [
    # The east of Russia beyond the line joins the rest; the last Aleutian islands join Alaska.
    ([30, 100, 179], [-180, -172], {30: 30, 100: 100, 179: 179, -180: 180, -172: 188}),
    ([172, 179], [-180, -150, -130], {172: -188, 179: -181, -180: -180, -150: -150, -130: -130}),
])
def test_the_shorter_side_moves_across_the_antimeridian(
    east: list[float], west: list[float], turned: dict[float, float],
) -> None:
    found = unwrapped({str(at): [_square(at, 60)] for at in east + west})
    assert {float(key): _west(parts)[0] for key, parts in found.items()} == turned


def test_small_islands_far_away_are_not_drawn() -> None:
    parts = [_square(-70, -33, 5.0), _square(-109, -27, 0.1), _square(-65.5, -28.5, 0.1)]
    drawn, size = divide({"region": parts}, ["region"])
    assert _west(drawn["region"]) == [-70, -65.5]
    assert 4 < size < 6


def test_a_region_is_drawn_however_small_and_far() -> None:
    drawn, size = divide({"main": [_square(0, 0, 5.0)], "isle": [_square(30, 0, 0.1)]}, ["main", "isle"])
    assert _west(drawn["isle"]) == [30]
    assert size > 25
    drawn, _ = divide({"main": [_square(0, 0, 5.0)], "rock": [_square(30, 0, 0.1)]}, ["main"])
    assert drawn["rock"] == []
