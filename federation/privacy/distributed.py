"""Noise that exists only in a sum: each partner adds a share, and nobody ever sees less than the sum of the shares.

Under secure aggregation every partner adds discrete Gaussian noise N_Z(0, s^2) to each entry. Of the shares in a sum,
`shares` = quorum - colluders at least were drawn by partners that do not work with the coordinator; what colluders drew
is known to them and protects nobody. The sum of m discrete Gaussians is no discrete Gaussian, but close to
N_Z(0, m s^2) at every integer (Kairouz, Liu and Steinke 2021, "The Distributed Discrete Gaussian Mechanism for
Federated Learning with Secure Aggregation", ICML, arXiv:2102.06387, theorem 1 and proposition 14). So each partner
draws with `share_scale`, the sum is priced as one discrete Gaussian, and `distance_cost` is added to the price.

>>> s = share_scale(10.0, 11)
>>> round(s, 3), distance_cost(share_scale=s, shares=11, entries=3).epsilon < 1e-35
(3.015, True)

More noise than that never hurts: shares of further honest survivors, and whatever colluders add, are independent of the
`shares` that are counted on, so adding them is post-processing. That holds for noise that is *added*. A discrete
Gaussian of larger scale is not, strictly, more private than one of a smaller scale: delta at a large epsilon can rise
with the scale. So a plan that makes its shares larger than it needs is priced at what they carry together,
`share_scale * sqrt(shares)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

LEAST_SHARE_SCALE: Final = 1.6
"""Two shares and more are not drawn with less. The distance falls like exp(-pi^2 s^2): here three entries cost 6.4e-10
of epsilon, less than a thousandth of what every figure keeps aside, and at 2.05 sixteen million do."""
MOST_SHARES: Final = 4096
_THEOREM_SCALE: Final = 0.5
"""The theorem is stated for scales from one half, and so is the argument at `pointwise_gap`."""
_ROUNDING: Final = 1 + 2.0**-30
"""Covers the floating point: an exponent of at most 690 with a relative error of 8 * 2^-53, and exp itself."""
_SMALLEST_EXPONENT: Final = 690.0
"""exp(-690) = 2e-300 stands for all that is smaller, so nothing is rounded to zero."""


def share_scale(scale: float, shares: int) -> float:
    """The scale s with which each partner draws so that `shares` shares carry `scale`, rounded up.

    Args:
        scale: what the sum shall carry, in units of an entry.
        shares: how many shares are surely in the sum and unknown to whoever looks: quorum - colluders.

    Returns:
        `scale / sqrt(shares)` or a neighbouring float, with `s^2 * shares >= scale^2` in exact arithmetic.

    Raises:
        ValueError: if `scale` is not a finite number above 0, `shares` not in 1 ... `MOST_SHARES`, or a share would be
            below `LEAST_SHARE_SCALE`.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale is {scale}, expected a finite number above 0")
    _check_shares(shares)
    share = scale / math.sqrt(shares)
    while Fraction(share) ** 2 * shares < Fraction(scale) ** 2:
        share = math.nextafter(share, math.inf)
    if shares > 1 and share < LEAST_SHARE_SCALE:
        least = math.ceil(100 * LEAST_SHARE_SCALE * math.sqrt(shares)) / 100
        raise ValueError(f"scale is {scale:g} over {shares} shares, {share:g} each, expected at least "
                         f"{LEAST_SHARE_SCALE} each: ask for a scale of {least:.2f}, or count on fewer shares")
    return share


def pointwise_gap(share_scale: float, shares: int) -> float:
    """tau: bound on |log P(sum = k) / P(single = k)| at every integer k, rounded up; 0 for a single share.

    The sum is that of `shares` independent N_Z(0, s^2), the single one N_Z(0, shares s^2), and

        tau = 10 sum_{k=1}^{shares-1} exp(-2 pi^2 s^2 k / (k+1)).

    Why. Add a share to N_Z(0, k s^2). The probability of z is that of N_Z(0, (k+1) s^2) times, up to a constant,
    sum_x exp(-(x - c z)^2 / 2 l^2) with l^2 = s^2 k / (k+1). By Poisson summation and the triple product this function
    of its centre is largest at an integer and smallest half-way, and the logarithm of the ratio of the two is
    4 (atanh q + atanh q^3 + atanh q^5 + ...) with q = exp(-2 pi^2 l^2), at most 4.04 q for s >= 1/2, where q < 0.085.
    The sum of k shares in place of N_Z(0, k s^2) moves that by no more than its own distance, as adding a share is
    post-processing. So 4.04 would do for 10, which is what the paper states: it counts a distance twice, once for each
    of two neighbours, and whoever counts it twice again is on the safe side.

    Raises:
        ValueError: if `share_scale` is not a finite number from 1/2 on, or `shares` not in 1 ... `MOST_SHARES`.
    """
    _check_share_scale(share_scale, _THEOREM_SCALE)
    _check_shares(shares)
    exponent = 2 * math.pi**2 * share_scale * share_scale
    return 10 * _ROUNDING * math.fsum(math.exp(-min(exponent * (k / (k + 1)), _SMALLEST_EXPONENT))
                                      for k in range(1, shares))


