"""Estimates with intervals from noisy counts, for all cells of a release at once.

Every function takes numbers or arrays that broadcast against each other, gives float64 arrays of the common shape, is
pure, and raises ValueError for counts that are not finite, variances that are negative and a confidence outside (0, 1).
Values are *unclipped*: noise can push a share below 0, and clipping it would bias whatever is averaged from it later
(privacy.md 5: +49 of 1370 on a total). Where the data do not bound a quantity, its estimate and its ends are NaN.

Coverage is that of all cells of a fixed list. Among cells that *just* pass a gate, the noise was more often up than
down, so their counts and rates lean high.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from server.release.calibration import Calibration
from server.release.inputs import FloatArray, finite, two_sided_quantile, variances
from server.release.score import SCORING_STEPS, divide, invert
from server.release.shares import NoisyShares, roots

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Estimates and both ends of their intervals, arrays of one shape. NaN in all three where unbounded."""

    value: FloatArray
    lower: FloatArray
    upper: FloatArray


class SignalCount(NamedTuple):
    """Estimated numbers of people with a signal, and their standard deviations where those numbers are small."""

    estimate: FloatArray
    standard_deviation: FloatArray


def _shares(counts: ArrayLike, totals: ArrayLike, *, count_variance: ArrayLike,
            total_variance: ArrayLike) -> NoisyShares:
    """Shares of two counts with independent noise."""
    return NoisyShares(counts=finite("counts", counts), totals=finite("totals", totals),
                       count_variance=variances("count variance", count_variance),
                       total_variance=variances("total variance", total_variance), covariance=np.zeros(()))


def count_interval(count: ArrayLike, *, variance: ArrayLike,
                   confidence: float = CONFIDENCE) -> tuple[FloatArray, FloatArray]:
    """Interval for the true count behind a noisy one: `lower, upper`.

    A whole count still lies on the lattice of its noise, where z standard deviations can cover too little (93.4 % at
    sd 3). It gets the smallest whole half width h for which P(|noise| < h + 1/2) is the confidence: 6 at sd 3, which
    covers 97.0 %, 20 at sd 10 (96.0 %), 59 at sd 30 (95.3 %).

    Args:
        count: noisy counts, in people; fractional where they were made consistent with others.
        variance: of the noise in each.
        confidence: probability that the interval covers the true count.
    """
    half = two_sided_quantile(confidence) * np.sqrt(variances("variance", variance))
    noisy = finite("count", count)
    half = np.where(noisy == np.rint(noisy), np.ceil(half - 0.5), half)
    return noisy - half, noisy + half


def share_interval(flagged: ArrayLike, reviewed: ArrayLike, *, flagged_variance: ArrayLike,
                   reviewed_variance: ArrayLike, confidence: float = CONFIDENCE) -> tuple[FloatArray, FloatArray]:
    """Interval for the share `flagged / reviewed`, both of them noisy: `lower, upper`.

    F - p R has mean 0 and variance v_F + p² v_R + n p (1 - p) at the true share p, so the interval is the set of p with
    (F - p R)² <= z² [v_F + p² v_R + R p (1 - p)]: Fieller's argument with Wilson's sampling variance at p itself (see
    `server.release.shares`). Without noise it is Wilson's interval, without sampling Fieller's.

    Worked example: 60 flagged of 1,000 reviewed, noise sd 15 in both: 0.0288 to 0.0947 (Wilson alone: 0.0469 to
    0.0765).

    Args:
        flagged, reviewed: noisy counts with independent noise, in people.
        flagged_variance, reviewed_variance: of the noise in each.
        confidence: probability that the interval covers the true share.
    """
    z = two_sided_quantile(confidence)
    return _shares(flagged, reviewed, count_variance=flagged_variance, total_variance=reviewed_variance).interval(z)


