"""A count out of a total, both with privacy noise, and the interval for the share behind them.

With `R` the noisy total, `F` the noisy count, and `v_R`, `v_F` the variances of the noise in them,

    F - p R   has mean 0 and variance   v_F + p² v_R + n p (1 - p)      for the true share p and true total n,

so the 95 % interval is the set of p with (F - p R)² <= z² [v_F + p² v_R + R p (1 - p)]. This is Fieller's argument
(1954, "Some problems in interval estimation", JRSS B 16) with the sampling variance at p itself, as in Wilson (1927):
without noise it is Wilson's interval, without sampling it is Fieller's. A binomial interval that forgets the noise
covers as little as 52 % (privacy.md 5).

Noise that the two have in common, as where the total is the sum of the noisy count and another, adds -2 p covariance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.release.inputs import BoolArray, FloatArray


def roots(a: FloatArray, b: FloatArray, c: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Roots of a p² - 2 b p + c for a > 0, in order; NaN if there are none."""
    discriminant = b * b - a * c
    # A double root (no noise at all) may come out a rounding error below zero.
    double = (discriminant < 0.0) & (discriminant >= -1e-12 * b * b)
    root = np.sqrt(np.where(double, 0.0, discriminant))
    return (b - root) / a, (b + root) / a


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisyShares:
    """Noisy counts out of noisy totals, in people, in arrays that broadcast. Noise may make either negative.

    Attributes:
        count_variance, total_variance, covariance: of the noise in the two.
    """

    counts: FloatArray
    totals: FloatArray
    count_variance: FloatArray
    total_variance: FloatArray
    covariance: FloatArray

    def _mapped(self, change: Callable[[FloatArray], FloatArray]) -> NoisyShares:
        return NoisyShares(counts=change(self.counts), totals=change(self.totals),
                           count_variance=change(self.count_variance), total_variance=change(self.total_variance),
                           covariance=change(self.covariance))

    def flat(self, shape: tuple[int, ...]) -> NoisyShares:
        """The same, broadcast to a shape and laid out in one dimension."""
        return self._mapped(lambda array: np.broadcast_to(array, shape).ravel())

    def take(self, chosen: NDArray[np.intp] | BoolArray) -> NoisyShares:
        """Some of the shares, by index or mask, in one dimension."""
        return self._mapped(lambda array: array[chosen])

    def bounded(self, z: float) -> BoolArray:
        """Whether the total can be told from 0. Only then has the share a bounded interval, or an estimate of use."""
        return (self.totals > 0.0) & (self.totals * self.totals > z * z * self.total_variance)

    @property
    def estimate(self) -> FloatArray:
        """The observed shares, unclipped; NaN where the total is not above 0."""
        return self.counts / np.where(self.totals > 0.0, self.totals, np.nan)

    @property
    def smoothed(self) -> FloatArray:
        """The shares with half a person added on either side: not exactly 0, where nothing would seem to vary."""
        return (self.counts + 0.5) / np.where(self.totals > 0.0, self.totals + 1.0, np.nan)

    def variance(self, share: FloatArray) -> FloatArray:
        """Variance of the observed share where the true one is `share`, to first order; NaN for a share of NaN.

        p(1 - p) is a variance only within [0, 1]: there, and only there, sampling adds to the noise.
        """
        noise = self.count_variance + share * (share * self.total_variance - 2.0 * self.covariance)
        sampling = self.totals * np.maximum(share * (1.0 - share), 0.0)
        return (noise + sampling) / (self.totals * self.totals)

    def interval(self, z: float) -> tuple[FloatArray, FloatArray]:
        """Both ends, unclipped; NaN where unbounded. See the top of this module."""
        z2 = z * z
        curvature = np.where(self.bounded(z), self.totals * self.totals - z2 * self.total_variance, np.nan)
        slope = self.counts * self.totals - z2 * self.covariance
        constant = self.counts * self.counts - z2 * self.count_variance
        with np.errstate(invalid="ignore"):
            lower, upper = roots(curvature, slope, constant)
            low, high = roots(curvature + z2 * self.totals, slope + z2 * self.totals / 2.0, constant)
        # Sampling widens the set within [0, 1], and outside would narrow it, where the noise alone decides: an estimate
        # which noise pushed below zero still lies in its own interval. So of the two sets the wider end holds; there
        # may be no second set, and fmin and fmax pass its NaN over.
        return np.fmin(lower, low), np.fmax(upper, high)
