"""Bins of a map, the axis of rates, the axis of ratios."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.release.scales import BINS, RatioAxis, axis_ticks, bin_edges, bin_of, shade_of, shades

rates = st.lists(st.integers(0, 10_000), min_size=1, max_size=60)
ratios = st.lists(st.floats(1e-3, 1e3), max_size=20)


@given(rates)
def test_bins_hold_every_rate(values: list[int]) -> None:
    edges = bin_edges(values)
    assert 2 <= len(edges) <= BINS + 1
    assert len({b - a for a, b in pairwise(edges)}) == 1, "equal widths"
    for value in values:
        i = bin_of(value, edges)
        assert edges[i] <= value < edges[i + 1] or value == edges[-1]
        assert shade_of(value, edges) == shades(len(edges) - 1)[i]


@pytest.mark.parametrize("bins", range(1, BINS + 1))
def test_shades_keep_their_order_and_are_as_far_apart_as_can_be(bins: int) -> None:
    found = shades(bins)
    assert list(found) == sorted(set(found))
    assert len(found) == bins
    assert set(found) <= set(range(BINS))
    if bins > 1:
        assert (found[0], found[-1]) == (0, BINS - 1)


@given(st.integers(0, 10_000))
def test_axis_reaches_what_it_must_show(highest: int) -> None:
    ticks = axis_ticks(highest)
    assert ticks[0] == 0
    assert ticks[-1] >= max(highest, 1)
    assert len(ticks) <= 7


def test_no_rates_no_bins() -> None:
    with pytest.raises(ValueError, match="no rates"):
        bin_edges([])


@given(ratios)
def test_the_axis_of_ratios_holds_them_and_is_even_around_one(values: list[float]) -> None:
    axis = RatioAxis.holding(values)
    assert axis.at(1.0) == 50.0
    reach = axis.base**axis.steps
    for value in values:
        assert 1 / reach * (1 - 1e-9) <= value <= reach * (1 + 1e-9)
        assert axis.at(value) + axis.at(1 / value) == pytest.approx(100, abs=0.11)
        naive = 100 * (math.log(value) + math.log(reach)) / (2 * math.log(reach))
        assert axis.at(value) == pytest.approx(naive, abs=0.051)


def test_ticks_of_ratios_are_powers() -> None:
    assert RatioAxis.holding([0.3, 3.1]).ticks() == ((0.25, "1/4"), (0.5, "1/2"), (1.0, "1"), (2.0, "2"), (4.0, "4"))
    assert RatioAxis.holding([]) == RatioAxis(2, 1)
    assert RatioAxis.holding([60.0]) == RatioAxis(4, 3)


def test_what_is_off_the_axis_lies_at_its_end() -> None:
    axis = RatioAxis.holding([0.0, -2.0, 1e9])
    assert axis == RatioAxis(100, 3)
    assert [axis.at(ratio) for ratio in (-2.0, 0.0, 1e-9, 1e9)] == [0.0, 0.0, 0.0, 100.0]


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_no_axis_for_what_is_no_number(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        RatioAxis.holding([1.0, value])
