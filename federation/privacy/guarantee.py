"""The one place that says what a study promises, and why. The whole argument, with sources, is in docs/guarantee.md.

**Claim.** Let two data sets of one partner differ in one slot, which holds a person in one and a null person in the
other. Everything that leaves the partner in a study (every model update of every round, and the noisy table) is then
(epsilon, delta)-indistinguishable, for the epsilon that `price` gives at the plan's delta.

**Why.** In each step a slot's contribution is its person's clipped gradient as a vector of integers of norm at most
2^SUM_BITS, or zero for a null person. It depends on nobody else's record, to the last digit, and the integers are
summed exactly (`federation.privacy.clipping`, `federation.exact`). The step adds an independent discrete Gaussian of
scale `noise_multiplier * 2^SUM_BITS` to each entry and divides by the public `sampling_probability * slots`. Slots
enter by independent coins; should a partner hold more people than its public band, each has a slot and a coin of their
own all the same, and nobody is displaced. Were the noise a rounded normal variable, this would be the subsampled
Gaussian mechanism, rounded afterwards (Abadi et al. 2016, arXiv:1607.00133; Mironov et al. 2019, arXiv:1908.10530),
composed over all steps. A discrete Gaussian of so large a scale is as good as a rounded one, up to what `grid_cost`
adds to epsilon and delta, which every figure has kept aside. The table moves by at most one in each of `1 + tasks`
entries (`federation.statistics`) and carries discrete Gaussian noise (Canonne, Kamath and Steinke 2020,
arXiv:2004.00010). The whole is composed in one privacy loss distribution, rounded up. Number of steps, divisor and
noise are constants of the signed plan, so they tell nothing about the data. Averaging, weight decay and everything the
coordinator does afterwards is post-processing.

**Argued, not proved.** That NumPy's tanh gives a number the same result wherever it stands in an array (tested); that
ChaCha20's key stream is as good as random; that no timing or other side channel is read. For a model that is no
`MultiTaskHead`, that a person's float gradient does not depend on the batch; a plan cannot name such a model.

**Not covered.** People *mentioned* in other people's records; the same person at several partners costs more, see
`Price.at_partners`; a partner that publishes its own records; a record without a person id where the partner's policy
lets it be its own unit, so that somebody behind n such records is protected as n units; the time a node takes to
answer, which grows with its records; two people whose records come under one id, of whom the second is set aside; a
rehearsal, whose noise can be repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from federation.errors import InputError
from federation.grid import SUM_BITS
from federation.plan import StudyPlan
from federation.privacy.accounting import (
    GRID_DELTA_SHARE,
    GRID_EPSILON,
    DiscreteGaussianTable,
    Event,
    SubsampledGaussian,
    epsilon_of,
)
from federation.privacy.noise import TAIL
from federation.privacy.units import Adjacency, PrivacyUnit

UNIT: Final = PrivacyUnit.PERSON_AT_PARTNER
ADJACENCY: Final = Adjacency.REPLACE_BY_NULL
_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a study costs one person, in epsilon at `delta`; each figure an upper bound."""

    delta: float
    round: float
    """One round of training by itself."""
    training: float
    statistics: float
    total: float
    at_partners: tuple[tuple[int, float], ...]
    """(k, epsilon) for somebody who has records at k partners."""


def training_event(plan: StudyPlan) -> SubsampledGaussian:
    """The accounting event of the plan's training."""
    spec = plan.training
    return SubsampledGaussian(noise_multiplier=spec.noise_multiplier, steps=spec.steps,
                              sampling_probability=spec.sampling_probability)


def round_event(plan: StudyPlan) -> SubsampledGaussian:
    """The accounting event of one round of the plan's training."""
    spec = plan.training
    return SubsampledGaussian(noise_multiplier=spec.noise_multiplier, steps=spec.local_steps,
                              sampling_probability=spec.sampling_probability)


def statistics_event(plan: StudyPlan) -> DiscreteGaussianTable:
    """The accounting event of one partner's table."""
    return DiscreteGaussianTable(scale=plan.statistics.noise_scale, entries=1 + len(plan.tasks))


