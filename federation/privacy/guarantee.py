"""The one place that says what a study promises, and why. The whole argument, with sources, is in docs/guarantee.md.

**Claim.** Let two data sets of one partner differ in one slot, which holds a person in one and a null person in the
other. Everything that leaves the partner in a study (every model update of every round, and the noisy tables) is then
(epsilon, delta)-indistinguishable, for the epsilon that `price` gives at the plan's delta.

**Why.** In each step a slot's contribution is its person's clipped gradient as a vector of integers of norm at most
2^SUM_BITS, or zero for a null person. It depends on nobody else's record, to the last digit, and the integers are
summed exactly (`federation.privacy.clipping`, `federation.exact`). The step adds an independent discrete Gaussian of
scale `noise_multiplier * 2^SUM_BITS` to each entry and divides by the public `sampling_probability * slots`. Slots
enter by independent coins; should a partner hold more people than its public band, each has a slot and a coin of their
own all the same, and nobody is displaced. Were the noise a rounded normal variable, this would be the subsampled
Gaussian mechanism, rounded afterwards (Abadi et al. 2016, arXiv:1607.00133; Mironov et al. 2019, arXiv:1908.10530),
composed over all steps. A discrete Gaussian of so large a scale is as good as a rounded one, up to what `grid_cost`
adds to epsilon and delta, which every figure has kept aside. Each table but that of a series moves by at most one in
each of a fixed number of entries (`federation.statistics`) and carries discrete Gaussian noise (Canonne, Kamath and
Steinke 2020, arXiv:2004.00010). Which of a year's releases a person counts in is drawn for each person by a secret of
the partner's and depends on nobody else; the price is that of somebody who counts in this one. In the table of a series
a person moves each of `1 + tasks` entries by c_0 = 256 in the release in which they count and by less in later ones
(`federation.privacy.series`), so each release is charged at c_0: that covers whichever releases a partner takes part
in, since smaller shifts cost less. The table of the scores has no charge of its own: a person either trains and moves
it or is held out and moves that of confusion, by a lot that no record changes. Where a part is summed securely
(`Aggregation.SECURE`), a partner's own numbers never leave it: what is indistinguishable is the sum, whose noise is
made up of shares (`federation.privacy.distributed`). It is charged at the noise of `quorum - colluders` of them, the
least that a sum which partners unmask can carry, and a step is then a step of the whole federation. The whole is
composed in one privacy loss distribution, rounded up. Number of steps, divisor and noise are constants of the signed
plan, so they tell nothing about the data. Averaging, weight decay and everything the coordinator does afterwards is
post-processing.

**Argued, not proved.** That NumPy's tanh gives a number the same result wherever it stands in an array (tested); that
ChaCha20's key stream is as good as random; that no timing or other side channel is read. For a model that is no
`MultiTaskHead`, that a person's float gradient does not depend on the batch; a plan cannot name such a model.

**Assumed for secure sums.** That at most `colluders` partners work with the coordinator; that X25519, Ed25519,
AES-256-CTR, ChaCha20-Poly1305 and SHA-256 are what they are held to be. Without the first, a partner's own share is all
the noise that its people have.

**Not covered.** People *mentioned* in other people's records; the same person at several partners costs more, see
`Price.at_partners`; a partner that publishes its own records; a record without a person id where the partner's policy
lets it be its own unit, so that somebody behind n such records is protected as n units; the time a node takes to
answer, which grows with its records; two people whose records come under one id, of whom the second is set aside; a
rehearsal, whose noise can be repeated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from federation.errors import InputError
from federation.grid import SUM_BITS
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.privacy.accounting import (
    GRID_DELTA_SHARE,
    GRID_EPSILON,
    DiscreteGaussianTable,
    Event,
    SubsampledGaussian,
    epsilon_of,
)
from federation.privacy.distributed import distance_cost, share_scale, sum_variance
from federation.privacy.noise import TAIL
from federation.privacy.units import Adjacency, PrivacyUnit
from federation.statistics import entries_of, shift_of
from federation.taxonomy import Family

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


def family_events(plan: StudyPlan) -> dict[Family, DiscreteGaussianTable]:
    """The accounting events of the tables by family: of one partner's, or of the sum where only that is seen.

    There is none for the scores. Whoever moves their table trains, and so moves nothing in the table of confusion,
    whose noise is no larger (`StatisticsSpec`) and in which those who are held out move as many entries. Its event
    covers either.
    """
    return {family: _event(plan, family) for family in plan.statistics.families if family is not Family.SCORES}


def _event(plan: StudyPlan, family: Family) -> DiscreteGaussianTable:
    return DiscreteGaussianTable(scale=plan.statistics.noise_scales[family], entries=entries_of(plan, family),
                                 shift=shift_of(family))


def statistics_events(plan: StudyPlan) -> tuple[DiscreteGaussianTable, ...]:
    """What all tables cost one person at one partner."""
    return tuple(family_events(plan).values())


@dataclass(frozen=True, kw_only=True)
class PartnerNoise:
    """What each partner draws with, in units of what it adds the noise to."""

    training: float
    """In units of the integer sum of clipped gradients."""
    tables: dict[Family, float]


def partner_noise(plan: StudyPlan) -> PartnerNoise:
    """The scale of the noise that each partner adds: all of it, or its share where only a sum is seen.

    Raises:
        InputError: if a share of the noise would be too small for the account to hold.
    """
    training, statistics = plan.training, plan.statistics
    return PartnerNoise(
        training=_share(plan, "training", training.aggregation, training.noise_multiplier * 2.0**SUM_BITS),
        tables={family: _share(plan, "statistics", statistics.aggregation, statistics.noise_scales[family])
                for family in statistics.families})


def _share(plan: StudyPlan, part: str, aggregation: Aggregation, scale: float) -> float:
    if aggregation is Aggregation.LOCAL:
        return scale
    try:
        return share_scale(scale, plan.noise_shares)
    except ValueError as error:
        raise InputError(f"plan.{part}", str(error),
                         remedy="ask the coordinator for a plan with more noise or fewer partners") from None


def table_variances(plan: StudyPlan, partners: int) -> dict[Family, float]:
    """Variance of the noise in each entry of the sum of so many partners' tables, an upper bound tight to 1e-6."""
    return {family: sum_variance(scale, partners) for family, scale in partner_noise(plan).tables.items()}


