"""What mechanisms cost together: privacy loss distributions, composed and rounded up; and a filter under adaptivity.

A *plan fixed in advance* is composed by dp-accounting's PLD with the pessimistic estimate, an upper bound on epsilon at
the given delta (Koskela et al. 2020, arXiv:1906.03049; Doroshenko et al. 2022, arXiv:2207.04380).

>>> round(epsilon_of([SubsampledGaussian(noise_multiplier=1.0, sampling_probability=0.01, steps=1000)], delta=1e-6), 2)
2.12

*Studies chosen one after the other*, each perhaps because of what the last one showed, must not be stopped by that
figure: "spend until the composed PLD crosses the budget" is not valid under adaptivity (arXiv:2602.06756). For them
there is a `RenyiFilter` at one order that is fixed before anything is spent (Feldman and Zrnic 2021, arXiv:2008.11193;
Whitehouse et al. 2023, "Fully-adaptive composition in differential privacy", ICML).

>>> cap = RenyiFilter(order=best_order(epsilon=4.0, delta=1e-6), epsilon=4.0, delta=1e-6)
>>> study = SubsampledGaussian(noise_multiplier=1.5, sampling_probability=0.05, steps=40)
>>> cap.order, [cap.admits([study] * studies) for studies in (1, 9, 10)]
(7, [True, True, False])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, assert_never

from federation.remembered import Remembered

INTERVAL = 1e-4
"""Grid of the privacy loss in a stated figure. Rounding on it is upward, so a figure on any grid is an upper bound."""
SEARCH_INTERVAL = 1e-3
"""Grid while searching for noise: ten times faster, and at most 0.1 % more epsilon (so never too little noise)."""
GRID_EPSILON = 1e-6
GRID_DELTA_SHARE = 1e-6
"""Kept aside in every figure for the difference between discrete noise on the training grid and the normal noise that
is composed here. `guarantee.grid_cost` works it out, and no plan is admitted that needs a thousandth of either."""
COMPOSITION_ERROR = 2.0**-52
"""Composition goes through a Fourier transform, whose rounding the pessimistic grid does not cover: about 3e-17 in
delta for each step, measured against the exact Gaussian curve. Seven times that is taken off delta; where half of delta
would go, a Rényi bound is stated instead."""
LARGEST_ORDER = 4096
LARGEST_COMPOSED = 200.0
"""Beyond this epsilon nothing is protected and a distribution takes gigabytes: a Rényi bound is stated instead."""
FIGURES = Remembered(Path(__file__).read_bytes() + version("dp-accounting").encode())
"""Composed figures, kept on disk where a process says so."""
_QUICK_ORDERS = (2, 3, 4, 6, 8, 12, 16, 32, 64, 128)


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
    """A table with discrete Gaussian noise of `scale`; a person moves at most `entries` entries, by `shift` each."""

    scale: float
    entries: int
    shift: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale is {self.scale}, expected a finite number above 0")
        if self.entries < 1:
            raise ValueError(f"entries is {self.entries}, expected at least 1")
        if self.shift < 1:
            raise ValueError(f"shift is {self.shift}, expected at least 1")


Event = SubsampledGaussian | DiscreteGaussianTable


def grouped(events: Iterable[Event]) -> tuple[Event, ...]:
    """The same work in as few events as there are different mechanisms, in a fixed order.

    n equal subsampled Gaussians of s steps are one of n * s steps, and n equal tables one with n times the entries, so
    the time to compose does not grow with the number of rounds.
    """
    steps: dict[tuple[float, float], int] = {}
    entries: dict[tuple[float, int], int] = {}
    for event in events:
        match event:
            case SubsampledGaussian():
                key = event.noise_multiplier, event.sampling_probability
                steps[key] = steps.get(key, 0) + event.steps
            case DiscreteGaussianTable():
                table = event.scale, event.shift
                entries[table] = entries.get(table, 0) + event.entries
            case _:
                # Never left out in silence: what is not an event here would be spent for nothing.
                assert_never(event)
    return (
        *(SubsampledGaussian(noise_multiplier=noise, sampling_probability=probability, steps=count)
          for (noise, probability), count in sorted(steps.items())),
        *(DiscreteGaussianTable(scale=scale, entries=count, shift=shift)
          for (scale, shift), count in sorted(entries.items())))


# Few: one distribution on the fine grid takes megabytes.
@lru_cache(maxsize=16)
def _loss(event: Event, interval: float) -> Any:
    from dp_accounting.pld import privacy_loss_distribution as pld

    match event:
        case SubsampledGaussian():
            one = pld.from_gaussian_mechanism(
                standard_deviation=event.noise_multiplier, sensitivity=1.0, pessimistic_estimate=True,
                value_discretization_interval=interval, sampling_prob=event.sampling_probability)
            return one.self_compose(event.steps)
        case DiscreteGaussianTable():
            # The entries have independent noise, so a vector that moves in several is a composition of scalars.
            one = pld.from_discrete_gaussian_mechanism(
                sigma=event.scale, sensitivity=event.shift, value_discretization_interval=interval)
            return one.self_compose(event.entries)


def epsilon_of(
    events: Sequence[Event], *, delta: float, interval: float = INTERVAL
) -> float:
    """Upper bound on epsilon at `delta` for one person who takes part in all `events`.

    Args:
        events: what was or will be run.
        delta: the delta of the claim.
        interval: grid of the privacy loss.

    Raises:
        ValueError: if there is no event or delta is outside (0, 1).
    """
    if not events:
        raise ValueError("no events: nothing to account for")
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}, expected a number inside (0, 1)")
    return GRID_EPSILON + _epsilon(grouped(events), delta * (1 - GRID_DELTA_SHARE), interval)


@lru_cache(maxsize=4096)
def _epsilon(events: tuple[Event, ...], delta: float, interval: float) -> float:
    quick = min(math.fsum(renyi_divergence(event, order) for event in events) + _overhead(order, delta)
                for order in _QUICK_ORDERS)
    work = sum(event.steps if isinstance(event, SubsampledGaussian) else event.entries for event in events)
    left = delta - work * COMPOSITION_ERROR
    if quick > LARGEST_COMPOSED or left <= delta / 2:
        return quick

    def compose() -> float:
        total = _loss(events[0], interval)
        for event in events[1:]:
            total = total.compose(_loss(event, interval))
        return float(total.get_epsilon_for_delta(left))

    facts = [[type(event).__name__, asdict(event)] for event in events]
    epsilon = FIGURES.figure({"events": facts, "delta": left, "interval": interval}, compose)
    if not math.isfinite(epsilon):
        raise ValueError(f"epsilon is {epsilon} at delta {delta}: the noise is too small for any bound")
    return max(0.0, epsilon)


def exceeds(events: Sequence[Event], *, epsilon: float, delta: float) -> bool:
    """Whether `events` cost more than `epsilon` at `delta`; the fine grid is used only where it could matter."""
    rough = epsilon_of(events, delta=delta, interval=SEARCH_INTERVAL)
    return rough * 1.001 > epsilon and epsilon_of(events, delta=delta) > epsilon


@lru_cache(maxsize=4096)
def renyi_divergence(event: Event, order: int) -> float:
    """Bound on the Rényi divergence of `event` at an integer `order`, in both directions.

    Source: Mironov, Talwar and Zhang 2019, arXiv:1908.10530, section 3.3 (subsampled Gaussian, integer order; the other
    direction is smaller, theorem 5); Canonne, Kamath and Steinke 2020, arXiv:2004.00010, theorem 4 (discrete Gaussian).

    Raises:
        ValueError: if the order is outside 2 … 4096, or the event is so extreme that there is no finite figure.
    """
    _check_order(order)
    try:
        divergence = _divergence(event, order)
    except (ArithmeticError, ValueError):
        divergence = math.inf
    if not (math.isfinite(divergence) and divergence >= 0):
        raise ValueError(f"no finite Rényi divergence at order {order} for {event}")
    return divergence


def _divergence(event: Event, order: int) -> float:
    match event:
        case DiscreteGaussianTable():
            return event.entries * order * event.shift**2 / (2 * event.scale**2)
        case SubsampledGaussian() if event.sampling_probability == 1:
            return event.steps * order / (2 * event.noise_multiplier**2)
        case SubsampledGaussian():
            return event.steps * _subsampled(event.noise_multiplier, event.sampling_probability, order)


def _subsampled(noise: float, probability: float, order: int) -> float:
    # The moment of a step, E[((1-q) + q L)^order], is 1 and a sum over k >= 2 of binomial weights at q, each times
    # exp((k^2-k) / 2 s^2) - 1. The weights' own sum of 1 is taken off term by term: nothing cancels, and a small price
    # is not rounded away.
    terms = []
    for k in range(2, order + 1):
        exponent = (k * k - k) / (2 * noise * noise)
        excess = math.log(math.expm1(exponent)) if exponent < 30 else exponent
        choose = math.lgamma(order + 1) - math.lgamma(k + 1) - math.lgamma(order - k + 1)
        terms.append(choose + k * math.log(probability) + (order - k) * math.log1p(-probability) + excess)
    largest = max(terms)
    log_excess = largest + math.log(math.fsum(math.exp(term - largest) for term in terms))
    # Above 30, log1p(exp(x)) is x and less than 1e-13.
    return (math.log1p(math.exp(log_excess)) if log_excess < 30 else log_excess + 1e-13) / (order - 1)


def _check_order(order: int) -> None:
    if not 2 <= order <= LARGEST_ORDER:
        raise ValueError(f"order is {order}, expected 2 to {LARGEST_ORDER}")


def _overhead(order: int, delta: float) -> float:
    """epsilon - divergence in the conversion of Canonne, Kamath and Steinke 2020, arXiv:2004.00010, proposition 12."""
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}, expected a number inside (0, 1)")
    return math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


def epsilon_of_renyi(divergence: float, *, order: int, delta: float) -> float:
    """The epsilon at `delta` of whatever has a Rényi divergence of at most `divergence` at `order`."""
    _check_order(order)
    if not (math.isfinite(divergence) and divergence >= 0):
        raise ValueError(f"divergence is {divergence}, expected a finite number, at least 0")
    return GRID_EPSILON + max(0.0, divergence + _overhead(order, delta * (1 - GRID_DELTA_SHARE)))


def best_order(*, epsilon: float, delta: float) -> int:
    """The order at which a filter for (epsilon, delta) lets most full-batch Gaussian work pass.

    Raises:
        ValueError: if no order up to 4096 leaves anything to spend.
    """
    def room(order: int) -> float:
        return RenyiFilter(order=order, epsilon=epsilon, delta=delta).budget / order

    best = max(range(2, LARGEST_ORDER + 1), key=room)
    if room(best) <= 0:
        raise ValueError(f"epsilon {epsilon} at delta {delta} leaves nothing to spend at any order: allow more")
    return best


@dataclass(frozen=True, kw_only=True)
class RenyiFilter:
    """A cap that holds however the events are chosen: their divergences at one fixed order may sum to `budget`.

    Raises:
        ValueError: if epsilon is not a finite number above 0, delta not inside (0, 1) or the order not in 2 … 4096.
    """

    order: int
    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        _check_order(self.order)
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ValueError(f"epsilon is {self.epsilon}, expected a finite number above 0")
        if not 0 < self.delta < 1:
            raise ValueError(f"delta is {self.delta}, expected a number inside (0, 1)")

    @property
    def budget(self) -> float:
        """The divergence that may be spent; 0 where this order cannot give so small an epsilon."""
        return max(0.0, self.epsilon - GRID_EPSILON - _overhead(self.order, self.delta * (1 - GRID_DELTA_SHARE)))

    def spent(self, events: Iterable[Event]) -> float:
        """Divergence of `events` at the order of this filter."""
        return math.fsum(renyi_divergence(event, self.order) for event in grouped(events))

    def admits(self, events: Iterable[Event]) -> bool:
        """Whether `events` together stay within the budget."""
        return self.spent(events) <= self.budget

    def share(self, events: Iterable[Event]) -> float:
        """Part of the budget that `events` use; 1 where there is no budget to use."""
        return self.spent(events) / self.budget if self.budget > 0 else 1.0


def _smallest(cost: Callable[[float], float], epsilon: float) -> float:
    """Smallest noise in 0.30, 0.31, … 10,000 whose cost is at most `epsilon`; the cost falls with the noise."""
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon is {epsilon}, expected a finite number above 0")
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


def table_scales_for(
    *, epsilon: float, delta: float, entries: Sequence[int], shares: Sequence[float],
    shifts: Sequence[int] | None = None,
) -> tuple[float, ...]:
    """Scales of discrete Gaussian noise for tables that are paid for together, about 1 % above the least at most.

    A table's scale is its l2 sensitivity over the square root of its share, times one factor for all: with normal noise
    the shares would be those of the divergence that is spent.

    Args:
        epsilon: the most that all tables together may cost at `delta`.
        entries: by table, how many entries one person moves.
        shares: by table, above 0; only their proportions matter.
        shifts: by table, by how much a person moves each of these entries; 1 if not given.

    Raises:
        ValueError: if there is no table, epsilon or a share is not a finite number above 0, entries or a shift are
            below 1, or no factor up to 10,000 is enough.
    """
    moved = shifts or (1,) * len(entries)
    if not all(math.isfinite(share) and share > 0 for share in shares):
        raise ValueError(f"shares are {tuple(shares)}, expected finite numbers above 0")
    for name, numbers in (("entries", entries), ("shifts", moved)):
        if not numbers or min(numbers) < 1:
            raise ValueError(f"{name} are {tuple(numbers)}, expected numbers from 1 on")
    whole = math.fsum(shares)

    def scales(factor: float) -> tuple[float, ...]:
        return tuple(math.ceil(100 * factor * shift * math.sqrt(count * whole / share)) / 100
                     for count, shift, share in zip(entries, moved, shares, strict=True))

    def quick(factor: float, interval: float) -> float:
        # As if in units of the shift: the same for normal noise, and many times faster where the shift is large.
        return epsilon_of([DiscreteGaussianTable(scale=scale / shift, entries=count)
                           for scale, shift, count in zip(scales(factor), moved, entries, strict=True)],
                          delta=delta, interval=interval)

    def cost(factor: float) -> float:
        return epsilon_of([DiscreteGaussianTable(scale=scale, entries=count, shift=shift)
                           for scale, shift, count in zip(scales(factor), moved, entries, strict=True)], delta=delta)

    enough = _smallest(lambda factor: quick(factor, SEARCH_INTERVAL), epsilon)
    # Rounding on the coarse grid adds up over entries, to several percent where there are many and little to spend.
    while quick(0.95 * enough, INTERVAL) <= epsilon:
        enough *= 0.95
    least = 0.95 * enough
    for _ in range(3):
        middle = (least + enough) / 2
        least, enough = (middle, enough) if quick(middle, INTERVAL) > epsilon else (least, middle)
    while cost(enough) > epsilon:
        enough *= 1.001
    return scales(enough)
