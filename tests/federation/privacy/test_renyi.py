"""The adaptive filter, against dp-accounting, numerical integration and the privacy dossier."""

from __future__ import annotations

import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import norm

from federation.privacy import accounting
from federation.privacy.accounting import (
    GRID_DELTA_SHARE,
    GRID_EPSILON,
    LARGEST_COMPOSED,
    DiscreteGaussianTable,
    Event,
    RenyiFilter,
    SubsampledGaussian,
    best_order,
    epsilon_of,
    epsilon_of_renyi,
    exceeds,
    grouped,
    renyi_divergence,
)


def gaussian(noise: float = 1.5, probability: float = 0.05, steps: int = 400) -> SubsampledGaussian:
    return SubsampledGaussian(noise_multiplier=noise, sampling_probability=probability, steps=steps)


events = st.one_of(
    st.builds(gaussian, st.sampled_from([1.5, 4.0, 20.0]), st.sampled_from([0.02, 1.0]), st.integers(1, 50)),
    st.builds(DiscreteGaussianTable, scale=st.sampled_from([8.0, 30.0]), entries=st.integers(1, 6)))


@pytest.mark.parametrize("order", [2, 3, 6, 20, 200])
@pytest.mark.parametrize(("probability", "noise", "steps"), [
    (0.01, 1.0, 1000), (0.05, 1.5, 400), (0.3, 0.7, 10), (1.0, 13.4, 120), (1.0, 2.0, 1), (0.001, 8.0, 1)])
def test_the_subsampled_gaussian_agrees_with_dp_accounting(
    probability: float, noise: float, steps: int, order: int,
) -> None:
    reference = RdpAccountant(orders=[order])
    reference.compose(dp_accounting.PoissonSampledDpEvent(probability, dp_accounting.GaussianDpEvent(noise)), steps)
    ours = renyi_divergence(gaussian(noise, probability, steps), order)
    assert ours >= 0
    # Above it by what is kept aside for the grid of the noise, and no more.
    expected = reference.get_epsilon(1e-6 * (1 - GRID_DELTA_SHARE)) + GRID_EPSILON
    assert epsilon_of_renyi(ours, order=order, delta=1e-6) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("probability", "noise"), [(0.05, 1.5), (0.2, 0.8), (0.5, 3.0)])
@pytest.mark.parametrize("order", [2, 5])
def test_the_subsampled_gaussian_is_the_larger_of_both_directions(
    probability: float, noise: float, order: int,
) -> None:
    def mixture(x: float) -> float:
        return float((1 - probability) * norm.pdf(x, 0, noise) + probability * norm.pdf(x, 1, noise))

    def alone(x: float) -> float:
        return float(norm.pdf(x, 0, noise))

    both = []
    for top, bottom in ((mixture, alone), (alone, mixture)):
        moment = quad(lambda x, p=top, q=bottom: p(x)**order * q(x)**(1 - order), -12 * noise, 12 * noise + order,
                      epsabs=1e-13, limit=400)[0]
        both.append(math.log(moment) / (order - 1))
    ours = renyi_divergence(gaussian(noise, probability, 1), order)
    assert ours == pytest.approx(max(both), rel=1e-6)
    assert ours >= min(both)


@pytest.mark.parametrize("scale", [0.7, 2.0, 10.0])
@pytest.mark.parametrize("order", [2, 7])
def test_the_discrete_gaussian_is_never_below_its_true_divergence(scale: float, order: int) -> None:
    x = np.arange(-400, 401)
    here, there = (-((x - shift) ** 2) / (2 * scale**2) for shift in (0, 1))
    here, there = here - logsumexp(here), there - logsumexp(there)
    true = float(logsumexp(order * here - (order - 1) * there)) / (order - 1)
    ours = renyi_divergence(DiscreteGaussianTable(scale=scale, entries=1), order)
    assert true <= ours * (1 + 1e-12)
    assert ours == pytest.approx(true, rel=0.05)
    assert renyi_divergence(DiscreteGaussianTable(scale=scale, entries=3), order) == pytest.approx(3 * ours)


def test_the_best_fixed_order_golden() -> None:
    # Privacy dossier 2.2: q = .05, noise 1.5, 400 steps, delta 1e-6: order 6 gives 4.149, the composed loss 3.813.
    costs = {order: epsilon_of_renyi(renyi_divergence(gaussian(), order), order=order, delta=1e-6)
             for order in range(2, 40)}
    assert min(costs, key=lambda order: costs[order]) == 6
    assert costs[6] == pytest.approx(4.149, abs=5e-4)
    assert epsilon_of([gaussian()], delta=1e-6) == pytest.approx(3.813, abs=5e-4)


@pytest.mark.parametrize("epsilon", [0.05, 0.5, 1.0, 4.149, 12.0])
def test_the_order_chosen_lets_most_gaussian_work_pass(epsilon: float) -> None:
    chosen = best_order(epsilon=epsilon, delta=1e-6)
    # Work is measured in 1 / noise^2: a full-batch step costs order / (2 noise^2).
    room = {order: RenyiFilter(order=order, epsilon=epsilon, delta=1e-6).budget / order for order in range(2, 1000)}
    assert room[chosen] == max(room.values()) > 0


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 300), st.floats(0.01, 50), st.sampled_from([1e-4, 1e-6, 1e-9]))
def test_the_budget_is_the_conversion_turned_round(order: int, epsilon: float, delta: float) -> None:
    budget = RenyiFilter(order=order, epsilon=epsilon, delta=delta).budget
    assert budget >= 0
    if budget > 0:
        assert epsilon_of_renyi(budget, order=order, delta=delta) == pytest.approx(epsilon)
    assert RenyiFilter(order=order, epsilon=2 * epsilon, delta=delta).budget >= budget


