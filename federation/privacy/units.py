"""What a privacy figure is about: a unit, an adjacency and a budget.

A number called epsilon says nothing by itself. These types carry the words that make it a promise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class PrivacyUnit(StrEnum):
    """Whose contribution is hidden."""

    PERSON_AT_PARTNER = "person_at_partner"

    @property
    def in_words(self) -> str:
        return "one person (the author or subject of records) at one partner, with all of their records there"


class Adjacency(StrEnum):
    """Which two data sets must be hard to tell apart."""

    REPLACE_BY_NULL = "replace_by_null"

    @property
    def in_words(self) -> str:
        return "the person's slot holds the person, or holds a null person who contributes nothing"


def up(value: float) -> str:
    """Three decimals, rounded up: a figure shown may never be smaller than the figure meant."""
    return f"{math.ceil(value * 1000 - 1e-9) / 1000:.3f}"


def down(value: float) -> str:
    """Three decimals, rounded down: what is shown to remain may never be more than what does."""
    return f"{math.floor(value * 1000) / 1000:.3f}"


def most_recognised(epsilon: float, delta: float, *, wrongly: float) -> float:
    """What (epsilon, delta) means to somebody who guesses who is in the data.

    Whoever is wrong about a share `wrongly` of the people who are not in the data is right about at most this share of
    those who are (Kairouz, Oh and Viswanath 2015, arXiv:1311.0776, theorem 2.1).

    >>> round(most_recognised(1.0, 0.0, wrongly=0.05), 3)  # e * 0.05
    0.136
    """
    if not (math.isfinite(epsilon) and epsilon >= 0 and 0 <= delta <= 1 and 0 <= wrongly <= 1):
        raise ValueError(f"epsilon {epsilon}, delta {delta}, wrongly {wrongly}: expected a finite epsilon of at least "
                         "0 and two shares")
    # exp overflows beyond 709, where the second bound is 1 to the last digit anyway.
    return min(1.0, math.exp(min(epsilon, 700.0)) * wrongly + delta,
               1.0 - math.exp(-epsilon) * max(0.0, 1.0 - delta - wrongly))


@dataclass(frozen=True, kw_only=True)
class Budget:
    """An (epsilon, delta) pair, valid by construction.

    Raises:
        ValueError: if epsilon is not a finite number above 0 or delta not inside (0, 1).
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ValueError(f"epsilon is {self.epsilon}, expected a finite number above 0")
        if not (math.isfinite(self.delta) and 0 < self.delta < 1):
            raise ValueError(f"delta is {self.delta}, expected a number inside (0, 1)")

    def __str__(self) -> str:
        return f"ε = {up(self.epsilon)}, δ = {self.delta:.1g}"
