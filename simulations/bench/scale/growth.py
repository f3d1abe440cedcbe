"""How a cost grows with a size: the slope of its logarithm, and what one more costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression


@dataclass(frozen=True, kw_only=True)
class Point:
    """A stage at one size; `size` is a number of records or of partners, memory is in bytes."""

    stage: str
    size: int
    seconds: float
    processor: float
    resident: int
    anonymous: int


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Of one stage over all sizes. 1 is proportional to the size, 0 is flat; None with fewer than two sizes.

    Attributes:
        processor: exponent of the processor time.
        anonymous: exponent of the peak of anonymous memory, what the interpreter and its libraries need included.
        bytes_each: anonymous memory of one record or partner more, from the smallest size to the largest.
    """

    stage: str
    processor: float | None
    anonymous: float | None
    bytes_each: float | None


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """Slope of log(cost) over log(size), by least squares; None where there is none.

    Raises:
        ValueError: if a size or cost is not above 0.
    """
    if len(set(sizes)) < 2:
        return None
    return linear_regression([math.log(size) for size in sizes], [math.log(cost) for cost in costs]).slope


def growth(points: Sequence[Point]) -> list[Growth]:
    """Of each stage in `points`, in the order in which they come."""
    found = []
    for stage in dict.fromkeys(point.stage for point in points):
        own = sorted((point for point in points if point.stage == stage), key=lambda point: point.size)
        sizes, more = [point.size for point in own], own[-1].size - own[0].size
        found.append(Growth(
            stage=stage, processor=exponent(sizes, [point.processor for point in own]),
            anonymous=exponent(sizes, [point.anonymous for point in own]),
            bytes_each=(own[-1].anonymous - own[0].anonymous) / more if more else None))
    return found
