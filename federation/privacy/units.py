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
