"""How often the classifier flags those who carry a signal and those who do not, from noisy counts of labelled people.

The four counts of the confusion table each carry noise of one variance v. A share of two of them, such as the
sensitivity TP / (TP + FN), so has noise of variance v above, 2 v below, and covariance v; the rest is as in
`server.release.shares`.

Worked example: 82 of 100 people with a signal and 18 of 400 without are flagged, noise sd 5: sensitivity 0.82 (0.70 to
0.95), false-alarm rate 0.045 (0.013 to 0.082), and the classifier is usable.

The rates are those of the people who were labelled. Where the people of a cell are of another kind, say write in a
language that the labelled ones hardly do, no interval made from these rates knows of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from server.release.inputs import BoolArray, FloatArray, numbers, two_sided_quantile, variances
from server.release.score import signed_score
from server.release.shares import NoisyShares

CONFIDENCE = 0.95
LEAST_YOUDEN = 0.3


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Error rates of one classifier, or of an array of them, and the counts that they come from. Made by `of`.

    Attributes:
        tp, fn: noisy counts of labelled people with a signal, flagged and not; may be negative.
        fp, tn: the same of those without.
        noise_variance: of the noise in each of the four.
    """

    tp: FloatArray
    fn: FloatArray
    fp: FloatArray
    tn: FloatArray
    noise_variance: FloatArray

    @classmethod
    def of(cls, tp: ArrayLike, fn: ArrayLike, fp: ArrayLike, tn: ArrayLike, *,
           noise_variance: ArrayLike) -> Calibration:
        """The calibration of four noisy counts, which broadcast against each other.

        Raises:
            ValueError: on a count or variance that is infinite, or a variance below 0.
        """
        parts = np.broadcast_arrays(numbers("tp", tp), numbers("fn", fn), numbers("fp", fp), numbers("tn", tn),
                                    variances("noise_variance", noise_variance))
        return cls(tp=parts[0], fn=parts[1], fp=parts[2], tn=parts[3], noise_variance=parts[4])

    @property
    def positives(self) -> NoisyShares:
        """The flagged among those with a signal."""
        return self._shares(self.tp, self.fn)

    @property
    def negatives(self) -> NoisyShares:
        """The flagged among those without."""
        return self._shares(self.fp, self.tn)

    def _shares(self, flagged: FloatArray, others: FloatArray) -> NoisyShares:
        return NoisyShares(counts=flagged, totals=flagged + others, count_variance=self.noise_variance,
                           total_variance=2.0 * self.noise_variance, covariance=self.noise_variance)

    @property
    def sensitivity(self) -> FloatArray:
        """Share flagged of those with a signal, unclipped; NaN where their noisy number is not above 0."""
        return self.positives.estimate

    @property
    def false_alarm_rate(self) -> FloatArray:
        """Share flagged of those without a signal (1 - specificity), unclipped; NaN likewise."""
        return self.negatives.estimate

    @property
    def sensitivity_variance(self) -> FloatArray:
        """Of noise and sampling; NaN where the sensitivity is."""
        return self.positives.variance(self.sensitivity)

    @property
    def false_alarm_rate_variance(self) -> FloatArray:
        """Of noise and sampling; NaN where the false-alarm rate is."""
        return self.negatives.variance(self.false_alarm_rate)

    @property
    def youden(self) -> FloatArray:
        """Sensitivity minus false-alarm rate (Youden 1950): what a signal adds to the chance of being flagged."""
        return self.sensitivity - self.false_alarm_rate

    def sensitivity_interval(self, confidence: float = CONFIDENCE) -> tuple[FloatArray, FloatArray]:
        """Both ends, unclipped; NaN where unbounded. Raises ValueError for a confidence outside (0, 1)."""
        return self.positives.interval(two_sided_quantile(confidence))

    def false_alarm_interval(self, confidence: float = CONFIDENCE) -> tuple[FloatArray, FloatArray]:
        """Both ends, unclipped; NaN where unbounded. Raises ValueError for a confidence outside (0, 1)."""
        return self.negatives.interval(two_sided_quantile(confidence))

    def youden_above(self, value: float, *, confidence: float = CONFIDENCE) -> BoolArray:
        """Whether the lower end of the interval for `youden` is above the value; never for an unbounded rate.

        Raises:
            ValueError: if the confidence is not within (0, 1).
        """
        z = two_sided_quantile(confidence)
        score = signed_score((self.positives, self.negatives), (np.ones(()), -np.ones(())), value)
        return self.positives.bounded(z) & self.negatives.bounded(z) & (score > z)

    def usable(self, least_youden: float = LEAST_YOUDEN) -> BoolArray:
        """Whether rates may be corrected with this classifier.

        Its `youden` must be at least `least_youden`: below 0.3, a false-alarm rate wrong by one point moves the rate by
        three (domain.md 5.4). And the lower end of its 95 % interval must lie above half of that, since the correction
        divides by it: a classifier that looked good by luck alone is not to be used. False, not an error, for counts so
        noisy that there is no rate.
        """
        return (self.youden >= least_youden) & self.youden_above(least_youden / 2.0)
