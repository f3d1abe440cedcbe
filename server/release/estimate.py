"""Rates out of noisy sums, with intervals that carry both the privacy noise and the sampling.

With `R` the noisy reviewed count, `F` the noisy flagged count and `v` the variance of the noise in each of them,

    F - p R   has mean 0 and variance   v (1 + p²) + n p (1 - p)      for the true rate p and true count n,

so the 95 % interval is the set of p with (F - p R)² <= z² [v (1 + p²) + R p (1 - p)]. This is Fieller's argument (1954,
"Some problems in interval estimation", JRSS B 16) with the sampling variance at p itself, as in Wilson (1927): without
noise it is Wilson's interval, without sampling it is Fieller's. A binomial interval that forgets the noise covers as
little as 52 % (privacy.md 5).

Worked example: 60 flagged of 1,000 reviewed, noise sd 15: 600 per 10,000, interval 288 to 947
(Wilson alone: 469 to 765).

Coverage is that of all cells of the fixed list. Among cells that *just* pass the gate, the noise was more often up than
down, so their rates lean high; the page says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from federation.statistics import SummedTables
from federation.taxonomy import RegionRole, Task

CONFIDENCE = 0.95
PER = 10_000
"""Rates are given per this many reviewed records."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A rate per 10,000 reviewed records and its 95 % interval.

    The values are *unclipped*: noise can push them below 0 or above 10,000, and clipping them would bias whatever is
    averaged from them later (privacy.md 5: +49 of 1370 on a total). `display` is what people are shown.
    """

    value: float
    lower: float
    upper: float

    @property
    def display(self) -> tuple[int, int, int]:
        """Value, lower and upper end as whole numbers within 0 and 10,000."""
        value, lower, upper = (round(min(max(x, 0.0), PER)) for x in (self.value, self.lower, self.upper))
        return value, lower, upper


@dataclass(frozen=True, kw_only=True)
class CellEstimate:
    """What the noisy sums say about one region in one role for one task.

    Attributes:
        reviewed, flagged: the noisy counts; may be negative. Never true counts.
        rate: None where the data cannot bound it.
    """

    region: str
    role: RegionRole
    task: Task
    reviewed: int
    flagged: int
    rate: Rate | None


def _roots(a: float, b: float, c: float) -> tuple[float, float] | None:
    """Real roots of a p² - 2 b p + c for a > 0, in order; None if there are none."""
    discriminant = b * b - a * c
    if discriminant < 0.0:
        # A double root (no noise at all) may come out a rounding error below zero.
        if discriminant < -1e-12 * b * b:
            return None
        discriminant = 0.0
    root = math.sqrt(discriminant)
    return (b - root) / a, (b + root) / a


def share_interval(
    flagged: float, reviewed: float, *, noise_variance: float, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Interval for the share `flagged / reviewed`, both of them noisy.

    Args:
        flagged, reviewed: noisy counts with independent noise.
        noise_variance: variance of the noise in each of the two.
        confidence: probability that the interval covers the true share.

    Returns:
        The two ends, unclipped, or None if the interval is unbounded: the reviewed count cannot be told from zero.

    Raises:
        ValueError: on values that are not finite, a negative variance or a confidence outside (0, 1).
    """
    if not all(map(math.isfinite, (flagged, reviewed, noise_variance))):
        raise ValueError(f"counts and noise variance must be finite, got {flagged}, {reviewed}, {noise_variance}")
    if noise_variance < 0.0 or not 0.0 < confidence < 1.0:
        raise ValueError(f"noise variance {noise_variance} must be >= 0 and confidence {confidence} within (0, 1)")
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2.0) ** 2
    curvature = reviewed * reviewed - z2 * noise_variance
    if reviewed <= 0.0 or curvature <= 0.0:
        return None
    constant = flagged * flagged - z2 * noise_variance
    noise_only = _roots(curvature, flagged * reviewed, constant)
    if noise_only is None:
        return None
    lower, upper = noise_only
    # p(1 - p) is a variance only within [0, 1]: there, and only there, sampling widens the set. Outside it the noise
    # alone decides, so that an estimate which noise pushed below zero still lies in its own interval.
    sampled = _roots(curvature + z2 * reviewed, flagged * reviewed + z2 * reviewed / 2.0, constant)
    if sampled is not None and sampled[0] <= 1.0 and sampled[1] >= 0.0:
        lower, upper = min(lower, max(sampled[0], 0.0)), max(upper, min(sampled[1], 1.0))
    return lower, upper


def estimate_rate(flagged: float, reviewed: float, *, noise_variance: float) -> Rate | None:
    """Rate per 10,000 with its 95 % interval, or None if that is unbounded. See `share_interval`."""
    ends = share_interval(flagged, reviewed, noise_variance=noise_variance)
    if ends is None:
        return None
    return Rate(value=PER * flagged / reviewed, lower=PER * ends[0], upper=PER * ends[1])


def estimate_cells(tables: SummedTables) -> tuple[CellEstimate, ...]:
    """Estimate every cell of the fixed list, region by region, role by role, task by task.

    Raises:
        ValueError: if the counts do not have the layout's shape and type, or the noise variance is unusable.
    """
    layout = tables.layout
    counts = layout.check(tables.counts)
    cells = []
    for i, region in enumerate(layout.regions):
        for j, role in enumerate(layout.roles):
            reviewed = int(counts[i, j, 0])
            for t, task in enumerate(layout.tasks, start=1):
                flagged = int(counts[i, j, t])
                rate = estimate_rate(flagged, reviewed, noise_variance=tables.noise_variance)
                cells.append(CellEstimate(region=region, role=role, task=task, reviewed=reviewed, flagged=flagged,
                                          rate=rate))
    return tuple(cells)


def pooled_rate(cells: tuple[CellEstimate, ...], *, noise_variance: float) -> Rate | None:
    """Rate over several cells of one role and task taken together, or None for no cells or an unbounded interval.

    The noise of `m` cells adds up to variance `m v` in each sum. Cells with different rates vary less than one binomial
    of the pooled rate (p(1 - p) is concave), hence the interval errs on the wide side.
    """
    if not cells:
        return None
    return estimate_rate(sum(cell.flagged for cell in cells), sum(cell.reviewed for cell in cells),
                         noise_variance=len(cells) * noise_variance)