@settings(max_examples=60, deadline=None)
@given(st.lists(events, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_grouping_loses_nothing(work: list[Event], random: object) -> None:
    few = grouped(work)
    assert grouped(few) == few
    assert grouped(reversed(work)) == few
    for kind, unit in ((SubsampledGaussian, "steps"), (DiscreteGaussianTable, "entries")):
        assert sum(getattr(e, unit) for e in few if isinstance(e, kind)) == sum(
            getattr(e, unit) for e in work if isinstance(e, kind))
    cap = RenyiFilter(order=5, epsilon=3.0, delta=1e-6)
    assert cap.spent(work) == pytest.approx(sum(renyi_divergence(event, 5) for event in work))
    assert len(few) == len({(type(e), getattr(e, "noise_multiplier", None), getattr(e, "sampling_probability", None),
                             getattr(e, "scale", None)) for e in work})


def test_many_rounds_compose_as_one() -> None:
    rounds = [gaussian(steps=4)] * 100
    assert epsilon_of(rounds, delta=1e-6) == epsilon_of([gaussian(steps=400)], delta=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(events, max_size=5), events, st.sampled_from([0.5, 2.0, 6.0]))
def test_what_the_filter_admits_stays_below_its_epsilon(work: list[Event], more: Event, epsilon: float) -> None:
    cap = RenyiFilter(order=best_order(epsilon=epsilon, delta=1e-6), epsilon=epsilon, delta=1e-6)
    everything = [*work, more]
    assert 0 <= cap.spent(work) < cap.spent(everything)
    assert cap.admits(everything) == (cap.share(everything) <= 1)
    if cap.admits(everything):
        assert cap.admits(work)
        assert epsilon_of(everything, delta=1e-6) <= epsilon


def test_the_last_charge_that_fits_is_admitted_and_the_next_is_not() -> None:
    cap = RenyiFilter(order=4, epsilon=3.0, delta=1e-6)
    one = DiscreteGaussianTable(scale=20.0, entries=1)
    fits = math.floor(cap.budget / renyi_divergence(one, 4))
    assert cap.admits([one] * fits)
    assert not cap.admits([one] * (fits + 1))


def test_a_filter_without_a_budget_admits_nothing() -> None:
    empty = RenyiFilter(order=2, epsilon=0.5, delta=1e-9)
    assert empty.budget == 0
    assert empty.share([]) == 1
    assert empty.admits([])
    assert not empty.admits([DiscreteGaussianTable(scale=1e5, entries=1)])


@pytest.mark.parametrize("order", [2, 30])
def test_a_small_price_is_not_rounded_away(order: int) -> None:
    event = gaussian(noise=1e5, probability=1e-5, steps=1)
    # To first order, order * q^2 / (2 noise^2).
    assert renyi_divergence(event, order) == pytest.approx(order * 1e-10 / 2e10, rel=1e-6)


@pytest.mark.parametrize("margin", [-1e-2, -1e-4, -1e-12, 0.0, 1e-12, 1e-4, 1e-2])
def test_exceeding_is_decided_by_the_fine_figure(margin: float) -> None:
    for work in ([gaussian(steps=20)], [DiscreteGaussianTable(scale=10.0, entries=52)]):
        exact = epsilon_of(work, delta=1e-6)
        assert exceeds(work, epsilon=exact + margin, delta=1e-6) == (margin < 0)


def test_work_without_protection_is_never_composed_and_never_priced_too_low(monkeypatch: pytest.MonkeyPatch) -> None:
    nearly = epsilon_of([gaussian(1.0, 1.0, 99)], delta=1e-6)
    assert nearly < LARGEST_COMPOSED
    # Composing this would take gigabytes.
    monkeypatch.setattr(accounting, "_loss", lambda *_: pytest.fail("composed"))
    assert epsilon_of([gaussian(1.0, 1.0, 400)], delta=1e-6) > LARGEST_COMPOSED
    assert epsilon_of([gaussian(0.1, 1.0, 10**8)], delta=1e-6) > 10**8 / (2 * 0.1**2)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_bad_numbers_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="epsilon"):
        RenyiFilter(order=2, epsilon=value, delta=1e-6)
    with pytest.raises(ValueError, match="delta"):
        RenyiFilter(order=2, epsilon=1.0, delta=value)
    with pytest.raises(ValueError, match="delta"):
        epsilon_of_renyi(1.0, order=2, delta=value)
    if value != 0:
        with pytest.raises(ValueError, match="divergence"):
            epsilon_of_renyi(value, order=2, delta=1e-6)


@pytest.mark.parametrize("order", [-1, 0, 1, 4097])
def test_an_order_out_of_range_is_refused(order: int) -> None:
    with pytest.raises(ValueError, match="order"):
        RenyiFilter(order=order, epsilon=1.0, delta=1e-6)
    with pytest.raises(ValueError, match="order"):
        renyi_divergence(gaussian(), order)
    with pytest.raises(ValueError, match="order"):
        epsilon_of_renyi(1.0, order=order, delta=1e-6)


@pytest.mark.parametrize("event", [
    gaussian(noise=1e-200), gaussian(noise=1e200), gaussian(noise=1e-200, probability=1.0),
    DiscreteGaussianTable(scale=1e-200, entries=1)])
def test_an_event_without_a_finite_figure_is_refused(event: Event) -> None:
    with pytest.raises(ValueError, match="no finite"):
        renyi_divergence(event, 8)


def test_a_budget_too_small_for_any_order_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to spend"):
        best_order(epsilon=1e-4, delta=1e-9)
