"""Lower confidence bounds on epsilon from what an attacker gets right and wrong.

If a mechanism is (epsilon, delta)-private, then for every event E and neighbouring data sets D and D'

    P(E | D) <= exp(epsilon) P(E | D') + delta,

so log((P(E | D) - delta) / P(E | D')) bounds epsilon from below. Both probabilities are estimated on independent
releases and replaced by the ends of their Clopper-Pearson intervals (privacy.md 1.2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

FloatArray = npt.NDArray[np.float64]
ALPHA = 0.05
_THRESHOLDS = 60
_FOR_CHOOSING = 0.3
"""Share of the releases on which thresholds are chosen; the bound is found on the others."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What an attack shows: `epsilon` at `delta` is above `lower`, and `claimed` to be no more than that."""

    delta: float
    lower: float
    claimed: float

    @property
    def broken(self) -> bool:
        return self.lower > self.claimed

    @property
    def margin(self) -> float:
        """How far the bound lies above the claim; negative if the claim holds."""
        return self.lower - self.claimed


def upper_share(hits: int, trials: int, alpha: float) -> float:
    """Clopper-Pearson: a probability is at most this, with confidence 1 - alpha."""
    return 1.0 if hits == trials else float(beta.ppf(1 - alpha, hits + 1, trials - hits))


def lower_share(hits: int, trials: int, alpha: float) -> float:
    """Clopper-Pearson: a probability is at least this, with confidence 1 - alpha."""
    return 0.0 if hits == 0 else float(beta.ppf(alpha, hits, trials - hits + 1))


def epsilon_lower(hits: int, of_hits: int, false: int, of_false: int, *, delta: float, alpha: float = ALPHA) -> float:
    """Lower bound on epsilon at `delta`, with confidence 1 - alpha.

    Args:
        hits, of_hits: how often the event was seen under one data set, of how many releases.
        false, of_false: the same under the other.
        delta: of the claim.
        alpha: chance that the bound is too high.

    >>> round(epsilon_lower(60, 100, 5, 100, delta=1e-5), 6)
    1.483065
    """
    sure = lower_share(hits, of_hits, alpha / 2) - delta
    return max(0.0, math.log(sure / upper_share(false, of_false, alpha / 2))) if sure > 0 else 0.0


def best_event(score: FloatArray, other: FloatArray, claims: Mapping[float, float], *, alpha: float = ALPHA) -> Bound:
    """The strongest bound from events "the score is above a threshold" and "below one".

    Args:
        score, other: of independent releases of the one and of the other data set.
        claims: epsilon that is claimed at each delta; the bound is at the one that is broken most, or broken least
            narrowly.
        alpha: chance that any of the bounds is too high.
    """
    cut, cut_other = int(_FOR_CHOOSING * len(score)), int(_FOR_CHOOSING * len(other))
    found = []
    for delta, claimed in claims.items():
        ways = [(score, other), (other, score), (-score, -other), (-other, -score)]
        ends = [(cut, cut_other), (cut_other, cut), (cut, cut_other), (cut_other, cut)]
        chosen = []
        for (one, two), (a, b) in zip(ways, ends, strict=True):
            threshold, promise = _choose(one[:a], two[:b], delta)
            chosen.append((promise, threshold, one[a:], two[b:]))
        _, threshold, one, two = max(chosen, key=lambda each: each[0])
        lower = epsilon_lower(int((one >= threshold).sum()), len(one), int((two >= threshold).sum()), len(two),
                              delta=delta, alpha=alpha / len(claims))
        found.append(Bound(delta=delta, lower=lower, claimed=claimed))
    return max(found, key=lambda bound: bound.margin)


def _choose(one: FloatArray, two: FloatArray, delta: float) -> tuple[float, float]:
    """A threshold that promises much, and what it promises."""
    thresholds = np.unique(np.quantile(np.concatenate([one, two]), np.linspace(0, 1, _THRESHOLDS)))
    promises = [epsilon_lower(int((one >= t).sum()), len(one), int((two >= t).sum()), len(two), delta=delta)
                for t in thresholds]
    at = int(np.argmax(promises))
    return float(thresholds[at]), promises[at]
