"""Golden values: dp-accounting's PLD at a 1e-4 grid, as measured independently for the privacy dossier."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from federation.errors import InputError
from federation.grid import SUM_BITS
from federation.plan_parts import PrivacyClaim
from federation.privacy.accounting import (
    DiscreteGaussianTable,
    SubsampledGaussian,
    epsilon_of,
    noise_multiplier_for,
    table_scales_for,
)
from federation.privacy.guarantee import check_claim, grid_cost, price
from federation.privacy.units import Budget
from tests.worlds import make_plan


@pytest.mark.parametrize(("probability", "noise", "steps", "expected"), [
    (0.01, 1.0, 1000, 2.1245), (0.1, 4.0, 1000, 3.8688), (1.0, 20.0, 500, 5.5509), (0.01, 0.6, 300, 6.0206),
])
def test_subsampled_gaussian_golden(probability: float, noise: float, steps: int, expected: float) -> None:
    event = SubsampledGaussian(noise_multiplier=noise, sampling_probability=probability, steps=steps)
    assert epsilon_of([event], delta=1e-6) == pytest.approx(expected, abs=6e-4)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Exact epsilon of a mu-GDP Gaussian mechanism (Balle and Wang 2018, theorem 8)."""
    def excess(epsilon: float) -> float:
        return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)) - delta

    return float(brentq(excess, 0, 100))


@settings(max_examples=15, deadline=None)
@given(st.floats(5, 60), st.integers(1, 200), st.sampled_from([1e-4, 1e-5, 1e-6]))
def test_full_batch_is_never_below_the_exact_formula_and_close(noise: float, steps: int, delta: float) -> None:
    exact = gaussian_epsilon(math.sqrt(steps) / noise, delta)
    ours = epsilon_of([SubsampledGaussian(noise_multiplier=noise, sampling_probability=1.0, steps=steps)], delta=delta)
    assert exact - 1e-9 <= ours <= exact * 1.001 + 2e-3


def test_discrete_gaussian_is_close_to_the_continuous_one() -> None:
    for entries in (1, 3):
        exact = gaussian_epsilon(math.sqrt(entries) / 10.0, 1e-6)
        ours = epsilon_of([DiscreteGaussianTable(scale=10.0, entries=entries)], delta=1e-6)
        assert ours == pytest.approx(exact, rel=0.01)


def test_composition_costs_less_than_the_sum_and_more_than_each() -> None:
    training = SubsampledGaussian(noise_multiplier=13.4, sampling_probability=1.0, steps=120)
    table = DiscreteGaussianTable(scale=6.5, entries=3)
    a, b = (epsilon_of([event], delta=1e-5) for event in (training, table))
    both = epsilon_of([training, table], delta=1e-5)
    assert max(a, b) < both < a + b
    assert both == pytest.approx(epsilon_of([table, training], delta=1e-5))


def test_same_person_at_several_partners_golden() -> None:
    # Privacy dossier 2.2: q = .05, noise 1.5, 400 steps, delta 1e-6.
    for copies, expected in ((1, 3.813), (2, 5.493), (3, 6.854), (5, 9.136)):
        event = [SubsampledGaussian(noise_multiplier=1.5, sampling_probability=0.05, steps=400 * copies)]
        assert epsilon_of(event, delta=1e-6) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0, 8.0])
def test_noise_is_enough_and_hardly_more(epsilon: float) -> None:
    noise = noise_multiplier_for(epsilon=epsilon, delta=1e-5, sampling_probability=1.0, steps=120)

    def cost(value: float) -> float:
        return epsilon_of([SubsampledGaussian(noise_multiplier=value, sampling_probability=1.0, steps=120)], delta=1e-5)

    assert cost(noise) <= epsilon < cost(0.995 * noise - 0.02)
    (scale,) = table_scales_for(epsilon=epsilon, delta=1e-5, entries=[3], shares=[1.0])
    assert epsilon_of([DiscreteGaussianTable(scale=scale, entries=3)], delta=1e-5) <= epsilon
    assert epsilon_of([DiscreteGaussianTable(scale=0.99 * scale - 0.02, entries=3)], delta=1e-5) > epsilon


