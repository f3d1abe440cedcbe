"""Scales of the page: the classes of a map, the axis of rates, and the axis of ratios."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BINS = 5
_MOST_STEPS = 3


def _nice_steps(least: float) -> Iterable[int]:
    """Steps 1, 2, 5, 10, 20, … from `least` on."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= least:
                yield factor * power
        power *= 10


def bin_edges(rates: Sequence[int]) -> tuple[int, ...]:
    """Edges of at most five bins of equal, round width that hold all `rates`; the last bin includes its upper edge.

    Equal widths, not equal numbers of regions: quantile bins would be a ranking in disguise.

    Raises:
        ValueError: without rates.
    """
    if not rates:
        raise ValueError("no rates to put in bins")
    low, high = min(rates), max(rates)
    for step in _nice_steps(max(1.0, (high - low) / BINS)):
        # A scale that can start at zero for the same number of bins should.
        for start in (0, low // step * step):
            count = max(1, math.ceil((high - start) / step))
            if count <= BINS:
                return tuple(start + i * step for i in range(count + 1))
    raise AssertionError("unreachable: steps grow without end")


def bin_of(rate: int, edges: Sequence[int]) -> int:
    """Index of the bin that holds `rate`."""
    return next((i for i in range(len(edges) - 2) if rate < edges[i + 1]), len(edges) - 2)


def shade_of(rate: int, edges: Sequence[int]) -> int:
    """Which of `BINS` shades the bin of `rate` has."""
    return shades(len(edges) - 1)[bin_of(rate, edges)]


def shades(bins: int) -> tuple[int, ...]:
    """The shade of each bin; of fewer bins than `BINS`, the first and the last are as far apart as of all."""
    return (BINS // 2,) if bins == 1 else tuple(round(i * (BINS - 1) / (bins - 1)) for i in range(bins))


def axis_ticks(highest: int, *, wanted: int = 4) -> tuple[int, ...]:
    """Round ticks from 0 to at least `highest`, about `wanted` steps."""
    step = next(iter(_nice_steps(max(1.0, highest / wanted))))
    return tuple(range(0, (max(1, math.ceil(highest / step)) + 1) * step, step))


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Where a value and the ends of its interval lie on an axis, in hundredths of its length."""

    at: float
    start: float
    end: float


@dataclass(frozen=True)
class RatioAxis:
    """A logarithmic axis, even on both sides of 1: from 1 / `base`^`steps` to `base`^`steps`, a tick at each power."""

    base: int
    steps: int

    @classmethod
    def holding(cls, ratios: Iterable[float]) -> RatioAxis:
        """The shortest axis of at most three steps a side that holds all `ratios` above 0: powers of 2, 4, 10 or 100.

        What lies further out than 100³ either way, or at 0, is drawn at the end.

        Raises:
            ValueError: if a ratio is not finite.
        """
        found = list(ratios)
        if not all(map(math.isfinite, found)):
            raise ValueError("a ratio is not finite")
        reach = max((abs(math.log(ratio)) for ratio in found if ratio > 0.0), default=0.0)
        needed = ((base, max(1, math.ceil(reach / math.log(base) - 1e-9))) for base in (2, 4, 10, 100))
        return cls(*next(((base, steps) for base, steps in needed if steps <= _MOST_STEPS), (100, _MOST_STEPS)))

    def at(self, ratio: float) -> float:
        """Where a ratio lies, in hundredths of the axis; what is off the axis lies at its end."""
        if ratio <= 0.0:
            return 0.0
        place = 0.5 + math.log(ratio) / math.log(self.base) / (2 * self.steps)
        return round(100 * min(1.0, max(0.0, place)), 1)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Each tick's ratio and label: `1/4`, `1`, `4`."""
        powers = range(-self.steps, self.steps + 1)
        return tuple((float(self.base) ** i, f"1/{self.base ** -i:,}" if i < 0 else f"{self.base ** i:,}")
                     for i in powers)