@dataclass(frozen=True, kw_only=True)
class DistanceCost:
    """What a sum of shares costs above one discrete Gaussian.

    If the single one is (e, d / `delta_factor`)-private then the sum is (e + `epsilon`, d)-private.
    """

    epsilon: float
    delta_factor: float


def distance_cost(*, share_scale: float, shares: int, entries: int, releases: int = 1) -> DistanceCost:
    """The price of the distance between the sum and the single discrete Gaussian, for a whole mechanism.

    Why. Let T = tau * entries * releases. Whatever was released before, the next entry of the sum has a probability
    within exp(+-tau) of the single one's, so a sequence of outcomes has one within exp(+-T), under each of two
    neighbours. Entries that have the same distribution under both cancel and need not be counted. For all S,

        P_sum(S) - e^eps Q_sum(S)  <=  e^T P(S) - e^(eps - T) Q(S)  =  e^T (P(S) - e^(eps - 2T) Q(S)),

    hence delta_sum(eps) <= e^T delta_single(eps - 2T): `epsilon` is 2T and `delta_factor` e^T, both rounded up. It
    holds for any shift of the data, so for any sensitivity.

    Args:
        share_scale: what each partner draws with.
        shares: how many shares are counted on; the single one is N_Z(0, shares * share_scale^2).
        entries: entries of a release that a person can move.
        releases: how many sums are published.

    Raises:
        ValueError: if an argument is out of range, or the share scale is below `LEAST_SHARE_SCALE` (with more than one
            share).
    """
    _check_shares(shares)
    _check_share_scale(share_scale, LEAST_SHARE_SCALE if shares > 1 else _THEOREM_SCALE)
    for name, count in (("entries", entries), ("releases", releases)):
        if count < 1:
            raise ValueError(f"{name} is {count}, expected at least 1")
    distance = pointwise_gap(share_scale, shares) * entries * releases
    # exp is right to a unit in the last place; a few more are added, unless there is no distance.
    factor = math.exp(distance) * (1 + 2.0**-50) if distance else 1.0
    return DistanceCost(epsilon=2 * distance, delta_factor=factor)


def sum_variance(share_scale: float, survivors: int) -> float:
    """Variance of the noise in one entry of a sum of `survivors` shares, colluders' included, in squared entry units.

    N_Z(0, s^2) has a variance of s^2 at most (Canonne, Kamath and Steinke 2020, arXiv:2004.00010). By Poisson summation
    what is missing is 8 pi^2 s^2 q / (1 + 2q) of it, with q = exp(-2 pi^2 s^2) and up to terms of order q^4: 2.2e-7 at
    s = 1, and below 1e-19 from `LEAST_SHARE_SCALE` on. Returned is the upper bound.

    Raises:
        ValueError: if `share_scale` is not a finite number from 0.1 on, or `survivors` not in 1 ... `MOST_SHARES`.
    """
    _check_share_scale(share_scale, 0.1)
    if not 1 <= survivors <= MOST_SHARES:
        raise ValueError(f"survivors is {survivors}, expected 1 to {MOST_SHARES}: a sum of nobody is not released")
    return survivors * share_scale**2


def _check_shares(shares: int) -> None:
    if not 1 <= shares <= MOST_SHARES:
        raise ValueError(f"shares is {shares}, expected 1 to {MOST_SHARES}: raise the quorum above the colluders")


def _check_share_scale(share_scale: float, least: float) -> None:
    if not (math.isfinite(share_scale) and share_scale >= least):
        raise ValueError(f"share_scale is {share_scale}, expected a finite number, at least {least}: draw with more")
