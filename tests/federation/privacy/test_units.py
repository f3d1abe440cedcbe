"""What a pair of epsilon and delta means in words that are shown to partners."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from federation.privacy.units import most_recognised, up

SHARE = st.floats(0.001, 0.5)


@given(st.floats(0.0, 8.0))
def test_randomised_response_reaches_it(epsilon: float) -> None:
    # A coin that tells the truth with odds e^epsilon is the worst that pure epsilon allows.
    lie = 1 / (1 + math.exp(epsilon))
    assert most_recognised(epsilon, 0.0, wrongly=lie) == pytest.approx(1 - lie)


@given(st.floats(0.1, 5.0), st.floats(0.0, 6.0), SHARE)
def test_no_guess_against_a_gaussian_does_better(mu: float, epsilon: float, wrongly: float) -> None:
    # Delta of a Gaussian at epsilon: Balle and Wang 2018, arXiv:1805.06530, theorem 8. Its best test: Neyman-Pearson.
    delta = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
    best = norm.cdf(norm.ppf(wrongly) + mu)
    assert best <= most_recognised(epsilon, max(0.0, float(delta)), wrongly=wrongly) + 1e-9


@given(st.floats(0.0, 1000.0), st.floats(0.0, 0.1), SHARE)
def test_it_is_a_share_and_no_less_than_guessing_blindly(epsilon: float, delta: float, wrongly: float) -> None:
    assert wrongly <= most_recognised(epsilon, delta, wrongly=wrongly) + 1e-12 <= 1.0 + 1e-12


def test_golden() -> None:
    assert most_recognised(0.0, 0.0, wrongly=0.01) == 0.01
    assert most_recognised(3.0, 1e-5, wrongly=0.01) == pytest.approx(0.200865, abs=1e-6)  # e^3 / 100 + delta
    assert most_recognised(50.0, 0.0, wrongly=0.01) == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [(math.nan, 0.0, 0.1), (math.inf, 0.0, 0.1), (-1.0, 0.0, 0.1), (1.0, math.nan, 0.1),
                                 (1.0, -0.1, 0.1), (1.0, 0.0, 1.5), (1.0, 0.0, math.nan)])
def test_nonsense_is_refused(bad: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="epsilon"):
        most_recognised(bad[0], bad[1], wrongly=bad[2])


@given(st.floats(0.0, 100.0))
def test_a_figure_shown_is_never_below_the_figure_meant(value: float) -> None:
    assert value - 1e-11 <= float(up(value)) <= value + 0.001 + 1e-11
