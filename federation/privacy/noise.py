"""Discrete Gaussian noise, exact, for integer sums and tables.

    P(k) proportional to exp(-k^2 / (2 scale^2)) over the integers

(Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy", NeurIPS 2020, arXiv:2004.00010). A table
of a few hundred entries is drawn by OpenDP's verified sampler from the operating system. A training step needs
thousands of values at a scale of 2^28 and more, so `DiscreteGaussian` draws whole arrays, by rejection from a histogram
above the curve. The integers within `REACH * scale` are cut into bins of equal width. Each bin has an integer weight
that is at least the curve at its highest point: the area between 0 and that weight, above the bin, is the bin's bar. A
point drawn uniformly from all bars has a value (where in the bin) and a height, and the value is kept if the height is
below the curve there. Bars are drawn from in two parts:

1. The *base* of a bar is that much of it that surely lies below the curve, rounded down to a whole number of columns of
   equal area. All bases together are 15 / 16 of the area. A column looked up in a table gives the bin, and the value in
   it is uniform: it is kept whatever the height.
2. The *cap* is the rest of a bar. One of the sixteenth that are left picks a bar in proportion to its cap by Walker's
   alias method, exact in 64-bit integers; the value is uniform in the bin, the height uniform in the cap.

The test in step 2 compares a uniform number with an exponential. Floating point decides only where its error bound
cannot matter; otherwise the comparison is done in decimal arithmetic with as many digits and random bits as it takes
(Ziv's rounding test, 1991). So every decision is the one that exact real arithmetic would make, and the only departure
from the distribution above is the cut at `REACH * scale`, whose probability is `TAIL` for each value drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from federation.randomness import RandomStream

IntArray = npt.NDArray[np.int64]

REACH: Final = 13.0
TAIL: Final = 2.0**-124
"""Upper bound on the probability that is cut off. The bins reach 13 scale at the least, where the normal tail is 2^-126
on both sides together, and further wherever the scale is so small that single integers weigh more."""

_LOT = 2**14
"""Values proposed at a time: few enough for a cache."""
_BINS = 1024
_COLUMN_BITS = 14
"""The first bits of a 64-bit word pick one of 2^14 columns."""
_BASE_COLUMNS = 15 << (_COLUMN_BITS - 4)
"""The columns from here on belong to the caps."""
_COLUMN = 1 << (64 - _COLUMN_BITS)
"""Weight of a column; that of all bars together is 2^64."""
_ALIAS_BITS = 54
"""In the alias tables, a word picks one of 2^10 columns and a point in a column of capacity 2^54."""
_SCALES = (0.1, 2.0**46)
_DOUBT = 2.0**-40
"""Relative error allowed to the floating-point acceptance probability. Its true error is below 2^-44: an argument of at
most 100 with a relative error of 4 * 2^-53, and one unit in the last place of exp."""


def add_discrete_gaussian(table: IntArray, scale: float, stream: RandomStream | None = None) -> IntArray:
    """Return `table` plus independent discrete Gaussian noise in each entry.

    Args:
        table: int64, any shape.
        scale: the parameter sigma of the discrete Gaussian N_Z(0, sigma^2).
        stream: None draws with OpenDP from the operating system. A derived stream reproduces, and so protects nobody.

    Raises:
        ValueError: if `scale` is not a finite number in range or the table is not int64.
    """
    sampler = discrete_gaussian(scale)
    if table.dtype != np.int64:
        raise ValueError(f"table is {table.dtype}, expected int64")
    if stream is None:
        return _opendp(table, scale)
    return table + sampler.draw(table.size, stream).reshape(table.shape)


def _opendp(table: IntArray, scale: float) -> IntArray:
    # Imported here: the shared object is large, and most paths never need it.
    import opendp.prelude as dp

    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T=float)
    mechanism = space >> dp.m.then_gaussian(scale=scale)
    released = np.array(mechanism(table.ravel().tolist()), dtype=np.int64)
    return released.reshape(table.shape)


@lru_cache(maxsize=16)
def discrete_gaussian(scale: float) -> DiscreteGaussian:
    """The sampler of a scale; building its tables takes some milliseconds, so they are kept."""
    return DiscreteGaussian(scale)


class DiscreteGaussian:
    """Draws arrays from N_Z(0, scale^2), cut at `REACH * scale`.

    Args:
        scale: between 0.1 and 2^46.

    Raises:
        ValueError: if `scale` is not a finite number in that range.
    """

    def __init__(self, scale: float) -> None:
        if not (math.isfinite(scale) and _SCALES[0] <= scale <= _SCALES[1]):
            raise ValueError(f"scale is {scale}, expected a finite number from {_SCALES[0]:g} to {_SCALES[1]:g}")
        self.scale = scale
        self._width_bits = max(0, math.ceil(math.log2(2 * REACH * scale / _BINS)))
        width = 1 << self._width_bits
        starts = np.arange(-_BINS // 2, _BINS // 2, dtype=np.int64) * width
        near = np.where(starts >= 0, starts, starts + width - 1)
        far = np.where(starts >= 0, starts + width - 1, starts)
        self._starts = starts
        curve = self._curve(near)
        # The curve's height in integer units, such that all bins together weigh a little less than 2^64.
        self._unit = int(2**64 * (1 - 2.0**-10) / curve.sum())
        weights = [math.ceil(Fraction(height * (1 + _DOUBT)) * self._unit) + 1 for height in curve.tolist()]
        # What is left to 2^64 goes to the last bin: a weight may be larger than it must.
        weights[-1] += 2**64 - sum(weights)
        self._weights = weights
        base = _bases(self._curve(far) * (self._unit * (1 - _DOUBT)))
        self._base = [columns * _COLUMN for columns in base.tolist()]
        self._cap = [weight - own for weight, own in zip(weights, self._base, strict=True)]
        # Where the bin of a column starts; 0 for those of the caps, whose bin is added later.
        self._column_starts = np.zeros(1 << _COLUMN_BITS, dtype=np.int64)
        self._column_starts[:_BASE_COLUMNS] = np.repeat(starts, base)
        # In caps, as a height is drawn.
        self._unit_caps = np.array([self._unit / cap for cap in self._cap])
        self._base_caps = np.array([own / cap for own, cap in zip(self._base, self._cap, strict=True)])
        self._threshold, self._alias = _alias_tables([cap * (2**64 // (2**64 - sum(self._base))) for cap in self._cap])

    def draw(self, count: int, stream: RandomStream) -> IntArray:
        """`count` independent values, int64."""
        parts: list[IntArray] = []
        missing = count
        while missing > 0:
            # Lots of equal size: a small rest would cost nearly as much as a whole one.
            lot = -(-missing // -(-missing // _LOT))
            kept = self._lot(lot + lot // 32 + 8, stream)[:missing]
            parts.append(kept)
            missing -= len(kept)
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def source(self, stream: RandomStream) -> Callable[[int], IntArray]:
        """A function that gives so many further values at each call, drawn ahead in lots: small draws cost more."""
        held = np.zeros(0, dtype=np.int64)

        def take(count: int) -> IntArray:
            nonlocal held
            taken, filled = np.empty(count, dtype=np.int64), 0
            while filled < count:
                if not len(held):
                    held = self._lot(_LOT, stream)
                part, held = held[: count - filled], held[count - filled :]
                taken[filled : filled + len(part)] = part
                filled += len(part)
            return taken

        return take

    def _lot(self, proposals: int, stream: RandomStream) -> IntArray:
        """Propose so many values and return those that are kept, in order."""
        words = stream.words(proposals)
        part = words >> np.uint64(64 - _COLUMN_BITS)
        values: IntArray = self._column_starts.take(part.view(np.int64))
        # A word's low bits are the place in the bin, in a cap as in a base.
        np.bitwise_and(words, np.uint64((1 << self._width_bits) - 1), out=part)
        values += part.view(np.int64)
        capped = np.flatnonzero(words >= np.uint64(_BASE_COLUMNS * _COLUMN))
        bins = self._pick_caps(stream.words(len(capped)))
        values[capped] += self._starts[bins]
        kept = np.ones(proposals, dtype=np.bool_)
        kept[capped] = self._decide(values[capped], bins, stream)
        return values[kept]

    def _pick_caps(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """The bin whose cap each word picks: that of its column, or the column's alias."""
        columns = (words >> np.uint64(_ALIAS_BITS)).view(np.int64)
        points = words & np.uint64((1 << _ALIAS_BITS) - 1)
        return np.where(points < self._threshold[columns], columns, self._alias[columns])

    def _curve(self, values: IntArray) -> npt.NDArray[np.float64]:
        height: npt.NDArray[np.float64] = np.exp(-0.5 * np.square(values / self.scale))
        return height

    def _decide(self, values: IntArray, bins: npt.NDArray[np.int64], stream: RandomStream) -> npt.NDArray[np.bool_]:
        """Whether a uniform height in the cap of its bin is below the curve at each value."""
        words = stream.words(len(values))
        uniform = words * 2.0**-64
        top = self._curve(values) * self._unit_caps[bins]
        chance = top - self._base_caps[bins]
        # The second term covers the rounding of `uniform` and chances too small for a relative error.
        error = top * _DOUBT + 2.0**-50
        kept: npt.NDArray[np.bool_] = uniform < chance - error
        for at in np.flatnonzero(~kept & (uniform <= chance + error)):
            kept[at] = self._decide_exactly(int(values[at]), int(bins[at]), int(words[at]), 64, stream)
        return kept

    def _decide_exactly(self, value: int, index: int, numerator: int, bits: int, stream: RandomStream) -> bool:
        """Whether a uniform number that begins with `numerator / 2^bits` is below the chance of `value`."""
        while True:
            # A cap may be as little as 2^-64 of the curve: 20 digits more than the chance has.
            context = Context(prec=bits // 3 + 40)
            square = context.divide(Decimal(value), Decimal(self.scale))
            exponent = context.multiply(Decimal("-0.5"), context.multiply(square, square))
            curve = context.multiply(context.exp(exponent), Decimal(self._unit))
            share = context.divide(context.subtract(curve, Decimal(self._base[index])), Decimal(self._cap[index]))
            # In units of 2^-bits; the digits beyond `bits` leave an error far below 1.
            chance = context.multiply(share, Decimal(1 << bits))
            if numerator + 1 < chance - 1:
                return True
            if numerator > chance + 1:
                return False
            numerator = (numerator << 64) + int(stream.words(1)[0])
            bits += 64


def _bases(heights: npt.NDArray[np.float64]) -> IntArray:
    """How many columns of each bar are its base, `_BASE_COLUMNS` together, given what surely lies below the curve."""
    columns = np.floor(heights / _COLUMN).astype(np.int64)
    # A base may be smaller than it must: what is too much goes from the largest.
    largest = np.argsort(-columns, kind="stable")
    while (excess := int(columns.sum()) - _BASE_COLUMNS) > 0:
        columns[largest[: min(excess, np.count_nonzero(columns))]] -= 1
    return columns


def _alias_tables(weights: list[int]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Walker's alias tables (Walker 1977; Vose 1991) in exact integers, for weights that sum to 2^64."""
    capacity = 1 << _ALIAS_BITS
    left = list(weights)
    threshold, alias = [capacity] * len(left), list(range(len(left)))
    small = [i for i, weight in enumerate(left) if weight < capacity]
    large = [i for i, weight in enumerate(left) if weight >= capacity]
    while small:
        low, high = small.pop(), large[-1]
        threshold[low], alias[low] = left[low], high
        left[high] -= capacity - left[low]
        if left[high] < capacity:
            small.append(large.pop())
    return np.array(threshold, dtype=np.uint64), np.array(alias, dtype=np.int64)