def corrected_interval(flagged: ArrayLike, reviewed: ArrayLike, *, flagged_variance: ArrayLike,
                       reviewed_variance: ArrayLike, calibration: Calibration,
                       confidence: float = CONFIDENCE) -> Interval:
    """The share of people with a signal, out of the share flagged: corrected for the classifier's errors.

    With q the share flagged, s the sensitivity and f the false-alarm rate, q = (1 - pi) f + pi s, which gives the
    estimate pi = (q - f) / (s - f) (Rogan & Gladen 1978, "Estimating prevalence from the results of a screening test",
    Am. J. Epidemiol. 107). The interval is the set of pi at which the score test of

        q - pi s - (1 - pi) f = 0

    does not reject (`server.release.score`), with the noise in all six counts, the sampling of the cell and that of
    the labelled people. No ratio is expanded, so it stays right where s - f or R is only just known. With a perfect
    classifier it is `share_interval`.

    Measured over all of that together, cells of 100 to 50,000 people with rates from 0 to 0.7 and noise of sd 3 to 30,
    labelled sets of 100 to 2,000 with noise of sd 5 to 15: it covers from 94.5 to 95.6 %, and up to 96.4 % given that
    the labelled set is usable where only luck makes it so (100 people under noise of sd 15).

    Worked example: 115 flagged of 2,000, noise sd 10, corrected with 80 of 100 and 100 of 2,000 flagged in the labelled
    set, noise sd 5: rate 0.0100, interval -0.0136 to 0.0343.

    Args:
        flagged, reviewed, flagged_variance, reviewed_variance, confidence: as in `share_interval`.
        calibration: of the classifier that flagged; broadcasts against the cells.

    Returns:
        The rate and its interval. NaN where R or a number of labelled people cannot be told from 0, or s from f.
        Whether the calibration is good enough to publish from is for `Calibration.usable`.
    """
    z = two_sided_quantile(confidence)
    cells = _shares(flagged, reviewed, count_variance=flagged_variance, total_variance=reviewed_variance)
    excess, youden = cells.estimate - calibration.false_alarm_rate, calibration.youden
    known = cells.bounded(z) & calibration.youden_above(0.0, confidence=confidence)
    return Interval(*invert((cells, calibration.positives, calibration.negatives),
                            lambda rate: (np.ones(()), -rate, rate - 1.0),
                            estimate=divide(excess, youden, otherwise=np.nan), slope=youden, bounded=known, z=z))


def signal_count(flagged: ArrayLike, reviewed: ArrayLike, *, flagged_variance: ArrayLike, reviewed_variance: ArrayLike,
                 calibration: Calibration, minimum_count: int) -> SignalCount:
    """How many of the reviewed people of a cell carry a signal, and how sure that is where it is fewer than k.

    The estimate is (F - f R) / (s - f). Its standard deviation is the one for a cell with exactly T = k - 1 signals,
    since it serves to tell cells with more from cells with fewer:

        (s - f)² sd² = v_F + f² v_R + T s (1 - s) + (n - T) f (1 - f) + T² Var(s) + (n - T)² Var(f)

    with s and f fitted to the labelled people and the cell together, as if it had T. Fitted to the labelled people
    alone, they would be at their most flattering just when a lucky labelled set makes false alarms look rare, and the
    sd with them.

    What holds: published only where estimate >= (k - 1) + 2.326 sd + 1/2, a cell with fewer than k signals is published
    with probability at most 1.1 %, also if it is large and all its flags are false alarms. That is over the noise, the
    sampling and the labelled set together (1.5 % given that a set is usable which only luck makes so). One labelled set
    serves all cells, so the mistakes come together: with an unlucky one, many large cells can be published at once.

    Args:
        flagged, reviewed, flagged_variance, reviewed_variance, calibration: as in `corrected_interval`.
        minimum_count: k, the least number of signals a cell should have to be published.

    Returns:
        In people, unclipped. NaN where the calibration does not find more signals than false alarms.

    Raises:
        ValueError: also if `minimum_count` is below 1.
    """
    if minimum_count < 1:
        raise ValueError(f"minimum_count {minimum_count} must be at least 1")
    cells = _shares(flagged, reviewed, count_variance=flagged_variance, total_variance=reviewed_variance)
    few = float(minimum_count - 1)
    others = cells.totals - few
    sensitivity, false_alarms = calibration.sensitivity, calibration.false_alarm_rate
    gap = cells.counts - few * sensitivity - others * false_alarms
    s, f = calibration.positives.smoothed, calibration.negatives.smoothed
    for step in range(SCORING_STEPS + 1):
        of_s, of_f = few * calibration.positives.variance(s), others * calibration.negatives.variance(f)
        sampling = few * np.maximum(s * (1.0 - s), 0.0) + np.maximum(others, 0.0) * np.maximum(f * (1.0 - f), 0.0)
        total = cells.count_variance + f * f * cells.total_variance + sampling + few * of_s + others * of_f
        if step < SCORING_STEPS:
            excess = divide(gap, total, otherwise=0.0)
            s, f = sensitivity + excess * of_s, false_alarms + excess * of_f
    youden = np.where(calibration.youden > 0.0, calibration.youden, np.nan)
    return SignalCount(estimate=few + gap / youden, standard_deviation=np.sqrt(total) / youden)


