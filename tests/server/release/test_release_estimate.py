"""Intervals: against Wilson, against a brute-force twin, by property, and by measured coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from federation.statistics import SummedTables, TableLayout
from federation.taxonomy import RegionRole, Task
from server.release.estimate import Rate, estimate_cells, estimate_rate, pooled_rate, share_interval

Z = 1.959963984540054


def twin(flagged: float, reviewed: float, variance: float) -> tuple[float, float]:
    """The definition itself, on a fine grid: every p that the noisy counts do not contradict."""
    p = np.linspace(-1.0, 3.0, 800_001)
    spread = variance * (1 + p**2) + reviewed * np.maximum(p * (1 - p), 0.0)
    inside = p[(flagged - p * reviewed) ** 2 <= Z**2 * spread]
    return float(inside[0]), float(inside[-1])


@pytest.mark.parametrize(("flagged", "reviewed", "sd"), [
    (60, 1000, 15.0), (60, 1000, 1.0), (-9, 800, 12.0), (810, 800, 12.0), (400, 500, 20.0), (3, 200, 4.0),
    (46, 60, 14.5),
])
def test_twin_agrees(flagged: int, reviewed: int, sd: float) -> None:
    assert share_interval(flagged, reviewed, noise_variance=sd**2) == pytest.approx(
        twin(flagged, reviewed, sd**2), abs=1e-5)


@pytest.mark.parametrize(("flagged", "reviewed"), [(0, 40), (7, 40), (40, 40), (60, 1000)])
def test_without_noise_it_is_wilson(flagged: int, reviewed: int) -> None:
    wilson = binomtest(flagged, reviewed).proportion_ci(method="wilson")
    assert share_interval(flagged, reviewed, noise_variance=0.0) == pytest.approx((wilson.low, wilson.high), abs=1e-9)


def test_with_noise_far_above_sampling_it_is_fieller() -> None:
    # Fieller 1954 for two independent normals: sampling is invisible beside noise of sd 500 in a million.
    a, b, v = 300_000.0, 1_000_000.0, 500.0**2
    g = Z**2 * v / b**2
    half = Z / b * math.sqrt(v * (1 + (a / b) ** 2 - g)) / (1 - g)
    low, high = share_interval(a, b, noise_variance=v) or (0.0, 0.0)
    assert (low, high) == pytest.approx((a / b / (1 - g) - half, a / b / (1 - g) + half), abs=5e-4)


def test_worked_example_of_the_module() -> None:
    rate = estimate_rate(60, 1000, noise_variance=15.0**2)
    assert rate is not None
    assert rate.display == (600, 288, 947)


@pytest.mark.parametrize("reviewed", [0, -30, 20, 29])
def test_unbounded_is_none_and_not_a_number(reviewed: int) -> None:
    assert estimate_rate(15, reviewed, noise_variance=15.0**2) is None


counts = st.integers(-60, 3000)
noise = st.floats(1.0, 30.0)


@settings(max_examples=300, deadline=None)
@given(flagged=counts, reviewed=st.integers(30, 5000), sd=noise)
def test_interval_holds_the_estimate(flagged: int, reviewed: int, sd: float) -> None:
    rate = estimate_rate(flagged, reviewed, noise_variance=sd**2)
    assume(rate is not None)
    assert rate is not None
    assert rate.lower <= rate.value <= rate.upper


@settings(max_examples=300, deadline=None)
@given(flagged=st.integers(0, 500), reviewed=st.integers(500, 5000), sd=noise, more=st.floats(1.01, 3.0))
def test_more_noise_widens(flagged: int, reviewed: int, sd: float, more: float) -> None:
    narrow = share_interval(flagged, reviewed, noise_variance=sd**2)
    wide = share_interval(flagged, reviewed, noise_variance=(more * sd) ** 2)
    assert narrow is not None
    assert wide is not None
    assert wide[0] < narrow[0]
    assert wide[1] > narrow[1]


@settings(max_examples=100, deadline=None)
@given(flagged=st.integers(0, 400), factor=st.integers(2, 9), sd=noise)
def test_more_records_narrow(flagged: int, factor: int, sd: float) -> None:
    few = share_interval(flagged, 500, noise_variance=sd**2)
    many = share_interval(flagged * factor, 500 * factor, noise_variance=sd**2)
    assert few is not None
    assert many is not None
    assert many[1] - many[0] < few[1] - few[0]


@pytest.mark.parametrize("reviewed", [200, 1000, 5000])
@pytest.mark.parametrize("sd", [10.0, 20.0])
@pytest.mark.parametrize("share", [0.05, 0.25])
def test_coverage(reviewed: int, sd: float, share: float) -> None:
    """95 % intervals cover 93 to 97 % of the time, over sampling and noise together (sd of the figure: 0.4 %)."""
    generator = np.random.default_rng([reviewed, int(sd), int(100 * share)])
    trials = 3000
    f = generator.binomial(reviewed, share, trials) + np.rint(generator.normal(0, sd, trials))
    r = reviewed + np.rint(generator.normal(0, sd, trials))
    ends = [share_interval(a, b, noise_variance=sd**2) for a, b in zip(f, r, strict=True)]
    covered = np.mean([end is not None and end[0] <= share <= end[1] for end in ends])
    assert 0.93 <= covered <= 0.97


def test_an_interval_that_forgets_the_noise_would_fail_that_test() -> None:
    generator = np.random.default_rng(5)
    f = generator.binomial(1000, 0.05, 2000) + np.rint(generator.normal(0, 15, 2000))
    ends = [share_interval(max(a, 0.0), 1000, noise_variance=0.0) for a in f]
    assert np.mean([end is not None and end[0] <= 0.05 <= end[1] for end in ends]) < 0.75


def test_display_is_clipped_and_the_estimate_is_not() -> None:
    rate = estimate_rate(-12, 900, noise_variance=15.0**2)
    assert rate is not None
    assert rate.value < 0.0
    assert rate.lower < 0.0
    assert rate.display[:2] == (0, 0)
    assert Rate(value=10_400.0, lower=9_000.0, upper=12_000.0).display == (10_000, 9_000, 10_000)


def test_cells_follow_the_layout() -> None:
    layout = TableLayout(regions=("XA-01", "XA-02"), roles=(RegionRole.ORIGIN, RegionRole.TRANSIT),
                         tasks=(Task.RECRUITMENT, Task.DISTRESS))
    table = np.arange(12, dtype=np.int64).reshape(layout.shape) + 1000
    cells = estimate_cells(SummedTables(layout=layout, counts=table, noise_variance=9.0, partners=("a",)))
    assert [(c.region, c.role.value, c.task.value, c.reviewed, c.flagged) for c in cells[:3]] == [
        ("XA-01", "origin", "recruitment", 1000, 1001), ("XA-01", "origin", "distress", 1000, 1002),
        ("XA-01", "transit", "recruitment", 1003, 1004)]
    pooled = pooled_rate(cells[:2], noise_variance=9.0)
    assert pooled == estimate_rate(2003, 2000, noise_variance=18.0)
    assert pooled_rate((), noise_variance=9.0) is None


@pytest.mark.parametrize("bad", [{"noise_variance": -1.0}, {"noise_variance": math.nan}, {"noise_variance": math.inf},
                                 {"noise_variance": 1.0, "confidence": 1.0}])
def test_unusable_input_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="noise"):
        share_interval(5, 100, **bad)


def test_wrong_table_is_refused() -> None:
    layout = TableLayout(regions=("XA-01",), roles=(RegionRole.ORIGIN,), tasks=(Task.DISTRESS,))
    with pytest.raises(ValueError, match="expected"):
        estimate_cells(SummedTables(layout=layout, counts=np.zeros((1, 1, 3), dtype=np.int64), noise_variance=1.0,
                                    partners=("a",)))
