"""The one place that says what a study promises, and why.

**Claim.** Let two data sets of one partner differ in one slot, which holds a person in one and a null person in the
other. Everything that leaves the partner in a study (every model update of every round, and the noisy table) is then
(epsilon, delta)-indistinguishable, for the epsilon that `price` gives at the plan's delta.

**Why.** In each step a slot's contribution is its person's clipped gradient, of norm at most `l2_clip_norm`, or zero
for a null person; a person's loss is a mean over their own records only, so nobody else's record is in it. The step
adds Gaussian noise of standard deviation `noise_multiplier * l2_clip_norm` to the sum and divides by the public
`sampling_probability * slots`. Slots enter by independent coins; should a partner hold more people than its public
band, each has a slot and a coin of their own all the same, and nobody is displaced.
That is the subsampled Gaussian mechanism (Abadi et
al. 2016, arXiv:1607.00133; Mironov et al. 2019, arXiv:1908.10530), composed over all steps. The table moves by at most
one in each of `1 + tasks` entries (`federation.statistics`) and carries discrete Gaussian noise (Canonne, Kamath and
Steinke 2020, arXiv:2004.00010). The whole is composed in one privacy loss distribution. Number of steps, divisor and
noise are constants of the signed plan, so they tell nothing about the data. Averaging, weight decay and everything
the coordinator does afterwards is post-processing.

**Not a proof, and the safe side taken.** The step's noise is drawn in double precision and its sum is rounded to a
fixed grid of `l2_clip_norm * 2^-20`, which hides the spacing of floating-point values (Mironov 2012, "On significance
of the least significant bits"); the residual difference from a real-valued Gaussian is argued, not proved.

**Not covered.** People *mentioned* in other people's records; the same person at several partners costs more, see
`Price.at_partners`; a partner that publishes its own records; a record without a person id where the partner's policy
lets it be its own unit, so that somebody behind n such records is protected as n units; the time a node takes to
answer, which grows with its records; a rehearsal, whose noise can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from federation.errors import InputError
from federation.plan import StudyPlan
from federation.privacy.accounting import DiscreteGaussianTable, Event, SubsampledGaussian, epsilon_of
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


def check_claim(plan: StudyPlan) -> Price:
    """Recompute what a plan claims to cost; a claim below the truth is refused.

    Raises:
        InputError: naming the figure that is claimed too low.
    """
    true = price(plan, partners=())
    claimed = plan.privacy
    for name, said, found in (("training_epsilon", claimed.training_epsilon, true.training),
                              ("statistics_epsilon", claimed.statistics_epsilon, true.statistics),
                              ("total_epsilon", claimed.total_epsilon, true.total)):
        if found > said + _TOLERANCE:
            raise InputError(f"plan.privacy.{name}", f"says {said:.4f} and the mechanisms cost {found:.4f}",
                             bound=f"at least {found:.4f}", remedy="ask the coordinator for a plan with the true price")
    return true
