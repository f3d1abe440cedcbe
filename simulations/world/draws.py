"""Random draws that follow from a seed and a name, whatever else is drawn.

Python's own generator: its sequence is promised to stay the same from version to version, and one number costs a tenth
of a microsecond, where numpy's costs several when asked for one at a time.
"""

from __future__ import annotations

import hashlib
import json
import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from statistics import NormalDist
from typing import TypeVar

Item = TypeVar("Item")
_NORMAL = NormalDist()


class Draws:
    """A stream of its own for each context.

    Args:
        seed: of the world.
        context: names and numbers that say what is drawn; another context is another, independent stream.
    """

    __slots__ = ("_source", "random")

    def __init__(self, seed: int, *context: str | int) -> None:
        name = hashlib.sha256(json.dumps([seed, *context]).encode()).digest()
        self._source = random.Random(int.from_bytes(name, "big"))
        self.random = self._source.random
        """One number from [0, 1)."""

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def below(self, count: int) -> int:
        """0 to `count` - 1, each equally likely."""
        return int(self.random() * count)

    def between(self, low: int, high: int) -> int:
        """`low` to `high`, both included, each equally likely."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, options: Sequence[Item]) -> Item:
        """One of `options`, each equally likely."""
        return options[int(self.random() * len(options))]

    def at(self, cumulated: Sequence[float]) -> int:
        """A position, drawn by shares from `cumulated`."""
        return bisect_right(cumulated, self.random())

    def some(self, options: Sequence[Item], count: int) -> list[Item]:
        """`count` different ones of `options` in random order, or all of them if there are fewer."""
        left, chosen = list(options), []
        random = self.random
        for size in range(len(left), max(len(left) - count, 0), -1):
            at = int(random() * size)
            chosen.append(left[at])
            left[at] = left[size - 1]
        return chosen

    def normal(self) -> float:
        """A standard normal number."""
        return _NORMAL.inv_cdf(self.random() or 0.5)

    def dirichlet(self, concentration: float, count: int) -> list[float]:
        """`count` shares from a symmetric Dirichlet distribution."""
        parts = [self._source.gammavariate(concentration, 1.0) for _ in range(count)]
        return [part / sum(parts) for part in parts]

    def uuid(self) -> str:
        """A version 4 UUID (RFC 9562) as text."""
        bits = self._source.getrandbits(128)
        bits = bits & ~(0xF000 << 64) & ~(0xC000 << 48) | 0x4000 << 64 | 0x8000 << 48
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def cumulated(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights as cumulated shares that end at 1, for `Draws.at`."""
    ends = list(accumulate(weights))
    # Rounding must not leave the last end below a number that can be drawn.
    return (*(end / ends[-1] for end in ends[:-1]), 1.0)