@lru_cache(maxsize=512)
def _epsilon(events: tuple[Event, ...], delta: float, copies: int = 1) -> float:
    # A node prices the plan again with every message; the figures are a function of public constants alone.
    return epsilon_of(events, delta=delta, people_copies=copies)


def price(plan: StudyPlan, *, partners: tuple[int, ...] = (2, 3, 5), delta: float | None = None) -> Price:
    """The whole price of a plan, known before anything runs.

    Args:
        plan: what is priced.
        partners: at how many partners the same person may sit, for `Price.at_partners`.
        delta: state epsilon at this delta rather than at the plan's own.

    Raises:
        ValueError: if `delta` is outside (0, 1), or the noise is too small for any bound.
    """
    at = plan.privacy.delta if delta is None else delta
    training, statistics = training_event(plan), statistics_event(plan)
    both = (training, statistics)
    return Price(
        delta=at, round=_epsilon((round_event(plan),), at), training=_epsilon((training,), at),
        statistics=_epsilon((statistics,), at), total=_epsilon(both, at),
        at_partners=tuple((k, _epsilon(both, at, k)) for k in partners))


@dataclass(frozen=True, kw_only=True)
class GridCost:
    """What discrete noise on a grid costs above the rounded normal noise that is accounted for."""

    epsilon: float
    tail: float
    """Probability that some value lies in the tail."""


def grid_cost(*, noise_multiplier: float, values: int) -> GridCost:
    """The price of the grid for so many noise values in all.

    Let s be the scale, phi the normal density of deviation s, r(k) its integral over [k - 1/2, k + 1/2] (the rounded
    normal variable) and d(k) the discrete Gaussian. The integral is phi(k) times a mean of exp(-(2ku + u^2) / 2s^2)
    over u in [-1/2, 1/2]. The mean of exp(-ku / s^2) is sinh(a) / a with a = k / 2s^2, between 1 and exp(k^2 / 24 s^4),
    so

        -1 / 8s^2  <=  log r(k) / phi(k)  <=  k^2 / 24 s^4,

    and d(k) = phi(k) up to a normaliser within 3 exp(-19 s^2) of 1 (Poisson summation). For |k| <= 13 s the two
    differ by at most 7.1 / s^2 in log probability; larger |k| have probability `TAIL` at most. Changing the noise of
    both neighbouring data sets costs the difference twice in epsilon, and in delta the tail of each value under both,
    one of them times exp(epsilon).
    """
    scale = noise_multiplier * 2.0**SUM_BITS
    return GridCost(epsilon=2 * values * 7.1 / scale**2, tail=values * TAIL)


def _check_grid(plan: StudyPlan, total: float) -> None:
    """Refuse a plan whose grid would not fit into what every figure keeps aside for a thousand plans."""
    cost = grid_cost(noise_multiplier=plan.training.noise_multiplier, values=plan.model_size * plan.training.steps)
    delta = cost.tail * (1 + math.exp(min(total, 700.0)))
    if cost.epsilon > GRID_EPSILON / 1000 or delta > GRID_DELTA_SHARE / 1000 * plan.privacy.delta:
        raise InputError("plan.training", f"asks for {plan.model_size} weights in {plan.training.steps} steps at a "
                         f"noise multiplier of {plan.training.noise_multiplier:g}, a total of epsilon {total:.1f}: the "
                         "exact noise cannot vouch for that",
                         remedy="ask for more noise, or for fewer steps or weights")


def check_claim(plan: StudyPlan) -> Price:
    """Recompute what a plan claims to cost; a claim below the truth is refused.

    Raises:
        InputError: naming the figure that is claimed too low, or if the plan asks for more than exact noise can give.
    """
    true = price(plan)
    claimed = plan.privacy
    for name, said, found in (("training_epsilon", claimed.training_epsilon, true.training),
                              ("statistics_epsilon", claimed.statistics_epsilon, true.statistics),
                              ("total_epsilon", claimed.total_epsilon, true.total)):
        if found > said + _TOLERANCE:
            raise InputError(f"plan.privacy.{name}", f"says {said:.4f} and the mechanisms cost {found:.4f}",
                             bound=f"at least {found:.4f}", remedy="ask the coordinator for a plan with the true price")
    _check_grid(plan, max(epsilon for _, epsilon in true.at_partners))
    return true
