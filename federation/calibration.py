"""What a score means: from a model's own score to the probability of a signal, overall and at one partner.

Clipping, noise and a partner's prevalence that was declared wrong leave the scores of a model too close together and
shifted, while their order stays right. Let the scores of people with and without a signal be normal with means m_1 and
m_0 and one variance v. The log-likelihood ratio of a score s is then linear (Fisher 1936),

    slope s + intercept,        slope = (m_1 - m_0) / v,        intercept = -slope (m_1 + m_0) / 2,

and the probability at a place where a share p have a signal is that of log-odds `slope s + intercept + log(p / (1-p))`.
The moments come from the table of the scores, noise and all: sums of signed counts, so that the noise cancels on
average, over the bins in which somebody surely is.

>>> import numpy as np
>>> counts = np.array([[30, 60, 30, 0], [0, 10, 20, 10]])
>>> found = calibrate(counts, middles=np.array([-1.5, -0.5, 0.5, 1.5]), noise_variance=0.0)
>>> round(found.slope, 3), round(found.threshold(0.0), 3), round(found.threshold(found.prior), 3)
(2.0, 0.0, 0.549)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from federation.messages import Arrays
from federation.plan_statistics import ScoresSpec

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SURE: Final = 2.0
"""The bins that count lie between the first and the last whose people are so many standard deviations of the noise."""
LEAST_PEOPLE: Final = 3.0
"""As many standard deviations there must be of people of either label, or nothing is made of them."""
PSEUDO_PEOPLE: Final = 10.0
"""A partner's declared prevalence counts for as much as so many of its people."""
SHARES: Final = (0.001, 0.999)
"""A partner's share of positives is taken to lie within."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What the scores of one model mean for one task.

    Attributes:
        slope: above 0.
        intercept: such that `slope * score + intercept` is a log-likelihood ratio.
        prior: log-odds of the share of positives among all who were counted.
    """

    slope: float
    intercept: float
    prior: float

    def log_odds(self, scores: FloatArray, prior: FloatArray | float) -> FloatArray:
        """Log-odds of a signal, where its log-odds before the text was read are `prior`; shapes broadcast."""
        return self.slope * scores + self.intercept + prior

    def threshold(self, prior: float) -> float:
        """The model's own score from which on a signal is more likely than not."""
        return -(self.intercept + prior) / self.slope


def bin_edges(spec: ScoresSpec, model: Arrays) -> FloatArray:
    """The inner edges of the bins, `(T, bins - 1)`, ascending: public constants of the plan and the model."""
    norms = np.array([math.sqrt(math.fsum(float(weight) ** 2 for weight in row)) for row in model["output.weight"]])
    edges: FloatArray = norms[:, None] * np.linspace(-spec.reach, spec.reach, spec.bins + 1)[1:-1]
    return edges


def bins_of(scores: FloatArray, edges: FloatArray) -> IntArray:
    """The bin of each score, int64 `(N, T)` from `(N, T)`: the number of edges at or below it."""
    found: IntArray = (scores[:, :, None] >= edges).sum(axis=2, dtype=np.int64)
    return found


def middles_of(edges: FloatArray) -> FloatArray:
    """The middle of each bin, `(T, bins)`; the outer bins, which have no end, are taken to be as wide as the others."""
    width = edges[:, 1:2] - edges[:, :1]
    return np.hstack([edges, edges[:, -1:] + width]) - width / 2


def calibrate(counts: npt.NDArray[np.int64], *, middles: FloatArray, noise_variance: float) -> Calibration | None:
    """The calibration that noisy counts of labelled people speak for.

    Args:
        counts: `(2, bins)`, people without and with a signal by score, ascending; may be negative.
        middles: `(bins,)`.
        noise_variance: of the noise in each count.

    Returns:
        None if they speak for none: too few people of either label, or those with a signal do not score higher.

    Raises:
        ValueError: if the shapes do not fit, there are fewer than two bins, or the variance is not a finite number from
            0 on.
    """
    if counts.ndim != 2 or counts.shape != (2, len(middles)) or len(middles) < 2:
        raise ValueError(f"counts are {list(counts.shape)} for {len(middles)} bins, expected [2, bins] of at least 2")
    if not (math.isfinite(noise_variance) and noise_variance >= 0):
        raise ValueError(f"noise_variance is {noise_variance}, expected a finite number from 0 on")
    deviation = math.sqrt(noise_variance)
    sure = np.flatnonzero(counts.sum(axis=0) > SURE * math.sqrt(2) * deviation)
    if not len(sure):
        return None
    kept = slice(int(sure[0]), int(sure[-1]) + 1)
    held, at = counts[:, kept].astype(np.float64), middles[kept]
    people = held.sum(axis=1)
    if people.min() <= LEAST_PEOPLE * deviation * math.sqrt(len(at)):
        return None
    means = held @ at / people
    spread = float((held * np.square(at - means[:, None])).sum() / people.sum())
    # Within a bin scores are taken to be anywhere; noise alone must not make them lie closer than that.
    spread = max(spread, float(middles[1] - middles[0]) ** 2 / 12)
    gap = float(means[1] - means[0])
    if gap <= 0 or spread <= 0:
        return None
    slope = gap / spread
    return Calibration(slope=slope, intercept=-slope * float(means.sum()) / 2,
                       prior=math.log(float(people[1] / people[0])))


def own_prior(*, positives: float, negatives: float, declared: float) -> float:
    """Log-odds of a partner's share of positives, by its own count, drawn a little to what it has declared.

    Args:
        positives: people with a positive label; somebody with several labels may count in part.
        negatives: people with a negative label, likewise.
        declared: the share that the partner has declared in public.

    Raises:
        ValueError: if a count is not a finite number from 0 on, or the share is not inside (0, 1).
    """
    for name, value in (("positives", positives), ("negatives", negatives)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} is {value}, expected a finite number from 0 on")
    if not 0 < declared < 1:
        raise ValueError(f"declared is {declared}, expected a number inside (0, 1)")
    share = (positives + PSEUDO_PEOPLE * declared) / (positives + negatives + PSEUDO_PEOPLE)
    share = min(max(share, SHARES[0]), SHARES[1])
    return math.log(share / (1 - share))
