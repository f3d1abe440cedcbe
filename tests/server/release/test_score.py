"""The score test itself, against textbook tests, and what its inversion does where there is nothing to find."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from server.release.score import invert, signed_score
from server.release.shares import NoisyShares

ONE = np.ones(())


def shares(count: float, total: float, variance: float = 0.0) -> NoisyShares:
    return NoisyShares(counts=np.array(count), totals=np.array(total), count_variance=np.array(variance),
                       total_variance=np.array(variance), covariance=np.zeros(()))


@given(count=st.integers(0, 50), value=st.floats(0.01, 0.99))
def test_one_share_without_noise_is_the_test_of_a_proportion(count: int, value: float) -> None:
    textbook = (count / 50 - value) / math.sqrt(value * (1 - value) / 50)
    assert signed_score([shares(count, 50)], [ONE], value) == pytest.approx(textbook)


@given(first=st.integers(1, 49), second=st.integers(1, 79))
def test_two_equal_shares_without_noise_are_the_chi_square_test(first: int, second: int) -> None:
    score = signed_score([shares(first, 50), shares(second, 80)], [ONE, -ONE], 0.0)
    chi_square = chi2_contingency([[first, 50 - first], [second, 80 - second]], correction=False).statistic
    # Two steps of scoring end near the pooled share; they matter where the test decides.
    if chi_square < 9:
        assert abs(score) == pytest.approx(math.sqrt(chi_square), rel=0.02, abs=1e-6)
        assert score * (first / 50 - second / 80) >= 0


def test_noise_alone_is_a_normal_test() -> None:
    far = shares(0.3e9, 1e9, 1e14)
    expected = (0.3 - 0.29) / math.sqrt(1e14 * (1 + 0.29**2) / 1e18)
    assert signed_score([far], [ONE], 0.29) == pytest.approx(expected, rel=1e-3)


def test_what_exact_counts_contradict_is_infinitely_far() -> None:
    assert signed_score([shares(50, 50)], [ONE], 1.5) == -math.inf
    assert signed_score([shares(0, 50)], [ONE], 0.0) == 0.0


def test_an_end_that_is_never_reached_leaves_nothing() -> None:
    # A count below that cannot be told from 0: whatever the ratio, it is not too large, but it can be too small.
    above, below = shares(40, 400, 25.0), shares(6, 400, 25.0)
    ratios = invert((above, below), lambda ratio: (ONE, -ratio), estimate=above.estimate / below.estimate,
                    slope=below.estimate, bounded=np.array(True), z=1.959963984540054)
    assert np.isnan(ratios).all()