def tables(scales: Sequence[float], entries: Sequence[int]) -> list[DiscreteGaussianTable]:
    return [DiscreteGaussianTable(scale=scale, entries=moved) for scale, moved in zip(scales, entries, strict=True)]


# Regions, super-regions, countries, confusion, indicators, corridors and dominance of two tasks and 13 indicators.
ENTRIES, SHARES = (3, 3, 3, 2, 28, 3, 1), (10.0, 2.0, 1.0, 4.0, 2.0, 1.0, 1.0)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 1e-5), (1.0, 1e-6), (3.0, 1e-5)])
def test_tables_together_cost_what_they_may_and_hardly_less(epsilon: float, delta: float) -> None:
    scales = table_scales_for(epsilon=epsilon, delta=delta, entries=ENTRIES, shares=SHARES)
    assert 0.97 * epsilon < epsilon_of(tables(scales, ENTRIES), delta=delta) <= epsilon


@settings(max_examples=6)
@given(st.data())
def test_any_tables_are_paid_for_within_the_budget_and_in_their_shares(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    entries = data.draw(st.lists(st.integers(1, 40), min_size=count, max_size=count))
    shares = data.draw(st.lists(st.floats(0.05, 20.0), min_size=count, max_size=count))
    epsilon = data.draw(st.sampled_from([0.3, 1.0, 4.0]))
    scales = table_scales_for(epsilon=epsilon, delta=1e-5, entries=entries, shares=shares)
    assert 0.97 * epsilon < epsilon_of(tables(scales, entries), delta=1e-5) <= epsilon
    # What a table spends of the divergence, entries / scale^2, is in proportion to its share, up to the rounding.
    spent = [moved / scale**2 for moved, scale in zip(entries, scales, strict=True)]
    for part, share in zip(spent, shares, strict=True):
        assert part / sum(spent) == pytest.approx(share / sum(shares), rel=0.05)


def test_only_proportions_of_shares_matter() -> None:
    one, other = (table_scales_for(epsilon=2.0, delta=1e-5, entries=[3, 2], shares=[factor, 4.0 * factor])
                  for factor in (1.0, 1024.0))
    assert one == other


@pytest.mark.parametrize("share", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="expected finite numbers above 0"):
        table_scales_for(epsilon=1.0, delta=1e-5, entries=[3, 3], shares=[1.0, share])


def test_other_scales_that_there_cannot_be_are_refused() -> None:
    for entries, shares in (([3], [1.0, 1.0]), ([3, 3], [1.0])):
        with pytest.raises(ValueError, match="zip"):
            table_scales_for(epsilon=1.0, delta=1e-5, entries=entries, shares=shares)
    for nothing in ([], [0], [3, -1]):
        with pytest.raises(ValueError, match="entries are"):
            table_scales_for(epsilon=1.0, delta=1e-5, entries=nothing, shares=[1.0] * len(nothing))
    for epsilon in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="epsilon is"):
            table_scales_for(epsilon=epsilon, delta=1e-5, entries=[3], shares=[1.0])
        with pytest.raises(ValueError, match="epsilon is"):
            noise_multiplier_for(epsilon=epsilon, delta=1e-5, sampling_probability=1.0, steps=1)
    with pytest.raises(ValueError, match="cannot be met"):
        table_scales_for(epsilon=1e-6, delta=1e-9, entries=[3], shares=[1.0])
    with pytest.raises(ValueError, match="delta"):
        table_scales_for(epsilon=1.0, delta=0.0, entries=[3], shares=[1.0])


def test_an_impossible_price_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot be met"):
        noise_multiplier_for(epsilon=1e-6, delta=1e-9, sampling_probability=1.0, steps=1000)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_bad_numbers_are_refused_everywhere(value: float) -> None:
    with pytest.raises(ValueError, match="noise_multiplier"):
        SubsampledGaussian(noise_multiplier=value, sampling_probability=1.0, steps=1)
    with pytest.raises(ValueError, match="scale"):
        DiscreteGaussianTable(scale=value, entries=1)
    with pytest.raises(ValueError, match="epsilon"):
        Budget(epsilon=value, delta=1e-5)
    with pytest.raises(ValueError, match="sampling_probability"):
        SubsampledGaussian(noise_multiplier=1.0, sampling_probability=value, steps=1)
    with pytest.raises(ValueError, match="delta"):
        epsilon_of([DiscreteGaussianTable(scale=5.0, entries=1)], delta=value)


