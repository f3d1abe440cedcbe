"""What mechanisms cost together: privacy loss distributions, composed and rounded up.

Composition is by dp-accounting's PLD with the pessimistic estimate, an upper bound on epsilon at the given delta
(Koskela et al. 2020, arXiv:1906.03049; Doroshenko et al. 2022, arXiv:2207.04380).

>>> round(epsilon_of([SubsampledGaussian(noise_multiplier=1.0, sampling_probability=0.01, steps=1000)], delta=1e-6), 2)
2.12
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

INTERVAL = 1e-4
"""Grid of the privacy loss in a stated figure. Rounding on it is upward, so a coarser grid only overstates epsilon."""
SEARCH_INTERVAL = 1e-3
"""Grid while searching for noise: ten times faster, and at most 0.1 % more epsilon (so never too little noise)."""


@dataclass(frozen=True, kw_only=True)
class SubsampledGaussian:
    """`steps` noised sums of clipped contributions over slots, each slot entering a step by its own coin.

    `noise_multiplier` is the standard deviation of the noise over the sensitivity. Valid for the add/remove relation
    and for replacement by a null person, which are the same pair of distributions when the divisor is public.
    """

    noise_multiplier: float
    sampling_probability: float
    steps: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise ValueError(f"noise_multiplier is {self.noise_multiplier}, expected a finite number above 0")
        if not 0 < self.sampling_probability <= 1:
            raise ValueError(f"sampling_probability is {self.sampling_probability}, expected a number in (0, 1]")
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, expected at least 1")


@dataclass(frozen=True, kw_only=True)
class DiscreteGaussianTable:
    """A table with discrete Gaussian noise of `scale` where a person moves at most `entries` entries, by 1 each."""

    scale: float
    entries: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale is {self.scale}, expected a finite number above 0")
        if self.entries < 1:
            raise ValueError(f"entries is {self.entries}, expected at least 1")


Event = SubsampledGaussian | DiscreteGaussianTable


@lru_cache(maxsize=256)
def _loss(event: Event, interval: float) -> Any:
    from dp_accounting.pld import privacy_loss_distribution as pld

    match event:
        case SubsampledGaussian():
            one = pld.from_gaussian_mechanism(
                standard_deviation=event.noise_multiplier, sensitivity=1.0, pessimistic_estimate=True,
                value_discretization_interval=interval, sampling_prob=event.sampling_probability)
            return one.self_compose(event.steps)
        case DiscreteGaussianTable():
            # The entries have independent noise, so a vector moved by at most 1 in each is a composition of scalars.
            one = pld.from_discrete_gaussian_mechanism(
                sigma=event.scale, sensitivity=1, value_discretization_interval=interval)
            return one.self_compose(event.entries)


def epsilon_of(
    events: Sequence[Event], *, delta: float, people_copies: int = 1, interval: float = INTERVAL
) -> float:
    """Upper bound on epsilon at `delta` for one person who takes part in all `events`.

    Args:
        events: what was or will be run.
        delta: the delta of the claim.
        people_copies: the number of partners at which the same person sits; their losses compose.
        interval: grid of the privacy loss.

    Raises:
        ValueError: if there is no event, delta is outside (0, 1) or people_copies is below 1.
    """
    if not events:
        raise ValueError("no events: nothing to account for")
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}, expected a number inside (0, 1)")
    if people_copies < 1:
        raise ValueError(f"people_copies is {people_copies}, expected at least 1")
    total = _loss(events[0], interval)
    for event in events[1:]:
        total = total.compose(_loss(event, interval))
    if people_copies > 1:
        total = total.self_compose(people_copies)
    epsilon = float(total.get_epsilon_for_delta(delta))
    if not math.isfinite(epsilon):
        raise ValueError(f"epsilon is {epsilon} at delta {delta}: the noise is too small for any bound")
    return epsilon


def _smallest(cost: Callable[[float], float], epsilon: float) -> float:
    """Smallest noise in 0.30, 0.31, … 10,000 whose cost is at most `epsilon`; the cost falls with the noise."""
    # Doubling first: a privacy loss distribution at very small noise is large and slow.
    floor, ceiling = 29, 60
    while cost(ceiling / 100) > epsilon:
        floor, ceiling = ceiling, 2 * ceiling
        if ceiling > 1_000_000:
            raise ValueError(f"epsilon {epsilon} cannot be met with noise up to 10,000: ask for more, or do less work")
    while ceiling - floor > 1:
        middle = (floor + ceiling) // 2
        if cost(middle / 100) > epsilon:
            floor = middle
        else:
            ceiling = middle
    return ceiling / 100


def noise_multiplier_for(*, epsilon: float, delta: float, sampling_probability: float, steps: int) -> float:
    """Smallest noise multiplier, to 0.01, at which `steps` steps cost at most `epsilon` at `delta`.

    Raises:
        ValueError: if no multiplier up to 10,000 is enough.
    """
    def cost(noise: float) -> float:
        return epsilon_of([SubsampledGaussian(noise_multiplier=noise, sampling_probability=sampling_probability,
                                              steps=steps)], delta=delta, interval=SEARCH_INTERVAL)

    return _smallest(cost, epsilon)


def table_scale_for(*, epsilon: float, delta: float, entries: int) -> float:
    """Smallest discrete Gaussian scale, to 0.01, at which a table costs at most `epsilon` at `delta`."""
    def cost(scale: float) -> float:
        return epsilon_of([DiscreteGaussianTable(scale=scale, entries=entries)], delta=delta,
                          interval=SEARCH_INTERVAL)

    return _smallest(cost, epsilon)
