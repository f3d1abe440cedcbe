"""Bounds that a right generator stays within but for one test in a million, at a fixed seed always or never."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scipy.stats import binom, chi2

FALSE_ALARM = 1e-6


def assert_share(count: float, n: int, share: float, *, spread: float = 1.0) -> None:
    """`count` of `n` independent trials fits `share`; `spread` widens the standard deviation where they are not."""
    if spread == 1.0:
        low, high = binom.ppf(FALSE_ALARM / 2, n, share), binom.ppf(1 - FALSE_ALARM / 2, n, share)
    else:
        width = 4.9 * spread * math.sqrt(n * share * (1 - share))
        low, high = n * share - width, n * share + width
    assert low <= count <= high, f"{count} of {n}, expected {n * share:.1f} within {low:.1f} to {high:.1f}"


def assert_counts(seen: Mapping[Any, int], shares: Mapping[Any, float], *, spread: float = 1.0) -> None:
    """Counts fit shares by Pearson's chi-square, rare outcomes taken together; nothing impossible is seen."""
    total = sum(seen.values())
    assert not {key for key, count in seen.items() if count and shares.get(key, 0.0) <= 0.0}
    observed, expected = [0.0], [0.0]
    for key, share in shares.items():
        if share * total < 5:
            observed[0] += seen.get(key, 0)
            expected[0] += share * total
        else:
            observed.append(seen.get(key, 0))
            expected.append(share * total)
    if expected[0] < 5:  # too few even together
        assert observed[0] <= expected[0] + 5 + 6 * math.sqrt(expected[0] + 1)
        observed, expected = observed[1:], expected[1:]
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True)) / spread**2
    assert statistic <= chi2.ppf(1 - FALSE_ALARM, max(len(expected) - 1, 1)), (statistic, len(expected))
