"""Geometry of the map, bins and axis; sentences that numbers need."""

from __future__ import annotations

import math
from itertools import pairwise

import pycountry
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.release import words
from server.release.tiles import axis_ticks, bin_edges, bin_of, lay_out, us_grid

rates = st.lists(st.integers(0, 10_000), min_size=1, max_size=60)


def test_the_us_grid_has_every_state_once() -> None:
    outlying = {"US-AS", "US-GU", "US-MP", "US-PR", "US-UM", "US-VI"}
    states = {s.code for s in pycountry.subdivisions.get(country_code="US")} - outlying
    assert set(us_grid()) == states
    assert len(set(us_grid().values())) == 51


def test_no_two_tiles_share_a_place() -> None:
    blocks = lay_out([*us_grid(), "US-PR", "US-GU", *(f"XA-{i:02d}" for i in range(1, 43)), "RO-IS"])
    assert [block.country for block in blocks] == ["RO", "US", "XA"]
    for block in blocks:
        places = [(tile.row, tile.column) for tile in block.tiles]
        assert len(set(places)) == len(places)
        assert places == sorted(places), "the keyboard moves row by row"
        assert max(column for _, column in places) <= block.columns


@given(rates)
def test_bins_hold_every_rate(values: list[int]) -> None:
    edges = bin_edges(values)
    assert 2 <= len(edges) <= 6
    assert len({b - a for a, b in pairwise(edges)}) == 1, "equal widths"
    for value in values:
        i = bin_of(value, edges)
        assert edges[i] <= value < edges[i + 1] or value == edges[-1]


@given(st.integers(0, 10_000))
def test_axis_reaches_what_it_must_show(highest: int) -> None:
    ticks = axis_ticks(highest)
    assert ticks[0] == 0
    assert ticks[-1] >= max(highest, 1)
    assert len(ticks) <= 7


def test_no_rates_no_bins() -> None:
    with pytest.raises(ValueError, match="no rates"):
        bin_edges([])


@given(st.floats(0.01, 30.0))
def test_beliefs_and_odds_never_understate(epsilon: float) -> None:
    for prior, (_, after) in zip((0.01, 0.1, 0.5), words.beliefs(epsilon), strict=True):
        exact = prior * math.exp(epsilon) / (1 - prior + prior * math.exp(epsilon))
        assert "more than" in after or float(after.removesuffix(" %")) >= 100 * exact - 1e-9
    stated = words.odds(epsilon)
    assert "million" in stated or float(stated.replace(",", "")) >= math.exp(epsilon) * (1 - 1e-9)