def ratio_interval(x: ArrayLike, x_variance: ArrayLike, y: ArrayLike, y_variance: ArrayLike,
                   confidence: float = CONFIDENCE) -> Interval:
    """The ratio x / y of two independent, normal estimates of known variances (Fieller 1954).

    The set of ratios r with (x - r y)² <= z² (x_variance + r² y_variance); NaN where y cannot be told from 0.
    """
    z2 = two_sided_quantile(confidence) ** 2
    x, y = finite("x", x), finite("y", y)
    x_variance, y_variance = variances("x_variance", x_variance), variances("y_variance", y_variance)
    curvature = y * y - z2 * y_variance
    curvature = np.where(curvature > 0.0, curvature, np.nan)
    lower, upper = roots(curvature, x * y, x * x - z2 * x_variance)
    return Interval(divide(x, y, otherwise=np.nan) + 0.0 * lower, lower, upper)


def lift_interval(present_signals: ArrayLike, signals: ArrayLike, present_others: ArrayLike, others: ArrayLike, *,
                  variance: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """How many times more common an indicator is among signals than among others.

    The ratio of two noisy shares p_1 / p_2, and the set of ratios r at which the score test of p_1 - r p_2 = 0 does not
    reject (`server.release.score`): Koopman's interval (1984) if there were no noise.

    Worked example: 80 of 400 signals and 500 of 10,000 others, noise sd 10: 4.00, interval 2.77 to 5.42.

    Args:
        present_signals, signals: noisy numbers of people with a signal, those with the indicator and all of them.
        present_others, others: the same of people without a signal. All four with independent noise.
        variance: of the noise in each of the four.
        confidence: probability that the interval covers the true lift.

    Returns:
        NaN where a number of people, or of others with the indicator, cannot be told from 0. Where the latter can only
        just be, the bounded intervals are those of lucky noise and cover less: 85 % where one in six is bounded.
    """
    z = two_sided_quantile(confidence)
    above = _shares(present_signals, signals, count_variance=variance, total_variance=variance)
    below = _shares(present_others, others, count_variance=variance, total_variance=variance)
    common = below.counts > z * np.sqrt(below.count_variance)
    return Interval(*invert((above, below), lambda lift: (np.ones(()), -lift),
                            estimate=divide(above.estimate, below.estimate, otherwise=np.nan), slope=below.estimate,
                            bounded=above.bounded(z) & below.bounded(z) & common, z=z))


def difference_interval(value1: ArrayLike, lower1: ArrayLike, upper1: ArrayLike, value2: ArrayLike, lower2: ArrayLike,
                        upper2: ArrayLike) -> Interval:
    """The change from an earlier estimate (1) to a later, independent one (2), from their intervals.

    The distances from the estimates to their ends are recombined as variances are (MOVER: Zou & Donner 2008,
    "Construction of confidence limits about effect measures: a general approach", Statist. Med. 27), so that skew
    intervals give a skew one.

    Two rates that were corrected with the same calibration are not independent: its error is in both of them and mostly
    cancels, so the interval is far wider than it need be.

    Raises:
        ValueError: if an end is on the wrong side of its estimate or infinite. NaN, for unbounded, gives NaN.
    """
    earlier, low1, high1, later, low2, high2 = (
        np.asarray(x, dtype=np.float64) for x in (value1, lower1, upper1, value2, lower2, upper2))
    if any(np.isinf(x).any() for x in (earlier, low1, high1, later, low2, high2)):
        raise ValueError("values and ends must not be infinite")
    if any((a > b).any() for a, b in ((low1, earlier), (earlier, high1), (low2, later), (later, high2))):
        raise ValueError("a value must lie between its ends")
    change = later - earlier
    return Interval(change, change - np.hypot(later - low2, high1 - earlier),
                    change + np.hypot(high2 - later, earlier - low1))