def test_what_is_no_event_is_not_left_out_in_silence() -> None:
    one = DiscreteGaussianTable(scale=5.0, entries=1)
    for wrong in ([(one,)], [one, None], [one, 5.0]):
        with pytest.raises(AssertionError, match="unreachable"):
            epsilon_of(wrong, delta=1e-5)  # type: ignore[arg-type]


def test_nothing_to_account_for_is_an_error() -> None:
    with pytest.raises(ValueError, match="no events"):
        epsilon_of([], delta=1e-5)


def test_a_budget_is_shown_rounded_up() -> None:
    assert str(Budget(epsilon=1.00001, delta=1e-5)) == "ε = 1.001, δ = 1e-05"


def test_a_true_claim_passes_and_each_false_one_is_named() -> None:
    plan = make_plan()
    assert check_claim(plan).total <= price(plan).at_partners[0][1]
    for name in ("training_epsilon", "statistics_epsilon", "total_epsilon"):
        tree = plan.privacy.model_dump()
        tree[name] *= 0.99
        with pytest.raises(InputError, match=name):
            check_claim(plan.model_copy(update={"privacy": PrivacyClaim(**tree)}))


def exact_gaussian_delta(epsilon: float, mu: float) -> float:
    """delta of the Gaussian mechanism at epsilon, in 60 digits (Balle and Wang 2018, arXiv:1805.06530, theorem 8)."""
    from mpmath import exp, mp, mpf, ncdf

    mp.dps = 60
    mu, epsilon = mpf(mu), mpf(epsilon)
    return float(ncdf(mu / 2 - epsilon / mu) - exp(epsilon) * ncdf(-mu / 2 - epsilon / mu))


@pytest.mark.parametrize(("noise", "steps"), [(13.4, 120), (100.0, 10**4), (300.0, 10**5), (3000.0, 10**6)])
@pytest.mark.parametrize("delta", [1e-5, 1e-9, 1e-10, 1e-12, 1e-14])
def test_many_steps_at_a_small_delta_are_never_understated(noise: float, steps: int, delta: float) -> None:
    # The Fourier transform of a composition loses about 3e-17 of delta a step: more than 1e-12 after 10^5 of them.
    work = SubsampledGaussian(noise_multiplier=noise, sampling_probability=1.0, steps=steps)
    stated = epsilon_of([work], delta=delta)
    assert exact_gaussian_delta(stated, steps**0.5 / noise) <= delta


@pytest.mark.parametrize("scale", [2.0, 5.0, 30.0])
def test_the_grid_costs_no_more_than_is_said(scale: float) -> None:
    # The worst ratio between the discrete Gaussian and the rounded normal variable, in 60 digits.
    from mpmath import exp, log, mp, mpf, ncdf, nsum

    mp.dps = 60
    total = nsum(lambda k: exp(-mpf(k) ** 2 / (2 * mpf(scale) ** 2)), [-int(40 * scale), int(40 * scale)])
    worst = max(abs(log(exp(-mpf(k) ** 2 / (2 * mpf(scale) ** 2)) / total)
                    - log(ncdf(-(k - mpf(0.5)) / scale) - ncdf(-(k + mpf(0.5)) / scale)))
                for k in range(0, math.floor(13 * scale) + 1))
    said = grid_cost(noise_multiplier=scale * 2.0**-SUM_BITS, values=1).epsilon / 2
    # At a small scale the tail falls below the expansion; at a training step's the two are one.
    assert (0.7 if scale < 5 else 0.9) * said < worst <= said


def test_a_plan_that_exact_noise_cannot_vouch_for_is_refused() -> None:
    plan = make_plan(noise_multiplier=0.1)
    rich = PrivacyClaim(delta=plan.privacy.delta, training_epsilon=1e9, statistics_epsilon=1e9, total_epsilon=1e9)
    with pytest.raises(InputError, match="vouch"):
        check_claim(plan.model_copy(update={"privacy": rich}))
    check_claim(make_plan())
