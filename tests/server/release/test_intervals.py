"""Intervals: against published values, against brute-force twins, by property and limit, and by measured coverage."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import opendp.prelude as dp
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from server.release.calibration import Calibration
from server.release.intervals import (
    Interval,
    corrected_interval,
    count_interval,
    difference_interval,
    lift_interval,
    ratio_interval,
    share_interval,
    signal_count,
)

Z = 1.959963984540054
Z99 = 2.3263478740408408
Floats = NDArray[np.float64]

PERFECT = Calibration.of(1e13, 0, 0, 1e13, noise_variance=0)
TYPICAL = Calibration.of(330, 70, 20, 380, noise_variance=10.0**2)

noise = st.floats(1.0, 30.0)
cells = st.tuples(st.integers(-20, 600), st.integers(150, 5000), noise)


def gaussian(generator: np.random.Generator, sd: float, size: int) -> Floats:
    """Discrete Gaussian noise, from its definition."""
    k = np.arange(-math.ceil(12 * sd), math.ceil(12 * sd) + 1)
    weights = np.exp(-(k**2) / (2 * sd * sd))
    cumulative = np.cumsum(weights) / weights.sum()
    return k[np.searchsorted(cumulative, generator.random(size))].astype(np.float64)


def labelled(generator: np.random.Generator, s: float, f: float, people: int, sd: float, size: int) -> Calibration:
    """As many noisy labelled sets as asked for, of so many people with and without a signal each."""
    tp, fp = generator.binomial(people, s, size), generator.binomial(people, f, size)
    counts = [count + gaussian(generator, sd, size) for count in (tp, people - tp, fp, people - fp)]
    return Calibration.of(*counts, noise_variance=sd**2)


def covered(ends: tuple[Floats, Floats], truth: float) -> float:
    """Share of the bounded intervals that hold the truth."""
    lower, upper = (end[~np.isnan(ends[0])] for end in ends)
    return float(np.mean((lower <= truth) & (truth <= upper)))


def same(a: tuple[Any, ...], b: tuple[Any, ...], **tolerance: float) -> None:
    np.testing.assert_allclose([float(x) for x in a], [float(x) for x in b], **{"rtol": 1e-6, "atol": 1e-9} | tolerance)


class TestCount:
    @pytest.mark.parametrize("sd", [3.0, 6.5, 10.0, 30.0])
    def test_whole_counts_agree_with_opendp(self, sd: float) -> None:
        # OpenDP's accuracy is the least a with P(|noise| >= a) <= alpha; the half width is the last one below it.
        dp.enable_features("contrib")
        accuracy = dp.discrete_gaussian_scale_to_accuracy(scale=sd, alpha=0.05)
        same(count_interval(1000, variance=sd**2), (1000 - (accuracy - 1), 1000 + (accuracy - 1)))

    def test_fractional_counts_have_no_lattice(self) -> None:
        same(count_interval(10.25, variance=9.0), (10.25 - 3 * Z, 10.25 + 3 * Z))
        same(count_interval(7, variance=0.0), (7, 7))
        same(count_interval(7.5, variance=4.0, confidence=0.99), (7.5 - 2 * 2.5758293035489, 7.5 + 2 * 2.5758293035489))

    @pytest.mark.parametrize(("sd", "least", "most"), [(3, 0.95, 0.975), (10, 0.94, 0.962), (30, 0.94, 0.96)])
    def test_coverage(self, sd: int, least: float, most: float) -> None:
        count = 500 + gaussian(np.random.default_rng(sd), sd, 40_000)
        assert least <= covered(count_interval(count, variance=sd**2), 500) <= most


def share_twin(flagged: float, reviewed: float, of_flagged: float, of_reviewed: float) -> tuple[float, float]:
    """The definition itself, on a fine grid: every p that the noisy counts do not contradict."""
    p = np.linspace(-1.0, 3.0, 800_001)
    spread = of_flagged + p**2 * of_reviewed + reviewed * np.maximum(p * (1 - p), 0.0)
    inside = p[(flagged - p * reviewed) ** 2 <= Z**2 * spread]
    return float(inside[0]), float(inside[-1])


class TestShare:
    @pytest.mark.parametrize(("flagged", "reviewed", "sd", "other_sd"), [
        (60, 1000, 15.0, 15.0), (60, 1000, 1.0, 20.0), (-9, 800, 12.0, 3.0), (810, 800, 12.0, 25.0),
        (400, 500, 20.0, 5.0), (3, 200, 4.0, 40.0), (46, 60, 14.5, 14.5),
    ])
    def test_twin_agrees(self, flagged: int, reviewed: int, sd: float, other_sd: float) -> None:
        ends = share_interval(flagged, reviewed, flagged_variance=sd**2, reviewed_variance=other_sd**2)
        same(ends, share_twin(flagged, reviewed, sd**2, other_sd**2), atol=1e-5)

    @pytest.mark.parametrize(("flagged", "reviewed"), [(0, 40), (7, 40), (40, 40), (60, 1000)])
    def test_without_noise_it_is_wilson(self, flagged: int, reviewed: int) -> None:
        wilson = binomtest(flagged, reviewed).proportion_ci(method="wilson")
        same(share_interval(flagged, reviewed, flagged_variance=0, reviewed_variance=0), (wilson.low, wilson.high))

    def test_with_noise_far_above_sampling_it_is_fieller(self) -> None:
        # Sampling is invisible beside noise of sd 500 in a million.
        expected = ratio_interval(300_000, 500.0**2, 1_000_000, 700.0**2)
        same(share_interval(300_000, 1_000_000, flagged_variance=500.0**2, reviewed_variance=700.0**2), expected[1:],
             rtol=0, atol=5e-4)

    def test_worked_example(self) -> None:
        same(share_interval(60, 1000, flagged_variance=15**2, reviewed_variance=15**2), (0.0288, 0.0947), atol=5e-5)

    @pytest.mark.parametrize("reviewed", [0, -30, 20, 29, -500])
    def test_unbounded_is_nan(self, reviewed: int) -> None:
        assert np.isnan(share_interval(15, reviewed, flagged_variance=225, reviewed_variance=225)).all()

    @given(cell=cells, more=st.floats(1.01, 3.0))
    def test_it_holds_the_estimate_and_widens_with_either_noise(self, cell: tuple[int, int, float],
                                                                more: float) -> None:
        flagged, reviewed, sd = cell
        v = sd**2
        lower, upper = share_interval(flagged, reviewed, flagged_variance=v, reviewed_variance=v)
        assume(not np.isnan(lower))
        assert lower <= flagged / reviewed <= upper
        for wider in ({"flagged_variance": v * more, "reviewed_variance": v},
                      {"flagged_variance": v, "reviewed_variance": v * more}):
            low, high = share_interval(flagged, reviewed, **wider)
            assert np.isnan(low) or (low <= lower + 1e-12 and high >= upper - 1e-12)

    @pytest.mark.parametrize("reviewed", [100, 1000, 50_000])
    @pytest.mark.parametrize("sd", [3, 10, 20])
    @pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
    def test_coverage(self, reviewed: int, sd: int, share: float) -> None:
        generator = np.random.default_rng([reviewed, sd, int(100 * share)])
        f = generator.binomial(reviewed, share, 20_000) + gaussian(generator, sd, 20_000)
        r = reviewed + gaussian(generator, sd, 20_000)
        assert 0.94 <= covered(share_interval(f, r, flagged_variance=sd**2, reviewed_variance=sd**2), share) <= 0.96


def corrected_twin(flagged: float, reviewed: float, of_flagged: float, of_reviewed: float, tp: float, fn: float,
                   fp: float, tn: float, v: float) -> tuple[float, float]:
    """Every rate on a grid that the definition does not reject, in plain arithmetic and without any solver."""
    rate = np.linspace(-3.0, 4.0, 700_001)
    q_seen, s_seen, f_seen = flagged / reviewed, tp / (tp + fn), fp / (fp + tn)
    gap = q_seen - rate * s_seen - (1 - rate) * f_seen
    q, s, f = (flagged + 0.5) / (reviewed + 1), (tp + 0.5) / (tp + fn + 1), (fp + 0.5) / (fp + tn + 1)
    for step in range(3):
        of_q = (of_flagged + q**2 * of_reviewed + reviewed * np.maximum(q * (1 - q), 0)) / reviewed**2
        of_s = (v * ((1 - s) ** 2 + s**2) + (tp + fn) * np.maximum(s * (1 - s), 0)) / (tp + fn) ** 2
        of_f = (v * ((1 - f) ** 2 + f**2) + (fp + tn) * np.maximum(f * (1 - f), 0)) / (fp + tn) ** 2
        if step < 2:
            total = of_q + rate**2 * of_s + (1 - rate) ** 2 * of_f
            q = q_seen - gap * of_q / total
            s = s_seen + gap * rate * of_s / total
            f = f_seen + gap * (1 - rate) * of_f / total
    distance = (q_seen - q) ** 2 / of_q + (s_seen - s) ** 2 / of_s + (f_seen - f) ** 2 / of_f
    inside = np.flatnonzero(distance <= Z**2)
    assert (np.diff(inside) == 1).all()
    return float(rate[inside[0]]), float(rate[inside[-1]])


class TestCorrected:
    @pytest.mark.parametrize(("cell", "counts", "sd"), [
        ((115, 2000, 100.0, 100.0), (80, 20, 100, 1900), 5.0), ((150, 1000, 225.0, 900.0), (330, 70, 20, 380), 10.0),
        ((20, 1000, 100.0, 100.0), (90, 10, 8, 95), 5.0), ((2900, 3000, 400.0, 25.0), (95, 6, 28, 71), 5.0),
        ((-5, 300, 9.0, 9.0), (70, 26, 17, 80), 5.0), ((25_000, 50_000, 9.0, 9.0), (70, 26, 17, 80), 12.0),
        ((45, 110, 900.0, 900.0), (1800, 200, 40, 1960), 15.0), ((30, 200, 9.0, 9.0), (104, -3, -4, 99), 5.0),
    ])
    def test_twin_agrees(self, cell: tuple[int, int, float, float], counts: tuple[int, int, int, int],
                         sd: float) -> None:
        flagged, reviewed, of_flagged, of_reviewed = cell
        _, lower, upper = corrected_interval(
            flagged, reviewed, flagged_variance=of_flagged, reviewed_variance=of_reviewed,
            calibration=Calibration.of(*counts, noise_variance=sd**2))
        same((lower, upper), corrected_twin(*cell, *counts, sd**2), rtol=0, atol=2e-5)

    @given(cell=cells)
    def test_with_a_perfect_classifier_it_is_the_share_interval(self, cell: tuple[int, int, float]) -> None:
        flagged, reviewed, sd = cell
        noisy = {"flagged_variance": sd**2, "reviewed_variance": 2 * sd**2}
        value, lower, upper = corrected_interval(flagged, reviewed, **noisy, calibration=PERFECT)
        same((lower, upper), share_interval(flagged, reviewed, **noisy), atol=1e-6)
        if not np.isnan(lower):
            assert value == pytest.approx(flagged / reviewed)

    @pytest.mark.parametrize("reviewed", [3, 10, 40])
    def test_without_noise_either_it_is_wilson(self, reviewed: int) -> None:
        flagged = np.arange(reviewed + 1)
        rates = corrected_interval(flagged, reviewed, flagged_variance=0, reviewed_variance=0, calibration=PERFECT)
        for count in flagged:
            wilson = binomtest(count, reviewed).proportion_ci(method="wilson")
            same(tuple(part[count] for part in rates), (count / reviewed, wilson.low, wilson.high), atol=1e-6)

    def test_with_known_error_rates_it_is_the_share_interval_rescaled(self) -> None:
        known = Calibration.of(0.8e13, 0.2e13, 0.05e13, 0.95e13, noise_variance=0)
        lower, upper = share_interval(115, 2000, flagged_variance=100, reviewed_variance=100)
        same(corrected_interval(115, 2000, flagged_variance=100, reviewed_variance=100, calibration=known),
             (0.01, (lower - 0.05) / 0.75, (upper - 0.05) / 0.75), atol=1e-6)

    def test_estimate_of_rogan_and_gladen(self) -> None:
        # 5.75 % flagged, sensitivity 0.80, specificity 0.95: 1.0 % (domain.md 5.4).
        small = Calibration.of(80, 20, 100, 1900, noise_variance=25)
        same(corrected_interval(115, 2000, flagged_variance=100, reviewed_variance=100, calibration=small),
             (0.01, -0.0136, 0.0343), atol=5e-5)

    @settings(max_examples=60)
    @given(cell=cells, more=st.floats(1.5, 4.0))
    def test_it_holds_the_estimate_and_is_wider_for_what_is_not_known(self, cell: tuple[int, int, float],
                                                                      more: float) -> None:
        flagged, reviewed, sd = cell
        noisy = {"flagged_variance": sd**2, "reviewed_variance": sd**2}
        value, lower, upper = corrected_interval(flagged, reviewed, **noisy, calibration=TYPICAL)
        assume(not np.isnan(value))
        assert value == pytest.approx((flagged / reviewed - 0.05) / 0.775)
        assert lower < value < upper
        noisier = Calibration.of(330, 70, 20, 380, noise_variance=more * 100)
        fewer = Calibration.of(330 / more, 70 / more, 20 / more, 380 / more, noise_variance=100)
        for worse in (noisier, fewer):
            _, low, high = corrected_interval(flagged, reviewed, **noisy, calibration=worse)
            assert np.isnan(low) or high - low > upper - lower

    def test_arrays_give_what_their_parts_give(self) -> None:
        flagged, reviewed = np.array([[30.0], [115.0], [900.0]]), np.array([[400.0], [2000.0], [1000.0]])
        calibrations = Calibration.of([330, 80], [70, 20], [20, 100], [380, 1900], noise_variance=25)
        rates = corrected_interval(flagged, reviewed, flagged_variance=100, reviewed_variance=50,
                                   calibration=calibrations)
        assert rates.value.shape == rates.lower.shape == rates.upper.shape == (3, 2)
        for row in range(3):
            for column, counts in enumerate(((330, 70, 20, 380), (80, 20, 100, 1900))):
                one = corrected_interval(flagged[row, 0], reviewed[row, 0], flagged_variance=100, reviewed_variance=50,
                                         calibration=Calibration.of(*counts, noise_variance=25))
                same(one, tuple(part[row, column] for part in rates))

    def test_more_cells_than_a_block(self) -> None:
        reviewed = np.linspace(500.0, 900.0, 20_000)
        rates = corrected_interval(60, reviewed, flagged_variance=9, reviewed_variance=9, calibration=TYPICAL)
        for i in (0, 8191, 8192, 19_999):
            same(corrected_interval(60, reviewed[i], flagged_variance=9, reviewed_variance=9, calibration=TYPICAL),
                 tuple(part[i] for part in rates))

    @pytest.mark.parametrize(("reviewed", "counts"), [
        (19, (330, 70, 20, 380)), (-400, (330, 70, 20, 380)), (0, (330, 70, 20, 380)),
        (400, (30, 20, 22, 28)), (400, (20, 80, 80, 20)), (400, (9, 3, 20, 380)), (400, (330, 70, -40, 20)),
    ])
    def test_unbounded_is_nan(self, reviewed: int, counts: tuple[int, int, int, int]) -> None:
        rates = corrected_interval(60, reviewed, flagged_variance=100, reviewed_variance=100,
                                   calibration=Calibration.of(*counts, noise_variance=100))
        assert np.isnan(rates).all()

    def test_less_confidence_needs_to_know_less(self) -> None:
        # s - f = 0.3 with standard deviation 0.17: not 0 at 80 %, perhaps 0 at 95 %.
        barely = Calibration.of(25, 25, 10, 40, noise_variance=100)
        cell: dict[str, Any] = {"flagged_variance": 9, "reviewed_variance": 9, "calibration": barely}
        assert np.isfinite(corrected_interval(300, 1000, **cell, confidence=0.8)).all()
        assert np.isnan(corrected_interval(300, 1000, **cell, confidence=0.95)).all()

    @pytest.mark.parametrize(("reviewed", "rate", "sd"), [
        (100, 0.3, 3), (300, 0.1, 10), (1000, 0.02, 3), (1000, 0.7, 30), (5000, 0.0, 10), (50_000, 0.005, 30),
    ])
    @pytest.mark.parametrize(("s", "f", "people", "of_labels"), [
        (0.8, 0.05, 100, 5), (0.7, 0.15, 400, 15), (0.9, 0.02, 2000, 5), (0.95, 0.3, 100, 5),
    ])
    def test_coverage(self, reviewed: int, rate: float, sd: int, s: float, f: float, people: int,
                      of_labels: int) -> None:
        """Over the noise, the sampling of the cell, and the noise and sampling of the labelled set, all together."""
        generator = np.random.default_rng([reviewed, int(1000 * rate), sd, int(100 * s), people])
        flagged = generator.binomial(reviewed, f + rate * (s - f), 20_000) + gaussian(generator, sd, 20_000)
        total = reviewed + gaussian(generator, sd, 20_000)
        calibration = labelled(generator, s, f, people, of_labels, 20_000)
        _, lower, upper = corrected_interval(flagged, total, flagged_variance=sd**2, reviewed_variance=sd**2,
                                             calibration=calibration)
        assert np.isnan(lower).mean() < 0.01
        assert 0.94 <= covered((lower, upper), rate) <= 0.96

    def test_an_interval_that_forgets_the_labelled_set_would_fail_that_test(self) -> None:
        generator = np.random.default_rng(11)
        flagged = generator.binomial(5000, 0.0575, 4000) + gaussian(generator, 10, 4000)
        calibration = labelled(generator, 0.8, 0.05, 400, 5, 4000)
        sure = Calibration.of(*(1e9 * count for count in (calibration.tp, calibration.fn, calibration.fp,
                                                          calibration.tn)), noise_variance=0)
        _, lower, upper = corrected_interval(flagged, 5000 + gaussian(generator, 10, 4000), flagged_variance=100,
                                             reviewed_variance=100, calibration=sure)
        assert covered((lower, upper), 0.01) < 0.6


class TestSignalCount:
    def test_with_known_error_rates_it_is_the_textbook_formula(self) -> None:
        known = Calibration.of(0.8e13, 0.2e13, 0.05e13, 0.95e13, noise_variance=0)
        estimate, sd = signal_count(115, 2000, flagged_variance=100, reviewed_variance=400, calibration=known,
                                    minimum_count=11)
        assert estimate == pytest.approx((115 - 100) / 0.75)
        variance = 100 + 0.05**2 * 400 + 10 * 0.8 * 0.2 + 1990 * 0.05 * 0.95
        assert sd == pytest.approx(math.sqrt(variance) / 0.75, rel=1e-6)

    @pytest.mark.parametrize(("reviewed", "minimum_count"), [(2000, 11), (600, 401), (-40, 61)])
    def test_a_cell_with_just_too_few_has_the_sd_of_the_docstring(self, reviewed: int, minimum_count: int) -> None:
        # As many flags as k - 1 signals make on average fit the labelled set as it is: nothing is left to fit.
        few, others, s, f = minimum_count - 1, reviewed - minimum_count + 1, 0.825, 0.05
        estimate, sd = signal_count(few * s + others * f, reviewed, flagged_variance=100, reviewed_variance=400,
                                    calibration=TYPICAL, minimum_count=minimum_count)
        of_s = (100 * ((1 - s) ** 2 + s**2) + 400 * s * (1 - s)) / 400**2
        of_f = (100 * ((1 - f) ** 2 + f**2) + 400 * f * (1 - f)) / 400**2
        variance = (100 + f**2 * 400 + few * s * (1 - s) + max(others, 0) * f * (1 - f)
                    + few**2 * of_s + others**2 * of_f)
        assert (estimate, sd) == pytest.approx((few, math.sqrt(variance) / 0.775))

    def test_a_perfect_classifier_leaves_the_noise(self) -> None:
        estimate, sd = signal_count(46, 900, flagged_variance=225, reviewed_variance=225, calibration=PERFECT,
                                    minimum_count=11)
        assert (estimate, sd) == pytest.approx((46, 15))

    def test_error_of_the_labelled_set_grows_with_the_cell(self) -> None:
        # For many people, of whom the labelled ones give the false-alarm rate exactly: sd -> n sd(f) / (s - f).
        _, sd = signal_count(50_000, 1_000_000, flagged_variance=9, reviewed_variance=9, minimum_count=1,
                             calibration=TYPICAL)
        of_false_alarms = math.sqrt(100 * (0.05**2 + 0.95**2) + 400 * 0.05 * 0.95) / 400
        assert sd == pytest.approx(1_000_000 * of_false_alarms / 0.775, rel=1e-3)

    @given(cell=cells, minimum_count=st.integers(1, 30))
    def test_the_estimate_does_not_depend_on_the_minimum(self, cell: tuple[int, int, float],
                                                         minimum_count: int) -> None:
        flagged, reviewed, sd = cell
        estimate, spread = signal_count(flagged, reviewed, flagged_variance=sd**2, reviewed_variance=sd**2,
                                        calibration=TYPICAL, minimum_count=minimum_count)
        assert estimate == pytest.approx((flagged - 0.05 * reviewed) / 0.775)
        assert spread > sd / 0.775

    @pytest.mark.parametrize("counts", [(20, 80, 80, 20), (-5, 2, 20, 380), (330, 70, -40, 20), (50, 50, 50, 50)])
    def test_a_classifier_that_finds_no_signals_gives_no_number(self, counts: tuple[int, int, int, int]) -> None:
        numbers = signal_count(60, 400, flagged_variance=100, reviewed_variance=100, minimum_count=11,
                               calibration=Calibration.of(*counts, noise_variance=100))
        assert np.isnan(numbers).all()

    @pytest.mark.parametrize(("reviewed", "signals"), [(20, 10), (300, 0), (1000, 10), (5000, 5), (50_000, 0)])
    @pytest.mark.parametrize(("s", "f", "people", "of_labels"), [
        (0.8, 0.05, 100, 5), (0.9, 0.02, 100, 5), (0.95, 0.3, 400, 15), (0.7, 0.15, 2000, 5), (0.8, 0.001, 400, 5),
    ])
    @pytest.mark.parametrize("sd", [3, 10])
    def test_too_few_signals_are_hardly_ever_published(self, reviewed: int, signals: int, s: float, f: float,
                                                       people: int, of_labels: int, sd: int) -> None:
        """At most 1.1 %, and 0.25 points for the simulation (three standard errors of 1.1 % in 16,000)."""
        rate = self.publications(reviewed, signals, s, f, people, of_labels, sd)
        assert rate <= 0.011 + 0.0025

    def test_sixty_signals_in_a_thousand_are(self) -> None:
        assert self.publications(1000, 60, 0.8, 0.02, 2000, 5, 3) > 0.99

    def test_an_sd_that_trusts_the_labelled_set_would_fail_that_test(self) -> None:
        """Plain error propagation at the observed rates publishes twice as many empty cells as it claims to."""
        generator = np.random.default_rng(3)
        calibration = labelled(generator, 0.95, 0.02, 100, 1, 60_000)
        flagged = generator.binomial(50_000, 0.02, 60_000) + gaussian(generator, 3, 60_000)
        s, f = calibration.sensitivity, calibration.false_alarm_rate
        clipped = np.maximum(f, 0.0)
        plain = np.sqrt(9 + 50_000 * clipped * (1 - clipped) + 50_000**2 * calibration.false_alarm_rate_variance)
        assert np.mean((flagged - 50_000 * f) / (s - f) >= 10 + Z99 * plain / (s - f) + 0.5) > 0.02
        sound = signal_count(flagged, 50_000, flagged_variance=9, reviewed_variance=0, calibration=calibration,
                             minimum_count=11)
        assert np.mean(sound.estimate >= 10 + Z99 * sound.standard_deviation + 0.5) < 0.011

    def publications(self, reviewed: int, signals: int, s: float, f: float, people: int, of_labels: int,
                     sd: int) -> float:
        """How often such a cell passes the threshold."""
        size = 16_000
        generator = np.random.default_rng([reviewed, signals, int(1000 * s), int(1000 * f), people, sd])
        flags = generator.binomial(signals, s, size) + generator.binomial(reviewed - signals, f, size)
        numbers = signal_count(
            flags + gaussian(generator, sd, size), reviewed + gaussian(generator, sd, size), flagged_variance=sd**2,
            reviewed_variance=sd**2, calibration=labelled(generator, s, f, people, of_labels, size), minimum_count=11)
        return float(np.mean(numbers.estimate >= 10 + Z99 * numbers.standard_deviation + 0.5))


class TestRatio:
    @pytest.mark.parametrize(("x", "of_x", "y", "of_y"), [(3.0, 0.25, 2.0, 0.16), (-1.0, 4.0, 5.0, 1.0),
                                                          (0.0, 1.0, -4.0, 0.5)])
    def test_twin_agrees(self, x: float, of_x: float, y: float, of_y: float) -> None:
        r = np.linspace(-10, 10, 2_000_001)
        inside = r[(x - r * y) ** 2 <= Z**2 * (of_x + r**2 * of_y)]
        same(ratio_interval(x, of_x, y, of_y), (x / y, inside[0], inside[-1]), rtol=0, atol=2e-5)

    def test_with_a_known_denominator_it_is_a_normal_interval(self) -> None:
        same(ratio_interval(3.0, 0.25, 2.0, 0.0), (1.5, 1.5 - Z * 0.25, 1.5 + Z * 0.25))

    @given(x=st.floats(-1e6, 1e6), y=st.floats(0.01, 1e6))
    def test_of_known_numbers_it_is_their_ratio(self, x: float, y: float) -> None:
        assume(x == 0 or abs(x) > 1e-6)
        same(ratio_interval(x, 0.0, y, 0.0), (x / y, x / y, x / y), rtol=1e-6)

    @pytest.mark.parametrize("y", [0.0, 1.9, -1.9])
    def test_unbounded_is_nan(self, y: float) -> None:
        assert np.isnan(ratio_interval(1.0, 1.0, y, 1.0)).all()

    def test_coverage(self) -> None:
        generator = np.random.default_rng(8)
        x, y = generator.normal(3.0, 1.0, 40_000), generator.normal(5.0, 1.0, 40_000)
        assert 0.945 <= covered(ratio_interval(x, 1.0, y, 1.0)[1:], 0.6) <= 0.955


def koopman(x1: int, n1: int, x2: int, n2: int) -> tuple[float, float]:
    """Koopman (1984), with the maximum-likelihood shares at each ratio from the quadratic he gives."""
    ratio = np.geomspace(1e-3, 1e3, 2_000_001)
    a, b, c = ratio * (n1 + n2), -(ratio * (n1 + x2) + x1 + n2), x1 + x2
    p2 = (-b - np.sqrt(b * b - 4 * a * c)) / (2 * a)
    p1 = ratio * p2
    gap = x1 / n1 - ratio * x2 / n2
    inside = ratio[gap**2 <= Z**2 * (p1 * (1 - p1) / n1 + ratio**2 * p2 * (1 - p2) / n2)]
    return float(inside[0]), float(inside[-1])


class TestLift:
    @pytest.mark.parametrize(("x1", "n1", "x2", "n2"), [(36, 40, 16, 80), (80, 400, 500, 10_000), (15, 300, 60, 900)])
    def test_without_noise_it_is_koopman(self, x1: int, n1: int, x2: int, n2: int) -> None:
        # Two scoring steps come to within a thousandth of the shares of maximum likelihood, which take all of them.
        same(lift_interval(x1, n1, x2, n2, variance=0.0)[1:], koopman(x1, n1, x2, n2), rtol=2e-3)

    def test_published_example(self) -> None:
        # Koopman 1984: 36 of 40 against 16 of 80, 2.94 to 7.15.
        same(lift_interval(36, 40, 16, 80, variance=0.0), (4.5, 2.94, 7.15), rtol=0, atol=0.02)

    def test_with_noise_far_above_sampling_it_is_the_ratio_of_two_shares(self) -> None:
        v, n = 3e4**2, 1e7
        p1, p2 = 0.4, 0.2
        expected = ratio_interval(p1, v * (1 + p1**2) / n**2, p2, v * (1 + p2**2) / n**2)
        same(lift_interval(p1 * n, n, p2 * n, n, variance=v), expected, rtol=0, atol=2e-3)

    def test_worked_example(self) -> None:
        same(lift_interval(80, 400, 500, 10_000, variance=100), (4.0, 2.77, 5.42), atol=5e-3)

    @settings(max_examples=60)
    @given(present=st.integers(-10, 200), common=st.integers(150, 2000), sd=st.floats(1, 20), more=st.floats(1.05, 3))
    def test_it_holds_the_estimate_and_widens_with_noise(self, present: int, common: int, sd: float,
                                                         more: float) -> None:
        lift, lower, upper = lift_interval(present, 300, common, 5000, variance=sd**2)
        assert lift == pytest.approx((present / 300) / (common / 5000))
        assert lower < lift < upper
        _, low, high = lift_interval(present, 300, common, 5000, variance=more * sd**2)
        assert low < lower
        assert high > upper

    @pytest.mark.parametrize("counts", [(10, 19, 100, 5000), (10, -50, 100, 5000), (10, 400, 19, 5000),
                                        (10, 400, -60, 5000), (10, 400, 25, 18)])
    def test_unbounded_is_nan(self, counts: tuple[int, int, int, int]) -> None:
        assert np.isnan(lift_interval(*counts, variance=100)).all()

    @pytest.mark.parametrize(("signals", "others", "share", "lift", "sd"), [
        (200, 10_000, 0.1, 2.0, 3), (200, 10_000, 0.1, 0.5, 10), (1000, 10_000, 0.03, 3.0, 30),
        (5000, 50_000, 0.01, 1.0, 30), (1000, 1000, 0.3, 3.0, 10),
    ])
    def test_coverage(self, signals: int, others: int, share: float, lift: float, sd: int) -> None:
        generator = np.random.default_rng([signals, others, int(1000 * share), sd])
        true = (generator.binomial(signals, share * lift, 20_000), signals, generator.binomial(others, share, 20_000),
                others)
        counts = [count + gaussian(generator, sd, 20_000) for count in true]
        assert 0.94 <= covered(lift_interval(*counts, variance=sd**2)[1:], lift) <= 0.96


class TestDifference:
    def test_newcombe_published(self) -> None:
        # Newcombe 1998, "Interval estimation for the difference between independent proportions", Statist. Med. 17,
        # example (a), method 10: 56/70 - 48/80 is 0.2000, 0.0524 to 0.3339. MOVER on Wilson's intervals is that method.
        ends = [share_interval(x, n, flagged_variance=0, reviewed_variance=0) for x, n in ((48, 80), (56, 70))]
        same(difference_interval(48 / 80, *ends[0], 56 / 70, *ends[1]), (0.2, 0.0524, 0.3339), rtol=0, atol=5e-5)

    def test_symmetric_intervals_add_like_variances(self) -> None:
        same(difference_interval(5, 2, 8, 7, 3, 11), (2, -3, 7))

    def test_back_in_time_it_is_the_mirror_image(self) -> None:
        there, back = difference_interval(5, 4, 8, 7, 1, 9), difference_interval(7, 1, 9, 5, 4, 8)
        same(there, (-back.value, -back.upper, -back.lower))

    def test_unbounded_is_nan(self) -> None:
        nan = math.nan
        assert np.isnan(difference_interval(nan, nan, nan, [0.1, 0.2], 0.0, 0.3)).all()

    @pytest.mark.parametrize("bad", [(5, 6, 8, 7, 3, 11), (5, 2, 4, 7, 3, 11), (5, 2, 8, 7, 8, 11), (5, 2, 8, 7, 3, 6),
                                     (5, 2, math.inf, 7, 3, 11)])
    def test_ends_on_the_wrong_side_are_refused(self, bad: tuple[float, ...]) -> None:
        with pytest.raises(ValueError, match="ends"):
            difference_interval(*bad)

    def test_coverage_for_two_corrected_rates(self) -> None:
        generator = np.random.default_rng(21)
        rates: list[Interval] = []
        for rate, reviewed in ((0.05, 2000), (0.12, 800)):
            flagged = generator.binomial(reviewed, 0.05 + 0.75 * rate, 20_000) + gaussian(generator, 10, 20_000)
            rates.append(corrected_interval(flagged, reviewed + gaussian(generator, 10, 20_000), flagged_variance=100,
                                            reviewed_variance=100,
                                            calibration=labelled(generator, 0.8, 0.05, 400, 5, 20_000)))
        assert 0.94 <= covered(difference_interval(*rates[0], *rates[1])[1:], 0.07) <= 0.96


CALLS: dict[str, Callable[..., Any]] = {
    "count": lambda count=5.0, variance=4.0, confidence=0.95: count_interval(
        count, variance=variance, confidence=confidence),
    "share": lambda count=5.0, variance=4.0, confidence=0.95: share_interval(
        count, 100, flagged_variance=variance, reviewed_variance=4, confidence=confidence),
    "share, of": lambda count=100.0, variance=4.0, confidence=0.95: share_interval(
        5, count, flagged_variance=4, reviewed_variance=variance, confidence=confidence),
    "corrected": lambda count=5.0, variance=4.0, confidence=0.95: corrected_interval(
        count, 100, flagged_variance=variance, reviewed_variance=4, calibration=TYPICAL, confidence=confidence),
    "corrected, of": lambda count=100.0, variance=4.0, confidence=0.95: corrected_interval(
        5, count, flagged_variance=4, reviewed_variance=variance, calibration=TYPICAL, confidence=confidence),
    "ratio": lambda count=5.0, variance=4.0, confidence=0.95: ratio_interval(count, variance, 9, 1, confidence),
    "ratio, of": lambda count=50.0, variance=4.0, confidence=0.95: ratio_interval(5, 4, count, variance, confidence),
    "lift": lambda count=5.0, variance=4.0, confidence=0.95: lift_interval(
        count, 100, 50, 500, variance=variance, confidence=confidence),
    "lift, of": lambda count=500.0, variance=4.0, confidence=0.95: lift_interval(
        5, 100, 50, count, variance=variance, confidence=confidence),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
class TestBadInput:
    def test_good_input_is_not_refused(self, call: Callable[..., Any]) -> None:
        assert np.isfinite(call()).all()

    @pytest.mark.parametrize("count", [math.inf, -math.inf, [5.0, math.inf]])
    def test_counts(self, call: Callable[..., Any], count: Any) -> None:
        with pytest.raises(ValueError, match="must not be infinite"):
            call(count=count)

    @pytest.mark.parametrize("variance", [-1.0, math.inf, [4.0, -1.0]])
    def test_variances(self, call: Callable[..., Any], variance: Any) -> None:
        with pytest.raises(ValueError, match=r"must (not be infinite|be >= 0)"):
            call(variance=variance)

    @pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 1.5, math.nan])
    def test_confidence(self, call: Callable[..., Any], confidence: float) -> None:
        with pytest.raises(ValueError, match="confidence"):
            call(confidence=confidence)

    def test_withheld_counts_give_nothing(self, call: Callable[..., Any]) -> None:
        assert np.isnan(call(count=math.nan)).all()

    def test_more_confidence_is_wider(self, call: Callable[..., Any]) -> None:
        narrow, wide = call(confidence=0.8), call(confidence=0.99)
        assert wide[-2] < narrow[-2]
        assert wide[-1] > narrow[-1]


@pytest.mark.parametrize("bad", [
    {"flagged": math.inf}, {"reviewed": math.inf}, {"flagged_variance": -1.0}, {"reviewed_variance": math.inf},
    {"minimum_count": 0},
])
def test_signal_counts_of_bad_input_are_refused(bad: dict[str, float]) -> None:
    good: dict[str, Any] = {"flagged": 30, "reviewed": 400, "flagged_variance": 9, "reviewed_variance": 9,
                            "calibration": TYPICAL, "minimum_count": 11}
    with pytest.raises(ValueError, match="must"):
        signal_count(**good | bad)
