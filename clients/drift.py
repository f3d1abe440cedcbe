"""Whether a partner's records have changed, by what lies at the partner alone. Nothing of it leaves.

A model that fitted last quarter's records may not fit this quarter's: texts change, what is common changes, or what
people call a signal does. Three things about people are compared between two sets of them: the mean of their texts'
vectors, the share of their labels that are positive, and how far labels lie from what the model expected. Each is a
two-sample permutation test on the distance between means (Good 2005, Permutation, Parametric and Bootstrap Tests,
chapter 3; for vectors it is a test with a linear kernel, Gretton et al. 2012, JMLR 13, section 5). People are permuted
and not records, since one person's records resemble each other. The three are judged together (Bonferroni), so that
quarters in which nothing changed are flagged at most as often as is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

PERMUTATIONS: Final = 999
FALSE_ALARMS: Final = 0.01
"""Chance that a pair of sets of people who came about alike is flagged."""
FEWEST: Final = 10
"""People on each side without whom nothing is said."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """People of one period, one row each.

    Attributes:
        texts: `(N, D)`, the mean of each person's feature vectors.
        labels: `(N,)`, the positive share of each person's labels for a task; NaN without any.
        expected: `(N,)`, the mean probability that the model gave the same records; NaN likewise.
    """

    texts: FloatArray
    labels: FloatArray
    expected: FloatArray


@dataclass(frozen=True, kw_only=True)
class Drift:
    """P-values of no change; None where there are too few people to say."""

    texts: float | None
    labels: float | None
    fit: float | None

    @property
    def flagged(self) -> tuple[str, ...]:
        """What has changed, at `FALSE_ALARMS` for all three together."""
        return tuple(name for name in ("texts", "labels", "fit")
                     if (value := getattr(self, name)) is not None and value <= FALSE_ALARMS / 3)


def drift(before: Seen, after: Seen, rng: np.random.Generator) -> Drift:
    """Compare two periods.

    Args:
        rng: draws permutations.
    """
    return Drift(texts=permutation_test(before.texts, after.texts, rng),
                 labels=permutation_test(_known(before.labels), _known(after.labels), rng),
                 fit=permutation_test(_known(before.labels - before.expected), _known(after.labels - after.expected),
                                      rng))


def permutation_test(before: FloatArray, after: FloatArray, rng: np.random.Generator, *,
                     permutations: int = PERMUTATIONS) -> float | None:
    """P-value of both having one distribution, by the distance between their means.

    Args:
        before: `(N, D)`.
        after: `(M, D)`.
        rng: draws permutations.
        permutations: how many; the least p-value is one over one more.

    Returns:
        None if there are fewer than `FEWEST` on either side.

    Raises:
        ValueError: if a number is not finite, or the two differ in D.
    """
    if before.shape[1:] != after.shape[1:]:
        raise ValueError(f"before has rows of shape {before.shape[1:]} and after of {after.shape[1:]}, expected alike")
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise ValueError("a value is not finite, expected finite ones")
    if min(len(before), len(after)) < FEWEST:
        return None
    both = np.concatenate([before, after])
    both -= both.mean(axis=0)
    # Weights of a difference of means: rows of one side count 1 / N, of the other -1 / M.
    weights = np.r_[np.full(len(before), 1 / len(before)), np.full(len(after), -1 / len(after))]
    drawn = np.stack([weights, *(rng.permutation(weights) for _ in range(permutations))])
    distances = np.square(drawn @ both).sum(axis=1)
    # Equal up to rounding counts as equal: constant columns must not look like a change.
    rounding = 1e-24 * (1.0 + np.square(before).sum(axis=1).max())
    return float((distances >= distances[0] * (1 - 1e-9) - rounding).mean())


def _known(values: FloatArray) -> FloatArray:
    return values[~np.isnan(values)][:, None]