@lru_cache(maxsize=512)
def _epsilon(events: tuple[Event, ...], delta: float) -> float:
    # A node prices the plan again with every message; the figures are a function of public constants alone.
    return epsilon_of(events, delta=delta)


def price(plan: StudyPlan, *, partners: tuple[int, ...] = (2, 3, 5), delta: float | None = None) -> Price:
    """The whole price of a plan, known before anything runs.

    Args:
        plan: what is priced.
        partners: at how many partners the same person may sit, for `Price.at_partners`.
        delta: state epsilon at this delta rather than at the plan's own.

    Raises:
        ValueError: if `delta` is outside (0, 1), a number of partners is below 1, or the noise is too small for any
            bound.
    """
    at = plan.privacy.delta if delta is None else delta
    training, statistics = training_event(plan), statistics_events(plan)
    return Price(
        delta=at, round=_epsilon((round_event(plan),), at), training=_epsilon((training,), at),
        statistics=_epsilon(statistics, at), total=_epsilon((training, *statistics), at),
        at_partners=tuple((k, _epsilon(_at_partners(plan, k), at)) for k in partners))


def _at_partners(plan: StudyPlan, partners: int) -> tuple[Event, ...]:
    """What a study costs somebody who has records at so many of its partners.

    Under local aggregation each partner's numbers are a mechanism of their own, and so many of them compose. In a
    secure sum there is one, which that person moves by so many times as much; there they may be held out at one partner
    and train at another, so the table of the scores is charged beside that of confusion.
    """
    training, tables = training_event(plan), statistics_events(plan)
    if plan.statistics.scores is not None and partners > 1 and plan.statistics.aggregation is Aggregation.SECURE:
        tables = (*tables, _event(plan, Family.SCORES))
    training = (replace(training, steps=partners * training.steps) if plan.training.aggregation is Aggregation.LOCAL
                else replace(training, noise_multiplier=training.noise_multiplier / partners))
    tables = tuple(replace(table, entries=partners * table.entries)
                   if plan.statistics.aggregation is Aggregation.LOCAL
                   else replace(table, shift=partners * table.shift) for table in tables)
    return training, *tables


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
    """Refuse a plan whose grid and shares would not fit into what every figure keeps aside for a thousand plans."""
    values = plan.model_size * plan.training.steps
    # Where noise comes in shares, every share has its tail, and the sum of them its distance from a single one.
    drawn = values * (1 if plan.training.aggregation is Aggregation.LOCAL else len(plan.roster))
    cost = grid_cost(noise_multiplier=plan.training.noise_multiplier, values=drawn)
    in_training, in_tables = _distances(plan, values)
    if in_tables > GRID_EPSILON / 1000:
        raise InputError("plan.statistics.noise_scales", f"spread over {plan.noise_shares} shares, leave a sum too far "
                         "from the noise that is priced", remedy="ask the coordinator for more noise or fewer partners")
    distance = in_training + in_tables
    delta = cost.tail * (1 + math.exp(min(total, 700.0))) + distance * plan.privacy.delta
    if cost.epsilon + distance > GRID_EPSILON / 1000 or delta > GRID_DELTA_SHARE / 1000 * plan.privacy.delta:
        raise InputError("plan.training", f"asks for {plan.model_size} weights in {plan.training.steps} steps at a "
                         f"noise multiplier of {plan.training.noise_multiplier:g}, a total of epsilon {total:.1f}: the "
                         "exact noise cannot vouch for that",
                         remedy="ask for more noise, or for fewer steps or weights")


def _distances(plan: StudyPlan, values: int) -> tuple[float, float]:
    """What noise in shares costs in epsilon above noise drawn at once, in training and in the tables; see
    `distance_cost`."""
    noise, shares = partner_noise(plan), plan.noise_shares

    def cost(aggregation: Aggregation, drawn: Iterable[tuple[float, int]]) -> float:
        return 0.0 if aggregation is Aggregation.LOCAL else math.fsum(
            distance_cost(share_scale=scale, shares=shares, entries=entries).epsilon for scale, entries in drawn)

    try:
        return (cost(plan.training.aggregation, [(noise.training, values)]),
                cost(plan.statistics.aggregation,
                     [(scale, entries_of(plan, family)) for family, scale in noise.tables.items()]))
    except ValueError as error:
        raise InputError("plan.noise", str(error), remedy="ask the coordinator for a plan with more noise") from None


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
